"""Winograd's minimal filtering: 3×3 convolutions with a quarter of the multiplications.

A tile of 4×4 outputs takes 36 products a channel instead of 144 (Lavin and Gray, "Fast Algorithms
for Convolutional Neural Networks", 2016, F(4×4, 3×3)): inputs and kernel are transformed,
multiplied position by position, which are 36 matrix products, and transformed back.
"""

from functools import cache
from typing import Any, TypeVar

import keras
import numpy as np
from keras import ops

from classifier.training.precision import cpu_flags

TILE = 4  # outputs, either way
WINDOW = TILE + 2  # inputs that they depend on
# The polynomial of degree 5 is interpolated at 0, 1, -1, 2, -2 and infinity.
FROM_INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    np.float32,
)
FROM_KERNEL = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    np.float32,
)
TO_OUTPUT = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    np.float32,
)
Model = TypeVar("Model", bound=keras.Model)
# With fewer filters moving the tiles about takes longer than the products that are saved.
FEWEST_FILTERS = 128
# Compiling takes some seconds: fewer pictures are through before.
FEWEST_PICTURES = 500


def accelerated(model: Model, pictures: int) -> Model:
    """Copy a network, its larger 3×3 convolutions done this way where that saves time.

    It does in float32 on CPUs without AVX-512, where arithmetic is what one waits for: VGG16's
    deeper layers take half to two thirds of the time; with AVX-512 they take longer.

    Args:
        model: Sequential or functional, of Keras's own layers.
        pictures: that will be passed through it.

    Returns:
        A copy with the same weights, or `model` itself.
    """
    if not _pays_off(pictures):
        return model

    def clone(layer: keras.Operation) -> keras.Operation:
        if not isinstance(layer, keras.Layer):
            return layer  # an operation such as keras.ops.flip, which has no weights
        kind = WinogradConv2D if _suits(layer) else type(layer)
        return kind.from_config(layer.get_config())

    copy: Model = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy


def _pays_off(pictures: int) -> bool:
    if keras.backend.backend() != "tensorflow" or pictures < FEWEST_PICTURES:
        return False
    import tensorflow as tf

    flags = cpu_flags()
    on_cpu = not tf.config.list_physical_devices("GPU")
    return on_cpu and "avx2" in flags and "avx512f" not in flags


def _suits(layer: keras.Layer) -> bool:
    return (
        isinstance(layer, keras.layers.Conv2D)
        and layer.compute_dtype == "float32"
        and layer.kernel_size == (3, 3)
        and layer.padding == "same"
        and layer.strides == layer.dilation_rate == (1, 1)
        and (layer.use_bias, layer.groups, layer.data_format) == (True, 1, "channels_last")
        and min(layer.filters, layer.kernel.shape[2]) >= FEWEST_FILTERS
    )


class WinogradConv2D(keras.layers.Conv2D):
    """Conv2D of 3×3 kernels, padding "same" and stride 1, in float32: another rounding."""

    def call(self, inputs: Any) -> Any:
        """Convolve [n, h, w, cin], add the bias, apply the activation."""
        x = _compiled()(inputs, self.kernel)
        return self.activation(ops.add(x, self.bias))


@cache
def _compiled() -> Any:
    # Uncompiled, each of the small steps below passes over the memory anew: then it is no faster.
    import tensorflow as tf

    compiled = tf.function(convolve, jit_compile=True, autograph=False)
    # A compiled function takes no Keras variable.
    return lambda x, kernel: compiled(x, tf.convert_to_tensor(kernel))


def convolve(x: Any, kernel: Any) -> Any:
    """Convolve by 3×3 with padding "same".

    Args:
        x: float32 [n, h, w, cin]; n may be unknown.
        kernel: float32 [3, 3, cin, cout].

    Returns:
        float32 [n, h, w, cout].
    """
    _, height, width, cin = x.shape
    cout = kernel.shape[-1]
    down, across = -(-height // TILE), -(-width // TILE)  # tiles
    x = ops.pad(x, [[0, 0], [1, down * TILE + 1 - height], [1, across * TILE + 1 - width], [0, 0]])
    # From here on two axes are those of the WINDOW × WINDOW positions, columns before rows.
    x = _along_first(FROM_INPUT, _windows(x, 1, down))
    x = _along_first(FROM_INPUT, _windows(x, 3, across))
    kernel = _along_first(FROM_KERNEL, kernel)
    kernel = _along_first(FROM_KERNEL, ops.swapaxes(kernel, 0, 1))
    products = ops.matmul(
        ops.reshape(x, (WINDOW**2, -1, cin)),
        ops.reshape(kernel, (WINDOW**2, cin, cout)),
    )
    y = ops.reshape(products, (WINDOW, WINDOW, -1, down, across, cout))
    y = ops.swapaxes(_along_first(TO_OUTPUT, y), 0, 1)
    y = _along_first(TO_OUTPUT, y)  # rows, columns, n, down, across, cout
    y = ops.reshape(ops.transpose(y, (2, 3, 0, 4, 1, 5)), (-1, down * TILE, across * TILE, cout))
    return y[:, :height, :width]


def _windows(x: Any, axis: int, tiles: int) -> Any:
    """Overlapping windows along an axis: [WINDOW, ..., tiles, ...], from each tile's start."""
    starts = TILE * (tiles - 1) + 1
    before = (slice(None),) * axis
    return ops.stack([x[(*before, slice(i, i + starts, TILE))] for i in range(WINDOW)])


def _along_first(matrix: np.ndarray, x: Any) -> Any:
    """Multiply a matrix with the first axis."""
    product = ops.matmul(ops.convert_to_tensor(matrix), ops.reshape(x, (x.shape[0], -1)))
    rest = (-1 if size is None else size for size in x.shape[1:])
    return ops.reshape(product, (len(matrix), *rest))
