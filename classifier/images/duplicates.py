"""Which pictures are the same or nearly so, and what must therefore stay in one split."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, combinations, islice, product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier.base.splits import SPLITS

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
LISTED: Final = 50  # paths, pairs or groups that a list of the report shows at most

Picture = tuple[str, str]  # its split, empty where it is in none, and its label


def exact_duplicates(sha256s: Sequence[str]) -> list[list[int]]:
    """Group the indices of equal checksums, two or more, in order of their first members."""
    same: defaultdict[str, list[int]] = defaultdict(list)
    for index, sha256 in enumerate(sha256s):
        same[sha256].append(index)
    return [members for members in same.values() if len(members) > 1]


def near_duplicates(
    hashes: NDArray[np.uint64], distance: int = NEAR_DUPLICATE_DISTANCE
) -> NDArray[np.uint64]:
    """Find the pairs of hashes that differ in few bits.

    Pictures of the same hash are near-duplicates too, and need no pair to say so: a thousand black
    frames are one hash here, and not half a million pairs.

    Args:
        hashes: uint64 [n], of pictures.
        distance: bits in which two may differ.

    Returns:
        uint64 [m, 2], a < b in each row, each pair once, sorted.
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


def groups(hashes: NDArray[np.uint64], pairs: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Put whatever a chain of near-duplicates joins into one group.

    Args:
        hashes: uint64 [n], of pictures.
        pairs: near_duplicates of the hashes.

    Returns:
        The group of each picture, int64 [n], numbered in the order of their first members.
    """
    distinct, which = np.unique(hashes, return_inverse=True)
    a, b = np.searchsorted(distinct, pairs).T
    return _numbered(_components(len(distinct), a, b)[which])


def joined(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Join two ways to group n pictures: whatever either keeps together is together, int64 [n]."""
    start = int(one.max(initial=-1)) + 1
    nodes = start + int(other.max(initial=-1)) + 1
    return _numbered(_components(nodes, one, other + start)[one])


def _components(nodes: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int32]:
    """Find the component of each node of a graph with the edges a[i] to b[i]."""
    # scipy.sparse takes long to load, and the processes that only take facts do not need it.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(a)), (a, b)), shape=(nodes, nodes))
    return connected_components(edges, directed=False)[1]


def _numbered(names: NDArray[Any]) -> NDArray[np.int64]:
    """Give the parts of a partition numbers in the order of their first members."""
    _, first, which = np.unique(names, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[which]


def large_groups(group: NDArray[np.int64], labels: Sequence[str]) -> list[int]:
    """List the groups of three or more pictures of a class that are over 5 % of that class."""
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
    group: NDArray[np.int64],
    labels: Sequence[str],
    sha256s: Sequence[str],
    given: Sequence[str] = (),
) -> NDArray[np.int64]:
    """Group the pictures that must stay in one split.

    Near-duplicates stay together, but for large groups, so that a studio background does not glue
    a data set into one lump; of these only files with equal bytes stay together.

    Args:
        group: int64 [n], of near-duplicates.
        labels: of each picture.
        sha256s: of each picture.
        given: the group that each picture belongs to by its name or table, kept together however
            large; empty: none.

    Returns:
        int64 [n], numbered in the order of their first members.
    """
    large = np.isin(group, large_groups(group, labels))
    same = _numbered(np.asarray(sha256s))
    together = _numbered(np.where(large, same + len(group), group))
    if not any(given):
        return together
    alone = [name or f"\n{number}" for number, name in enumerate(given)]
    return joined(together, _numbered(np.asarray(alone)))


def neighbours(pairs: NDArray[np.uint64]) -> dict[int, list[int]]:
    """Map each hash of a pair of near_duplicates to the other hashes that are near it."""
    near: defaultdict[int, list[int]] = defaultdict(list)
    for a, b in pairs.tolist():
        near[a].append(b)
        near[b].append(a)
    return near


def count_pairs(
    hashes: Sequence[int], pictures: Sequence[Picture], pairs: NDArray[np.uint64]
) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """Count the pairs of near-duplicates of each kind, and list the worst.

    All counting is done on how many pictures of each split and class have a hash, so that no pair
    of pictures is made but those that are listed.

    Args:
        hashes: of each picture.
        pictures: the split and label of each.
        pairs: near_duplicates of the hashes.

    Returns:
        The counts as in the report, and up to 50 pairs of positions i < j: those across splits
        first, then those of two classes, then the others, each kind sorted.
    """
    near = neighbours(pairs)
    members: defaultdict[int, list[int]] = defaultdict(list)
    for i, h in enumerate(hashes):
        members[h].append(i)
    having = {h: Counter(pictures[i] for i in rows) for h, rows in members.items()}
    couples: Counter[tuple[str, str, bool]] = Counter()  # by splits and whether the class is one
    kinds = set()
    for h, own in having.items():
        around = [own, *(having[other] for other in near.get(h, []))]
        if own.total() == len(around) == 1:  # alone
            continue
        for (one, number), others in product(own.items(), around):
            for other, times in others.items():
                couples[one[0], other[0], one[1] == other[1]] += number * times
                kinds.add((h, one, _kind(one, other)))
        for one, number in own.items():  # no picture is a pair with itself
            couples[one[0], one[0], True] -= number

    def between(one: str, other: str) -> int:
        return couples[one, other, True] + couples[one, other, False]

    across = {f"{a}-{b}": between(a, b) for a, b in combinations(SPLITS, 2)}
    counts = {
        "pairs": couples.total() // 2,
        "pairs_across_splits": sum(across.values()),
        "pairs_between": across,
        "pairs_with_different_labels": sum(n for key, n in couples.items() if not key[2]) // 2,
    }

    def of_kind(kind: int) -> Iterator[tuple[int, int]]:
        for i, (h, one) in enumerate(zip(hashes, pictures, strict=True)):
            # Whoever has a pair of this kind begins or ends one that is listed: few are looked at.
            if (h, one, kind) in kinds:
                close = chain.from_iterable(members[other] for other in [h, *near.get(h, [])])
                yield from (
                    (i, j) for j in sorted(close) if j > i and _kind(one, pictures[j]) == kind
                )

    return counts, list(islice(chain.from_iterable(map(of_kind, range(3))), LISTED))


def _kind(one: Picture, other: Picture) -> int:
    """Rank a pair: 0 across splits, 1 of two classes, 2 neither."""
    if one[0] and other[0] and one[0] != other[0]:
        return 0
    return 1 if one[1] != other[1] else 2
