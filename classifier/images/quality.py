"""What is in a data set: duplicates, near-duplicates, sizes, and pictures worth a second look.

The facts of a picture are taken from its bytes and its decoded pixels in the pass that decodes it;
everything else is arithmetic on these facts.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from classifier.base.wording import counted
from classifier.images.decode import Picture

NEAR_DUPLICATE_DISTANCE: Final = 6
"""Largest Hamming distance between the perceptual hashes of two near-duplicates, in bits of 64.

Measured at 180 px. The 3,000 photographs of cats_and_dogs_filtered against the same ones in
dogs_vs_cats_2500, scaled to 200 x 200 and encoded again: all at 0 to 4. Of 150 edited ones, within
6: JPEG quality 30, half and double size, darker by 20 %, grey, cropped by 2 %, more contrast: all;
brighter by 20 %, turned by 1 degree: 99 %; cropped by 5 %: 81 %. Within either of the two sets, by
looking: three pairs at 0 to 2 (true), none at 4 to 8, six at 10 (all different animals), 85 at 12,
594 at 14, of 17 million: in a set of 25,000 chance gives about six pairs at 8, and under one at 6.
Pictures before one studio background are closer: in sign_language_digits, at 100 px, 205 pairs, of
which 18 show different digits, hence LARGE_GROUP.
"""

LARGE_GROUP: Final = 0.05  # of a class: a larger group of near-duplicates is not kept together
# Looked at in cats_and_dogs_filtered, at 180 px: beyond these, pictures whose animal is hard to
# see become common; each holds under 0.5 % of either cats-and-dogs set.
DARK: Final = 35.0  # mean brightness below, of 0 to 255
BRIGHT: Final = 215.0  # mean brightness above
BLURRED: Final = 35.0  # variance of the Laplacian below
TINY: Final = 64  # shorter side below, pixels
LISTED: Final = 50  # paths or groups that a list of the report shows at most
_PARTS: Final = ("train", "validation", "test", "")
_QUANTILES: Final = {"min": 0.0, "5%": 0.05, "25%": 0.25, "50%": 0.5, "75%": 0.75, "95%": 0.95}


@dataclass(frozen=True)
class Facts:
    """What the report needs to know of one picture.

    sha256: of the file's bytes, hexadecimal. width, height, format, mode: as in Picture.
    brightness: mean of the grey levels (ITU-R 601), 0 to 255. sharpness: variance of the
    4-neighbour Laplacian of the grey levels (Pech-Pacheco et al. 2000), of the resized picture:
    what a network gets to see. hash: imagehash's 64-bit phash (DCT) of the resized picture.
    """

    sha256: str
    width: int
    height: int
    format: str
    mode: str
    brightness: float
    sharpness: float
    hash: int


@dataclass(frozen=True)
class Row:
    """A decoded picture in the report. part: train, validation, test, or empty where left out."""

    path: str
    label: str
    part: str
    facts: Facts


def facts(data: bytes, picture: Picture) -> Facts:
    """The facts of a picture, from its file's bytes and its decoded pixels."""
    levels = cv2.cvtColor(picture.pixels, cv2.COLOR_RGB2GRAY)
    grey = Image.fromarray(levels)
    # phash's own Lanczos resizing of the whole picture would be half of the cost. After a first
    # shrinking by averages it finds the same pairs in both cats-and-dogs sets.
    bits = imagehash.phash(grey.reduce(max(1, min(grey.size) // 32))).hash
    return Facts(
        sha256=hashlib.sha256(data).hexdigest(),
        width=picture.width,
        height=picture.height,
        format=picture.format,
        mode=picture.mode,
        brightness=round(cv2.mean(levels)[0], 3),
        sharpness=round(_sharpness(levels), 3),
        hash=int.from_bytes(np.packbits(bits).tobytes(), "big"),
    )


def _sharpness(levels: NDArray[np.uint8]) -> float:
    """The variance of the Laplacian of grey levels [h, w]; 0 where there is no inner pixel."""
    if min(levels.shape) < 3:
        return 0.0
    # Half the time of numpy's, which was a quarter of what is spent on a picture's facts.
    laplacian = cv2.Laplacian(levels, cv2.CV_16S, ksize=1)[1:-1, 1:-1]
    return float(cv2.meanStdDev(laplacian)[1].item() ** 2)


def exact_duplicates(sha256s: Sequence[str]) -> list[list[int]]:
    """Groups of two or more indices of equal checksums, in order of their first member."""
    same: defaultdict[str, list[int]] = defaultdict(list)
    for index, sha256 in enumerate(sha256s):
        same[sha256].append(index)
    return [members for members in same.values() if len(members) > 1]


def near_duplicates(
    hashes: NDArray[np.uint64], distance: int = NEAR_DUPLICATE_DISTANCE
) -> NDArray[np.uint64]:
    """Pairs [m, 2] of hashes a < b that differ in 1 to `distance` bits, each pair once, sorted.

    Pictures of one and the same hash are near-duplicates too, and need no pair to say so: a
    thousand black frames are one hash here, and not half a million pairs.
    """
    distinct = np.unique(hashes)
    found = [np.empty((0, 2), np.uint64)]
    # Every row against every later one, 16 x 8192 at a time in the same memory: it stays in the
    # cache, and a comparison takes about 1 ns (100,000 pictures: 5 thousand million comparisons).
    words, counts = np.empty((16, 8192), np.uint64), np.empty((16, 8192), np.uint8)
    for row in range(0, len(distinct), 16):
        rows = distinct[row : row + 16, None]
        for column in range(row, len(distinct), 8192):
            columns = distinct[None, column : column + 8192]
            block = slice(len(rows)), slice(columns.shape[1])
            np.bitwise_xor(rows, columns, out=words[block])
            bits = np.bitwise_count(words[block], out=counts[block])
            if bits.min() > distance:
                continue
            a, b = np.nonzero(bits <= distance)
            ahead = a + row < b + column
            found.append(np.stack([rows[a[ahead], 0], columns[0, b[ahead]]], axis=1))
    pairs = np.concatenate(found)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def neighbours(
    hashes: NDArray[np.uint64], pairs: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], Any]:
    """The distinct hash of each picture, int64 [n], and which of the d distinct ones are near.

    The latter is a symmetric matrix, scipy's csr_array [d, d]: 1 for a hash and itself and for a
    pair of near_duplicates. Times the pictures that each hash has, it gives those near each hash:
    every count of pairs comes from such products, and no pair of pictures is ever made.
    """
    # scipy.sparse takes long to load, and the processes that only take facts do not need it.
    from scipy.sparse import csr_array

    distinct, which = np.unique(hashes, return_inverse=True)
    a, b = np.searchsorted(distinct, pairs).T
    same = np.arange(len(distinct))
    places = np.concatenate([same, a, b]), np.concatenate([same, b, a])
    ones = np.ones(len(places[0]), np.int64)
    return which, csr_array((ones, places), shape=(len(distinct), len(distinct)))


def groups(hashes: NDArray[np.uint64], pairs: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The group of each of n pictures, int64 [n]: what a chain of near-duplicates joins is one.

    pairs: near_duplicates of the hashes. Groups are numbered in the order of their first members.
    """
    from scipy.sparse.csgraph import connected_components

    which, near = neighbours(hashes, pairs)
    return _numbered(connected_components(near, directed=False)[1][which])


def _numbered(names: NDArray[Any]) -> NDArray[np.int64]:
    """The same partition, its parts numbered in the order of their first members."""
    _, first, which = np.unique(names, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[which]


def large_groups(group: NDArray[np.int64], labels: Sequence[str]) -> list[int]:
    """The groups of three or more pictures of one class that are more than 5 % of that class."""
    of_class = Counter(labels)
    of_both = Counter(zip(group.tolist(), labels, strict=True))
    return sorted(
        {
            number
            for (number, label), count in of_both.items()
            if count > max(2, LARGE_GROUP * of_class[label])
        }
    )


def tied(
    group: NDArray[np.int64], labels: Sequence[str], sha256s: Sequence[str]
) -> NDArray[np.int64]:
    """The groups that must stay in one split, int64 [n].

    Near-duplicates stay together, but for large groups, so that a studio background does not glue
    a data set into one lump; of these only files with equal bytes stay together.
    """
    large = np.isin(group, large_groups(group, labels))
    same = _numbered(np.asarray(sha256s))
    return _numbered(np.where(large, same + len(group), group))


def report(
    rows: Sequence[Row],
    pairs: NDArray[np.uint64],
    rejected: Sequence[tuple[str, str]] = (),
    distance: int = NEAR_DUPLICATE_DISTANCE,
) -> dict[str, Any]:
    """What is in a data set, as written to report.json; the order of the rows does not matter.

    pairs: near_duplicates of the rows' hashes, found at `distance`. rejected: path and reason of
    each file that was left out. Lists of paths and of groups end after 50 (LISTED); the counts
    beside them are of all.
    """
    rows = sorted(rows, key=lambda row: row.path)
    every = [row.facts for row in rows]
    labels = [row.label for row in rows]
    brightness = np.array([fact.brightness for fact in every])
    sharpness = np.array([fact.sharpness for fact in every])
    shorter = np.array([min(fact.width, fact.height) for fact in every])
    return {
        "images": len(rows),
        "classes": _classes(rows),
        "class_imbalance": _imbalance(labels),
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
    }


def _classes(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    both = Counter((row.label, row.part) for row in rows)
    parts = {row.part for row in rows}
    classes = {}
    for label, count in sorted(Counter(row.label for row in rows).items()):
        classes[label] = {"images": count}
        for part in _PARTS[:3]:
            if part in parts:
                classes[label][part] = both[label, part]
        if "" in parts:
            classes[label]["left_out"] = both[label, ""]
    return classes


def _imbalance(labels: Sequence[str]) -> float | None:
    """Images of the largest class for each of the smallest."""
    counts = Counter(labels).values()
    return round(max(counts) / min(counts), 3) if counts else None


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


def _near(rows: Sequence[Row], pairs: NDArray[np.uint64], distance: int) -> dict[str, Any]:
    labels = [row.label for row in rows]
    hashes = np.array([row.facts.hash for row in rows], np.uint64)
    group = groups(hashes, pairs)
    members: defaultdict[int, list[Row]] = defaultdict(list)
    for row, number in zip(rows, group.tolist(), strict=True):
        members[number].append(row)
    similar = [each for each in members.values() if len(each) > 1]
    of_class = Counter(labels)
    counts, worst = _pairs(rows, *neighbours(hashes, pairs))
    return {
        "distance": distance,
        **counts,
        "groups": len(similar),
        "images": sum(map(len, similar)),
        "groups_across_splits": sum(map(_across, similar)),
        "groups_with_different_labels": sum(map(_disagree, similar)),
        "listed": [
            {
                **_shown((a, b)),
                "distance": (a.facts.hash ^ b.facts.hash).bit_count(),
                "same_bytes": a.facts.sha256 == b.facts.sha256,
            }
            for a, b in worst
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


def _pairs(
    rows: Sequence[Row], which: NDArray[np.int64], near: Any
) -> tuple[dict[str, Any], list[tuple[Row, Row]]]:
    """How many pairs of near-duplicates there are, of each kind, and the worst of them.

    which, near: neighbours of the rows' hashes.
    """
    part = np.array([_PARTS.index(row.part) for row in rows], np.int64)
    label = np.unique(np.array([row.label for row in rows], str), return_inverse=True)[1]
    # Of each picture, how many are near it, itself included: in each part [n, 4], of its label.
    by_part = (near @ _table(which, part, near.shape[0], len(_PARTS))).toarray()[which]
    of_label = _near_of_same(label, which, near)

    others = by_part.sum(axis=1) - 1
    unlike = others + 1 - of_label
    elsewhere = by_part[:, :3].sum(axis=1) - by_part[np.arange(len(rows)), part]
    across = np.where(part < 3, elsewhere, 0)
    counts = {
        "pairs": int(others.sum()) // 2,
        "pairs_across_splits": int(across.sum()) // 2,
        "pairs_between": {
            f"{_PARTS[a]}-{_PARTS[b]}": int(by_part[part == a, b].sum())
            for a, b in ((0, 1), (0, 2), (1, 2))
        },
        "pairs_with_different_labels": int(unlike.sum()) // 2,
    }
    worst = _worst(part, label, which, near, (across, unlike, others))
    return counts, [(rows[i], rows[j]) for i, j in worst]


def _near_of_same(label: NDArray[np.int64], which: NDArray[np.int64], near: Any) -> NDArray[Any]:
    """How many pictures of its label are near each picture, itself included, int64 [n]."""
    if not len(label):
        return label
    width = int(label.max()) + 1
    table = (near @ _table(which, label, near.shape[0], width)).tocoo()
    place = table.row.astype(np.int64) * width + table.col
    order = np.argsort(place)
    return table.data[order][np.searchsorted(place[order], which * width + label)]


def _table(rows: NDArray[np.int64], columns: NDArray[np.int64], height: int, width: int) -> Any:
    """How often each pair of a row and a column occurs, csr_array int64 [height, width]."""
    from scipy.sparse import csr_array

    ones = np.ones(len(rows), np.int64)
    return csr_array((ones, (rows, columns)), shape=(height, width))


def _worst(
    part: NDArray[np.int64],
    label: NDArray[np.int64],
    which: NDArray[np.int64],
    near: Any,
    partners: Sequence[NDArray[np.int64]],
) -> list[tuple[int, int]]:
    """The first pairs i < j of near-duplicates, as many as are listed.

    Those across splits come first, then those of two classes, then the others; each kind sorted.
    partners: of these three kinds, how many pairs each picture is in, int64 [n] each; a pair of
    the first kind may count among the second and is one of the third.
    """
    by_hash = np.argsort(which, kind="stable")
    starts = np.searchsorted(which[by_hash], np.arange(near.shape[0] + 1))
    worst: list[tuple[int, int]] = []
    for kind, number in enumerate(partners):
        for i in np.flatnonzero(number).tolist():
            # Each of these pictures is in a pair of this kind or of one before: the list is full
            # after at most twice as many of them as it has places.
            if len(worst) >= LISTED:
                return worst[:LISTED]
            hashes = near.indices[near.indptr[which[i]] : near.indptr[which[i] + 1]]
            found = np.concatenate([by_hash[starts[h] : starts[h + 1]] for h in hashes])
            later = np.sort(found[found > i])
            across = (part[later] != part[i]) & (part[later] < 3) & (part[i] < 3)
            kinds = np.where(across, 0, np.where(label[later] != label[i], 1, 2))
            worst += [(i, j) for j in later[kinds == kind].tolist()]
    return worst[:LISTED]


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
    """The masked pictures' paths, lowest rank first."""
    worst = sorted(np.flatnonzero(mask).tolist(), key=lambda i: (rank[i], i))
    return _capped([rows[i].path for i in worst])


def _capped(paths: Sequence[str]) -> dict[str, Any]:
    return {"images": len(paths), "paths": list(paths[:LISTED])}


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))


def _quantiles(values: Sequence[float] | NDArray[Any]) -> dict[str, float]:
    if not len(values):
        return {}
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
            for label in sorted(set(labels))
        },
    }


def in_words(quality: dict[str, Any]) -> str:
    """The pictures by split and class, and what is worth a look, for the log."""
    classes = quality["classes"]
    lines = []
    for part in ("train", "validation", "test"):
        counts = ", ".join(f"{one[part]:,} {label}" for label, one in classes.items())
        pictures = counted(sum(one[part] for one in classes.values()), "picture")
        lines.append(f"{part}: {pictures}: {counts}")
    left_out = sum(one.get("left_out", 0) for one in classes.values())
    near = quality["near_duplicates"]
    lines.append(
        f"in no split: {left_out:,}; rejected: {quality['rejected']['images']:,}; "
        f"near-duplicates: {counted(near['pairs'], 'pair')}, "
        f"{near['pairs_across_splits']:,} across splits"
    )
    return "\n".join(lines)
