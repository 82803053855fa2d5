"""Three valid convolutions and 512 dense units, as a tutorial on cats and dogs has them."""

import keras
from keras import layers

from classifier.training.outputs import output_unit


def cnn_002(image_size: int, classes: int, dropout: float = 0.0) -> keras.Sequential:
    """Build the network; its tutorial trains it with Adam for 15 epochs at 150 pixels.

    The tutorial shows the first convolution's 64 filters alone; the deeper ones have as many here.
    It uses no dropout.

    Args:
        image_size: height and width of the pictures, pixels; 22 or more.
        classes: how many.
        dropout: before the output unit.

    Returns:
        A model from uint8 [n, size, size, 3] to float32 [n, 1], or [n, classes] for more than two.
    """
    return keras.Sequential(
        [
            keras.Input((image_size, image_size, 3), dtype="uint8"),
            layers.Rescaling(1 / 255, name="rescaling"),
            layers.Conv2D(64, 3, activation="relu", name="conv1"),
            layers.MaxPooling2D(name="pool1"),
            layers.Conv2D(64, 3, activation="relu", name="conv2"),
            layers.MaxPooling2D(name="pool2"),
            layers.Conv2D(64, 3, activation="relu", name="conv3"),
            layers.MaxPooling2D(name="pool3"),
            layers.Flatten(name="flatten"),
            layers.Dense(512, activation="relu", name="dense"),
            *([layers.Dropout(dropout, name="dropout")] if dropout else []),
            output_unit(classes),
        ],
        name="cnn_002",
    )
