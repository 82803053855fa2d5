"""What the checks of the data found, in sentences for people."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from classifier.base.wording import counted

NAMED = 12  # paths that a finding shows at most
REASONS = 8  # why files were left out, named one by one


@dataclass(frozen=True)
class Finding:
    """One sentence; `serious` where it touches what the figures mean; `paths` are examples."""

    text: str
    serious: bool = False
    paths: list[str] = field(default_factory=list)


def findings(quality: dict[str, Any], drop_leaks: bool) -> list[Finding]:
    """Turn data/splits/report.json into sentences, the serious ones first.

    drop_leaks: whether training leaves out what has a near-duplicate in validation or test.
    """
    found = [
        *_rejected(quality["rejected"]),
        *_exact(quality["exact_duplicates"]),
        *_near(quality["near_duplicates"], drop_leaks),
        *_flagged(quality),
        *_balance(quality),
        _shape(quality),
    ]
    return sorted(found, key=lambda finding: not finding.serious)


def _rejected(rejected: dict[str, Any]) -> Iterator[Finding]:
    if not rejected["images"]:
        yield Finding("Every file shows a picture.")
        return
    shown, more = rejected["reasons"][:REASONS], rejected["reasons"][REASONS:]
    reasons = "; ".join(f"{one['images']:,} {one['reason']}" for one in shown)
    if more:
        reasons += f"; and {sum(one['images'] for one in more):,} for other reasons"
    paths = [path for one in rejected["reasons"] for path in one["paths"]]
    count = _count(rejected["images"], "file was", "files were")
    yield Finding(f"{count} left out: {reasons}.", paths=paths[:NAMED])


def _exact(exact: dict[str, Any]) -> Iterator[Finding]:
    if not exact["groups"]:
        yield Finding("No two files are the same.")
        return
    text = f"{counted(exact['images'], 'file')} in {counted(exact['groups'], 'group')} are the same"
    across, labels = exact["groups_across_splits"], exact["groups_with_different_labels"]
    if across:
        text += f"; {_count(across, 'group lies', 'groups lie')} across splits"
    if labels:
        number = _count(labels, "group carries", "groups carry")
        text += f"; {number} different labels, of which one must be wrong"
    shown = [" = ".join(group["paths"]) for group in exact["listed"]]
    yield Finding(f"{text}.", bool(across or labels), shown[:NAMED])


def _near(near: dict[str, Any], drop_leaks: bool) -> Iterator[Finding]:
    if not near["pairs"]:
        yield Finding("No two pictures look nearly the same.")
        return
    between = near["pairs_between"]
    number = _count(near["pairs"], "pair of pictures looks", "pairs of pictures look")
    text = f"{number} nearly the same"
    if count := between["train-test"]:
        text += f"; {_pairs_lie(count)} in training and test: a model is tested on what it has "
        text += "all but seen"
    if count := between["train-validation"]:
        text += f"; {_pairs_lie(count)} in training and validation: the epoch is chosen on what a "
        text += "model has all but seen"
    if not drop_leaks and (between["train-test"] or between["train-validation"]):
        text += "; split.drop_leaks: true leaves the training pictures of these out"
    if count := between["validation-test"]:
        text += f"; {_pairs_lie(count)} in validation and test: the test is not wholly apart from "
        text += "what the epoch is chosen on"
        if drop_leaks:
            text += " (split.drop_leaks leaves out training pictures only)"
    if labels := near["pairs_with_different_labels"]:
        text += f"; {_count(labels, 'pair carries', 'pairs carry')} different labels"
    shown = [" ≈ ".join(pair["paths"]) for pair in near["listed"]]
    yield Finding(f"{text}.", bool(near["pairs_across_splits"] or labels), shown[:NAMED])
    for group in near["large_groups"]:
        yield Finding(
            f"{group['images']:,} pictures look so alike that they may share a background or a "
            "placeholder rather than a subject.",
            True,
            group["paths"][:NAMED],
        )


def _flagged(quality: dict[str, Any]) -> Iterator[Finding]:
    reasons = {
        "dark": "very dark (mean brightness below {:g} of 255)",
        "bright": "very bright (mean brightness above {:g} of 255)",
        "blurred": "blurred or without detail (variance of the Laplacian below {:g})",
        "tiny": "tiny (shorter side below {:g} pixels)",
    }
    for key, reason in reasons.items():
        part = quality[key]
        if part["images"]:
            limit = part.get("below", part.get("above"))
            count = _count(part["images"], "picture is", "pictures are")
            yield Finding(f"{count} {reason.format(limit)}.", paths=part["paths"][:NAMED])


def _balance(quality: dict[str, Any]) -> Iterator[Finding]:
    counts = [one.get("train", 0) for one in quality["classes"].values()]
    largest, smallest = max(counts), min(counts)
    if largest == smallest:
        yield Finding("All classes have the same number of training pictures.")
        return
    text = f"The largest class has {largest:,} training pictures, the smallest {smallest:,}"
    ratio = f"{largest / smallest:.2f}"
    if ratio != "1.00":
        text += f": {ratio} for each one"
    yield Finding(f"{text}.", largest >= 3 * smallest)


def _shape(quality: dict[str, Any]) -> Finding:
    width, height = quality["width"], quality["height"]
    formats = ", ".join(f"{count:,} {name}" for name, count in quality["formats"].items())
    return Finding(
        f"Files: {formats}; {width['min']:,.0f} to {width['max']:,.0f} pixels wide (median "
        f"{width['50%']:,.0f}), {height['min']:,.0f} to {height['max']:,.0f} high (median "
        f"{height['50%']:,.0f})."
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _pairs_lie(number: int) -> str:
    return _count(number, "pair lies", "pairs lie")
