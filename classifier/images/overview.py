"""The quality report as one picture: what is in a data set, at a glance."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib import rc_context, style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from classifier.base.fonts import drawable, families

_PARTS: Final = {
    "train": "#4477aa",
    "validation": "#ccbb44",
    "test": "#228833",
    "left_out": "#bbbbbb",
}
_CLASSES_SHOWN: Final = 12
_PAIRS_SHOWN: Final = 5


def draw(report: dict[str, Any], pixels_by_path: Mapping[str, NDArray[np.uint8]], to: Path) -> None:
    """Write the picture of a report (quality.report) as PNG, the same bytes for the same input.

    pixels_by_path: uint8 [size, size, 3], RGB, at least of the pictures of the near-duplicates
    that `wanted` names; one that is missing is left blank.
    """
    names = "".join([*report["classes"], *wanted(report)])
    # A user's matplotlibrc must not change what the pipeline writes.
    with style.context("default"), rc_context({"font.family": families(drawable(names))}):
        # Without the name and version of the program: the bytes depend on the report alone.
        _figure(report, pixels_by_path).savefig(to, format="png", metadata={"Software": None})


def _figure(report: dict[str, Any], pixels_by_path: Mapping[str, NDArray[np.uint8]]) -> Figure:
    pairs = report["near_duplicates"]["listed"][:_PAIRS_SHOWN]
    figure = Figure(figsize=(12, 10.2 if pairs else 7.2), dpi=100, layout="constrained")
    grid = figure.add_gridspec(
        3 if pairs else 2, 1, height_ratios=[1, 1, 0.75][: 3 if pairs else 2]
    )
    top, middle = grid[0].subgridspec(1, 3), grid[1].subgridspec(1, 3)
    figure.suptitle(_title(report), fontsize=12)
    _classes(figure.add_subplot(top[0]), report)
    _ranges(figure.add_subplot(top[1]), report, ("width", "height"), "Sides, pixels")
    _ranges(figure.add_subplot(top[2]), report, ("aspect_ratio",), "Width / height")
    _levels(figure.add_subplot(middle[0]), report, "brightness", ("dark", "bright"))
    _levels(figure.add_subplot(middle[1]), report, "sharpness", ("blurred",))
    _findings(figure.add_subplot(middle[2]), report)
    if pairs:
        strip = grid[2].subgridspec(1, 2 * _PAIRS_SHOWN)
        for number, pair in enumerate(pairs):
            for side in (0, 1):
                axes = figure.add_subplot(strip[2 * number + side])
                _member(axes, pair, side, pixels_by_path.get(pair["paths"][side]))
    return figure


def wanted(report: dict[str, Any]) -> list[str]:
    """Return the paths of the pictures that `draw` shows."""
    pairs = report["near_duplicates"]["listed"][:_PAIRS_SHOWN]
    return sorted({path for pair in pairs for path in pair["paths"]})


def _title(report: dict[str, Any]) -> str:
    near = report["near_duplicates"]
    return (
        f"{report['images']:,} images, {len(report['classes'])} classes, "
        f"{report['rejected']['images']:,} rejected; near-duplicates: {near['pairs']:,} pairs, "
        f"{near['pairs_across_splits']:,} of them across splits"
    )


def _classes(axes: Axes, report: dict[str, Any]) -> None:
    classes = sorted(report["classes"].items(), key=lambda item: (-item[1]["images"], item[0]))
    shown = classes[:_CLASSES_SHOWN]
    left = np.zeros(len(shown))
    for part, colour in _PARTS.items():
        counts = np.array([numbers.get(part, 0) for _, numbers in shown])
        if counts.any():
            axes.barh(range(len(shown)), counts, left=left, color=colour, label=part)
            left += counts
    axes.set_yticks(range(len(shown)), [_short(label, 16) for label, _ in shown])
    axes.invert_yaxis()
    axes.set_xlabel("images")
    more = f" (the {_CLASSES_SHOWN} largest of {len(classes)})" if len(classes) > len(shown) else ""
    axes.set_title(f"Classes and splits{more}", fontsize=10)
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=4, frameon=False)


def _ranges(axes: Axes, report: dict[str, Any], names: tuple[str, ...], title: str) -> None:
    """Boxes from the quartiles, whiskers to 5 % and 95 %, points at the extremes."""
    boxes = [
        {
            "label": name.replace("_", " "),
            "whislo": figures["5%"],
            "q1": figures["25%"],
            "med": figures["50%"],
            "q3": figures["75%"],
            "whishi": figures["95%"],
            "fliers": [figures["min"], figures["max"]],
        }
        for name in names
        for figures in [report[name]]
    ]
    axes.set_title(title, fontsize=10)
    axes.bxp(boxes, orientation="horizontal", widths=0.5, flierprops={"markersize": 4})
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter("")
    low = min(box["fliers"][0] for box in boxes) / 1.15
    high = max(box["fliers"][1] for box in boxes) * 1.15
    ticks = [v * 10.0**e for e in range(-3, 6) for v in (1, 2, 5) if low <= v * 10.0**e <= high]
    axes.set_xlim(low, high)
    axes.set_xticks(ticks if len(ticks) < 9 else ticks[::3])
    axes.set_xlabel("box: half of the images; whiskers: 5 to 95 %", fontsize=8)


def _levels(axes: Axes, report: dict[str, Any], name: str, limits: tuple[str, ...]) -> None:
    edges = np.array(report[name]["edges"])
    total = np.zeros(len(edges) - 1)
    for label, counts in report[name]["counts"].items():
        total += counts
        if len(report["classes"]) <= 4:
            axes.stairs(counts, edges, label=_short(label, 16), linewidth=1.2)
    axes.stairs(total, edges, fill=True, color="#dddddd", label="all", zorder=0)
    if name == "sharpness":
        axes.set_xscale("log")
    for limit in limits:
        bound = report[limit].get("below", report[limit].get("above"))
        axes.axvline(bound, color="#aa3333", linewidth=1, linestyle="--")
        right = "above" in report[limit]
        axes.annotate(
            f"{limit}: {report[limit]['images']:,}",
            (bound, 0.97),
            xycoords=("data", "axes fraction"),
            xytext=(3 if not right else -3, 0),
            textcoords="offset points",
            ha="right" if right else "left",
            va="top",
            fontsize=8,
            color="#aa3333",
        )
    axes.set_ylabel("images")
    axes.set_title(
        {"brightness": "Mean brightness", "sharpness": "Sharpness (variance of the Laplacian)"}[
            name
        ],
        fontsize=10,
    )
    axes.legend(fontsize=7, loc="center right" if name == "brightness" else "upper right")


def _findings(axes: Axes, report: dict[str, Any]) -> None:
    near, exact = report["near_duplicates"], report["exact_duplicates"]
    counts = [
        ("files with equal bytes", f"{exact['images']:,} in {exact['groups']:,} groups"),
        ("… across splits", f"{exact['groups_across_splits']:,}"),
        ("near-duplicates", f"{near['images']:,} in {near['groups']:,} groups"),
        ("… across splits", f"{near['groups_across_splits']:,}"),
        ("… with different labels", f"{near['groups_with_different_labels']:,}"),
        ("groups over 5 % of a class", f"{len(near['large_groups']):,}"),
        (f"side under {report['tiny']['below']} px", f"{report['tiny']['images']:,}"),
        ("largest : smallest class", f"{report['class_imbalance']}"),
        ("rejected files", f"{report['rejected']['images']:,}"),
    ]
    reasons = report["rejected"]["reasons"]
    counts += [
        ("  " + "\n  ".join(textwrap.wrap(_short(item["reason"], 64), 34)), f"{item['images']:,}")
        for item in reasons[:4]
    ]
    if len(reasons) > 4:
        counts.append(("  other reasons", f"{sum(item['images'] for item in reasons[4:]):,}"))
    axes.axis("off")
    axes.set_title("Findings", fontsize=10)
    height = 1.0
    step = 1 / max(14, sum(1 + name.count("\n") for name, _ in counts))
    for name, value in counts:
        axes.text(0, height, name, fontsize=8, va="top", transform=axes.transAxes)
        axes.text(1, height, value, fontsize=8, va="top", ha="right", transform=axes.transAxes)
        height -= step * (1 + name.count("\n"))


def _member(axes: Axes, pair: dict[str, Any], side: int, pixels: NDArray[np.uint8] | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    if pixels is not None:
        axes.imshow(pixels)
    part = pair["parts"][side] or "left out"
    name = _short(Path(pair["paths"][side]).name, 18)
    axes.set_title(f"{name}\n{_short(pair['labels'][side], 10)}, {part}", fontsize=7)
    if side == 0:
        same = "same bytes" if pair["same_bytes"] else f"distance {pair['distance']}"
        across = len(set(pair["parts"]) - {""}) > 1
        axes.set_xlabel(same + (", across splits" if across else ""), fontsize=7, loc="left")


def _short(text: str, most: int) -> str:
    """Text for a label: cut in its middle, and not read as mathematics by matplotlib."""
    text = drawable(text)
    if len(text) > most:
        text = f"{text[: most // 2]}…{text[len(text) - most // 2 + 1 :]}"
    return text.replace("$", r"\$")
