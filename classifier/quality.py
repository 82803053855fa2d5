"""What is in a data set: duplicates, near-duplicates, sizes, and pictures worth a second look.

The facts of a picture are taken from its bytes and its decoded pixels in the pass that decodes it;
everything else is arithmetic on these facts.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from classifier.images import Picture

NEAR_DUPLICATE_DISTANCE: Final = 6
"""Largest Hamming distance between the perceptual hashes of two near-duplicates, in bits of 64.

Measured at 180 px. The 3,000 photographs of cats_and_dogs_filtered against the same ones in
dogs_vs_cats_2500, scaled to 200 x 200 and encoded again: all at 0 to 4. Of 150 edited ones, within
6: JPEG quality 30, half and double size, darker by 20 %, grey, cropped by 2 %, more contrast: all;
brighter by 20 %, turned by 1 degree: 97 %; cropped by 5 %: 73 %. Within either of the two sets, by
looking: three pairs at 0 (true), none at 2 to 8, five at 10 (all different animals), 76 at 12,
591 at 14, of 17 million: in a set of 25,000 chance gives about six pairs at 8, and under one at 6.
Pictures before one studio background are closer: in sign_language_digits 199 pairs, of which 17
show different digits, hence LARGE_GROUP.
"""

LARGE_GROUP: Final = 0.05  # of a class: a larger group of near-duplicates is not kept together
# Looked at in cats_and_dogs_filtered, at 180 px: beyond these, pictures whose animal is hard to
# see become common; each holds under 0.5 % of either cats-and-dogs set.
DARK: Final = 35.0  # mean brightness below, of 0 to 255
BRIGHT: Final = 215.0  # mean brightness above
BLURRED: Final = 35.0  # variance of the Laplacian below
TINY: Final = 64  # shorter side below, pixels
LISTED: Final = 50  # paths or groups that a list of the report shows at most
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
    grey = Image.fromarray(picture.pixels).convert("L")
    levels = np.asarray(grey).astype(np.int16)
    # phash's own Lanczos resizing of the whole picture would be half of the cost; after a first
    # shrinking by averages it finds the same pairs.
    bits = imagehash.phash(grey.reduce(max(1, min(grey.size) // 64))).hash
    return Facts(
        sha256=hashlib.sha256(data).hexdigest(),
        width=picture.width,
        height=picture.height,
        format=picture.format,
        mode=picture.mode,
        brightness=round(float(levels.mean()), 3),
        sharpness=round(_sharpness(levels), 3),
        hash=int.from_bytes(np.packbits(bits).tobytes(), "big"),
    )


def _sharpness(levels: NDArray[np.int16]) -> float:
    """The variance of the Laplacian of grey levels [h, w]; 0 where there is no inner pixel."""
    if min(levels.shape) < 3:
        return 0.0
    laplacian = levels[1:-1, :-2] + levels[1:-1, 2:] + levels[:-2, 1:-1] + levels[2:, 1:-1]
    return float((laplacian - 4 * levels[1:-1, 1:-1]).var())


def exact_duplicates(sha256s: Sequence[str]) -> list[list[int]]:
    """Groups of two or more indices of equal checksums, in order of their first member."""
    same: defaultdict[str, list[int]] = defaultdict(list)
    for index, sha256 in enumerate(sha256s):
        same[sha256].append(index)
    return [members for members in same.values() if len(members) > 1]


def near_duplicates(
    hashes: NDArray[np.uint64], distance: int = NEAR_DUPLICATE_DISTANCE
) -> NDArray[np.int64]:
    """Pairs [m, 2] of indices i < j whose hashes differ in at most `distance` bits, sorted.

    Of k pictures with one and the same hash, only the first is paired, with each of the others and
    with what is near: the components are the same as of all pairs, but a thousand black frames
    give a thousand pairs and not half a million.
    """
    distinct, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    others = np.setdiff1d(np.arange(len(hashes)), first)
    found = [np.stack([first[which[others]], others], axis=1)]
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
            found.append(np.stack([first[a[ahead] + row], first[b[ahead] + column]], axis=1))
    pairs = np.sort(np.concatenate(found).astype(np.int64), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def groups(pairs: Iterable[Sequence[int]] | NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """The group of each of n pictures, int64 [n]: what a chain of pairs joins is one group.

    Groups are numbered in the order of their first members.
    """
    # scipy.sparse takes long to load, and the processes that only take facts do not need it.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.asarray(list(pairs), dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(n, n))
    return _numbered(connected_components(graph, directed=False)[1])


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
    pairs: NDArray[np.int64],
    rejected: Sequence[tuple[str, str]] = (),
    distance: int = NEAR_DUPLICATE_DISTANCE,
) -> dict[str, Any]:
    """What is in a data set, as written to report.json; the order of the rows does not matter.

    pairs: near_duplicates of the rows' hashes, found at `distance`. rejected: path and reason of
    each file that shows no picture. Lists of paths and of groups end after 50 (LISTED); the counts
    beside them are of all.
    """
    rows, couples = _by_path(rows, pairs)
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
        "near_duplicates": _near(rows, couples, distance),
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


def _by_path(
    rows: Sequence[Row], pairs: NDArray[np.int64]
) -> tuple[list[Row], list[tuple[int, int]]]:
    """The rows in the order of their paths, and the pairs of indices into that order, sorted."""
    order = sorted(range(len(rows)), key=lambda i: rows[i].path)
    place = {old: new for new, old in enumerate(order)}
    moved = ((place[i], place[j]) for i, j in np.asarray(pairs).tolist())
    return [rows[i] for i in order], sorted((min(pair), max(pair)) for pair in moved)


def _classes(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    both = Counter((row.label, row.part) for row in rows)
    parts = {row.part for row in rows}
    classes = {}
    for label, count in sorted(Counter(row.label for row in rows).items()):
        classes[label] = {"images": count}
        for part in ("train", "validation", "test"):
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


def _near(rows: Sequence[Row], pairs: list[tuple[int, int]], distance: int) -> dict[str, Any]:
    labels = [row.label for row in rows]
    group = groups(pairs, len(rows))
    members: defaultdict[int, list[Row]] = defaultdict(list)
    for row, number in zip(rows, group.tolist(), strict=True):
        members[number].append(row)
    similar = [each for each in members.values() if len(each) > 1]
    couples = [(rows[i], rows[j]) for i, j in pairs]
    # The pairs that matter most stand first: those across splits, then those of two classes.
    worst = sorted(couples, key=lambda couple: (not _across(couple), not _disagree(couple)))
    of_class = Counter(labels)
    return {
        "distance": distance,
        "pairs": len(couples),
        "pairs_across_splits": sum(map(_across, couples)),
        "pairs_with_different_labels": sum(map(_disagree, couples)),
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
            for a, b in worst[:LISTED]
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
