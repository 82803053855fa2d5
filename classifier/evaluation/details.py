"""The content of details.json: every figure of every model, and the pictures to look at."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from numpy.typing import NDArray
from sklearn.metrics import log_loss

from classifier.base.splits import Split
from classifier.evaluation import calibration, figures, thresholds
from classifier.evaluation.comparison import compare_models
from classifier.evaluation.label_errors import find_label_errors
from classifier.evaluation.outliers import find_outliers
from classifier.evaluation.scores import JUDGED, Seen


def all_details(
    splits: Mapping[str, Split], seen: Seen, goal: str | float, positive: int = 1
) -> dict[str, Any]:
    """Compute all that details.json holds.

    Args:
        splits: train, validation and test.
        seen: what the models made of them.
        goal: of the threshold, as `evaluate.threshold` has it.
        positive: which of two classes is the positive one.

    Returns:
        models (see `judge`; tested: in which precision, and why), comparisons (each pair's
        `comparison.Comparison`), label_errors and outliers, classes, positive (the name of that
        class; None for more than two) and images: how many each split has.
    """
    validation, test = (splits[name] for name in JUDGED)
    classes = test.classes
    models = {
        name: judge(
            (validation.labels, seen.scores["validation"][name]),
            (test.labels, scores),
            classes,
            goal,
            positive,
        )
        | {"tested": asdict(seen.tested[name])}
        for name, scores in seen.scores["test"].items()
    }
    judged = {name: splits[name] for name in JUDGED}
    return {
        "models": models,
        "comparisons": [asdict(pair) for pair in compare_models(test.labels, seen.scores["test"])],
        "label_errors": find_label_errors(judged, seen.features),
        "outliers": find_outliers(splits, seen.features),
        "classes": list(classes),
        "positive": classes[positive] if len(classes) == 2 else None,
        "images": {name: len(split) for name, split in splits.items()},
    }


def judge(
    validation: tuple[NDArray, NDArray],
    test: tuple[NDArray, NDArray],
    classes: Sequence[str],
    goal: str | float,
    positive: int = 1,
) -> dict[str, Any]:
    """Compute everything about one model that is a figure.

    Temperature and threshold are chosen on the validation split; all else is about the test split.

    Args:
        validation: labels int64 [n] and scores float64 [n, k].
        test: likewise.
        classes: the names of the k classes.
        goal: of the threshold, as `evaluate.threshold` has it; used for two classes.
        positive: which of two classes is the positive one.

    Returns:
        test (see `figures.details`), temperature, reliability (its bins), calibrated (ece, log_loss
        and reliability after temperature scaling), and threshold, None for more than two classes:
        how it was chosen, and under `test` what it does (see `thresholds.at_threshold`). It is a
        threshold of the score as the model gives it, not of the calibrated one.
    """
    labels, scores = test
    temperature = calibration.fit_temperature(*validation)
    calibrated = calibration.apply_temperature(scores, temperature)
    threshold = None
    if len(classes) == 2:
        true, score = validation[0] == positive, validation[1][:, positive]
        chosen = thresholds.choose(true, score, goal)
        at_chosen = thresholds.at_threshold(labels == positive, scores[:, positive], chosen.value)
        threshold = {**asdict(chosen), "positive": classes[positive], "test": at_chosen}
    return {
        "test": figures.details(labels, scores, classes, positive=positive),
        "temperature": temperature,
        "reliability": [asdict(bin_) for bin_ in calibration.reliability(labels, scores)],
        "calibrated": {
            "ece": calibration.calibration_error(labels, calibrated),
            "log_loss": float(log_loss(labels, calibrated, labels=list(range(len(classes))))),
            "reliability": [asdict(bin_) for bin_ in calibration.reliability(labels, calibrated)],
        },
        "threshold": threshold,
    }
