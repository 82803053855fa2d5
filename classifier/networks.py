"""The networks, and the registry that train.arch chooses from.

To add one: write a builder and register it in NETWORKS; allow its name, and say how small a picture
it takes, in classifier/params.py. Its layers follow each other, a convolution among them, and the
last is `output_unit`: evaluation looks into it.
"""

from collections.abc import Callable
from itertools import chain
from pathlib import Path

import keras
from keras import layers

from classifier.convolution import PooledConv2D
from classifier.errors import UserError

# The means that VGG16's ImageNet weights were trained with, of blue, green and red, out of 255
# (keras.applications.vgg16.preprocess_input, mode "caffe").
IMAGENET_MEANS = (103.939, 116.779, 123.68)
VGG16_BLOCKS = 5

# Layers that convolve with so many filters, apply relu and pool, their names ending in a number.
Block = Callable[[int, int, int], list[keras.Layer]]


# From the image size in pixels, the number of classes, the dropout before the output and the
# convolution block to a model.
Builder = Callable[[int, int, float, Block], keras.Model]


def output_unit(classes: int) -> layers.Dense:
    """One sigmoid unit for two classes, softmax for more; in float32 under any precision."""
    if classes == 2:
        return layers.Dense(1, activation="sigmoid", dtype="float32", name="output")
    return layers.Dense(classes, activation="softmax", dtype="float32", name="output")


def loss_for(model: keras.Model) -> str:
    """The cross-entropy that fits the model's output, for labels int [n]."""
    units = model.output_shape[-1]
    return "binary_crossentropy" if units == 1 else "sparse_categorical_crossentropy"


def plain_block(filters: int, pool_size: int, number: int) -> list[keras.Layer]:
    """A 3×3 convolution with relu, then max pooling; of Keras's own layers, for saved models."""
    conv = layers.Conv2D(filters, 3, activation="relu", name=f"conv{number}")
    if pool_size == 1:
        return [conv]
    return [conv, layers.MaxPooling2D(pool_size, name=f"pool{number}")]


def pooled_block(filters: int, pool_size: int, number: int) -> list[keras.Layer]:
    """The same function and weights in the form that trains fastest in float32 on a CPU."""
    return [PooledConv2D(filters, pool_size=pool_size, activation="relu", name=f"conv{number}")]


def cnn5(
    image_size: int, classes: int, dropout: float = 0.0, block: Block = plain_block
) -> keras.Model:
    """Five convolutions from scratch.

    Trained by its tutorial with RMSprop 0.001 and batches of 32: at 180 pixels and without dropout
    30 epochs, behind augmentation with dropout 0.5 100 epochs.

    Args:
        image_size: height and width of the pictures, pixels; 78 or more.
        classes: how many.
        dropout: before the output unit.
        block: makes the convolutions.

    Returns:
        A model from uint8 [n, size, size, 3] to float32 [n, 1], or [n, classes] for more than two.
    """
    filters = [(32, 2), (64, 2), (128, 2), (256, 2), (256, 1)]
    blocks = [block(count, pool, number) for number, (count, pool) in enumerate(filters, start=1)]
    return keras.Sequential(
        [
            keras.Input((image_size, image_size, 3), dtype="uint8"),
            layers.Rescaling(1 / 255, name="rescaling"),
            *chain.from_iterable(blocks),
            layers.Flatten(name="flatten"),
            *([layers.Dropout(dropout, name="dropout")] if dropout else []),
            output_unit(classes),
        ],
        name="cnn5",
    )


NETWORKS: dict[str, Builder] = {"cnn5": cnn5}


def vgg16(
    image_size: int,
    classes: int,
    weights: Path | None,
    *,
    dense_units: int = 256,
    dropout: float = 0.5,
) -> keras.Model:
    """VGG16's convolution base under a new head (Simonyan and Zisserman, 2015).

    Args:
        image_size: height and width of the pictures, pixels; 32 or more.
        classes: how many.
        weights: a file with the weights of the base; None leaves them random.
        dense_units: of the head's hidden layer.
        dropout: before the output unit.

    Returns:
        A model from uint8 [n, size, size, 3] to float32 [n, 1], or [n, classes] for more than two.

    Raises:
        UserError: the file does not hold these weights.
    """
    base = keras.applications.VGG16(
        weights=None, include_top=False, input_shape=(image_size, image_size, 3), name="vgg16"
    )
    if weights:
        _load(base, weights)
    return keras.Sequential(
        [
            keras.Input((image_size, image_size, 3), dtype="uint8"),
            vgg16_preprocessing(image_size),
            *base.layers[1:],
            layers.Flatten(name="flatten"),
            layers.Dense(dense_units, activation="relu", name="dense"),
            layers.Dropout(dropout, name="dropout"),
            output_unit(classes),
        ],
        name="vgg16",
    )


def vgg16_classifier(image_size: int, classes: int, weights: Path | None) -> keras.Model:
    """VGG16 whole, its thousand classes replaced by a new softmax layer, all else frozen.

    Trained by its tutorial with Adam 0.0001 and batches of 10.

    Args:
        image_size: 224; VGG16's dense layers fit no other.
        classes: how many.
        weights: a file with the weights of the whole network; None leaves them random.

    Returns:
        A model from uint8 [n, 224, 224, 3] to float32 [n, classes].

    Raises:
        UserError: the file does not hold these weights.
    """
    whole = keras.applications.VGG16(
        weights=None, include_top=True, input_shape=(image_size, image_size, 3), name="vgg16"
    )
    if weights:
        _load(whole, weights)
    whole.trainable = False
    return keras.Sequential(
        [
            keras.Input((image_size, image_size, 3), dtype="uint8"),
            vgg16_preprocessing(image_size),
            *whole.layers[1:-1],
            layers.Dense(classes, activation="softmax", dtype="float32", name="output"),
        ],
        name="vgg16",
    )


def vgg16_preprocessing(image_size: int) -> keras.Model:
    """What the ImageNet weights expect: RGB turned to BGR, the means taken off, range kept.

    Returns:
        A model from uint8 [n, size, size, 3] to float [n, size, size, 3]. It is made of Keras's own
        layers and operations, so that a saved network opens without this package.
    """
    images = keras.Input((image_size, image_size, 3), dtype="uint8")
    red_green_blue = [-mean for mean in reversed(IMAGENET_MEANS)]
    centred = layers.Rescaling(1.0, offset=red_green_blue)(images)
    return keras.Model(images, keras.ops.flip(centred, axis=-1), name="preprocessing")


def _load(model: keras.Model, weights: Path) -> None:
    try:
        model.load_weights(weights)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        layers_held = "with" if model.layers[-1].name == "predictions" else "without"
        raise UserError(
            f"{weights}, from finetune.weights, does not hold what finetune.head needs, VGG16's "
            f"weights {layers_held} its dense layers: {reason}"
        ) from error


def block_end(unfrozen: int) -> str:
    """The layer that VGG16's frozen part ends with when its last blocks are trained.

    Raises:
        UserError: VGG16 has five blocks.
    """
    if not 0 <= unfrozen <= VGG16_BLOCKS:
        raise UserError(f"finetune.unfreeze is {unfrozen}, allowed: 0 to {VGG16_BLOCKS}")
    frozen = VGG16_BLOCKS - unfrozen
    return f"block{frozen}_pool" if frozen else "preprocessing"


def cut(model: keras.Sequential, name: str) -> tuple[keras.Sequential, keras.Sequential]:
    """Cut a network after the named layer.

    Returns:
        The layers up to it and those after it, as models that share the network's weights.
    """
    end = [layer.name for layer in model.layers].index(name) + 1
    first = keras.Sequential([keras.Input(batch_shape=model.input_shape, dtype="uint8")])
    for layer in model.layers[:end]:
        first.add(layer)
    second = keras.Sequential([keras.Input(batch_shape=first.output_shape)])
    for layer in model.layers[end:]:
        second.add(layer)
    return first, second
