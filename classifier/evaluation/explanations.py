"""What a network looks at, and what its layers make of a picture."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

# Below so many pixels a feature map says nothing about where in the picture.
SMALLEST_MAP = 5
CONVOLUTIONS = (layers.Conv2D, layers.SeparableConv2D)
POOLINGS = (layers.MaxPooling2D, layers.AveragePooling2D)


def grad_cam(
    model: keras.Model, images: NDArray[np.uint8], classes: Sequence[int] | NDArray
) -> NDArray[np.float32]:
    """Find where in each picture lies what speaks for a class.

    Grad-CAM (Selvaraju et al. 2017, equations 1 and 2): the channels of the explained convolution,
    weighted with the mean gradient of the class's logit, summed up; what speaks against the class
    is cut off.

    Args:
        model: its last layer is dense; it may branch and hold other models.
        images: uint8 [n, size, size, 3].
        classes: of each picture, the class to explain.

    Returns:
        float32 [n, h, w], h and w those of the convolution's map, 0 to 1; all 0 where nothing
        speaks for the class.

    Examples:
        >>> scores = model.predict(images, verbose=0)
        >>> heat = grad_cam(model, images, scores.argmax(axis=1))
    """
    maps, gradient = logit_gradient(model, explained_layer(model), images, np.asarray(classes))
    heat = np.maximum(np.einsum("nhwc,nc->nhw", maps, gradient.mean(axis=(1, 2))), 0)
    highest = heat.max(axis=(1, 2), keepdims=True)
    return np.asarray(heat / np.where(highest > 0, highest, 1), np.float32)


def explained_layer(model: keras.Model) -> keras.Layer:
    """Return the last convolution whose map is 5 pixels wide or more, or else the first one.

    Where branches are added up, their sum counts as one: a convolution is but a part of it.
    """
    kinds = (*CONVOLUTIONS, layers.Add)
    found = [layer for layer in layers_in(model) if isinstance(layer, kinds)]
    wide = [layer for layer in found if min(layer.output.shape[1:3]) >= SMALLEST_MAP]
    return (wide or found[:1])[-1]


def layers_in(model: keras.Model) -> Iterator[keras.Layer]:
    """Yield a model's layers in order, those of models inside it among them."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from layers_in(layer)
        else:
            yield layer


def logit_gradient(
    model: keras.Model, layer: keras.Layer, images: NDArray[np.uint8], classes: NDArray
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a layer's maps and the gradient by them of each picture's class logit."""
    output = model.layers[-1]
    features = keras.Model(model.inputs, output.input)
    # Not through sigmoid or softmax, whose gradient is 0 where the network is sure.
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        with listening([layer], heard=tape.watch) as maps:
            logits = features([images], training=False) @ output.kernel + output.bias
        signs = np.eye(output.units)[classes] if output.units > 1 else 2 * classes[:, None] - 1
        logit = tf.reduce_sum(logits * signs.astype(np.float32))
    [(_, found)] = maps
    return found.numpy(), tape.gradient(logit, found).numpy()


@contextmanager
def listening(
    listened: Sequence[keras.Layer], heard: Callable[[Any], None] = lambda output: None
) -> Iterator[list[tuple[str, Any]]]:
    """Collect names and outputs of layers while models are called, in the order of the calls.

    A layer inside another model has no tensor in the outer one's graph that could be asked for.
    """
    outputs: list[tuple[str, Any]] = []

    def also_kept(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def kept(*args: Any, **options: Any) -> Any:
            output = call(*args, **options)
            heard(output)
            outputs.append((name, output))
            return output

        return kept

    for layer in listened:
        layer.call = also_kept(layer.name, layer.call)
    try:
        yield outputs
    finally:
        for layer in listened:
            del layer.call  # the class's own is found again


def activations(
    model: keras.Model, image: NDArray[np.uint8]
) -> list[tuple[str, NDArray[np.float32]]]:
    """Compute what every convolution and pooling layer makes of one picture.

    Args:
        model: any; it may branch and hold other models.
        image: uint8 [size, size, 3].

    Returns:
        The layers' names and outputs, float32 [h, w, channels], in order.
    """
    kinds = (*CONVOLUTIONS, *POOLINGS)
    spatial = [layer for layer in layers_in(model) if isinstance(layer, kinds)]
    with listening(spatial) as outputs:
        model(np.asarray(image)[np.newaxis], training=False)
    return [(name, np.asarray(output[0], np.float32)) for name, output in outputs]
