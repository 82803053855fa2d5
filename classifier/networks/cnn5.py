"""Five convolutions, as chapter 8 of Chollet's book and its tutorials have them."""

import keras
from keras import layers

from classifier.training.outputs import output_unit


def cnn5(image_size: int, classes: int, dropout: float = 0.0) -> keras.Sequential:
    """Build the network; its tutorial trains it with RMSprop 0.001 and batches of 32.

    At 180 pixels it is trained for 30 epochs without dropout, and behind augmentation with dropout
    0.5 for 100 epochs.

    Args:
        image_size: height and width of the pictures, pixels; 78 or more.
        classes: how many.
        dropout: before the output unit.

    Returns:
        A model from uint8 [n, size, size, 3] to float32 [n, 1], or [n, classes] for more than two.

    Examples:
        >>> cnn5(180, classes=2).count_params()
        991041
    """
    return keras.Sequential(
        [
            keras.Input((image_size, image_size, 3), dtype="uint8"),
            layers.Rescaling(1 / 255, name="rescaling"),
            layers.Conv2D(32, 3, activation="relu", name="conv1"),
            layers.MaxPooling2D(name="pool1"),
            layers.Conv2D(64, 3, activation="relu", name="conv2"),
            layers.MaxPooling2D(name="pool2"),
            layers.Conv2D(128, 3, activation="relu", name="conv3"),
            layers.MaxPooling2D(name="pool3"),
            layers.Conv2D(256, 3, activation="relu", name="conv4"),
            layers.MaxPooling2D(name="pool4"),
            layers.Conv2D(256, 3, activation="relu", name="conv5"),
            layers.Flatten(name="flatten"),
            *([layers.Dropout(dropout, name="dropout")] if dropout else []),
            output_unit(classes),
        ],
        name="cnn5",
    )
