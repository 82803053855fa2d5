"""VGG16 (Simonyan and Zisserman, 2015): its base under a new head, or whole with new classes."""

from pathlib import Path

import keras
from keras import layers

from classifier.base.errors import UserError
from classifier.training.outputs import output_unit

# The means that VGG16's ImageNet weights were trained with, of blue, green and red, out of 255
# (keras.applications.vgg16.preprocess_input, mode "caffe").
IMAGENET_MEANS = (103.939, 116.779, 123.68)
VGG16_BLOCKS = 5


def vgg16(
    image_size: int,
    classes: int,
    weights: Path | None,
    *,
    dense_units: int = 256,
    dropout: float = 0.5,
) -> keras.Model:
    """Build VGG16's convolution base under a new head.

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
