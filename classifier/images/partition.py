"""Which picture goes into which split."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import PurePosixPath

import numpy as np

from classifier.base.errors import UserError
from classifier.base.splits import SPLITS, in_order
from classifier.base.wording import counted

# Where a source has no validation part, this fraction of its training part becomes one.
VALIDATION_FRACTION = 0.2
ADVICE = "change split.method or its sizes, or the data"


def predefined(
    parts: Sequence[str], labels: Sequence[str], groups: Sequence[int], seed: int
) -> list[str]:
    """Keep the parts that the source came with; make the one that is missing.

    Without a test part the validation part is halved, without a validation part a fifth of the
    training part is taken; both stratified and drawn by `seed`, and where that would give a class
    nothing, its smallest group.

    Args:
        parts: of each picture: train, validation, test or empty.
        labels: of each picture.
        groups: of each picture; what is drawn from one part keeps a group together.
        seed: of the drawing.

    Returns:
        The split of each picture.

    Raises:
        UserError: there is no training part, or nothing besides it.
    """
    present = set(parts) - {""}
    if "train" not in present or len(present) < 2:
        found = ", ".join(sorted(present)) or "no parts"
        raise UserError(
            f"split.method is predefined, but the source has {found}: it needs a train folder and "
            "a validation or test folder; otherwise use split.method random or numbered"
        )
    splits = list(parts)
    if "test" not in present:
        origin, to, fraction = "validation", "test", 0.5
    elif "validation" not in present:
        origin, to, fraction = "train", "validation", VALIDATION_FRACTION
    else:
        return splits
    members = [i for i, split in enumerate(splits) if split == origin]
    of_members, group_of = [labels[i] for i in members], [groups[i] for i in members]
    drawn = random(of_members, group_of, {to: fraction, origin: None}, seed)
    given = {label for label, split in zip(of_members, drawn, strict=True) if split == to}
    for label in in_order(set(of_members) - given):
        counts = Counter(g for g, one in zip(group_of, of_members, strict=True) if one == label)
        if len(counts) > 1:
            smallest = min(counts, key=lambda group: (counts[group], group))
            drawn = [to if g == smallest else one for g, one in zip(group_of, drawn, strict=True)]
    for i, split in zip(members, drawn, strict=True):
        splits[i] = split
    return splits


def random(
    labels: Sequence[str],
    groups: Sequence[int],
    sizes: Mapping[str, float | int | None],
    seed: int,
) -> list[str]:
    """Draw the splits at random, stratified by class.

    Args:
        labels: of each picture.
        groups: of each picture; pictures of one group go into one split.
        sizes: of each split a fraction of all pictures, a number of them, or None for the rest;
            the splits are filled in this order.
        seed: of the drawing.

    Returns:
        The split of each picture; empty for one that no split had room for.

    Raises:
        UserError: the sizes add up to more than there is.
    """
    total = len(labels)
    fractions = [size for size in sizes.values() if isinstance(size, float)]
    if len(fractions) == len(sizes) and math.isclose(sum(fractions), 1):
        # Each rounded by itself, they could add up to more or fewer pictures than there are.
        sizes = {**sizes, list(sizes)[-1]: None}
    room = {
        split: total if size is None else round(size * total) if isinstance(size, float) else size
        for split, size in sizes.items()
    }
    asked = sum(room[split] for split, size in sizes.items() if size is not None)
    if asked > total:
        raise UserError(
            f"split.random asks for {asked:,} pictures, but there are {total:,}: "
            + ", ".join(f"{split} {room[split]:,}" for split in sizes)
        )
    # A group that spans classes counts for the class of its first picture.
    members: dict[int, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[group].append(i)
    by_class: dict[str, list[list[int]]] = defaultdict(list)
    for group_members in members.values():
        by_class[labels[group_members[0]]].append(group_members)
    shares = {label: sum(map(len, groups)) for label, groups in sorted(by_class.items())}
    rooms = {split: _shared_out(count, shares) for split, count in room.items()}

    rng = np.random.default_rng(seed)
    splits = [""] * total
    for label in shares:
        left = {split: rooms[split][label] for split in sizes}
        for k in rng.permutation(len(by_class[label])):
            group_members = by_class[label][k]
            fits = [split for split, free in left.items() if free >= len(group_members)]
            if fits:
                left[fits[0]] -= len(group_members)
                for i in group_members:
                    splits[i] = fits[0]
    return splits


def _shared_out(count: int, shares: dict[str, int]) -> dict[str, int]:
    """Divide `count` in proportion to `shares`, by largest remainder, so that it adds up."""
    total = sum(shares.values())
    exact = {key: count * share / total for key, share in shares.items()}
    parts = {key: int(value) for key, value in exact.items()}
    by_remainder = sorted(exact, key=lambda key: (parts[key] - exact[key], key))
    for key in by_remainder[: count - sum(parts.values())]:
        parts[key] += 1
    return parts


def numbered(paths: Sequence[str], ranges: dict[str, str]) -> list[str]:
    """Choose by the last number in each file's name.

    Args:
        paths: of each picture.
        ranges: of each split, such as `0-999`, both ends included.

    Returns:
        The split of each picture; empty for one that no range holds.
    """
    ends = {split: tuple(map(int, text.split("-"))) for split, text in ranges.items()}
    splits = []
    for path in paths:
        numbers = re.findall(r"\d+", PurePosixPath(path).stem)
        number = int(numbers[-1]) if numbers else -1
        splits.append(
            next((split for split, (low, high) in ends.items() if low <= number <= high), "")
        )
    return splits


def lacking(splits: Sequence[str], labels: Sequence[str]) -> list[tuple[str, str]]:
    """List each split and class of which it has no picture."""
    there = set(zip(splits, labels, strict=True))
    return [one for one in product(SPLITS, in_order(set(labels))) if one not in there]


def check_complete(splits: Sequence[str], labels: Sequence[str], advice: str = ADVICE) -> None:
    """Refuse a split that lacks a class: nothing could be learned or said about it.

    Raises:
        UserError: names the first class and split, what the splits have of it, and the advice.
    """
    for split, label in lacking(splits, labels)[:1]:
        counts = Counter(zip(splits, labels, strict=True))
        has = ", ".join(f"{one} {counts[one, label]:,}" for one in SPLITS)
        raise UserError(f"no picture of class {label} is left for {split} ({has}): {advice}")


def least_sizes(
    labels: Sequence[str], groups: Sequence[int], train: float | int | None, seed: int
) -> str:
    """Say which sizes of a random split would leave no class out, for an error's advice.

    Args:
        labels: of each picture.
        groups: as for `random`.
        train: the size that was asked for.
        seed: of the drawing.
    """
    shares = dict(sorted(Counter(labels).items()))
    least = min(shares, key=lambda label: shares[label])
    if shares[least] < len(SPLITS):
        number = counted(shares[least], "picture")
        return f"{least} has {number}, and each of {len(SPLITS)} splits needs one; add some"
    n = next(n for n in range(len(shares), len(labels) + 1) if all(_shared_out(n, shares).values()))
    while 2 * n < len(labels):
        for rest in (train, None):
            try:
                chosen = random(labels, groups, {"test": n, "validation": n, "train": rest}, seed)
            except UserError:
                continue  # no room is left for so many to train on
            if not lacking(chosen, labels):
                less = ", train: null" if rest != train else ""
                return f"under split.random set validation: {n:,}, test: {n:,} or more{less}"
        n += max(1, n // 4)  # groups may fit into more
    return "pictures that must stay together leave too little: add pictures of other groups"
