"""The output unit that fits the number of classes, and the loss that fits the output unit."""

import keras
from keras import layers


def output_unit(classes: int) -> layers.Dense:
    """Make the last layer: one sigmoid unit for two classes, softmax for more.

    It computes in float32 under any precision.
    """
    if classes == 2:
        return layers.Dense(1, activation="sigmoid", dtype="float32", name="output")
    return layers.Dense(classes, activation="softmax", dtype="float32", name="output")


def loss_for(model: keras.Model) -> str:
    """Name the cross-entropy that fits the model's output, for labels int [n]."""
    units = model.output_shape[-1]
    return "binary_crossentropy" if units == 1 else "sparse_categorical_crossentropy"
