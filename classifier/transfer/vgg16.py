"""VGG16 (Simonyan and Zisserman, 2015): its base under a new head, or whole with new classes."""

from functools import partial
from pathlib import Path

import keras
from keras import layers

from classifier.transfer.backbone import Backbone, dense_head, load_weights

# The means that VGG16's ImageNet weights were trained with, of blue, green and red, out of 255
# (keras.applications.vgg16.preprocess_input, mode "caffe").
IMAGENET_MEANS = (103.939, 116.779, 123.68)


def vgg16(
    image_size: int,
    classes: int,
    weights: Path | None,
    *,
    averaged: bool = False,
    dense_units: int = 256,
    dropout: float = 0.5,
) -> keras.Sequential:
    """Build VGG16's convolution base under a new head.

    Args:
        image_size: height and width of the pictures, pixels; 32 or more.
        classes: how many.
        weights: a file with the weights of the base; None leaves them random.
        averaged: the head sees the base's features averaged over the picture, not flattened: fewer
            weights, and less sure of itself where it is wrong.
        dense_units: of the head's hidden layer.
        dropout: before the output unit.

    Returns:
        A model from uint8 [n, size, size, 3] to float32 [n, 1], or [n, classes] for more than two.

    Raises:
        UserError: the file does not hold these weights.

    Examples:
        >>> vgg16(180, classes=2, weights=None).count_params()
        17992001
    """
    base = keras.applications.VGG16(
        weights=None, include_top=False, input_shape=(image_size, image_size, 3), name="vgg16"
    )
    load_weights(
        base, weights, "VGG16's weights without dense layers (for finetune.head: dense or average)"
    )
    flat = (
        layers.GlobalAveragePooling2D(name="average")
        if averaged
        else layers.Flatten(name="flatten")
    )
    return keras.Sequential(
        [
            keras.Input((image_size, image_size, 3), dtype="uint8"),
            vgg16_preprocessing(image_size),
            *base.layers[1:],
            flat,
            *dense_head(classes, dense_units, dropout),
        ],
        name="vgg16",
    )


def vgg16_classifier(image_size: int, classes: int, weights: Path | None) -> keras.Sequential:
    """Build VGG16 whole, its thousand classes replaced by a new softmax layer, all else frozen.

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
    load_weights(
        whole,
        weights,
        "VGG16's weights with dense layers (for finetune.head: classifier)",
    )
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
    """Make what the ImageNet weights expect: RGB turned to BGR, the means taken off, range kept.

    Returns:
        A model from uint8 [n, size, size, 3] to float [n, size, size, 3]. It is made of Keras's own
        layers and operations, so that a saved network opens without this package.
    """
    images = keras.Input((image_size, image_size, 3), dtype="uint8")
    red_green_blue = [-mean for mean in reversed(IMAGENET_MEANS)]
    centred = layers.Rescaling(1.0, offset=red_green_blue)(images)
    return keras.Model(images, keras.ops.flip(centred, axis=-1), name="preprocessing")


VGG16 = Backbone(
    name="vgg16",
    title="VGG16",
    build={
        "dense": vgg16,
        "average": partial(vgg16, averaged=True),
        "classifier": vgg16_classifier,
    },
    head_starts_after={"dense": "block5_pool", "average": "average", "classifier": "fc2"},
    block_ends=("preprocessing", *(f"block{number}_pool" for number in range(1, 6))),
)
