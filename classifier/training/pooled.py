"""The form of a network for CPUs whose speed at float32 arithmetic is what training waits for."""

from itertools import pairwise
from typing import Any, Self

import keras
from keras import layers, ops

# The numbers of input channels with which the products were measured to be faster: with 32 and 64
# they are, with 3, 128 and 256 they are not.
PRODUCT_CHANNELS = range(32, 65)


def pooled(model: keras.Model) -> keras.Model:
    """Copy a finished network with each convolution and the pooling after it made one layer.

    The copy computes the same function with the same weights, in the form that trains fastest in
    float32 on a CPU. Its other layers are those of `model`.
    """
    if not isinstance(model, keras.Sequential):
        return model
    images = keras.Input(batch_shape=model.input_shape, dtype=model.inputs[0].dtype, name="images")
    copy = keras.Sequential([images], name=model.name)
    for layer, after in pairwise([*model.layers, None]):
        if _suits(layer) and _pools(after):
            copy.add(PooledConv2D.of(layer, after.pool_size[0]))
        elif not (_pools(layer) and isinstance(copy.layers[-1], PooledConv2D)):
            copy.add(layer)
    copy.set_weights(model.get_weights())
    return copy


def _suits(layer: keras.Layer) -> bool:
    """Whether it is a convolution that `PooledConv2D` can stand for."""
    return (
        type(layer) is layers.Conv2D
        and layer.kernel_size == (3, 3)
        and layer.strides == layer.dilation_rate == (1, 1)
        and (layer.groups, layer.data_format) == (1, "channels_last")
        and layer.activation in (keras.activations.relu, keras.activations.linear)
    )


def _pools(layer: keras.Layer | None) -> bool:
    return (
        isinstance(layer, layers.MaxPooling2D)
        and layer.pool_size == layer.strides
        and layer.pool_size[0] == layer.pool_size[1]
        and (layer.padding, layer.data_format) == ("valid", "channels_last")
    )


class PooledConv2D(layers.Conv2D):
    """A 3×3 convolution with stride 1, max pooling, then bias and activation.

    It has the weights of Conv2D and the function of Conv2D followed by MaxPooling2D: a bias added
    to all is added to the maximum, and a nondecreasing activation such as relu commutes with it.
    So bias, activation and their gradients touch a quarter of the values.

    With few input channels the gradient of the kernel is made of matrix products, because the
    library's own reaches a third of their rate there.
    """

    def __init__(self, filters: int, *, pool_size: int, **kwargs: Any) -> None:
        """Describe the layer.

        Args:
            filters: output channels.
            pool_size: side of the pooling window and its stride.
            kwargs: of Conv2D.
        """
        super().__init__(filters, 3, **kwargs)
        self.pool_size = pool_size

    @classmethod
    def of(cls, convolution: layers.Conv2D, pool_size: int) -> Self:
        """Stand for a convolution and the pooling that follows it."""
        config = convolution.get_config()
        del config["kernel_size"]  # always 3
        return cls.from_config(config | {"pool_size": pool_size})

    def call(self, inputs: Any) -> Any:
        if self.padding == "valid" and inputs.shape[-1] in PRODUCT_CHANNELS:
            x = _convolve(inputs, ops.convert_to_tensor(self.kernel))
        else:
            x = self.convolution_op(inputs, self.kernel)
        x = ops.max_pool(x, self.pool_size, self.pool_size, padding="valid")
        return self.activation(ops.add(x, self.bias) if self.use_bias else x)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["kernel_size"]
        return config | {"pool_size": self.pool_size}

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        n, height, width, channels = super().compute_output_shape(input_shape)
        side = self.pool_size
        return n, height and height // side, width and width // side, channels


def _convolve(x: Any, kernel: Any) -> Any:
    """Valid 3×3 convolution with stride 1.

    Args:
        x: float32 [n, h, w, cin].
        kernel: float32 [3, 3, cin, cout].

    Returns:
        float32 [n, h - 2, w - 2, cout].
    """

    @ops.custom_gradient
    def convolve(x: Any, kernel: Any) -> tuple[Any, Any]:
        def grad(*args: Any, upstream: Any = None) -> tuple[Any, Any]:
            # Keras hands the gradient over by position or by name, as its backend does.
            g = args[0] if upstream is None else upstream
            return ops.conv_transpose(g, kernel, padding="valid"), _kernel_gradient(x, g)

        return ops.conv(x, kernel, padding="valid"), grad

    return convolve(x, kernel)


def _kernel_gradient(x: Any, g: Any) -> Any:
    """The gradient of a valid 3×3 convolution with respect to its kernel.

    With the three column shifts of x side by side, every row shift is a contiguous slice, and the
    sum over positions a matrix product for each of the three rows.

    Args:
        x: float32 [n, h, w, cin], the convolution's input.
        g: float32 [n, h - 2, w - 2, cout], the gradient with respect to its output.

    Returns:
        float32 [3, 3, cin, cout].
    """
    height, width, cout = g.shape[1:]
    cin = x.shape[-1]
    columns = ops.concatenate([x[:, :, j : j + width] for j in range(3)], axis=-1)
    columns = ops.reshape(columns, (-1, (height + 2) * width, 3 * cin))
    g = ops.reshape(g, (-1, height * width, cout))
    rows = []
    for i in range(3):
        patch = columns[:, i * width : (i + height) * width]
        rows.append(ops.sum(ops.matmul(ops.transpose(patch, (0, 2, 1)), g), axis=0))
    return ops.reshape(ops.stack(rows), (3, 3, cin, cout))
