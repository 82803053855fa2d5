"""From trained models and pictures to scores, figures and the files that hold them."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import log_loss
from tqdm import tqdm

from classifier.base.errors import UserError
from classifier.base.files import whole, write_text
from classifier.base.splits import Split
from classifier.evaluation import calibration, curves, figures, label_errors, thresholds
from classifier.evaluation.comparison import compare_models
from classifier.evaluation.scores import PREDICTED_AT_ONCE, class_scores
from classifier.transfer.winograd import accelerated

Charts = dict[str, list[dict[str, Any]]]  # rows by model

CHARTS = ("roc", "precision_recall", "reliability", "scores", "confusion")


@dataclass(frozen=True)
class Seen:
    """What the models make of the pictures of a split.

    Attributes:
        scores: of each model, float64 [n, k], rows sum to 1.
        features: float32 [n, d], what one model's output layer is given.
    """

    scores: dict[str, NDArray[np.float64]]
    features: NDArray[np.float32]


def look(models: Mapping[str, keras.Model], split: Split, features_of: str) -> Seen:
    """Pass the pictures of a split through each model, once.

    Args:
        models: by name.
        split: with the pictures.
        features_of: the model whose features are kept.

    Raises:
        UserError: what a model gives is not finite.
    """
    scores = {}
    for name, model in models.items():
        fast = accelerated(model, len(split))
        # A large network's pass over the pictures is what evaluation waits for: whatever else is
        # wanted of it comes from the same pass.
        layers = [fast.layers[-1].input] if name == features_of else []
        parts = _pass(keras.Model(fast.inputs, [fast.outputs[0], *layers]), split.images, name)
        if not all(np.isfinite(part).all() for part in parts):
            raise UserError(
                f"{name} diverged in training: its scores are not finite; lower its learning rate "
                "and dvc repro"
            )
        scores[name] = class_scores(parts[0])
        if layers:
            features = parts[1].reshape(len(split), -1)
    return Seen(scores, features)


def _pass(model: keras.Model, images: NDArray[np.uint8], title: str) -> list[NDArray]:
    """Each of a model's outputs, for all pictures."""
    parts: list[list[NDArray]] = []
    with tqdm(total=len(images), desc=title, unit=" pictures", disable=None) as bar:
        for start in range(0, len(images), PREDICTED_AT_ONCE):
            batch = np.asarray(images[start : start + PREDICTED_AT_ONCE])
            parts.append(keras.tree.flatten(model.predict_on_batch(batch)))
            bar.update(len(batch))
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def judge(
    validation: tuple[NDArray, NDArray],
    test: tuple[NDArray, NDArray],
    classes: Sequence[str],
    goal: str | float,
) -> dict[str, Any]:
    """Everything about one model that is a figure.

    Temperature and threshold are chosen on the validation split; all else is about the test split.

    Args:
        validation: labels int64 [n] and scores float64 [n, k].
        test: likewise.
        classes: the names of the k classes.
        goal: of the threshold, as `evaluate.threshold` has it; used for two classes.

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
        chosen = thresholds.choose(validation[0], validation[1][:, 1], goal)
        at_chosen = thresholds.at_threshold(labels, scores[:, 1], chosen.value)
        threshold = {**asdict(chosen), "positive": classes[1], "test": at_chosen}
    return {
        "test": figures.details(labels, scores, classes),
        "temperature": temperature,
        "reliability": [asdict(bin_) for bin_ in calibration.reliability(labels, scores)],
        "calibrated": {
            "ece": calibration.calibration_error(labels, calibrated),
            "log_loss": float(log_loss(labels, calibrated, labels=list(range(len(classes))))),
            "reliability": [asdict(bin_) for bin_ in calibration.reliability(labels, calibrated)],
        },
        "threshold": threshold,
    }


def find_label_errors(splits: Mapping[str, Split], features: Mapping[str, NDArray]) -> list[dict]:
    """Pictures whose label is likely wrong, the surest first.

    Of validation and test: their features are known from the pass that gave the scores, and the
    network that made them never saw their labels. The training pictures would take another pass,
    through a network that may have learned their wrong labels by heart; the report says so.

    Args:
        splits: those to look through.
        features: of each of them, float [n, d].

    Returns:
        split, row (in the split), path, label, suggested and confidence of each.
    """
    rows = [(name, row) for name, split in splits.items() for row in range(len(split))]
    suspects = label_errors.likely_wrong(
        np.concatenate([features[name] for name in splits]),
        np.concatenate([split.labels for split in splits.values()]),
    )
    found = []
    for suspect in suspects:
        name, row = rows[suspect.index]
        split = splits[name]
        found.append(
            {
                "split": name,
                "row": row,
                "path": split.paths[row],
                "label": split.classes[suspect.given],
                "suggested": split.classes[suspect.suggested],
                "confidence": suspect.confidence,
            }
        )
    return found


def all_details(
    splits: Mapping[str, Split], seen: Mapping[str, Seen], goal: str | float
) -> dict[str, Any]:
    """The content of details.json.

    Args:
        splits: train, validation and test.
        seen: validation and test.
        goal: of the threshold, as `evaluate.threshold` has it.

    Returns:
        models (see `judge`), comparisons (each pair's `comparison.Comparison`), label_errors,
        classes and images: how many each split has.
    """
    validation, test = splits["validation"], splits["test"]
    return {
        "models": {
            name: judge(
                (validation.labels, seen["validation"].scores[name]),
                (test.labels, scores),
                test.classes,
                goal,
            )
            for name, scores in seen["test"].scores.items()
        },
        "comparisons": [asdict(pair) for pair in compare_models(test.labels, seen["test"].scores)],
        "label_errors": find_label_errors(
            {name: splits[name] for name in seen},
            {name: split.features for name, split in seen.items()},
        ),
        "classes": list(test.classes),
        "images": {name: len(split) for name, split in splits.items()},
    }


def chart_rows(test: Split, seen: Seen, details: Mapping[str, Any]) -> dict[str, Charts]:
    """The rows of each of `CHARTS`, by model; see `classifier.evaluation.curves`."""
    charts: dict[str, Charts] = {chart: {} for chart in CHARTS}
    for name, scores in seen.scores.items():
        temperature = details["models"][name]["temperature"]
        calibrated = calibration.apply_temperature(scores, temperature)
        charts["roc"][name] = curves.roc(test.labels, scores)
        charts["precision_recall"][name] = curves.precision_recall(test.labels, scores)
        charts["reliability"][name] = curves.reliability_rows(test.labels, scores, calibrated)
        charts["scores"][name] = curves.score_histogram(test.labels, scores, test.classes)
        charts["confusion"][name] = curves.confusion(test.labels, scores, test.classes)
    return charts


def write_charts(folder: Path, charts: Mapping[str, Charts]) -> None:
    """Write FOLDER/CHART/MODEL.tsv of each chart, the confusion matrix as .csv; six digits."""
    for chart, models in charts.items():
        ending, comma = ("csv", ",") if chart == "confusion" else ("tsv", "\t")
        for name, rows in models.items():
            path = folder / chart / f"{name}.{ending}"
            with whole(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, delimiter=comma, lineterminator="\n")
                writer.writerow(rows[0])
                writer.writerows([_short(value) for value in row.values()] for row in rows)


def _short(value: Any) -> Any:
    return format(value, ".6g") if isinstance(value, float) else value


def write_predictions(path: Path, splits: Mapping[str, Split], seen: Mapping[str, Seen]) -> None:
    """Write a row for each model and picture, in this order, scores in full precision.

    Columns: model, split, path, label, predicted and score_CLASS of each class, not calibrated.
    Every figure of the evaluation can be computed from this file: temperatures and thresholds from
    the validation rows, all else from the test rows.

    Args:
        path: of the file.
        splits: those of `seen`, at least.
        seen: validation and test; their order is that of the rows.
    """
    classes = splits["test"].classes
    with whole(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        columns = ["model", "split", "path", "label", "predicted"]
        writer.writerow([*columns, *(f"score_{name}" for name in classes)])
        for model in seen["test"].scores:
            for name, one in seen.items():
                split, table = splits[name], one.scores[model]
                for picture, label, row in zip(split.paths, split.labels, table, strict=True):
                    known = [model, name, picture, classes[label], classes[int(row.argmax())]]
                    writer.writerow([*known, *map(repr, row.tolist())])


def write_details(path: Path, details: Mapping[str, Any]) -> None:
    """Write nested figures as JSON; a figure that has no value is null there, never NaN."""
    text = json.dumps(details, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")
