"""From a trained model's outputs to the probability of each class."""

import keras
import numpy as np
from numpy.typing import NDArray

PREDICTED_AT_ONCE = 32


def scores(model: keras.Model, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The probability of each class.

    Args:
        model: from uint8 [n, size, size, 3] to [n, 1] or [n, classes].
        images: uint8 [n, size, size, 3].

    Returns:
        float64 [n, classes]; rows sum to 1.
    """
    return class_scores(model.predict(images, batch_size=PREDICTED_AT_ONCE, verbose=0))


def class_scores(outputs: NDArray) -> NDArray[np.float64]:
    """Turn a network's outputs, [n, 1] or [n, classes], into float64 [n, classes]."""
    outputs = np.asarray(outputs, np.float64)
    if outputs.shape[1] == 1:
        return np.concatenate([1 - outputs, outputs], axis=1)
    return outputs / outputs.sum(axis=1, keepdims=True)
