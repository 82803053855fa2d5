"""What a network looks at, and what its layers make of a picture."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

# Below so many pixels a feature map says nothing about where in the picture.
SMALLEST_MAP = 5


def grad_cam(
    model: keras.Model, images: NDArray[np.uint8], classes: Sequence[int] | NDArray
) -> NDArray[np.float32]:
    """Where in each picture lies what speaks for a class (Selvaraju et al. 2017, equations 1, 2).

    The channels of the last convolution whose map is 5 pixels wide or more, weighted with the mean
    gradient of the class's logit, summed up; what speaks against the class is cut off.

    Args:
        model: its layers follow each other; the last one is dense.
        images: uint8 [n, size, size, 3].
        classes: of each picture, the class to explain.

    Returns:
        float32 [n, h, w], h and w those of the convolution's map, 0 to 1; all 0 where nothing
        speaks for the class.
    """
    name = explained_layer(model)
    maps = keras.Model(model.inputs, model.get_layer(name).output).predict_on_batch(
        np.asarray(images)
    )
    maps = np.asarray(maps, np.float32)
    gradient = _logit_gradient(model, name, maps, np.asarray(classes))
    weights = gradient.mean(axis=(1, 2))
    heat = np.maximum(np.einsum("nhwc,nc->nhw", maps, weights), 0)
    highest = heat.max(axis=(1, 2), keepdims=True)
    return np.asarray(heat / np.where(highest > 0, highest, 1), np.float32)


def explained_layer(model: keras.Model) -> str:
    """The name of the last convolution whose map is wide enough, or of the first one."""
    found = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    wide = [layer for layer in found if min(layer.output.shape[1:3]) >= SMALLEST_MAP]
    return str((wide or found[:1])[-1].name)


def _logit_gradient(
    model: keras.Model, name: str, maps: NDArray[np.float32], classes: NDArray
) -> NDArray[np.float32]:
    """The gradient of each picture's class logit with respect to a layer's output `maps`.

    Keras has no function for it on all its backends. But an offset of zeros is added to the maps
    here, and one step of gradient descent at rate 1 moves it by the gradient.
    """
    offset = _Offset(maps.shape)
    inputs = keras.Input(batch_shape=maps.shape)
    x = offset(inputs)
    position = [layer.name for layer in model.layers].index(name)
    for layer in model.layers[position + 1 : -1]:
        # Dropout would drop: Keras takes a training step for training.
        if not isinstance(layer, layers.Dropout):
            x = layer(x)
    output = model.layers[-1]
    # Not through sigmoid or softmax, whose gradient is 0 where the network is sure.
    logit = layers.Dense(output.units, dtype="float32", name="logit")
    ascent = keras.Model(inputs, logit(x))
    logit.set_weights(output.get_weights())
    if output.units == 1:
        chosen = np.where(classes == 1, 1.0, -1.0)[:, np.newaxis]
    else:
        chosen = np.eye(output.units)[classes]
    # These layers are the model's own: only for this step they stand still.
    shared = [layer for layer in ascent.layers if layer is not offset]
    trainable = [layer.trainable for layer in shared]
    for layer in shared:
        layer.trainable = False
    ascent.compile(
        optimizer=keras.optimizers.SGD(learning_rate=1.0),
        loss=lambda wanted, logits: -keras.ops.sum(wanted * logits, axis=-1) * len(maps),
    )
    ascent.train_on_batch(maps, np.asarray(chosen, np.float32))
    for layer, state in zip(shared, trainable, strict=True):
        layer.trainable = state
    return np.asarray(keras.ops.convert_to_numpy(offset.values), np.float32)


class _Offset(layers.Layer):
    """Adds a trainable value, at first 0, to every input value."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.values = self.add_weight(shape=shape, initializer="zeros", dtype="float32")

    def call(self, inputs: Any) -> Any:
        return inputs + self.values


def activations(
    model: keras.Model, image: NDArray[np.uint8]
) -> list[tuple[str, NDArray[np.float32]]]:
    """What every convolution and pooling layer makes of one picture.

    Args:
        model: whose layers follow each other.
        image: uint8 [size, size, 3].

    Returns:
        The layers' names and outputs, float32 [h, w, channels], in order.
    """
    spatial = [
        layer
        for layer in model.layers
        if isinstance(layer, (layers.Conv2D, layers.MaxPooling2D, layers.AveragePooling2D))
    ]
    outputs = keras.Model(model.inputs, [layer.output for layer in spatial]).predict_on_batch(
        np.asarray(image)[np.newaxis]
    )
    if len(spatial) == 1:
        outputs = [outputs]
    return [
        (layer.name, np.asarray(output[0], np.float32))
        for layer, output in zip(spatial, outputs, strict=True)
    ]
