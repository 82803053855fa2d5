"""From trained models and pictures to the probability of each class."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from classifier.base.errors import UserError
from classifier.base.splits import Split
from classifier.transfer.winograd import accelerated

PREDICTED_AT_ONCE = 32
JUDGED = ("validation", "test")  # what was chosen, and tested, on pictures not trained on


@dataclass(frozen=True)
class Seen:
    """What the models make of the pictures.

    Attributes:
        scores: by split (those of `JUDGED`) and model, float64 [n, k], rows sum to 1.
        features: by split, float32 [n, d], what one model's output layer is given.
    """

    scores: dict[str, dict[str, NDArray[np.float64]]]
    features: dict[str, NDArray[np.float32]]


def look(models: Mapping[str, keras.Model], splits: Mapping[str, Split], features_of: str) -> Seen:
    """Pass pictures through each model, once.

    Args:
        models: by name.
        splits: train, validation and test.
        features_of: the model whose features are kept, of all splits.

    Raises:
        UserError: what a model gives is not finite.
    """
    seen = Seen({name: {} for name in JUDGED}, {})
    for model_name, model in models.items():
        wanted = list(splits) if model_name == features_of else JUDGED
        fast = accelerated(model, sum(len(splits[name]) for name in wanted))
        # A large network's pass over the pictures is what evaluation waits for: whatever else is
        # wanted of it comes from the same pass.
        features = [fast.layers[-1].input] if model_name == features_of else []
        run = compiled(keras.Model(fast.inputs, [fast.outputs[0], *features]))
        for name in wanted:
            parts = _pass(run, splits[name].images, f"{model_name}, {name}")
            if not all(np.isfinite(part).all() for part in parts):
                raise UserError(
                    f"{model_name} diverged in training: its scores are not finite; lower its "
                    "learning rate and dvc repro"
                )
            if name in JUDGED:
                seen.scores[name][model_name] = class_scores(parts[0])
            if features:
                seen.features[name] = parts[1]
    return seen


def compiled(model: keras.Model) -> Callable[[NDArray[np.uint8]], Any]:
    """Trace a model once for batches of any size.

    Keras traces its functions anew for the last, smaller batch, and for each copy of a model.
    """
    shape = tf.TensorSpec(model.inputs[0].shape, tf.uint8)
    return tf.function(lambda images: model(images, training=False), input_signature=[shape])


def _pass(
    run: Callable[[NDArray[np.uint8]], Any], images: NDArray[np.uint8], title: str
) -> list[NDArray]:
    """Each of a model's outputs, for all pictures."""
    parts = []
    with tqdm(total=len(images), desc=title, unit=" pictures", disable=None) as bar:
        for start in range(0, len(images), PREDICTED_AT_ONCE):
            batch = np.asarray(images[start : start + PREDICTED_AT_ONCE])
            parts.append([output.numpy() for output in keras.tree.flatten(run(batch))])
            bar.update(len(batch))
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def scores(model: keras.Model, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute the probability of each class.

    Args:
        model: from uint8 [n, size, size, 3] to [n, 1] or [n, classes].
        images: uint8 [n, size, size, 3].

    Returns:
        float64 [n, classes]; rows sum to 1.

    Examples:
        >>> model, metadata = load_model(Path("data/models/baseline.keras"))
        >>> table = scores(model, read_split("test").images)
    """
    return class_scores(model.predict(images, batch_size=PREDICTED_AT_ONCE, verbose=0))


def class_scores(outputs: NDArray) -> NDArray[np.float64]:
    """Turn a network's outputs, [n, 1] or [n, classes], into float64 [n, classes]."""
    outputs = np.asarray(outputs, np.float64)
    if outputs.shape[1] == 1:
        return np.concatenate([1 - outputs, outputs], axis=1)
    return outputs / outputs.sum(axis=1, keepdims=True)
