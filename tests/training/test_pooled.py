"""The form of a network that trains fast computes what the plain one does."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from classifier.networks.cnn5 import cnn5
from classifier.training.pooled import PooledConv2D, pooled


def pictures(n, size):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8)


def gradients(model, inputs, targets):
    """Outputs, and a loss's gradients with respect to the weights; in a graph, as in training."""

    @tf.function
    def compute():
        with tf.GradientTape() as tape:
            outputs = model(inputs)
            loss = keras.ops.mean(keras.ops.square(outputs - targets))
        return outputs, tape.gradient(loss, [w.value for w in model.trainable_variables])

    return compute()


def assert_close(found, expected):
    """To a relative error of 1e-5, of the whole array."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("channels", [3, 32, 48, 64, 128])
@pytest.mark.parametrize(("pool", "size"), [(2, 12), (2, 11), (3, 13)])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_the_pooled_form_is_the_plain_one_and_so_are_its_gradients(channels, pool, size, padding):
    rng = np.random.default_rng(channels)
    inputs = rng.standard_normal((3, size, size, channels)).astype(np.float32)
    plain = keras.Sequential(
        [
            keras.Input(inputs.shape[1:]),
            layers.Dense(channels, name="before"),  # so that the input has a gradient
            layers.Conv2D(5, 3, activation="relu", padding=padding, name="conv"),
            layers.MaxPooling2D(pool),
        ]
    )
    plain.get_layer("conv").bias.assign(rng.standard_normal(5))
    fast = pooled(plain)
    assert [type(layer) for layer in fast.layers] == [layers.Dense, PooledConv2D]
    assert fast.output_shape == plain.output_shape
    targets = rng.standard_normal(plain(inputs).shape).astype(np.float32)
    outputs, slopes = gradients(plain, inputs, targets)
    fast_outputs, fast_slopes = gradients(fast, inputs, targets)
    assert_close(fast_outputs, outputs)
    for found, slow in zip(fast_slopes, slopes, strict=True):
        assert_close(found, slow)


def test_both_forms_of_cnn5_have_the_same_weights_outputs_and_gradients():
    keras.utils.set_random_seed(1)
    plain = cnn5(80, 2)
    fast = pooled(plain)
    assert [w.path for w in plain.weights] == [w.path for w in fast.weights]
    images, targets = pictures(4, 80), np.array([[0.0], [1], [0], [1]], np.float32)
    outputs, slopes = gradients(plain, images, targets)
    fast_outputs, fast_slopes = gradients(fast, images, targets)
    assert_close(fast_outputs, outputs)
    for found, slow in zip(fast_slopes, slopes, strict=True):
        assert_close(found, slow)


def test_the_pooled_form_has_the_weights_of_the_plain_one():
    plain = cnn5(78, 2)
    for one, other in zip(plain.get_weights(), pooled(plain).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_fast_form_can_be_made_again_from_its_configuration():
    layer = PooledConv2D(4, pool_size=3, activation="relu", use_bias=False)
    again = PooledConv2D.from_config(layer.get_config())
    images = np.zeros((1, 11, 11, 3), np.float32)
    assert again(images).shape == layer(images).shape == (1, 3, 3, 4)
    assert len(again.weights) == len(layer.weights) == 1


def test_the_fast_form_really_pools_first():
    layer = PooledConv2D(4, pool_size=2, activation="relu")
    seen = []
    layer.activation = lambda x: seen.append(tuple(x.shape)) or keras.ops.relu(x)
    layer(np.zeros((1, 10, 10, 3), np.float32))
    assert seen == [(1, 4, 4, 4)]
    assert isinstance(layer.activation, types.FunctionType)
