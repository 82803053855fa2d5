"""Pictures that look like nothing else, among features whose outliers are known."""

import numpy as np

from classifier.base.splits import Split
from classifier.evaluation.outliers import SHOWN, find_outliers


def made(sizes: dict[str, int]) -> tuple[dict[str, Split], dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2, 16))
    splits, features = {}, {}
    for name, n in sizes.items():
        labels = rng.integers(0, 2, n)
        images = np.zeros((n, 2, 2, 3), np.uint8)
        paths = [f"{name}/{row}.jpg" for row in range(n)]
        splits[name] = Split(images, labels, paths, ("cats", "dogs"))
        features[name] = (3 * centres[labels] + 0.3 * rng.normal(size=(n, 16))).astype(np.float32)
    return splits, features


def test_pictures_unlike_all_others_come_first_whatever_their_split():
    splits, features = made({"train": 100, "validation": 40, "test": 60})
    features["train"][7] = np.eye(16)[3] * 5
    features["test"][11] = -np.eye(16)[9] * 5
    found = find_outliers(splits, features)
    assert {(one["split"], one["row"]) for one in found[:2]} == {("train", 7), ("test", 11)}
    assert len(found) == SHOWN
    scores = [one["score"] for one in found]
    assert scores == sorted(scores)
    assert scores[1] < scores[2] / 2
    first = found[0]
    split = splits[first["split"]]
    assert first["path"] == split.paths[first["row"]]
    assert first["label"] == split.classes[split.labels[first["row"]]]


def test_fewer_pictures_than_neighbours_or_lines_are_all_listed():
    splits, features = made({"train": 3, "validation": 2, "test": 2})
    assert len(find_outliers(splits, features)) == 7
