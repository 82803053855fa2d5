"""MobileNet (Howard et al., 2017), of full width, to its global pooling, under a new output."""

from pathlib import Path

import keras
from keras import layers

from classifier.training.outputs import output_unit
from classifier.transfer.backbone import Backbone, load_weights

BLOCKS = 14  # a convolution of 3×3, then thirteen that are separable


def mobilenet(
    image_size: int, classes: int, weights: Path | None, *, dropout: float = 0.0
) -> keras.Sequential:
    """Build MobileNet with a new output layer; batch normalisation keeps its ImageNet statistics.

    Its tutorial trains the last 23 layers (here the output and three blocks) with Adam 0.0001 and
    batches of 10, for 30 epochs.

    Args:
        image_size: height and width of the pictures, pixels; 32 or more.
        classes: how many.
        weights: a file with the weights of the whole network; None leaves them random.
        dropout: before the output.

    Returns:
        A model from uint8 [n, size, size, 3] to float32 [n, 1], or [n, classes] for more than two.

    Raises:
        UserError: the file does not hold these weights.

    Examples:
        >>> mobilenet(224, classes=10, weights=None).count_params()
        3239114
    """
    whole = keras.applications.MobileNet(weights=None, input_shape=(image_size, image_size, 3))
    load_weights(whole, weights, "MobileNet's weights with its output layer")
    base = whole.layers[1 : [layer.name for layer in whole.layers].index("conv_pw_13_relu") + 1]
    for layer in base:
        # Of few pictures the statistics of a batch are worse than those of a million.
        layer.trainable = not isinstance(layer, layers.BatchNormalization)
    return keras.Sequential(
        [
            keras.Input((image_size, image_size, 3), dtype="uint8"),
            layers.Rescaling(1 / 127.5, offset=-1.0, name="preprocessing"),  # to [-1, 1]
            *base,
            layers.GlobalAveragePooling2D(name="pooling"),
            *([layers.Dropout(dropout, name="dropout")] if dropout else []),
            output_unit(classes),
        ],
        name="mobilenet",
    )


MOBILENET = Backbone(
    name="mobilenet",
    title="MobileNet",
    build={"linear": mobilenet},
    head_starts_after={"linear": "pooling"},
    block_ends=(
        "preprocessing",
        "conv1_relu",
        *(f"conv_pw_{number}_relu" for number in range(1, BLOCKS)),
    ),
)
