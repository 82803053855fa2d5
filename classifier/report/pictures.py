"""The pictures a person looks at: which images are shown, with which words."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

from classifier.base.family import colour
from classifier.base.splits import Split
from classifier.base.wording import counted, percent
from classifier.report.gallery import (
    CAPTION,
    INK,
    MUTED,
    RIGHT,
    TILE,
    WRONG,
    Line,
    Row,
    Tile,
    fitted,
    save_page,
    text_width,
)
from classifier.training.augmentation import Augmentation, augment

COLUMNS = 6
MISTAKES = 12  # of each model
CLASSES_SHOWN = 20  # of the samples
CHANNELS = 12  # of each layer's activations
COPIES = 2 * COLUMNS - 1  # of an augmented picture: two lines of tiles with the picture itself

BEYOND_BORDERS = {
    "reflect": "borders mirrored",
    "nearest": "border pixels repeated",
    "constant": "black beyond the borders",
}

Scores = Mapping[str, NDArray[np.float64]]


def samples(path: Path, split: Split, seed: int = 0) -> None:
    """Draw a few training pictures of each class."""
    rng = np.random.default_rng(seed)
    rows = []
    for number, name in enumerate(split.classes[:CLASSES_SHOWN]):
        members = np.flatnonzero(split.labels == number)
        drawn = np.sort(rng.permutation(members)[:COLUMNS])
        tiles = [_tile(split, i) for i in drawn]
        rows.append(Row(Line(f"{name} · {counted(len(members), 'training picture')}"), tiles))
    note = "Drawn at random from the training split, as the networks see them."
    if len(split.classes) > CLASSES_SHOWN:
        note += f" {CLASSES_SHOWN} of {len(split.classes)} classes."
    save_page(path, "Training pictures of each class", rows, note=note)


def augmentation(path: Path, split: Split, options: Augmentation, seed: int = 0) -> None:
    """Draw one picture of each of the first two classes, and what augmentation makes of it."""
    rng = np.random.default_rng(seed)
    shown = []
    for number, name in enumerate(split.classes[:2]):
        i = int(rng.choice(np.flatnonzero(split.labels == number)))
        image = np.asarray(split.images[i])
        shown.append((f"{name} · {split.paths[i]}", image, copies(image, COPIES, options, rng)))
    augmented(path, shown, options)


def copies(
    image: NDArray[np.uint8], count: int, options: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Augment one picture, uint8 [size, size, 3], `count` times: uint8 [count, size, size, 3]."""
    return augment(np.repeat(image[np.newaxis], count, axis=0), options, rng)


def augmented(
    path: Path,
    shown: Iterable[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]],
    options: Augmentation,
) -> None:
    """Draw pictures, each before its augmented copies.

    Args:
        path: of the picture to write.
        shown: name, picture, uint8 [size, size, 3], and copies, uint8 [n, size, size, 3].
        options: what the copies were made with.
    """
    rows = []
    for heading, image, made in shown:
        tiles = [Tile(image, [Line("as it is", MUTED)], frame=INK)]
        tiles += [Tile(copy, [Line(f"augmented {k}", MUTED)]) for k, copy in enumerate(made, 1)]
        rows.append(Row(Line(heading), tiles))
    save_page(
        path,
        "What augmentation makes of a picture",
        rows,
        note=f"Random changes: {options.in_words()}; {BEYOND_BORDERS[options.fill]}.",
    )


def mistakes(path: Path, test: Split, scores: Scores) -> None:
    """Draw the most confident mistakes of each model."""
    rows = []
    for number, (model, table) in enumerate(scores.items()):
        predicted = table.argmax(axis=1)
        wrong = np.flatnonzero(predicted != test.labels)
        surest = wrong[np.argsort(-table[wrong].max(axis=1), kind="stable")][:MISTAKES]
        tiles = [_tile(test, i, *_label_and_prediction(test, i, table)) for i in surest]
        said = f"{model} · {len(wrong):,} of {len(test):,} test pictures wrong"
        if len(wrong) > len(surest):
            said += f", the {len(surest)} surest"
        rows.append(Row(Line(said, colour(number)), tiles))
    save_page(
        path,
        "The most confident mistakes of each model",
        rows,
        note="Label → prediction with its score, not calibrated; path.",
    )


def disagreements(path: Path, test: Split, scores: Scores) -> None:
    """Draw pictures on which the models disagree, by who is right."""
    predicted = np.stack([table.argmax(axis=1) for table in scores.values()])
    right = predicted == test.labels
    differ = (predicted != predicted[0]).any(axis=0)
    # How far the models are apart: the largest change of any class's score.
    spread = np.ptp(np.stack(list(scores.values())), axis=0).max(axis=1)
    models = np.array(list(scores))
    rows = []
    for pattern in np.unique(right[:, differ], axis=1).T[::-1]:
        members = np.flatnonzero(differ & (right == pattern[:, np.newaxis]).all(axis=0))
        widest = members[np.argsort(-spread[members], kind="stable")][:COLUMNS]
        tiles = [_tile(test, i, *_each_model(test, i, scores)) for i in widest]
        who = _who_is_right(models[pattern], models[~pattern])
        rows.append(Row(Line(f"{who} · {counted(len(members), 'test picture')}"), tiles))
    save_page(
        path,
        "Where the models disagree",
        rows,
        note=f"They do on {int(differ.sum()):,} of {len(test):,} test pictures; of each kind those "
        "whose scores are furthest apart. Label; each model's prediction with its score; path.",
    )


def _who_is_right(right: NDArray, wrong: NDArray) -> str:
    if not len(right):
        return "All wrong, not all alike"
    if len(right) == 1:
        return f"Only {right[0]} is right"
    if len(wrong) == 1:
        return f"Only {wrong[0]} is wrong"
    return f"Right: {', '.join(right)}; wrong: {', '.join(wrong)}"


def to_explain(test: Split, scores: Scores, seed: int = 0) -> NDArray[np.int64]:
    """Choose the pictures for `grad_cam`.

    Some are drawn at random among those that every model has right, classes in turn. The others,
    half of all or one for each model, are mistakes: of each model the surest that is not shown yet,
    then those that most models share.

    Returns:
        int64 [6 or fewer], rows of the test split.
    """
    rng = np.random.default_rng(seed)
    wrong = {model: table.argmax(axis=1) != test.labels for model, table in scores.items()}
    how_many = np.sum(list(wrong.values()), axis=0)
    good = rng.permutation(np.flatnonzero(how_many == 0))
    turn = np.zeros(len(good), int)  # rank of each picture within its class
    for number in range(len(test.classes)):
        same = test.labels[good] == number
        turn[same] = np.arange(same.sum())
    some = COLUMNS - max(COLUMNS // 2, len(scores))
    chosen = good[np.argsort(turn, kind="stable")][:some].tolist()
    for model, table in scores.items():
        surest = np.argsort(-np.where(wrong[model], table.max(axis=1), -1), kind="stable")
        chosen += [i for i in surest if wrong[model][i] and i not in chosen][:1]
    shared = np.argsort(-how_many, kind="stable")
    chosen += [i for i in shared if how_many[i] and i not in chosen]
    return np.array(chosen[:COLUMNS], np.int64)


def grad_cam(
    path: Path,
    test: Split,
    scores: Scores,
    rows: NDArray[np.int64],
    heat: Mapping[str, NDArray[np.float32]],
) -> None:
    """Draw what each model looks at.

    Args:
        path: of the picture.
        test: the test split.
        scores: of each model.
        rows: of the pictures in the test split.
        heat: of each model, float32 [pictures, h, w], 0 to 1.
    """
    originals = [_tile(test, i, Line(f"label {test.classes[test.labels[i]]}")) for i in rows]
    shown = [Row(Line("The pictures"), originals)]
    for number, (model, maps) in enumerate(heat.items()):
        tiles = [
            Tile(_overlaid(test.images[i], one), [_prediction(test, i, scores[model])])
            for i, one in zip(rows, maps, strict=True)
        ]
        shown.append(Row(Line(model, colour(number)), tiles))
    save_page(
        path,
        "What the models look at",
        shown,
        note="Grad-CAM: yellow is what speaks most for the model's own prediction. First pictures "
        "that every model has right, drawn at random; then mistakes, of each model the surest that "
        "is not shown yet.",
    )


def _overlaid(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    size = image.shape[0]
    smooth = np.clip(cv2.resize(heat, (size, size), interpolation=cv2.INTER_CUBIC), 0, 1)
    colours = matplotlib.colormaps["inferno"](smooth)[:, :, :3] * 255
    grey = (np.asarray(image) @ np.array([0.299, 0.587, 0.114]))[:, :, np.newaxis]
    cover = 0.7 * smooth[:, :, np.newaxis]
    return np.asarray((1 - cover) * grey + cover * colours, np.uint8)


def activations(
    path: Path,
    image: NDArray[np.uint8],
    label: str,
    layers: Sequence[tuple[str, NDArray[np.float32]]],
) -> None:
    """Draw the strongest channels of every convolution and pooling layer for one picture.

    Args:
        path: of the picture to write.
        image: uint8 [size, size, 3].
        label: what it is.
        layers: names and outputs, float32 [h, w, channels].
    """
    rows = [Row(Line(label), [Tile(image)])]
    for name, output in layers:
        height, width, channels = output.shape
        strongest = np.sort(np.argsort(-output.mean(axis=(0, 1)), kind="stable")[:CHANNELS])
        tiles = [
            Tile(_coloured(output[:, :, c]), [Line(f"{c}", MUTED)], sharp=True) for c in strongest
        ]
        said = f"{name} · {height} × {width} · {len(strongest)} of {channels} channels"
        silent = int((output == 0).all(axis=(0, 1)).sum())
        rows.append(Row(Line(said + (f", {silent} silent" if silent else "")), tiles))
    save_page(
        path,
        "What the baseline's layers make of a picture",
        rows,
        note="Of each convolution and pooling layer the channels of highest mean, in their order; "
        "each from its own least value (dark) to its highest (yellow).",
        columns=CHANNELS,
        tile=50,
    )


def _coloured(channel: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = float(channel.min()), float(channel.max())
    # A map of one value, such as a single position: dark where it is silent.
    scaled = (channel - low) / (high - low) if high > low else np.full_like(channel, high > 0)
    return np.asarray(matplotlib.colormaps["viridis"](scaled)[:, :, :3] * 255, np.uint8)


def label_errors(
    path: Path, splits: Mapping[str, Split], found: Sequence[Mapping[str, Any]], shown: int = 24
) -> None:
    """Draw the pictures whose label is likely wrong, the surest first.

    Args:
        path: of the picture.
        splits: by name.
        found: as `evaluation.find_label_errors` returns them.
        shown: at most so many.
    """
    tiles = [
        _tile(
            splits[one["split"]],
            one["row"],
            Line(f"label {one['label']}", WRONG),
            Line(f"looks like {one['suggested']}, {percent(one['confidence'])}"),
        )
        for one in found[:shown]
    ]
    said = f"{counted(len(found), 'picture')} of the validation and test splits"
    if len(found) > shown:
        said += f", the {shown} surest"
    save_page(
        path,
        "Labels that may be wrong",
        [Row(Line(said), tiles)],
        note="A model that did not see the picture contradicts its label with confidence. It may "
        "be the model that is wrong: a person decides.",
    )


def outliers(path: Path, splits: Mapping[str, Split], found: Sequence[Mapping[str, Any]]) -> None:
    """Draw the pictures that look like few others, as `find_outliers` lists them."""
    tiles = [
        _tile(splits[one["split"]], one["row"], Line(f"{one['label']}, {one['split']}"))
        for one in found
    ]
    said = f"The {counted(len(found), 'picture')} of all splits that are furthest from their like"
    save_page(
        path,
        "Outliers",
        [Row(Line(said), tiles)],
        note="By the distance of their features to those of the ten most similar pictures. Label "
        "and split; path.",
    )


def _label_and_prediction(test: Split, i: int, table: NDArray[np.float64]) -> list[Line]:
    predicted = int(table[i].argmax())
    return [
        Line(f"{test.classes[test.labels[i]]} → {test.classes[predicted]}", WRONG),
        Line(percent(table[i, predicted])),
    ]


def _prediction(test: Split, i: int, table: NDArray[np.float64], model: str = "") -> Line:
    predicted = int(table[i].argmax())
    right = predicted == test.labels[i]
    sign, colour = ("✓", RIGHT) if right else ("✗", WRONG)
    rest = f" {percent(table[i, predicted])} {model}".rstrip()
    # The score and the model must be seen whole: it is the class's name that is shortened.
    room = TILE - text_width(f"{sign} -{rest}", CAPTION)
    return Line(f"{sign} {fitted(test.classes[predicted], room, CAPTION)}{rest}", colour)


def _each_model(test: Split, i: int, scores: Scores) -> list[Line]:
    lines = [Line(f"label {test.classes[test.labels[i]]}")]
    lines += [_prediction(test, i, table, model) for model, table in scores.items()]
    return lines


def _tile(split: Split, i: int, *lines: Line) -> Tile:
    """Make a tile of a picture over some lines, the folder and the name last."""
    folder, slash, name = split.paths[i].rpartition("/")
    above = [Line(folder + slash, MUTED)] if folder else []
    return Tile(split.images[i], [*lines, *above, Line(name, MUTED)])
