"""The rows behind the charts: ROC, precision-recall, reliability, score histogram, confusion.

`labels` are int64 [n], `scores` float64 [n, k] with rows that sum to 1. Rows are dictionaries of a
text table's columns. `positive` is the positive class of two. Of more, ROC and
precision-recall curves are macro averages: the mean height of the classes' curves, each class
against the rest, so that the area under them is the mean of the classes' areas.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from classifier.evaluation.calibration import apply_temperature, reliability
from classifier.evaluation.figures import confusion, ranked_classes

POINTS = 200  # of a curve at most: more can't be seen, and the tables live in git
SCORE_BINS = 20

Row = dict[str, Any]
Charts = dict[str, dict[str, list[Row]]]  # rows by chart and model

CHARTS = ("roc", "precision_recall", "reliability", "scores", "confusion")


def chart_rows(
    labels: NDArray,
    scores: Mapping[str, NDArray],
    classes: Sequence[str],
    temperatures: Mapping[str, float],
    positive: int = 1,
) -> Charts:
    """Compute the rows of each of `CHARTS` for each model.

    Args:
        labels: of the test split.
        scores: of each model.
        classes: the names of the k classes.
        temperatures: of each model, for its calibrated scores.
        positive: which of two classes is the positive one.
    """
    charts: Charts = {chart: {} for chart in CHARTS}
    for name, table in scores.items():
        calibrated = apply_temperature(table, temperatures[name])
        charts["roc"][name] = roc(labels, table, positive)
        charts["precision_recall"][name] = precision_recall(labels, table, positive)
        charts["reliability"][name] = reliability_rows(labels, table, calibrated)
        charts["scores"][name] = score_histogram(labels, table, classes, positive)
        charts["confusion"][name] = confusion_rows(labels, table, classes)
    return charts


def roc(labels: NDArray, scores: NDArray, positive: int = 1) -> list[Row]:
    """Rows of false_positive_rate and true_positive_rate, rising from (0, 0) to (1, 1)."""
    curves = [roc_curve(true, score)[:2] for true, score in _ranked(labels, scores, positive)]
    across, up = curves[0] if len(curves) == 1 else _mean_of_lines(curves)
    return [
        {"false_positive_rate": float(x), "true_positive_rate": float(y)}
        for x, y in zip(*_thinned(across, up), strict=True)
    ]


def precision_recall(labels: NDArray, scores: NDArray, positive: int = 1) -> list[Row]:
    """Rows of recall and precision, recall rising; a step curve that holds to the left of a point.

    It ends at the highest recall, 1, which calling every image positive reaches.
    """
    curves = []
    for true, score in _ranked(labels, scores, positive):
        precision, recall, _ = precision_recall_curve(true, score, drop_intermediate=True)
        curves.append((recall[::-1], precision[::-1]))
    across, up = curves[0] if len(curves) == 1 else _mean_of_steps(curves)
    return [
        {"recall": float(x), "precision": float(y)}
        for x, y in zip(*_thinned(across, up), strict=True)
    ]


def reliability_rows(labels: NDArray, scores: NDArray, calibrated: NDArray) -> list[Row]:
    """Rows of the reliability diagrams before and after calibration, empty bins left out.

    scores: `raw` or `calibrated`; lower, upper: of the bin; count: of images in it; confidence:
    their mean; accuracy with its 95 % Wilson interval, low and high.
    """
    return [
        {
            "scores": name,
            "lower": bin_.lower,
            "upper": bin_.upper,
            "count": bin_.count,
            "confidence": bin_.confidence,
            "accuracy": bin_.accuracy,
            "low": bin_.low,
            "high": bin_.high,
        }
        for name, values in (("raw", scores), ("calibrated", calibrated))
        for bin_ in reliability(labels, values)
        if bin_.count
    ]


def score_histogram(
    labels: NDArray, scores: NDArray, classes: Sequence[str], positive: int = 1
) -> list[Row]:
    """Rows of lower, upper, label, count: how many images have a score in (lower, upper].

    Of two classes the score of the positive one, a label being a true class; of more the highest
    score, the labels being `right` and `wrong`.
    """
    if len(classes) == 2:
        values = scores[:, positive]
        groups = {name: labels == i for i, name in enumerate(classes)}
    else:
        right = scores.argmax(axis=1) == labels
        values, groups = scores.max(axis=1), {"right": right, "wrong": ~right}
    edges = np.linspace(0, 1, SCORE_BINS + 1)
    numbers = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, SCORE_BINS - 1)
    return [
        {
            "lower": float(edges[bin_]),
            "upper": float(edges[bin_ + 1]),
            "label": name,
            "count": int((members & (numbers == bin_)).sum()),
        }
        for name, members in groups.items()
        for bin_ in range(SCORE_BINS)
    ]


def confusion_rows(labels: NDArray, scores: NDArray, classes: Sequence[str]) -> list[Row]:
    """Rows of actual, predicted, images and share: the part of the actual class's images."""
    matrix = confusion(labels, scores)
    return [
        {
            "actual": actual,
            "predicted": predicted,
            "images": int(matrix[i, j]),
            "share": float(matrix[i, j] / max(1, matrix[i].sum())),
        }
        for i, actual in enumerate(classes)
        for j, predicted in enumerate(classes)
    ]


def _ranked(labels: NDArray, scores: NDArray, positive: int) -> list[tuple[NDArray, NDArray]]:
    return [(labels == c, scores[:, c]) for c in ranked_classes(labels, scores, positive)]


def _mean_of_lines(curves: Sequence[tuple[NDArray, NDArray]]) -> tuple[NDArray, NDArray]:
    """Average curves of straight pieces; a vertical piece stays vertical."""
    across = np.unique(np.concatenate([x for x, _ in curves]))
    # Where a curve rises vertically it has two heights: its lower and its upper end.
    lower = np.mean([_height(x, y, across, "left") for x, y in curves], axis=0)
    upper = np.mean([_height(x, y, across, "right") for x, y in curves], axis=0)
    return np.repeat(across, 2), np.stack([lower, upper], axis=1).ravel()


def _height(x: NDArray, y: NDArray, at: NDArray, side: str) -> NDArray:
    """Interpolate a line that never falls, from below or from above where it is vertical."""
    heights = np.interp(at, x, y)
    first = np.searchsorted(x, at, side="left")
    last = np.searchsorted(x, at, side="right") - 1
    on_point = last >= first
    corner = first if side == "left" else last
    heights[on_point] = y[corner[on_point]]
    return np.asarray(heights)


def _mean_of_steps(curves: Sequence[tuple[NDArray, NDArray]]) -> tuple[NDArray, NDArray]:
    """Average step curves that hold, to the left of each point, that point's height."""
    across = np.unique(np.concatenate([x for x, _ in curves]))
    heights = []
    for x, y in curves:
        # Of several points at one recall the first holds to the left: its threshold is the highest,
        # and so is its precision.
        distinct, first = np.unique(x, return_index=True)
        heights.append(y[first][np.searchsorted(distinct, across, side="left")])
    return across, np.mean(heights, axis=0)


def _thinned(x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
    """At most POINTS of a curve's points, evenly along its length; both ends stay."""
    if len(x) <= POINTS:
        return x, y
    length = np.append(0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    kept = np.searchsorted(length, np.linspace(0, length[-1], POINTS))
    kept = np.unique(np.append(kept, [0, len(x) - 1]))
    return x[kept], y[kept]
