"""The report of a data set: classes, duplicates, sizes, and pictures worth a second look."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier.base.splits import SPLITS, in_order
from classifier.base.wording import counted
from classifier.images.decode import ALL_LEVELS, Levels
from classifier.images.duplicates import (
    LISTED,
    NEAR_DUPLICATE_DISTANCE,
    count_pairs,
    exact_duplicates,
    groups,
    large_groups,
)
from classifier.images.facts import Facts

# Looked at in cats_and_dogs_filtered, at 180 px: beyond these, pictures whose animal is hard to
# see become common; each holds under 0.5 % of either cats-and-dogs set.
DARK: Final = 35.0  # mean brightness below, of 0 to 255
BRIGHT: Final = 215.0  # mean brightness above
BLURRED: Final = 35.0  # variance of the Laplacian below
CLASSES_IN_WORDS: Final = 25  # more are not named in the log
TINY: Final = 64  # shorter side below, pixels
_QUANTILES: Final = {"min": 0.0, "5%": 0.05, "25%": 0.25, "50%": 0.5, "75%": 0.75, "95%": 0.95}


@dataclass(frozen=True)
class Row:
    """A decoded picture in the report."""

    path: str
    label: str
    part: str  # train, validation, test, or empty where left out
    facts: Facts
    group: str = ""


def report(
    rows: Sequence[Row],
    pairs: NDArray[np.uint64],
    rejected: Sequence[tuple[str, str]] = (),
    distance: int = NEAR_DUPLICATE_DISTANCE,
    levels: Levels = ALL_LEVELS,
) -> dict[str, Any]:
    """Say what is in a data set, as written to report.json.

    Lists of paths and of groups end after 50 (LISTED); the counts beside them are of all.

    Args:
        rows: the pictures, one or more, in any order.
        pairs: near_duplicates of their hashes.
        rejected: path and reason of each file that was left out.
        distance: at which the pairs were found, bits.
        levels: that 16-bit grey was scaled from.
    """
    rows = sorted(rows, key=lambda row: row.path)
    every = [row.facts for row in rows]
    labels = [row.label for row in rows]
    brightness = np.array([fact.brightness for fact in every])
    sharpness = np.array([fact.sharpness for fact in every])
    shorter = np.array([min(fact.width, fact.height) for fact in every])
    deep = sum(fact.brightest is not None for fact in every)
    of_class = Counter(labels).values()
    return {
        "images": len(rows),
        "classes": _classes(rows),
        "class_imbalance": round(max(of_class) / min(of_class), 3),
        "rejected": _rejected(rejected),
        "exact_duplicates": _exact(rows),
        "near_duplicates": _near(rows, pairs, distance),
        "dark": {"below": DARK, **_flagged(rows, brightness, brightness < DARK)},
        "bright": {"above": BRIGHT, **_flagged(rows, -brightness, brightness > BRIGHT)},
        "blurred": {"below": BLURRED, **_flagged(rows, sharpness, sharpness < BLURRED)},
        "tiny": {"below": TINY, **_flagged(rows, shorter, shorter < TINY)},
        "formats": _counts(fact.format for fact in every),
        "modes": _counts(fact.mode for fact in every),
        "width": _quantiles([fact.width for fact in every]),
        "height": _quantiles([fact.height for fact in every]),
        "aspect_ratio": _quantiles([fact.width / fact.height for fact in every]),
        "brightness": _quantiles(brightness)
        | _histogram(brightness, labels, np.linspace(0, 255, 52)),
        "sharpness": _quantiles(sharpness)
        | _histogram(sharpness, labels, np.geomspace(1, 2**15, 46)),
        **({"grey16": {"images": deep, "black": levels[0], "white": levels[1]}} if deep else {}),
        **_groups(rows),
    }


def _classes(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    both = Counter((row.label, row.part) for row in rows)
    parts = {row.part for row in rows}
    classes = {}
    counts = Counter(row.label for row in rows)
    for label in in_order(counts):
        classes[label] = {"images": counts[label]}
        for part in SPLITS:
            if part in parts:
                classes[label][part] = both[label, part]
        if "" in parts:
            classes[label]["left_out"] = both[label, ""]
    return classes


def _rejected(rejected: Sequence[tuple[str, str]]) -> dict[str, Any]:
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for path, reason in sorted(rejected):
        by_reason[reason].append(path)
    often = sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0]))
    return {
        "images": len(rejected),
        "reasons": [{"reason": reason, **_capped(paths)} for reason, paths in often],
    }


def _exact(rows: Sequence[Row]) -> dict[str, Any]:
    same = [
        [rows[i] for i in members]
        for members in exact_duplicates([row.facts.sha256 for row in rows])
    ]
    return {
        "groups": len(same),
        "images": sum(map(len, same)),
        "groups_across_splits": sum(map(_across, same)),
        "groups_with_different_labels": sum(map(_disagree, same)),
        "listed": [_shown(members) for members in same[:LISTED]],
    }


def _groups(rows: Sequence[Row]) -> dict[str, Any]:
    members: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        members[row.group].append(row)
    alone = len(members.pop("", []))
    across = sum(map(_across, members.values()))
    found = {"groups": len(members), "without": alone, "groups_across_splits": across}
    return {"groups": found} if members else {}


def _near(rows: Sequence[Row], pairs: NDArray[np.uint64], distance: int) -> dict[str, Any]:
    labels = [row.label for row in rows]
    hashes = np.array([row.facts.hash for row in rows], np.uint64)
    group = groups(hashes, pairs)
    members: defaultdict[int, list[Row]] = defaultdict(list)
    for row, number in zip(rows, group.tolist(), strict=True):
        members[number].append(row)
    similar = [each for each in members.values() if len(each) > 1]
    of_class = Counter(labels)
    counts, worst = count_pairs(hashes.tolist(), [(row.part, row.label) for row in rows], pairs)
    return {
        "distance": distance,
        **counts,
        "groups": len(similar),
        "images": sum(map(len, similar)),
        "groups_across_splits": sum(map(_across, similar)),
        "groups_with_different_labels": sum(map(_disagree, similar)),
        "listed": [
            {
                **_shown((rows[i], rows[j])),
                "distance": (rows[i].facts.hash ^ rows[j].facts.hash).bit_count(),
                "same_bytes": rows[i].facts.sha256 == rows[j].facts.sha256,
            }
            for i, j in worst
        ],
        "large_groups": [
            {
                "classes": {
                    label: {"images": count, "share": round(count / of_class[label], 4)}
                    for label, count in _counts(row.label for row in members[number]).items()
                },
                **_capped([row.path for row in members[number]]),
            }
            for number in large_groups(group, labels)
        ],
    }


def _across(rows: Sequence[Row]) -> bool:
    """Whether pictures are in more than one split; those in none do not count."""
    return len({row.part for row in rows} - {""}) > 1


def _disagree(rows: Sequence[Row]) -> bool:
    return len({row.label for row in rows}) > 1


def _shown(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "images": len(rows),
        "paths": [row.path for row in rows[:LISTED]],
        "labels": [row.label for row in rows[:LISTED]],
        "parts": [row.part for row in rows[:LISTED]],
    }


def _flagged(rows: Sequence[Row], rank: NDArray[Any], mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the masked pictures' paths, lowest rank first."""
    worst = sorted(np.flatnonzero(mask).tolist(), key=lambda i: (rank[i], i))
    return _capped([rows[i].path for i in worst])


def _capped(paths: Sequence[str]) -> dict[str, Any]:
    return {"images": len(paths), "paths": list(paths[:LISTED])}


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))


def _quantiles(values: Sequence[float] | NDArray[Any]) -> dict[str, float]:
    figures = {name: np.quantile(values, share) for name, share in _QUANTILES.items()}
    figures |= {"max": np.max(values), "mean": np.mean(values)}
    return {name: round(float(figure), 3) for name, figure in figures.items()}


def _histogram(
    values: NDArray[Any], labels: Sequence[str], edges: NDArray[np.float64]
) -> dict[str, Any]:
    """Pictures in each bin by class; the outer bins hold what lies beyond the edges as well."""
    inside = np.clip(values, edges[0], edges[-1])
    named = np.asarray(labels)
    return {
        "edges": [round(float(edge), 3) for edge in edges],
        "counts": {
            label: np.histogram(inside[named == label], edges)[0].tolist()
            for label in in_order(set(labels))
        },
    }


def in_words(quality: dict[str, Any]) -> str:
    """Tell the pictures by split and class, and what is worth a look, for the log."""
    classes = quality["classes"]
    lines = []
    for part in SPLITS:
        numbers = [one[part] for one in classes.values()]
        counts = ", ".join(f"{one[part]:,} {label}" for label, one in classes.items())
        if len(classes) > CLASSES_IN_WORDS:
            counts = f"{min(numbers):,} to {max(numbers):,} of each of {len(classes)} classes"
        lines.append(f"{part}: {counted(sum(numbers), 'picture')}: {counts}")
    left_out = sum(one.get("left_out", 0) for one in classes.values())
    near = quality["near_duplicates"]
    lines.append(
        f"in no split: {left_out:,}; rejected: {quality['rejected']['images']:,}; "
        f"near-duplicates: {counted(near['pairs'], 'pair')}, "
        f"{near['pairs_across_splits']:,} across splits"
    )
    if found := quality.get("groups"):
        number = counted(found["groups"], "group")
        alone = counted(found["without"], "picture")
        lines.append(f"{number}, {found['groups_across_splits']:,} across splits; {alone} in none")
    if grey := quality.get("grey16"):
        number = counted(grey["images"], "picture")
        lines.append(f"16-bit grey: {number}, black {grey['black']}, white {grey['white']}")
    return "\n".join(lines)
