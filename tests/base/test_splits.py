"""The arrays follow their lists, and the same pictures make the same bytes."""

import numpy as np
import pytest

from classifier.base.splits import in_order, read_split, write_split


def test_arrays_follow_their_lists(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (700, 4, 4, 3), np.uint8)
    labels = ["dogs" if i % 3 else "cats" for i in range(700)]
    rows = {"train": list(range(599, -1, -1)), "test": [650, 610, 699]}
    for name, chosen in rows.items():
        table = [(f"{i}, {labels[i]}.jpg", labels[i], f"{i:064x}") for i in chosen]
        write_split(tmp_path, name, pixels, chosen, table)
    for name, chosen in rows.items():
        split = read_split(name, tmp_path)
        assert len(split) == len(chosen)
        assert isinstance(split.images, np.memmap)
        assert split.images.dtype == np.uint8
        np.testing.assert_array_equal(split.images, pixels[chosen])
        assert split.classes == ("cats", "dogs")
        assert split.labels.dtype == np.int64
        assert [split.classes[k] for k in split.labels] == [labels[i] for i in chosen]
        assert split.paths == [f"{i}, {labels[i]}.jpg" for i in chosen]
    first = (tmp_path / "train.csv").read_text(encoding="utf-8").splitlines()[:2]
    assert first == ["path,label,sha256", f'"599, dogs.jpg",dogs,{599:064x}']
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("test.csv", "test.npy", "train.csv", "train.npy")
    ]


def test_the_same_split_has_the_same_bytes(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), np.uint8)
    table = [("a", "x", "0"), ("b", "y", "1")]
    for folder in (tmp_path / "1", tmp_path / "2"):
        write_split(folder, "train", pixels, [3, 1], table)
    for name in ("train.npy", "train.csv"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


@pytest.mark.parametrize(
    ("labels", "ordered"),
    [
        (["10", "9", "1"], ["1", "9", "10"]),
        (["010", "2", "9"], ["2", "9", "010"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["-1", "10", "9"], ["-1", "10", "9"]),
        (["1.5", "10", "9"], ["1.5", "10", "9"]),
        (["b", "B", "a"], ["B", "a", "b"]),
        ([], []),
    ],
)
def test_classes_that_are_all_whole_numbers_are_in_the_order_of_numbers(labels, ordered):
    assert in_order(labels) == ordered
    assert in_order(labels[::-1]) == ordered


def test_twelve_numbered_classes_are_read_in_the_order_of_numbers(tmp_path):
    labels = [str(number) for number in range(12)]
    table = [(f"{label}.png", label, "0") for label in labels]
    pixels = np.arange(12 * 3, dtype=np.uint8).reshape(12, 1, 1, 3)
    write_split(tmp_path, "train", pixels, list(range(12)), table)
    split = read_split("train", tmp_path)
    assert split.classes == tuple(labels)
    assert split.labels.tolist() == list(range(12))
