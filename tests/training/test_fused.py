"""The form of a network that trains fast computes what the plain one does."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from classifier.networks.cnn5 import cnn5
from classifier.training import fused as module
from classifier.training.fused import FusedBatchNormalization, PooledConv2D, fused
from classifier.training.precision import dtype_policy
from tests.rounding import UNIT, assert_same_but_for_rounding, rounding

pytestmark = pytest.mark.numeric
# The longest sum is that over the positions of cnn5's first convolution in four pictures, for the
# gradient of its kernel; six layers follow upon one another, forwards and back.
ALLOWED = rounding(4 * 78 * 78, sums=2 * 6)


@pytest.fixture(autouse=True)
def with_products(monkeypatch) -> None:
    """As on a CPU without AVX-512."""
    monkeypatch.setattr(module, "PRODUCT_CHANNELS", range(32, 65))


@pytest.mark.parametrize(("flags", "some"), [({"avx2"}, True), ({"avx2", "avx512f"}, False)])
def test_matrix_products_are_for_cpus_without_avx512(flags, some):
    assert bool(module._product_channels(flags)) == some


def pictures(n, size):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8)


def gradients(model, inputs):
    """Outputs, and a loss's gradients by the weights' ids; in a graph, as in training."""
    weights = model.trainable_variables

    @tf.function
    def compute():
        with tf.GradientTape() as tape:
            outputs = model(inputs)
            loss = sum(
                keras.ops.mean(keras.ops.square(one - 1)) for one in keras.tree.flatten(outputs)
            )
        return outputs, tape.gradient(loss, [weight.value for weight in weights])

    outputs, slopes = compute()
    return outputs, {id(weight): slope for weight, slope in zip(weights, slopes, strict=True)}


def agrees(plain, inputs, allowed=ALLOWED) -> list[str]:
    """Hold outputs and gradients of both forms together; return the names of what was joined."""
    fast = fused(plain)
    outputs, slopes = gradients(plain, inputs)
    fast_outputs, fast_slopes = gradients(fast, inputs)
    assert keras.tree.map_structure(np.shape, fast_outputs) == keras.tree.map_structure(
        np.shape, outputs
    )
    for found, expected in zip(*map(keras.tree.flatten, (fast_outputs, outputs)), strict=True):
        assert_same_but_for_rounding(found, expected, allowed)
    assert fast_slopes.keys() == slopes.keys()
    for weight, slope in slopes.items():
        assert_same_but_for_rounding(fast_slopes[weight], slope, allowed)
    return [layer.name for layer in fast.layers if isinstance(layer, PooledConv2D)]


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
    assert agrees(plain, inputs) == ["conv"]


@pytest.mark.parametrize("channels", [range(0), range(32, 65)])
def test_both_forms_of_cnn5_have_the_same_weights_outputs_and_gradients(monkeypatch, channels):
    monkeypatch.setattr(module, "PRODUCT_CHANNELS", channels)
    keras.utils.set_random_seed(1)
    plain = cnn5(80, 2)
    fast = fused(plain)
    assert [w.path for w in plain.weights] == [w.path for w in fast.weights]
    assert agrees(plain, pictures(4, 80)) == ["conv1", "conv2", "conv3", "conv4"]


@pytest.mark.bfloat16
def test_in_bfloat16_both_forms_of_cnn5_have_the_same_outputs_and_gradients():
    keras.utils.set_random_seed(1)
    with dtype_policy("mixed_bfloat16"):
        plain = cnn5(80, 2)
    for layer in plain.layers[1:]:
        if layer.weights:  # a bias that moves the maximum across relu's edge
            layer.bias.assign(np.linspace(-0.5, 0.5, layer.bias.shape[0]))
    # A maximum is one of the values, already rounded, and relu rounds nothing. Sums in another
    # order may still round to the next bfloat16: in each of six layers, forwards and back.
    allowed = 2 * 6 * UNIT["bfloat16"]
    assert len(agrees(plain, pictures(4, 80), allowed)) == 4


@pytest.mark.parametrize(
    "policy", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.bfloat16)]
)
def test_training_one_form_trains_the_other(policy):
    keras.utils.set_random_seed(1)
    with dtype_policy(policy):
        plain = cnn5(78, 2, dropout=0.5)
    before = plain.get_weights()
    fast = fused(plain)
    fast.compile(optimizer="sgd", loss="binary_crossentropy")
    fast.train_on_batch(pictures(4, 78), np.array([0, 1, 0, 1]))
    for old, weights, of_fast in zip(before, plain.get_weights(), fast.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, of_fast)
        assert (weights != old).any()


def noise(size):
    return np.random.default_rng(0).standard_normal((3, size, size, 3)).astype(np.float32)


def convolution(name, filters=4, **options):
    return layers.Conv2D(filters, 3, activation="relu", padding="same", name=name, **options)


def chain(*members, size=16):
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((size, size, 3)), *members])


def test_of_two_poolings_after_each_other_the_second_stays():
    model = chain(convolution("a"), layers.MaxPooling2D(), layers.MaxPooling2D(), layers.Flatten())
    assert agrees(model, noise(16)) == ["a"]


def test_what_stands_between_or_pools_otherwise_is_left_alone():
    model = chain(
        *(convolution("a"), layers.BatchNormalization(), layers.MaxPooling2D()),
        *(convolution("b"), layers.AveragePooling2D(2)),
        *(convolution("c"), layers.MaxPooling2D(2, strides=1)),
        *(convolution("d"), layers.MaxPooling2D(padding="same")),
        *(
            layers.Conv2D(4, 1, activation="gelu", name="e"),
            layers.MaxPooling2D(),
            convolution("f"),
        ),
        size=32,
    )
    assert agrees(model, noise(32)) == []


def test_a_network_that_begins_with_pooling_stays():
    assert agrees(chain(layers.MaxPooling2D(), convolution("a")), noise(16)) == []


def branched(inputs, join):
    """A convolution in each of two branches, one of them pooled at once."""
    left = layers.MaxPooling2D()(convolution("left")(inputs))
    right = layers.AveragePooling2D(2)(convolution("right")(inputs))
    return join([left, right])


@pytest.mark.parametrize("join", [layers.Add(), layers.Concatenate()])
def test_branches_are_joined_as_they_were(join):
    keras.utils.set_random_seed(1)
    images = keras.Input((16, 16, 3))
    outputs = layers.Dense(2)(keras.ops.flip(branched(images, join), axis=-1))
    assert agrees(keras.Model(images, outputs), noise(16)) == ["left"]


def test_a_convolution_that_others_need_as_well_is_computed_once_and_plainly():
    keras.utils.set_random_seed(1)
    images = keras.Input((16, 16, 3))
    skipped = convolution("skipped")(images)
    shared = convolution("shared")
    inner = shared(layers.MaxPooling2D()(skipped))
    low = layers.UpSampling2D()(layers.MaxPooling2D()(inner))
    output = convolution("also_output")(layers.Concatenate()([skipped, layers.UpSampling2D()(low)]))
    pooled_output = layers.MaxPooling2D()(output)
    again = layers.MaxPooling2D()(shared(convolution("last")(pooled_output)))
    model = keras.Model(images, {"wide": output, "small": again})
    assert agrees(model, noise(16)) == []


def test_a_model_within_the_model_is_called_as_it_is():
    inner = chain(convolution("inside"), layers.MaxPooling2D())
    images = keras.Input((16, 16, 3))
    outputs = layers.MaxPooling2D()(convolution("outside")(inner(images)))
    assert agrees(keras.Model(images, outputs), noise(16)) == ["outside"]


def test_the_fast_form_really_pools_first():
    model = chain(convolution("a"), layers.MaxPooling2D())
    seen = []
    fast = fused(model)
    inner = fast.layers[-1].convolution
    inner.activation = lambda x: seen.append(tuple(x.shape)) or keras.ops.relu(x)
    fast(noise(16))
    assert seen == [(3, 8, 8, 4)]


def normalized(layer, inputs, aims, training):
    """Outputs, the gradients of inputs and both weights, and the statistics after a step."""

    @tf.function
    def compute():
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=training)
            loss = tf.reduce_sum(tf.cast(outputs, "float32") * aims)
        weights = [weight.value for weight in layer.trainable_variables]
        return outputs, tape.gradient(loss, [inputs, *weights])

    outputs, slopes = compute()
    return [outputs, *slopes, *map(np.array, layer.non_trainable_variables)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "policy", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.bfloat16)]
)
def test_fused_normalization_has_the_outputs_gradients_and_statistics_of_keras(policy, training):
    rng = np.random.default_rng(0)
    plain = layers.BatchNormalization(dtype=policy)
    plain.build((None, 4, 4, 5))
    weights = [rng.uniform(0.5, 2, weight.shape) for weight in plain.weights]
    inputs = tf.cast(rng.normal(1, 3, (3, 4, 4, 5)), plain.compute_dtype)
    aims = tf.cast(rng.normal(size=(3, 4, 4, 5)), "float32")
    found = []
    for layer in (FusedBatchNormalization(plain), plain):
        plain.set_weights(weights)
        found.append(normalized(layer, inputs, aims, training))
    assert [one.dtype for one in found[0]] == [one.dtype for one in found[1]]
    # Two sums over 3 · 4 · 4 values follow upon each other, forwards and back. In bfloat16 the
    # inputs are the same, and outputs and their gradients are rounded to it once more each.
    allowed = rounding(3 * 4 * 4, sums=4) + (2 * UNIT["bfloat16"] if "bfloat16" in policy else 0)
    for fast, slow in zip(*found, strict=True):
        assert_same_but_for_rounding(fast, slow, allowed)


def test_normalization_is_fused_but_for_what_is_frozen_or_of_another_kind():
    model = chain(
        *(convolution("a"), layers.BatchNormalization(name="fused")),
        *(convolution("b"), layers.BatchNormalization(scale=False, name="unscaled")),
        *(convolution("c"), layers.BatchNormalization(axis=1, name="rows")),
        *(layers.Flatten(), layers.BatchNormalization(name="flat")),
    )
    fast = fused(model)
    assert [one.name for one in fast.layers if isinstance(one, FusedBatchNormalization)] == [
        "fused"
    ]
    assert [weight.path for weight in fast.weights] == [weight.path for weight in model.weights]
    frozen = model.get_layer("fused")
    frozen.trainable = False
    before = [weight.numpy() for weight in frozen.weights]
    fast.compile(optimizer="sgd", loss="mse")
    fast.train_on_batch(noise(16), np.zeros((3, 16 * 16 * 4)))
    for old, weight in zip(before, frozen.weights, strict=True):
        np.testing.assert_array_equal(old, weight)
