"""The form of a network that trains fastest on a CPU."""

from collections import Counter
from typing import Any

import keras
from keras import layers, ops

from classifier.training.precision import cpu_flags


def _product_channels(flags: set[str]) -> range:
    """Return the numbers of input channels with which matrix products were measured to be faster.

    With 32 and 64 they are, with 3, 128 and 256 they are not; on a CPU with AVX-512 with none.
    """
    return range(0) if "avx512f" in flags else range(32, 65)


PRODUCT_CHANNELS = _product_channels(cpu_flags())


def fused(model: keras.Model) -> keras.Model:
    """Join what is faster together, in any graph of layers, into the form to train on a CPU.

    Each convolution is joined with the max pooling after it, and the many operations of batch
    normalization with each other. The result computes the same function. It has the very layers and
    weights of `model`, so that training one trains the other.

    Args:
        model: a Sequential or functional model.
    """
    is_chain = isinstance(model, keras.Sequential)
    graph = keras.Model(model.inputs, model.outputs[0], name=model.name) if is_chain else model
    convolution_before = _pairs(graph)
    joined = set(convolution_before.values())

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        if layer in joined:
            return args[0]  # its pooling does its work
        if layer in convolution_before:
            return PooledConv2D(convolution_before[layer], layer.pool_size[0])(*args)
        if _fuses(layer):
            return FusedBatchNormalization(layer)(*args)
        return layer(*args, **kwargs)

    return keras.models.clone_model(graph, clone_function=lambda layer: layer, call_function=call)


def _pairs(graph: keras.Model) -> dict[layers.MaxPooling2D, layers.Conv2D]:
    """Find each pooling's convolution, where both are called once and nothing else needs it."""
    # Keras has no public name for the edges of a graph.
    nodes = [node for depth in graph._nodes_by_depth.values() for node in depth]
    calls = Counter(node.operation for node in nodes)
    uses = Counter(before.operation for node in nodes for before in node.parent_nodes)
    uses.update(output._keras_history.operation for output in graph.outputs)
    pairs = ((node.operation, node.parent_nodes[0].operation) for node in nodes if _pools(node))
    return {
        pooling: convolution
        for pooling, convolution in pairs
        if _suits(convolution) and calls[pooling] == calls[convolution] == uses[convolution] == 1
    }


def _suits(layer: keras.Operation) -> bool:
    """Whether it is a convolution that `PooledConv2D` can do the work of."""
    return (
        type(layer) is layers.Conv2D
        and layer.kernel_size == (3, 3)
        and layer.strides == layer.dilation_rate == (1, 1)
        and (layer.groups, layer.data_format) == (1, "channels_last")
        and layer.activation in (keras.activations.relu, keras.activations.linear)
    )


def _pools(node: Any) -> bool:
    layer = node.operation
    return (
        type(layer) is layers.MaxPooling2D
        and layer.pool_size == layer.strides
        and layer.pool_size[0] == layer.pool_size[1]
        and (layer.padding, layer.data_format) == ("valid", "channels_last")
    )


def _fuses(layer: keras.Operation) -> bool:
    """Whether it is a normalization that `FusedBatchNormalization` can do the work of."""
    return (
        type(layer) is layers.BatchNormalization
        and keras.backend.backend() == "tensorflow"  # whose operation it is
        and len(layer.input_spec.axes) == 1
        and layer.input_spec.ndim == 4
        and layer.axis in (-1, 3)
        and layer.scale
        and layer.center
        and not (layer.renorm or layer.synchronized)
    )


class FusedBatchNormalization(layers.Layer):
    """Batch normalization of pictures by one operation of TensorFlow's, and one for its gradient.

    Keras composes it of some twenty, each of which reads and writes all values, in float32 whatever
    the precision. TensorFlow's reads the values as they are and sums them in float32 too.
    """

    def __init__(self, normalization: layers.BatchNormalization) -> None:
        """Do the work of a built layer, with its weights."""
        super().__init__(name=normalization.name, dtype=normalization.dtype_policy)
        self.normalization = normalization
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Normalize [n, h, w, channels], in training by the batch itself; averages follow."""
        import tensorflow as tf

        inner = self.normalization
        by_batch = bool(training and inner.trainable)
        means, variances = inner.moving_mean, inner.moving_variance
        y, batch_means, batch_variances = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            tf.convert_to_tensor(inner.gamma),
            tf.convert_to_tensor(inner.beta),
            mean=None if by_batch else tf.convert_to_tensor(means),
            variance=None if by_batch else tf.convert_to_tensor(variances),
            epsilon=inner.epsilon,
            is_training=by_batch,
        )
        if by_batch:
            values = ops.size(inputs[..., 0])
            # TensorFlow's is the unbiased estimate, Keras's the variance of the batch.
            batch_variances *= ops.cast((values - 1) / values, batch_variances.dtype)
            for moving, now in ((means, batch_means), (variances, batch_variances)):
                moving.assign(moving * inner.momentum + now * (1 - inner.momentum))
        return y


class PooledConv2D(layers.Layer):
    """A 3×3 convolution with stride 1, max pooling, then bias and activation.

    It has the function of Conv2D followed by MaxPooling2D: a bias added to all is added to the
    maximum, and a nondecreasing activation such as relu commutes with it. So bias, activation and
    their gradients touch a quarter of the values.

    With few input channels, on a CPU without AVX-512, the gradient of the kernel is made of matrix
    products, because the library's own reaches a third of their rate there.

    The late bias and the products are for float32. In lower precisions, where the sum with the bias
    would be rounded once more, bias and activation stay with the convolution, which TensorFlow does
    in one operation, and only relu's gradient comes after pooling: every value is rounded as in the
    plain form, and picked out of the same ones.
    """

    def __init__(self, convolution: layers.Conv2D, pool_size: int) -> None:
        """Do the work of two layers.

        Args:
            convolution: a built layer, whose weights are used.
            pool_size: side of the pooling window and its stride.
        """
        super().__init__(name=convolution.name, dtype=convolution.dtype_policy)
        self.convolution = convolution
        self.pool_size = pool_size
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Convolve [n, h, w, cin] and pool; bias and activation come as the class says."""
        inner = self.convolution
        bias_last = inner.compute_dtype == "float32"
        if bias_last and inner.padding == "valid" and inputs.shape[-1] in PRODUCT_CHANNELS:
            x = _convolve(inputs, ops.convert_to_tensor(inner.kernel))
        else:
            x = inner.convolution_op(inputs, inner.kernel)
        if inner.use_bias and not bias_last:
            x = ops.add(x, inner.bias)
        relu_first = inner.activation is keras.activations.relu and not bias_last
        x = _relu_without_gradient(x) if relu_first else x
        x = ops.max_pool(x, self.pool_size, self.pool_size, padding="valid")
        if inner.use_bias and bias_last:
            x = ops.add(x, inner.bias)
        return _gradient_of_relu(x) if relu_first else inner.activation(x)


def _relu_without_gradient(x: Any) -> Any:
    """relu, but gradients pass unchanged: `_gradient_of_relu` follows."""

    @ops.custom_gradient
    def relu(x: Any) -> tuple[Any, Any]:
        return ops.relu(x), lambda *args, upstream=None: _upstream(args, upstream)

    return relu(x)


def _gradient_of_relu(y: Any) -> Any:
    """Pass values of relu unchanged, and their gradients where they are positive."""

    @ops.custom_gradient
    def identity(y: Any) -> tuple[Any, Any]:
        def grad(*args: Any, upstream: Any = None) -> Any:
            g = _upstream(args, upstream)
            return ops.where(ops.greater(y, 0), g, ops.zeros((), g.dtype))

        return y, grad

    return identity(y)


def _upstream(args: tuple[Any, ...], upstream: Any) -> Any:
    """Return the gradient, which Keras hands over by position or by name, as its backend does."""
    return args[0] if upstream is None else upstream


def _convolve(x: Any, kernel: Any) -> Any:
    """Convolve by 3×3 with stride 1 and no padding.

    Args:
        x: float32 [n, h, w, cin].
        kernel: float32 [3, 3, cin, cout].

    Returns:
        float32 [n, h - 2, w - 2, cout].
    """

    @ops.custom_gradient
    def convolve(x: Any, kernel: Any) -> tuple[Any, Any]:
        def grad(*args: Any, upstream: Any = None) -> tuple[Any, Any]:
            g = _upstream(args, upstream)
            return ops.conv_transpose(g, kernel, padding="valid"), _kernel_gradient(x, g)

        return ops.conv(x, kernel, padding="valid"), grad

    return convolve(x, kernel)


def _kernel_gradient(x: Any, g: Any) -> Any:
    """Compute the gradient of a valid 3×3 convolution with respect to its kernel.

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
