"""Two convolutions behind VGG16's preprocessing: where a tutorial begins that ends with VGG16."""

import keras
from keras import layers

# The means of ImageNet's pictures, of red, green and blue, out of 255.
IMAGENET_MEANS = (123.68, 116.779, 103.939)


def cnn2(image_size: int, classes: int, dropout: float = 0.0) -> keras.Model:
    """Build the network; its tutorial trains it with Adam 0.0001 and batches of 10.

    At 224 pixels it is trained for 10 epochs on 1,000 pictures, without dropout. Its output is
    softmax for two classes as well.

    Args:
        image_size: height and width of the pictures, pixels; 8 or more.
        classes: how many.
        dropout: before the output layer.

    Returns:
        A model from uint8 [n, size, size, 3] to float32 [n, classes].
    """
    images = keras.Input((image_size, image_size, 3), dtype="uint8")
    x = layers.Rescaling(1.0, offset=[-mean for mean in IMAGENET_MEANS], name="centred")(images)
    x = keras.ops.flip(x, axis=-1)  # from RGB to BGR, the order that VGG's weights expect
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="conv1")(x)
    x = layers.MaxPooling2D(name="pool1")(x)
    x = layers.Conv2D(64, 3, padding="same", activation="relu", name="conv2")(x)
    x = layers.MaxPooling2D(name="pool2")(x)
    x = layers.Flatten(name="flatten")(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    output = layers.Dense(classes, activation="softmax", dtype="float32", name="output")(x)
    return keras.Model(images, output, name="cnn2")
