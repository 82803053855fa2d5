"""All pictures of the report, drawn from the models and what they made of the test split."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from classifier.base.splits import Split
from classifier.evaluation.explanations import activations, grad_cam
from classifier.report import page, pictures
from classifier.training.augmentation import Augmentation

PICTURES = tuple(page.PICTURES)


def draw(
    folder: Path,
    splits: Mapping[str, Split],
    models: Mapping[str, keras.Model],
    scores: Mapping[str, NDArray[np.float64]],
    suspects: Sequence[Mapping[str, Any]],
    outliers: Sequence[Mapping[str, Any]],
    options: Augmentation,
) -> dict[str, Path]:
    """Draw the pictures of `PICTURES`.

    Args:
        folder: where to.
        splits: train, validation and test.
        models: by name, the first one being the one whose layers are shown.
        scores: of each model for the test split.
        suspects: as `find_label_errors` returns them.
        outliers: as `find_outliers` returns them.
        options: of the augmentation.

    Returns:
        Where each one lies.
    """
    paths = {name: folder / f"{name}.png" for name in PICTURES}
    test = splits["test"]
    pictures.samples(paths["samples"], splits["train"])
    pictures.augmentation(paths["augmentation"], splits["train"], options)
    pictures.mistakes(paths["mistakes"], test, scores)
    pictures.disagreements(paths["disagreements"], test, scores)
    pictures.label_errors(paths["label_errors"], splits, suspects)
    pictures.outliers(paths["outliers"], splits, outliers)
    rows = pictures.to_explain(test, scores)
    heat = {
        name: grad_cam(model, test.images[rows], scores[name][rows].argmax(axis=1))
        for name, model in models.items()
    }
    pictures.grad_cam(paths["gradcam"], test, scores, rows, heat)
    first = rows[0]
    model = next(iter(models.values()))
    pictures.activations(
        paths["activations"],
        test.images[first],
        f"{test.classes[test.labels[first]]} · {test.paths[first]}",
        activations(model, test.images[first]),
    )
    return paths
