"""What a model costs whoever uses it."""

import math
from dataclasses import dataclass
from pathlib import Path

import keras
from keras import layers


@dataclass(frozen=True)
class Cost:
    """Attributes: parameters, bytes of the saved file, multiplications for one picture."""

    parameters: int
    file_bytes: int
    multiplications: int


def cost(model: keras.Model, file: Path) -> Cost:
    """Count what a model takes; the file is as it was saved."""
    total = sum(multiplications(layer) for layer in model._flatten_layers())
    return Cost(model.count_params(), file.stat().st_size, total)


def multiplications(layer: keras.Layer) -> int:
    """Count the products of weights and inputs for one picture; no other layer has any.

    Each weight of a dense layer is used once, each of a convolution once a position of its output.
    """
    if isinstance(layer, layers.Dense):
        return math.prod(layer.kernel.shape)
    if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D):
        return math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])
    if isinstance(layer, layers.SeparableConv2D):
        kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
        return sum(math.prod(k.shape) for k in kernels) * math.prod(layer.output.shape[1:-1])
    return 0
