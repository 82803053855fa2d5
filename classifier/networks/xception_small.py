"""Separable convolutions with residual connections, as chapter 9 of Chollet's book has them."""

import keras
from keras import layers

from classifier.training.outputs import output_unit


def xception_small(image_size: int | None, classes: int, dropout: float = 0.0) -> keras.Model:
    """Build the network; the book trains it with RMSprop 0.001 and batches of 32.

    At 180 pixels it is trained for 100 epochs behind augmentation, with dropout 0.5.

    Args:
        image_size: height and width of the pictures, pixels, 8 or more; None: any.
        classes: how many.
        dropout: before the output unit.

    Returns:
        A model from uint8 [n, size, size, 3] to float32 [n, 1], or [n, classes] for more than two.

    Examples:
        >>> xception_small(180, classes=2).count_params()
        721857
    """
    images = keras.Input((image_size, image_size, 3), dtype="uint8")
    x = layers.Rescaling(1 / 255, name="rescaling")(images)
    # Without bias, here and below: batch normalisation, which comes before, has its own.
    x = layers.Conv2D(32, 5, use_bias=False, name="conv")(x)
    for block, filters in enumerate((32, 64, 128, 256, 512), start=1):
        shortcut = layers.Conv2D(
            filters, 1, strides=2, padding="same", use_bias=False, name=f"block{block}_shortcut"
        )(x)
        for number in (1, 2):
            name = f"block{block}_conv{number}"
            x = layers.BatchNormalization(name=f"{name}_norm")(x)
            x = layers.ReLU(name=f"{name}_relu")(x)
            x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same", name=f"block{block}_pool")(x)
        x = layers.Add(name=f"block{block}")([x, shortcut])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(images, output_unit(classes)(x), name="xception_small")
