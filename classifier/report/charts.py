"""The report's charts as SVG paths; colours, fonts and the page around them are the template's.

Rows are those of the files under plots/, with numbers or their text; an empty cell is a gap.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import MaxNLocator

from classifier.base.wording import decimals

Rows = Sequence[dict[str, Any]]
Point = tuple[float, float]

# In units of the viewBox, which the page shows about pixel for pixel.
WIDTH, HEIGHT = 420, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 408, 12, 254
RADIUS = 3.5


@dataclass(frozen=True)
class Tick:
    """A label and its place along the axis, in units of the viewBox."""

    at: float
    text: str


@dataclass(frozen=True)
class Shape:
    """A path, its classes in the page's style sheet, and the number of the model it belongs to."""

    path: str
    style: str
    model: int | None = None


@dataclass(frozen=True)
class Chart:
    """One chart; `description` is for those who cannot see it."""

    title: str
    description: str
    x_label: str
    y_label: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    shapes: list[Shape]


@dataclass(frozen=True)
class _Frame:
    """The ranges of values that a chart shows."""

    x: Point
    y: Point

    def place(self, point: Point) -> Point:
        across = (point[0] - self.x[0]) / (self.x[1] - self.x[0])
        up = (point[1] - self.y[0]) / (self.y[1] - self.y[0])
        return LEFT + across * (RIGHT - LEFT), BOTTOM - up * (BOTTOM - TOP)

    def x_ticks(self, whole: bool = False) -> list[Tick]:
        return [Tick(round(self.place((v, 0))[0], 1), f"{v:g}") for v in _nice(*self.x, whole)]

    def y_ticks(self) -> list[Tick]:
        return [Tick(round(self.place((0, v))[1], 1), f"{v:g}") for v in _nice(*self.y)]

    def line(self, points: Iterable[Point]) -> str:
        return "M" + "L".join(_pair(self.place(point)) for point in points)

    def dots(self, points: Iterable[Point]) -> str:
        half = f"a{RADIUS} {RADIUS} 0 1 0"
        circles = []
        for point in points:
            x, y = self.place(point)
            circles.append(f"M{_pair((x - RADIUS, y))}{half} {2 * RADIUS} 0{half} {-2 * RADIUS} 0")
        return "".join(circles)

    def whiskers(self, spans: Iterable[tuple[float, float, float]]) -> str:
        return "".join(self.line([(x, low), (x, high)]) for x, low, high in spans)

    def bars(self, bars: Iterable[tuple[float, float, float]]) -> str:
        return "".join(
            self.line([(low, 0), (low, height), (high, height), (high, 0)]) + "Z"
            for low, high, height in bars
            if height
        )


def learning(curves: Mapping[str, Rows], kept: Mapping[str, float], measure: str) -> Chart:
    """Accuracy or loss by epoch: validation, dashed training, a dot at the epoch that was kept."""
    columns = [f"train_{measure}", f"validation_{measure}"]
    epochs = [epoch for rows in curves.values() for epoch, _ in points(rows, "epoch", columns[0])]
    values = [y for rows in curves.values() for c in columns for _, y in points(rows, "epoch", c)]
    top = 1.0 if measure == "accuracy" else max(values, default=1.0)
    bottom = min([*values, 0.5]) if measure == "accuracy" else 0.0
    frame = _Frame((1, max([2.0, *epochs])), (math.floor(bottom * 10) / 10, top))
    shapes, ends = [], []
    for number, (name, rows) in enumerate(curves.items()):
        for column, style in zip(columns, ("line dashed", "line"), strict=True):
            shapes.append(Shape(frame.line(points(rows, "epoch", column)), style, number))
        best = kept.get(name)
        validated = dict(points(rows, "epoch", columns[1]))
        if best in validated:
            shapes.append(Shape(frame.dots([(best, validated[best])]), "dot", number))
            ends.append(f"{name} {decimals(validated[best])} in epoch {best:g}")
    return Chart(
        f"{measure.capitalize()} by epoch",
        f"Learning curves; validation {measure} where the model was kept: {', '.join(ends)}.",
        "epoch",
        measure,
        frame.x_ticks(whole=True),
        frame.y_ticks(),
        shapes,
    )


def roc(by_model: Mapping[str, Rows], areas: Sequence[float]) -> Chart:
    """ROC curves on the unit square, over the line of guessing."""
    frame = _Frame((0, 1), (0, 1))
    shapes = [Shape(frame.line([(0, 0), (1, 1)]), "reference")]
    for number, rows in enumerate(by_model.values()):
        path = frame.line(points(rows, "false_positive_rate", "true_positive_rate"))
        shapes.append(Shape(path, "line", number))
    said = _each(by_model, areas)
    return Chart(
        "ROC",
        f"ROC curves of the test pictures; area under them: {said}.",
        "false positive rate",
        "true positive rate",
        frame.x_ticks(),
        frame.y_ticks(),
        shapes,
    )


def precision_recall(by_model: Mapping[str, Rows], areas: Sequence[float]) -> Chart:
    """Precision-recall curves: steps, as their rows say, that hold to the left of a point."""
    frame = _Frame((0, 1), (0, 1))
    shapes = []
    for number, rows in enumerate(by_model.values()):
        corners: list[Point] = []
        for recall, precision in points(rows, "recall", "precision"):
            corners += [(corners[-1][0] if corners else 0.0, precision), (recall, precision)]
        shapes.append(Shape(frame.line(corners), "line", number))
    said = _each(by_model, areas)
    return Chart(
        "Precision and recall",
        f"Precision-recall curves of the test pictures; average precision: {said}.",
        "recall",
        "precision",
        frame.x_ticks(),
        frame.y_ticks(),
        shapes,
    )


def _each(by_model: Mapping[str, Rows], values: Sequence[float]) -> str:
    return ", ".join(
        f"{name} {decimals(value)}" for name, value in zip(by_model, values, strict=True)
    )


def reliability(name: str, number: int, rows: Rows, classes: int) -> Chart:
    """How often a model is right at each confidence, as it came and after temperature scaling."""
    frame = _Frame((0.5 if classes == 2 else 0, 1), (0, 1))
    shapes = [Shape(frame.line([(frame.x[0], frame.x[0]), (1, 1)]), "reference")]
    for scores, style, model in (("raw", "before", None), ("calibrated", "after", number)):
        inside = [row for row in rows if row["scores"] == scores]
        lows = points(inside, "confidence", "low")
        highs = points(inside, "confidence", "high")
        spans = [(x, low, high) for (x, low), (_, high) in zip(lows, highs, strict=True)]
        dots = points(inside, "confidence", "accuracy")
        shapes.append(Shape(frame.whiskers(spans), f"whisker {style}", model))
        shapes.append(Shape(frame.dots(dots), f"dot {style}", model))
    said = ", ".join(f"{decimals(y, 2)} at {decimals(x, 2)}" for x, y in dots)
    return Chart(
        name,
        f"Reliability of {name} after temperature scaling; accuracy by confidence: {said}.",
        "confidence",
        "accuracy",
        frame.x_ticks(),
        frame.y_ticks(),
        shapes,
    )


def histogram(name: str, number: int, rows: Rows, labels: Sequence[str], x_label: str) -> Chart:
    """Test pictures by score; of two labels, the second in the model's colour."""
    by_label = {label: [row for row in rows if row["label"] == label] for label in labels}
    heights = [count for _, count in points(rows, "lower", "count")]
    frame = _Frame(
        (min([low for low, _ in points(rows, "lower", "count")], default=0.0), 1),
        (0, max([1.0, *heights])),
    )
    shapes = []
    for place, inside in enumerate(by_label.values()):
        bars = zip(points(inside, "lower", "count"), points(inside, "upper", "count"), strict=True)
        path = frame.bars((low, high, count) for (low, count), (high, _) in bars)
        shapes.append(Shape(path, "bar", number) if place else Shape(path, "bar plain"))
    totals = ", ".join(
        f"{sum(c for _, c in points(inside, 'lower', 'count')):g} {label}"
        for label, inside in by_label.items()
    )
    return Chart(
        name,
        f"Histogram of the scores that {name} gives the test pictures: {totals}.",
        x_label,
        "pictures",
        frame.x_ticks(),
        frame.y_ticks(),
        shapes,
    )


def points(rows: Rows, x: str, y: str) -> list[Point]:
    """The rows that have a number in both columns."""
    found = [(_number(row[x]), _number(row[y])) for row in rows]
    return [(a, b) for a, b in found if a is not None and b is not None]


def _number(value: Any) -> float | None:
    if value in ("", None):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _nice(low: float, high: float, whole: bool = False) -> list[float]:
    ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(low, high)
    slack = 1e-9 * (high - low)
    return [round(float(v), 9) for v in ticks if low - slack <= v <= high + slack]


def _pair(place: Point) -> str:
    return f"{place[0]:.1f} {place[1]:.1f}"
