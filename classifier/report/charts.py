"""The report's charts as SVG: the templates that `dvc plots show` fills, without its revisions.

Each chart is defined once, in templates/NAME.json (Vega-Lite with DVC's anchors), and drawn here by
Vega itself. Colours are the page's own (CSS variables), so that charts follow its dark mode.

Rows are those of the files under plots/, with numbers or their text.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vl_convert
from markupsafe import Markup, escape

from classifier.base.family import PALETTE
from classifier.base.wording import decimals

TEMPLATES = Path(__file__).parent / "templates"
WIDTH, HEIGHT = 356, 242  # of the plot; the page shows them about pixel for pixel
# Fixed, so that no font of the machine moves anything.
PADDING = {"left": 52, "right": 12, "top": 12, "bottom": 46}
EXTENTS = {axis: {"minExtent": n, "maxExtent": n} for axis, n in (("axisX", 26), ("axisY", 36))}
CONFIG = {
    "background": None,
    "view": {"stroke": None},
    "legend": {"disable": True},
    "axis": {
        **dict.fromkeys(("labelColor", "titleColor"), "var(--muted)"),
        **dict.fromkeys(("domainColor", "tickColor"), "var(--plain)"),
        **dict.fromkeys(("labelFontSize", "titleFontSize"), 13),
        "gridColor": "var(--rule)",
        "titleFontWeight": 400,
        "tickCount": 5,
    },
}

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Chart:
    """A chart under its title."""

    title: str
    svg: Markup


def learning(curves: Mapping[str, Rows], kept: Mapping[str, float], measure: str) -> Chart:
    """Accuracy or loss by epoch: validation, dashed training, a dot at the epoch that was kept."""
    rows = [
        {
            **row,
            "filename": name,
            "field": field,
            "y": row[field],
            "kept": row["epoch"] == kept[name],
        }
        for name, table in curves.items()
        for field in (f"train_{measure}", f"validation_{measure}")
        for row in table
    ]
    ends = [
        f"{row['filename']} {decimals(row['y'])} in epoch {row['epoch']:g}"
        for row in rows
        if row["kept"] and row["field"].startswith("validation")
    ]
    said = f"Learning curves; validation {measure} where the model was kept: {', '.join(ends)}."
    return Chart(
        f"{measure.capitalize()} by epoch",
        _svg("curves", rows, said, ("epoch", "y", "epoch", measure)),
    )


def roc(by_model: Mapping[str, Rows], areas: Sequence[float]) -> Chart:
    """ROC curves over the line of guessing."""
    said = f"ROC curves of the test pictures; area under them: {_each(by_model, areas)}."
    columns = ("false_positive_rate", "true_positive_rate")
    axes = (*columns, "false positive rate", "true positive rate")
    return Chart("ROC", _svg("roc", _named(by_model), said, axes))


def precision_recall(by_model: Mapping[str, Rows], areas: Sequence[float]) -> Chart:
    """Precision-recall curves: steps that hold to the left of a point."""
    average = _each(by_model, areas)
    said = f"Precision-recall curves of the test pictures; average precision: {average}."
    rows = _named(by_model)
    return Chart(
        "Precision and recall", _svg("precision_recall", rows, said, 2 * ("recall", "precision"))
    )


def reliability(name: str, number: int, rows: Rows) -> Chart:
    """How often a model is right at each confidence, as it came and after temperature scaling."""
    points = ", ".join(
        f"{decimals(float(row['accuracy']), 2)} at {decimals(float(row['confidence']), 2)}"
        for row in rows
        if row["scores"] == "calibrated"
    )
    said = f"Reliability of {name} after temperature scaling; accuracy by confidence: {points}."
    named = _named({name: rows})
    return Chart(name, _svg("reliability", named, said, 2 * ("confidence", "accuracy"), number))


def histogram(name: str, rows: Rows, x_label: str) -> Chart:
    """Test pictures by score, the first label's grey."""
    totals: dict[str, int] = {}
    for row in rows:
        totals[row["label"]] = totals.get(row["label"], 0) + int(row["count"])
    counts = ", ".join(f"{count} {label}" for label, count in totals.items())
    said = f"Histogram of the scores that {name} gives the test pictures: {counts}."
    # Vega-Lite reads \b in a title as an escape of its expressions: this one is no backslash.
    axes = ("lower", "count", x_label.replace("\\", "⧵"), "pictures")
    return Chart(name, _svg("scores", _named({name: rows}), said, axes))


def confusion(name: str, number: int, rows: Rows) -> Chart:
    """Draw the shares of each actual class, for more classes than a table has room for."""
    worst = sorted(
        (row for row in rows if row["actual"] != row["predicted"] and row["images"]),
        key=lambda row: -row["images"],
    )[:5]
    said = "; ".join(f"{row['actual']} as {row['predicted']}: {row['images']}" for row in worst)
    said = f"Confusion matrix of {name}; most often taken for another: {said or 'none'}."
    named = _named({name: rows})
    return Chart(
        name, _svg("confusion", named, said, 2 * ("predicted", "actual"), number, fixed=False)
    )


def _named(by_model: Mapping[str, Rows]) -> list[dict[str, Any]]:
    return [{**row, "filename": name} for name, rows in by_model.items() for row in rows]


def _each(names: Mapping[str, Any], values: Sequence[float]) -> str:
    return ", ".join(f"{name} {decimals(value)}" for name, value in zip(names, values, strict=True))


def _svg(
    name: str,
    rows: Rows,
    said: str,
    axes: tuple[str, ...],
    number: int = 0,
    fixed: bool = True,
) -> Markup:
    """Draw a template.

    Args:
        name: of the template.
        rows: `filename` is that of the model.
        said: for those who cannot see it.
        axes: columns of x and y, their labels.
        number: of the first model: its colour.
        fixed: whether the plot has WIDTH and HEIGHT, or the template's own size.
    """
    text = (TEMPLATES / f"{name}.json").read_text(encoding="utf-8")
    for anchor, value in zip(("X", "Y", "X_LABEL", "Y_LABEL"), axes, strict=True):
        text = text.replace(f"<DVC_METRIC_{anchor}>", json.dumps(value)[1:-1])
    # The page has legends of its own, which wrap.
    template = json.loads(
        text, object_hook=lambda part: part | {"legend": None} if "legend" in part else part
    )
    spec = {
        "data": {"values": [{"rev": "", **row} for row in rows]},
        "transform": template["transform"],
        **template["spec"],
        "config": CONFIG | {"range": {"category": PALETTE[number % len(PALETTE) :]}},
    }
    if fixed:
        spec |= {"width": WIDTH, "height": HEIGHT, "padding": PADDING}
        spec |= {"autosize": {"type": "none"}}
        spec["config"] |= EXTENTS
    drawn = vl_convert.vegalite_to_svg(spec, vl_version="6.4")
    # Vega counts what has an identifier through all that a process draws.
    drawn = re.sub(r'((?:id="|url\(#)(?:clip|gradient_))\d+', rf"\1-{name}-{number}", drawn)
    drawn = drawn.replace("<svg ", f'<svg role="img" aria-label="{escape(said)}" ', 1)
    return Markup(drawn.replace('class="marks"', 'class="chart"', 1))
