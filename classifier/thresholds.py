"""The decision threshold of a two-class model: chosen on validation, reported on test.

The checking of params.yaml needs `parse_goal` alone: what is heavy is imported by who needs it.
"""

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ALLOWED = "a number between 0 and 1, youden, precision>=0.95 or recall>=0.95"


@dataclass(frozen=True)
class Goal:
    """What a threshold is chosen for; `target` is a score, a precision or a recall, or unused."""

    kind: Literal["fixed", "youden", "precision", "recall"]
    target: float = 0.0

    def __str__(self) -> str:
        if self.kind == "fixed":
            return f"{self.target:g}"
        return self.kind if self.kind == "youden" else f"{self.kind}>={self.target:g}"


@dataclass(frozen=True)
class Threshold:
    """Images with a score of at least `value` are called positive.

    reached: whether the goal was reached on the images it was chosen on; note: one line on how.
    """

    value: float
    goal: str
    reached: bool
    note: str


def parse_goal(stated: str | float) -> Goal:
    """Read a goal; raises ValueError, with what is allowed, for anything else."""
    text = str(stated).replace(" ", "")
    if isinstance(stated, bool):
        raise ValueError(ALLOWED)
    if text == "youden":
        return Goal("youden")
    name, _, number = text.rpartition(">=")
    if name not in ("", "precision", "recall") or (not name and ">=" in text):
        raise ValueError(ALLOWED)
    if isinstance(stated, str) and not re.fullmatch(r"\d*\.?\d+(e-?\d+)?", number):
        raise ValueError(ALLOWED)
    target = float(number)
    if not (math.isfinite(target) and 0 < target < 1):
        raise ValueError(ALLOWED)
    if name == "precision":
        return Goal("precision", target)
    return Goal("recall", target) if name else Goal("fixed", target)


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
    """
    aim = parse_goal(goal)
    if aim.kind == "fixed":
        return Threshold(aim.target, str(aim), True, "given, not chosen")
    if len(np.unique(labels)) < 2:
        raise ValueError("a threshold can't be chosen on images of one class alone")

    candidates, hits, alarms = _counts(labels, positive)
    recall = hits / hits[-1]
    precision = hits / (hits + alarms)
    reached = True
    if aim.kind == "youden":
        best = int(np.argmax(recall - alarms / alarms[-1]))
    elif aim.kind == "recall":
        # 0.95 × 20 positives is 19 of 20, though 19/20 is a hair below 0.95 in binary.
        enough = recall >= aim.target - 1e-12
        best = int(np.argmax(np.where(enough, precision, -1)))
    else:
        enough = precision >= aim.target - 1e-12
        reached = bool(enough.any())
        # Of equally precise thresholds the lowest, which finds most.
        wanted = enough if reached else precision == precision.max()
        best = int(np.flatnonzero(wanted)[-1])

    note = f"precision {precision[best]:.3f} and recall {recall[best]:.3f} on {len(labels)} images"
    if not reached:
        note = f"no threshold reaches {aim}; the most precise one gives {note}"
    return Threshold(_halfway_down(candidates, best), str(aim), reached, note)


def at_threshold(labels: NDArray, positive: NDArray, value: float) -> dict[str, Any]:
    """Return accuracy, precision, recall and specificity, each with its interval, and the counts.

    labels: int64 [n], 0 or 1; positive: float64 [n]; for the test split. Intervals are Wilson's.
    """
    from classifier.metrics import as_dict, proportion

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
    from sklearn.metrics import confusion_matrix_at_thresholds

    _, alarms, _, hits, candidates = confusion_matrix_at_thresholds(labels, positive, pos_label=1)
    return candidates, hits, alarms


def _halfway_down(candidates: NDArray, best: int) -> float:
    chosen = float(candidates[best])
    if best + 1 == len(candidates):
        return chosen
    below = float(candidates[best + 1])
    middle = (chosen + below) / 2
    return middle if below < middle else chosen
