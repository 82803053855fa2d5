"""The decision threshold of a two-class model: chosen on validation, reported on test."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix_at_thresholds

from classifier.base.wording import decimals
from classifier.evaluation.figures import as_dict
from classifier.evaluation.intervals import proportion


@dataclass(frozen=True)
class Threshold:
    """Images with a score of at least `value` are called positive.

    reached: whether the goal was reached on the images it was chosen on; note: one line on how.
    """

    value: float
    goal: str
    reached: bool
    note: str


def parse_goal(stated: str | float) -> tuple[str, float]:
    """Read evaluate.threshold, whose form the checking of params.yaml has seen to.

    Returns:
        `fixed` with the score, `youden` with 0, `precision` or `recall` with what is to be reached.

    Raises:
        ValueError: it is none of these.
    """
    if not isinstance(stated, str):
        return "fixed", float(stated)
    if stated == "youden":
        return stated, 0.0
    kind, _, target = stated.partition(">=")
    if kind not in ("precision", "recall"):
        raise ValueError(f"{stated!r} is no goal that a threshold could be chosen for")
    return kind, float(target)


def choose(labels: NDArray, positive: NDArray, goal: str | float) -> Threshold:
    """Choose a threshold for `goal` on the validation split.

    labels: int64 [n], 0 or 1; positive: float64 [n], the score of class 1.

    A number is taken as it is. `youden` maximises sensitivity + specificity − 1. `precision>=p`
    gives the highest recall among the thresholds of at least that precision, `recall>=r` the
    highest precision among those of at least that recall. Where no threshold reaches the
    precision, the most precise one is returned with `reached` False. The value lies halfway to the
    next lower score: the same decisions on these images, and no image of the test split falls out
    for lying a hair below. Raises ValueError for a goal that `parse_goal` refuses and for labels of
    one class alone.

    Examples:
        >>> labels, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.5, 0.9])
        >>> round(choose(labels, scores, "precision>=0.95").value, 2)
        0.75
    """
    kind, target = parse_goal(goal)
    if kind == "fixed":
        return Threshold(target, str(goal), True, "given, not chosen")
    if len(np.unique(labels)) < 2:
        raise ValueError("a threshold can't be chosen on images of one class alone")

    candidates, hits, alarms = _counts(labels, positive)
    recall = hits / hits[-1]
    precision = hits / (hits + alarms)
    reached = True
    if kind == "youden":
        best = int(np.argmax(recall - alarms / alarms[-1]))
    elif kind == "recall":
        # 0.95 × 20 positives is 19 of 20, though 19/20 is a hair below 0.95 in binary.
        enough = recall >= target - 1e-12
        best = int(np.argmax(np.where(enough, precision, -1)))
    else:
        enough = precision >= target - 1e-12
        reached = bool(enough.any())
        # Of equally precise thresholds the lowest, which finds most.
        wanted = enough if reached else precision == precision.max()
        best = int(np.flatnonzero(wanted)[-1])

    shown = f"precision {decimals(precision[best])} and recall {decimals(recall[best])}"
    note = f"{shown} on {len(labels)} images"
    if not reached:
        note = f"no threshold reaches {goal}; the most precise one gives {note}"
    return Threshold(_halfway_down(candidates, best), str(goal), reached, note)


def at_threshold(labels: NDArray, positive: NDArray, value: float) -> dict[str, Any]:
    """Return accuracy, precision, recall and specificity, each with its interval, and the counts.

    labels: int64 [n], 0 or 1; positive: float64 [n]; for the test split. Intervals are Wilson's.
    """
    called = positive >= value
    true = labels == 1
    right_calls = int((called & true).sum())
    right_passes = int((~called & ~true).sum())
    return {
        "threshold": value,
        "accuracy": as_dict(proportion(right_calls + right_passes, len(labels))),
        "precision": as_dict(proportion(right_calls, int(called.sum()))),
        "recall": as_dict(proportion(right_calls, int(true.sum()))),
        "specificity": as_dict(proportion(right_passes, int((~true).sum()))),
        "confusion": [
            [right_passes, int((called & ~true).sum())],
            [int((~called & true).sum()), right_calls],
        ],
    }


def _counts(labels: NDArray, positive: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return the distinct scores, falling, and the true and false positives at each."""
    _, alarms, _, hits, candidates = confusion_matrix_at_thresholds(labels, positive, pos_label=1)
    return candidates, hits, alarms


def _halfway_down(candidates: NDArray, best: int) -> float:
    chosen = float(candidates[best])
    if best + 1 == len(candidates):
        return chosen
    below = float(candidates[best + 1])
    middle = (chosen + below) / 2
    return middle if below < middle else chosen
