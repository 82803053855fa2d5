"""Passing pictures through a trained model in the form that is fast on the machine at hand."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from classifier.training.precision import dtype_policy

# Pictures a call: of cnn5, 16 to 32 were fastest on a CPU with AVX512-BF16, 8 took a tenth longer.
AT_ONCE = 32
ALLOWED = 0.005  # the share of pictures that may be another class in another precision
NEXT_TO_0 = 2.0**-24  # half of what 1 and the float32 below it lie apart
CLOSEST = 32  # calls that are looked at; more where ALLOWED of all pictures is a quarter of more

Run = Callable[[NDArray], Any]


@dataclass(frozen=True)
class Inference:
    """The Keras dtype policy that a model was tested in, and why, in words."""

    policy: str
    why: str


def in_precision(model: keras.Model, policy: str) -> keras.Model:
    """Copy a network and its weights into a precision; the last layer stays in its own.

    Args:
        model: Sequential or functional, of Keras's own layers, in float32.
        policy: a Keras dtype policy.

    Returns:
        The copy, or `model` itself where that is float32.
    """
    if policy == "float32":
        return model

    def clone(layer: keras.Operation) -> keras.Operation:
        changed = isinstance(layer, keras.Layer) and layer is not model.layers[-1]
        return type(layer).from_config(layer.get_config() | ({"dtype": policy} if changed else {}))

    with dtype_policy(policy):
        copy: keras.Model = keras.models.clone_model(model, clone_function=clone, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def mirrored(model: keras.Model) -> keras.Model:
    """Wrap a network: its outputs become the means over a picture and its mirror image.

    Args:
        model: from uint8 [n, size, size, 3].
    """
    pictures = keras.Input(batch_shape=model.input_shape, dtype="uint8")
    outputs = [model(pictures), model(keras.ops.flip(pictures, axis=2))]
    return keras.Model(pictures, keras.layers.Average(dtype="float32")(outputs))


def compiled(model: keras.Model) -> Run:
    """Trace a model once for batches of any size.

    Keras's own `predict` takes half as long again for cnn5, and traces its functions anew for the
    last, smaller batch, and for each copy of a model.
    """
    given = model.inputs[0]
    spec = tf.TensorSpec(given.shape, given.dtype)
    return tf.function(lambda batch: model(batch, training=False), input_signature=[spec])


def in_batches(run: Run, inputs: NDArray, title: str | None = None) -> list[NDArray]:
    """Each of a model's outputs, float32, for all inputs [n, ...]; a title shows how far it is."""
    parts = []
    hidden = None if title else True  # None: hidden where nobody watches
    with tqdm(total=len(inputs), desc=title, unit=" pictures", disable=hidden) as bar:
        for start in range(0, len(inputs), AT_ONCE):
            batch = np.asarray(inputs[start : start + AT_ONCE])
            outputs = keras.tree.flatten(run(batch))
            parts.append([np.asarray(output, np.float32) for output in outputs])
            bar.update(len(batch))
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def class_scores(outputs: NDArray) -> NDArray[np.float64]:
    """Turn a network's outputs, [n, 1] or [n, classes], into float64 [n, classes]."""
    outputs = np.asarray(outputs, np.float64)
    if outputs.shape[1] == 1:
        # Near 0 a sigmoid is finer by far than near 1, where it would leave the other class none;
        # which of the two comes second must not matter.
        outputs = np.clip(outputs, NEXT_TO_0, 1 - NEXT_TO_0)
        return np.concatenate([1 - outputs, outputs], axis=1)
    return outputs / outputs.sum(axis=1, keepdims=True)


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
    return class_scores(in_batches(compiled(model), images)[0])


def agreement(
    model: keras.Model, policy: str, images: NDArray[np.uint8], found: NDArray[np.float64]
) -> Inference:
    """Decide whether a precision may stand for float32: 99.5 % of the pictures keep their class.

    Rounding can turn the calls whose two best classes are closest, so that float32 is asked for
    those alone.

    Args:
        model: in float32.
        policy: the precision that was computed in.
        images: uint8 [n, size, size, 3], of validation.
        found: float64 [n, classes], their scores in that precision.

    Returns:
        That precision, or float32.
    """
    if policy == "float32":
        return Inference(policy, "")
    ranked = np.sort(found, axis=1)
    margins = np.nan_to_num(ranked[:, -1] - ranked[:, -2])  # what is not finite comes first
    allowed = ALLOWED * len(images)
    count = max(CLOSEST, math.ceil(4 * allowed))
    closest = np.sort(np.argsort(margins, kind="stable")[:count])
    calls = np.where(np.isfinite(found).all(axis=1), found.argmax(axis=1), -1)[closest]
    turned = int((calls != scores(model, images[closest]).argmax(axis=1)).sum())
    told = (
        f"turns {turned} of the {len(closest):,} closest calls among {len(images):,} "
        "validation pictures"
    )
    if turned > allowed:
        return Inference("float32", f"as {policy} {told}")
    return Inference(policy, f"which {told}")
