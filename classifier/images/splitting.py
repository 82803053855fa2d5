"""All pictures decoded, each put into a split, and the folder that this is worked out in."""

import re
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier.base.cache import locked, locked_if_free
from classifier.base.errors import UserError
from classifier.base.params import Data
from classifier.base.params import Split as SplitParams
from classifier.base.splits import SPLITS, write_split
from classifier.base.wording import counted
from classifier.images import duplicates, partition
from classifier.images.decode import ALL_LEVELS, Levels
from classifier.images.facts import Facts, facts
from classifier.images.scan import Rejected, scan
from classifier.sources.dataset import Labelled

PREFIX: Final = ".splitting-"
LOCK: Final = ".lock"


@dataclass(frozen=True)
class Decoded:
    """A picture of the data set that could be decoded, its row among all, and its facts."""

    picture: Labelled
    row: int
    facts: Facts


def decode_all(
    archive: Path, paths: Sequence[str], into: Path, data: Data
) -> tuple[list[Facts | Rejected], Levels]:
    """Decode every picture into the array `into`, uint8 [n, size, size, 3].

    Where data.grey16 is auto, black of 16-bit grey is 0 and white the highest level of as many bits
    as the set uses: cameras and scanners leave 12 or 14 of 16. The few sets where that is not
    white are decoded a second time, those pictures alone, because it takes all to know it.

    Returns:
        The facts of each picture or why it was rejected, and black and white of 16-bit grey.
    """

    def scanned(some: Sequence[str], file: Path, levels: Levels) -> list[Facts | Rejected]:
        return scan(
            archive,
            some,
            file,
            facts,
            size=data.image_size,
            resize=data.resize,
            max_pixels=data.limits.pixels,
            levels=levels,
        )

    levels = data.levels or ALL_LEVELS
    found = scanned(paths, into, levels)
    deep = {
        row: one.brightest
        for row, one in enumerate(found)
        if isinstance(one, Facts) and one.brightest is not None
    }
    used = (0, 2 ** max(1, max(deep.values()).bit_length()) - 1) if deep else levels
    if data.levels or used == levels:
        return found, levels
    beside = into.with_name("grey16.npy")
    again = scanned([paths[row] for row in deep], beside, used)
    np.load(into, mmap_mode="r+")[list(deep)] = np.load(beside, mmap_mode="r")
    for row, one in zip(deep, again, strict=True):
        found[row] = one
    return found, used


def grouped(pictures: Sequence[Labelled], pattern: str | None) -> list[Labelled]:
    """Give each picture the group that a pattern finds in its path, in the place of the source's.

    Args:
        pictures: of the data set.
        pattern: a regular expression with one group, looked for anywhere in a path; None: the
            source's groups stay.

    Raises:
        UserError: the pattern fits no path.
    """
    if pattern is None:
        return list(pictures)
    matches = [re.search(pattern, picture.path) for picture in pictures]
    if not any(matches):
        raise UserError(
            f"split.group is {pattern!r}, which is found in no path, such as {pictures[0].path}"
        )
    names = [(match and match[1]) or "" for match in matches]
    return [replace(one, group=name) for one, name in zip(pictures, names, strict=True)]


def sort_out(
    listed: Sequence[Labelled],
    found: Sequence[Facts | Rejected],
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


def check_classes_kept(listed: Sequence[Labelled], found: Sequence[Facts | Rejected]) -> None:
    """Refuse a data set of which a class has lost every picture.

    Raises:
        UserError: names the class, how many pictures it had and why most were left out.
    """
    kept = {
        picture.label
        for picture, one in zip(listed, found, strict=True)
        if not isinstance(one, Rejected)
    }
    lost: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for picture, one in zip(listed, found, strict=True):
        if isinstance(one, Rejected) and picture.label not in kept:
            lost[picture.label][one.reason] += 1
    if lost:
        label, reasons = min(lost.items())
        reason, times = reasons.most_common(1)[0]
        number = counted(reasons.total(), "picture")
        raise UserError(
            f"class {label} has none of its {number} left, {times:,} for this reason: {reason}; "
            "mend them or leave the class out of the source (data/splits/rejected.csv lists all)"
        )


def choose(decoded: Sequence[Decoded], pairs: NDArray[np.uint64], split: SplitParams) -> list[str]:
    """Choose the split of each picture.

    Args:
        decoded: the pictures.
        pairs: near_duplicates of their hashes.
        split: the section of params.yaml.

    Returns:
        The split of each picture; empty where it is in none.

    Raises:
        UserError: what is asked for cannot be had of these pictures.
    """
    labels = [one.picture.label for one in decoded]
    hashes = np.array([one.facts.hash for one in decoded], np.uint64)
    group = duplicates.groups(hashes, pairs)
    sha256s = [one.facts.sha256 for one in decoded]
    given = [one.picture.group for one in decoded]
    tied = duplicates.tied(group, labels, sha256s, given).tolist()
    advice = partition.ADVICE
    match split.method:
        case "predefined":
            parts = [one.picture.part for one in decoded]
            chosen = partition.predefined(parts, labels, tied, split.seed)
        case "random":
            # The test split is filled first: changing the other sizes then leaves it as it is.
            sizes = {name: getattr(split.random, name) for name in ("test", "validation", "train")}
            chosen = partition.random(labels, tied, sizes, split.seed)
            if partition.lacking(chosen, labels):
                advice = partition.least_sizes(labels, tied, split.random.train, split.seed)
        case "numbered":
            ranges = {name: getattr(split.numbered, name) for name in SPLITS}
            chosen = partition.numbered([one.picture.path for one in decoded], ranges)
    partition.check_complete(chosen, labels, advice)
    return without_leaks(chosen, labels, hashes.tolist(), pairs) if split.drop_leaks else chosen


def without_leaks(
    chosen: Sequence[str], labels: Sequence[str], hashes: Sequence[int], pairs: NDArray[np.uint64]
) -> list[str]:
    """Leave out of training what has a near-duplicate in validation or test.

    A near-duplicate itself, not what lies at the end of a chain: of a ~ b ~ c, with c in test, a
    stays, for it is not like c. Groups would not do: those of chains let a studio background cost a
    class all of its training pictures, and those that are kept together in one split
    (duplicates.tied) would let real leaks pass in a group that is too large to be tied. Whoever
    asks for no leaks gets none: no pair of near-duplicates is left between training and another
    split.

    Args:
        chosen: the split of each picture.
        labels: of each picture.
        hashes: of each picture.
        pairs: near_duplicates of the hashes.

    Returns:
        The split of each picture; empty where it is left out.

    Raises:
        UserError: nothing is left of a class.
    """
    near = duplicates.neighbours(pairs)
    held_out = {
        h for h, split in zip(hashes, chosen, strict=True) if split in ("validation", "test")
    }
    like_them = held_out.union(*(near.get(h, []) for h in held_out))
    left = [
        "" if split == "train" and h in like_them else split
        for h, split in zip(hashes, chosen, strict=True)
    ]
    kept = {label for split, label in zip(left, labels, strict=True) if split == "train"}
    if gone := set(labels) - kept:
        raise UserError(
            f"split.drop_leaks leaves no picture of class {min(gone)} for train: each has a "
            "near-duplicate in validation or test; set it to false, change split.method or "
            "its sizes, or the data"
        )
    return left


def write_splits(
    folder: Path, pixels: NDArray[np.uint8], decoded: Sequence[Decoded], chosen: Sequence[str]
) -> None:
    """Write the array and the table of each split.

    Args:
        folder: where to.
        pixels: uint8 [all, size, size, 3].
        decoded: the pictures.
        chosen: the split of each.
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
