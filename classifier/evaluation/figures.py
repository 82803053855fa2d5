"""The figures of one model on the test split, each with a 95 % interval.

`labels` are int64 [n], `scores` float64 [n, k], k ≥ 2, with rows that sum to 1; `positive` is
the positive class of two. An image's prediction is the class with the highest score. Values are
scikit-learn's; predictions.csv suffices to compute them again. Intervals: see `intervals`.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hmean
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    log_loss,
    roc_auc_score,
    top_k_accuracy_score,
)

from classifier.evaluation.calibration import calibration_error, expected_calibration_error
from classifier.evaluation.intervals import (
    Figure,
    auc_interval,
    bootstrap,
    losses_of,
    mean_of_proportions,
    proportion,
    studentised,
    wilson_of_spread,
)

DIGITS = 4  # a test split of 2,000 tells accuracies apart by 0.0005


def headline(labels: NDArray, scores: NDArray) -> dict[str, float]:
    """Return the six figures that experiments are compared by, rounded to 4 decimals.

    Of more than two classes the ROC AUC is the mean over the classes, each against the rest. Raises
    ValueError where all labels are equal: nothing can be told apart then.
    """
    _check(labels, scores)
    accuracy = proportion(int((scores.argmax(axis=1) == labels).sum()), len(labels))
    # Of two classes either gives the same area.
    areas = [roc_auc_score(labels == c, scores[:, c]) for c in ranked_classes(labels, scores)]
    figures = {
        "accuracy": accuracy.value,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "loss": float(log_loss(labels, scores, labels=list(range(scores.shape[1])))),
        "roc_auc": float(np.mean(areas)),
        "ece": expected_calibration_error(labels, scores),
    }
    return {name: round(value, DIGITS) for name, value in figures.items()}


def details(
    labels: NDArray,
    scores: NDArray,
    class_names: Sequence[str],
    *,
    positive: int = 1,
    seed: int = 0,
    resamples: int = 2000,
) -> dict[str, Any]:
    """Return all figures as plain numbers, lists and dictionaries; None when undefined.

    `confusion` has a row for each true class. `ece` stands beside the mean and the 95th percentile
    of what a perfectly calibrated model with these scores would show. With more than two classes
    `top` holds top-3 and top-5 accuracy (where there are more classes than that), ROC AUC and
    average precision are means over the classes, each against the rest, and each class has its own.
    A class that is never predicted counts as 0 in the macro precision, as in scikit-learn. Raises
    ValueError where all labels are equal.
    """
    _check(labels, scores)
    if len(class_names) != scores.shape[1]:
        raise ValueError(f"{len(class_names)} class names for {scores.shape[1]} columns of scores")
    classes = list(range(scores.shape[1]))
    matrix = confusion(labels, scores)
    by_class = [
        _class_figures(int(matrix[c, c]), int(matrix[c].sum()), int(matrix[:, c].sum()))
        for c in classes
    ]
    given, called, hits = matrix.sum(axis=1), matrix.sum(axis=0), matrix.diagonal()
    balanced = mean_of_proportions(hits[given > 0], given[given > 0])
    f1 = f1_score(labels, scores.argmax(axis=1), average="macro", zero_division=0.0)
    ranked = ranked_classes(labels, scores, positive)
    samples = bootstrap(labels, scores, ranked, seed=seed, resamples=resamples)
    areas = [float(roc_auc_score(labels == c, scores[:, c])) for c in ranked]
    precisions = [float(average_precision_score(labels == c, scores[:, c])) for c in ranked]
    positives = [int((labels == c).sum()) for c in ranked]
    if len(classes) > 2:
        for column, c in enumerate(ranked):
            inside = positives[column]
            by_class[c]["roc_auc"] = auc_interval(
                areas[column], samples.roc_auc[:, column], inside, len(labels) - inside
            )
            by_class[c]["average_precision"] = wilson_of_spread(
                precisions[column], samples.average_precision[:, column], inside
            )
    n = worth(positives) / len(ranked)
    roc_auc = auc_interval(
        float(np.mean(areas)), samples.roc_auc.mean(axis=1), n, len(labels) - n, len(ranked)
    )
    average_precision = wilson_of_spread(
        float(np.mean(precisions)), samples.average_precision.mean(axis=1), worth(positives)
    )
    error = float(log_loss(labels, scores, labels=classes))
    brier = float(brier_score_loss(labels, scores, labels=classes))
    losses, squares = losses_of(labels, scores)
    found: dict[str, Any] = as_dict(
        {
            "images": len(labels),
            "accuracy": proportion(int(np.trace(matrix)), len(labels)),
            "balanced_accuracy": balanced,
            "log_loss": studentised(error, losses, labels, samples.log_loss),
            "roc_auc": roc_auc,
            "average_precision": average_precision,
            "brier": studentised(brier, squares, labels, samples.brier),
            "macro": {
                # As scikit-learn's macro averages: the classes that occur, as a label or called.
                "precision": mean_of_proportions(*(n[given + called > 0] for n in (hits, called))),
                "recall": balanced,
                "f1": wilson_of_spread(float(f1), samples.f1, worth(given[given > 0])),
            },
            "top": {str(k): _top(labels, scores, k) for k in (3, 5) if len(classes) > k},
            "classes": dict(zip(class_names, by_class, strict=True)),
            "confusion": matrix.tolist(),
            "ece": calibration_error(labels, scores, seed=seed),
        }
    )
    return found


def as_dict(figures: Any) -> Any:
    """Return nested figures as plain dictionaries, NaN as None: JSON knows no NaN."""
    if isinstance(figures, Figure):
        return as_dict(asdict(figures))
    if isinstance(figures, dict):
        return {name: as_dict(figure) for name, figure in figures.items()}
    if isinstance(figures, float):
        return None if math.isnan(figures) else float(figures)
    return figures


def confusion(labels: NDArray, scores: NDArray) -> NDArray[np.int64]:
    """Count images by true class (rows) and predicted class (columns), [k, k]."""
    matrix = confusion_matrix(labels, scores.argmax(axis=1), labels=range(scores.shape[1]))
    return np.asarray(matrix)


def _check(labels: NDArray, scores: NDArray) -> None:
    if scores.ndim != 2 or scores.shape[1] < 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"labels {labels.shape} do not fit scores {scores.shape}")
    if len(np.unique(labels)) < 2:
        raise ValueError("figures need test images of at least two classes")


def ranked_classes(labels: NDArray, scores: NDArray, positive: int = 1) -> list[int]:
    """List the positive class of two, or all classes that have images, each against the rest."""
    return [positive] if scores.shape[1] == 2 else [int(c) for c in np.unique(labels)]


def _class_figures(hits: int, given: int, called: int) -> dict[str, Any]:
    jaccard = proportion(hits, given + called - hits)
    value, low, high = (2 * j / (1 + j) for j in (jaccard.value, jaccard.low, jaccard.high))
    return {
        "images": given,
        "precision": proportion(hits, called),
        "recall": proportion(hits, given),
        "f1": Figure(value, low, high, "wilson of jaccard"),
    }


def worth(n: Sequence[int] | NDArray) -> float:
    """Count the images that a mean over classes of so many images each is worth; k² / Σ 1 / n."""
    return float(len(n) * hmean(n))


def _top(labels: NDArray, scores: NDArray, k: int) -> Figure:
    classes = list(range(scores.shape[1]))
    hits = top_k_accuracy_score(labels, scores, k=k, labels=classes, normalize=False)
    return proportion(int(hits), len(labels))
