"""The output unit that fits the number of classes, and the loss that fits the output unit."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray


def output_unit(classes: int) -> layers.Dense:
    """Make the last layer: one sigmoid unit for two classes, softmax for more.

    It computes in float32 under any precision.
    """
    if classes == 2:
        return layers.Dense(1, activation="sigmoid", dtype="float32", name="output")
    return layers.Dense(classes, activation="softmax", dtype="float32", name="output")


def loss_for(model: keras.Model, *, soft: bool = False) -> str:
    """Name the cross-entropy that fits the model's output, for labels int [n] or `soft` ones."""
    if model.output_shape[-1] == 1:
        return "binary_crossentropy"
    return "categorical_crossentropy" if soft else "sparse_categorical_crossentropy"


def soft_labels(
    labels: NDArray[np.int64], units: int, smoothing: float = 0.0
) -> NDArray[np.float32]:
    """Write labels as what an output layer of so many units should say.

    The smoothing is in the labels that are trained on, not in the loss as Keras has it, so that the
    validation loss stays what it is without, and the two can be compared.

    Args:
        labels: int [n].
        units: 1, or one a class.
        smoothing: share of each label that is spread evenly over the classes.

    Returns:
        float32 [n, units].
    """
    classes = max(units, 2)
    spread = np.eye(classes)[labels] * (1 - smoothing) + smoothing / classes
    return spread[:, -units:].astype(np.float32)


def soft_accuracy(labels: Any, outputs: Any) -> Any:
    """Whether each output is right about the class that its soft label has most of."""
    if outputs.shape[-1] == 1:
        return ops.mean(ops.equal(labels > 0.5, outputs > 0.5), axis=-1)
    return keras.metrics.categorical_accuracy(labels, outputs)
