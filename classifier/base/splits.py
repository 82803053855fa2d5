"""The decoded pictures of each split: an array on the disk and a table beside it."""

import csv
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier.base.files import new_array, whole, write_table

SPLITS = ("train", "validation", "test")
COPIED_AT_ONCE = 256  # images: bounds the memory that writing a split takes


@dataclass(frozen=True)
class Split:
    """The decoded pictures of one split.

    Attributes:
        images: uint8 [n, size, size, 3], RGB, mapped from the disk.
        labels: int64 [n], positions in `classes`.
        paths: the pictures' n paths in images.zip.
        classes: the names of all classes, in_order.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    paths: list[str]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the images."""
        return hashlib.sha256(self.images.data).hexdigest()


def write_split(
    folder: Path,
    name: str,
    pixels: NDArray[np.uint8],
    rows: Sequence[int],
    table: Sequence[tuple[str, str, str]],
) -> None:
    """Write NAME.npy and NAME.csv.

    Args:
        folder: where to.
        name: of the split.
        pixels: uint8 [all, size, size, 3].
        rows: positions in `pixels` of the split's pictures.
        table: path, label and SHA-256 of each of them.
    """
    with whole(folder / f"{name}.npy") as beside:
        images = new_array(beside, (len(rows), *pixels.shape[1:]), np.uint8)
        for start in range(0, len(rows), COPIED_AT_ONCE):
            stop = start + COPIED_AT_ONCE
            images[start:stop] = pixels[rows[start:stop]]
        images.flush()
    write_table(folder / f"{name}.csv", ["path", "label", "sha256"], table)


def read_split(name: str, folder: Path = Path("data/splits")) -> Split:
    """Open one split; its images stay on the disk until they are used."""
    rows = _read_table(folder / f"{name}.csv")
    # Every class has training pictures: `partition.check_complete` saw to it.
    classes = tuple(in_order({row["label"] for row in _read_table(folder / "train.csv")}))
    position = {label: i for i, label in enumerate(classes)}
    return Split(
        images=np.load(folder / f"{name}.npy", mmap_mode="r"),
        labels=np.array([position[row["label"]] for row in rows], np.int64),
        paths=[row["path"] for row in rows],
        classes=classes,
    )


def in_order(labels: Iterable[str]) -> list[str]:
    """Sort the names of classes; where all are whole numbers, as numbers."""
    ordered = sorted(labels)
    return sorted(ordered, key=int) if all(map(str.isdecimal, ordered)) else ordered


def _read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
