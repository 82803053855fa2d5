"""Which pictures there are, which of them goes where, and the folder that this is worked out in."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier.base.cache import locked, locked_if_free
from classifier.base.errors import UserError
from classifier.base.params import Params
from classifier.base.splits import SPLITS, write_split
from classifier.images import partition, quality
from classifier.images.scan import Rejected
from classifier.sources.dataset import Labelled

PREFIX: Final = ".splitting-"
LOCK: Final = ".lock"


@dataclass(frozen=True)
class Decoded:
    """A picture of the data set that could be decoded, its row among all, and its facts."""

    picture: Labelled
    row: int
    facts: quality.Facts


def sort_out(
    listed: Sequence[Labelled],
    found: Sequence[quality.Facts | Rejected],
    skipped: Sequence[Mapping[str, str]],
) -> tuple[list[Decoded], list[tuple[str, str]]]:
    """Part the pictures from what was left out.

    Args:
        listed: what download took for pictures.
        found: of each of them.
        skipped: path and reason of what download left out of the source.

    Returns:
        The pictures, and path and reason of all that was left out.
    """
    decoded = []
    rejected = [(one["path"], one["reason"]) for one in skipped]
    for row, (picture, one) in enumerate(zip(listed, found, strict=True)):
        if isinstance(one, Rejected):
            rejected.append((picture.path, one.reason))
        else:
            decoded.append(Decoded(picture, row, one))
    return decoded, rejected


def choose(decoded: Sequence[Decoded], pairs: NDArray[np.uint64], params: Params) -> list[str]:
    """The split of each picture, as params.yaml wants it; empty for one that is in none.

    pairs: quality.near_duplicates of the pictures' hashes.

    Raises:
        UserError: what is asked for cannot be had of these pictures.
    """
    split = params.split
    labels = [one.picture.label for one in decoded]
    hashes = np.array([one.facts.hash for one in decoded], np.uint64)
    group = quality.groups(hashes, pairs)
    tied = quality.tied(group, labels, [one.facts.sha256 for one in decoded]).tolist()
    match split.method:
        case "predefined":
            parts = [one.picture.part for one in decoded]
            chosen = partition.predefined(parts, labels, tied, split.seed)
        case "random":
            # The test split is filled first: changing the other sizes then leaves it as it is.
            sizes = {
                "test": split.random.test,
                "validation": split.random.validation,
                "train": split.random.train,
            }
            chosen = partition.random(labels, tied, sizes, split.seed)
        case "numbered":
            ranges = {
                "train": split.numbered.train,
                "validation": split.numbered.validation,
                "test": split.numbered.test,
            }
            chosen = partition.numbered([one.picture.path for one in decoded], ranges)
    partition.check_complete(chosen, labels)
    return without_leaks(chosen, labels, hashes, pairs) if split.drop_leaks else chosen


def without_leaks(
    chosen: Sequence[str],
    labels: Sequence[str],
    hashes: NDArray[np.uint64],
    pairs: NDArray[np.uint64],
) -> list[str]:
    """Leave out of training what has a near-duplicate in validation or test.

    A near-duplicate itself, not one at the end of a chain: of a ~ b ~ c, with c in test, a stays,
    for it is not like c. Groups would not do: those of chains let a studio background cost a class
    all of its training pictures, and those that are kept together in one split (quality.tied)
    would let real leaks pass in a group that is too large to be tied. Whoever asks for no leaks
    gets none: no pair of near-duplicates is left between training and another split.

    Args:
        chosen: the split of each picture.
        labels: of each picture.
        hashes: of each picture.
        pairs: quality.near_duplicates of the hashes.

    Returns:
        The split of each picture; empty for one that is left out.

    Raises:
        UserError: nothing is left of a class.
    """
    which, near = quality.neighbours(hashes, pairs)
    held_out = np.isin(chosen, ("validation", "test"))
    leaks = (near @ np.bincount(which[held_out], minlength=near.shape[0]))[which] > 0
    left = ["" if leak and one == "train" else one for one, leak in zip(chosen, leaks, strict=True)]
    counts = Counter(label for one, label in zip(left, labels, strict=True) if one == "train")
    for label in sorted(set(labels)):
        if not counts[label]:
            raise UserError(
                f"split.drop_leaks leaves no picture of class {label} for train: each has a "
                "near-duplicate in validation or test; set it to false, change split.method or "
                "its sizes, or the data"
            )
    return left


def write_splits(
    folder: Path, pixels: NDArray[np.uint8], decoded: Sequence[Decoded], chosen: Sequence[str]
) -> None:
    """Write the array and the table of each split.

    pixels: uint8 [all, size, size, 3]. chosen: the split of each decoded picture.
    """
    for name in SPLITS:
        members = [one for one, split in zip(decoded, chosen, strict=True) if split == name]
        table = [(one.picture.path, one.picture.label, one.facts.sha256) for one in members]
        write_split(folder, name, pixels, [one.row for one in members], table)


@contextmanager
def working_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder inside of `folder` that is deleted when the block ends.

    A run that is killed leaves its own behind, with all pictures in it: the next one deletes it.
    Each run holds a lock on its folder, which the system takes back however the run ends: what is
    not locked is nobody's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{PREFIX}*"):
        with locked_if_free(left / LOCK) as free:
            if free:
                shutil.rmtree(left, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder) as name,
        locked(Path(name) / LOCK, f"waiting for another run that looks at {name}"),
    ):
        yield Path(name)
