"""Three convolutions and 128 dense units, as TensorFlow's tutorial on flowers has them."""

import keras
from keras import layers

from classifier.training.outputs import output_unit


def cnn3_flowers(image_size: int, classes: int, dropout: float = 0.0) -> keras.Sequential:
    """Build the network; its tutorial trains it with Adam and batches of 32.

    At 180 pixels it is trained for 10 epochs on the pictures as they are, and for 15 with dropout
    0.2 behind augmentation.

    Args:
        image_size: height and width of the pictures, pixels; 8 or more.
        classes: how many.
        dropout: after the last pooling.

    Returns:
        A model from uint8 [n, size, size, 3] to float32 [n, 1], or [n, classes] for more than two.
    """
    return keras.Sequential(
        [
            keras.Input((image_size, image_size, 3), dtype="uint8"),
            layers.Rescaling(1 / 255, name="rescaling"),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="conv1"),
            layers.MaxPooling2D(name="pool1"),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="conv2"),
            layers.MaxPooling2D(name="pool2"),
            layers.Conv2D(64, 3, padding="same", activation="relu", name="conv3"),
            layers.MaxPooling2D(name="pool3"),
            *([layers.Dropout(dropout, name="dropout")] if dropout else []),
            layers.Flatten(name="flatten"),
            layers.Dense(128, activation="relu", name="dense"),
            output_unit(classes),
        ],
        name="cnn3_flowers",
    )
