"""The networks have the published sizes; a block's fast form computes what the plain one does."""

import types
from functools import partial
from typing import get_args

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from keras.applications.vgg16 import preprocess_input

from classifier import params
from classifier.convolution import PooledConv2D
from classifier.errors import UserError
from classifier.networks import (
    NETWORKS,
    block_end,
    cnn5,
    cut,
    loss_for,
    output_unit,
    plain_block,
    pooled_block,
    vgg16,
    vgg16_classifier,
    vgg16_preprocessing,
)


def pictures(n, size):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8)


@pytest.fixture(scope="module")
def small_vgg16():
    return vgg16(32, 2, None, dense_units=8)


# sizes


@pytest.mark.parametrize("block", [plain_block, pooled_block])
def test_cnn5_has_991041_parameters_at_180_pixels(block):
    model = cnn5(180, classes=2, block=block)
    assert model.count_params() == 991_041
    assert model.output_shape == (None, 1)
    assert cnn5(180, classes=2, dropout=0.5, block=block).count_params() == 991_041


def test_cnn5_has_a_unit_a_class_for_more_than_two():
    model = cnn5(80, classes=5)
    assert model.output_shape == (None, 5)
    assert model.layers[-1].activation is keras.activations.softmax


def test_dropout_stands_before_the_output():
    names = [layer.name for layer in cnn5(78, 2, dropout=0.5).layers]
    assert names[-3:] == ["flatten", "dropout", "output"]
    assert "dropout" not in [layer.name for layer in cnn5(78, 2).layers]


@pytest.mark.parametrize("block", [plain_block, pooled_block])
@pytest.mark.parametrize("arch", NETWORKS)
def test_the_smallest_input_builds_and_a_pixel_less_does_not(arch, block):
    smallest = params.SMALLEST_INPUT[arch]
    NETWORKS[arch](smallest, 2, 0.0, block)
    with pytest.raises(ValueError, match=r"-\d|negative"):
        NETWORKS[arch](smallest - 1, 2, 0.0, block)


def test_every_network_can_be_chosen_and_has_its_smallest_input():
    allowed = set(get_args(params.Train.model_fields["arch"].annotation))
    assert allowed == set(NETWORKS) == set(params.SMALLEST_INPUT)


# Networks of other tutorials, as somebody who adds one would write them: some lines each.


def same_padding(filters):
    for number, count in enumerate(filters, start=1):
        yield layers.Conv2D(count, 3, padding="same", activation="relu", name=f"conv{number}")
        yield layers.MaxPooling2D(name=f"pool{number}")


def cnn3(image_size, classes, dropout=0.0, block=plain_block, units=512):
    return keras.Sequential(
        [
            keras.Input((image_size, image_size, 3), dtype="uint8"),
            layers.Rescaling(1 / 255),
            *same_padding([16, 32, 64]),
            layers.Flatten(),
            layers.Dense(units, activation="relu"),
            *([layers.Dropout(dropout)] if dropout else []),
            output_unit(classes),
        ]
    )


def cnn2(image_size, classes, dropout=0.0, block=plain_block):
    return keras.Sequential(
        [
            keras.Input((image_size, image_size, 3), dtype="uint8"),
            vgg16_preprocessing(image_size),
            *same_padding([32, 64]),
            layers.Flatten(),
            layers.Dense(classes, activation="softmax", dtype="float32"),
        ]
    )


@pytest.mark.parametrize(
    "build, size, classes, parameters",
    [
        (cnn3, 150, 2, 10_641_441),
        (partial(cnn3, units=128), 180, 5, 3_989_285),
        (cnn2, 224, 2, 420_802),
    ],
)
def test_a_network_of_another_tutorial_takes_a_few_lines(build, size, classes, parameters):
    assert build(size, classes).count_params() == parameters


def test_vgg16s_base_has_14714688_parameters(small_vgg16):
    base = [layer for layer in small_vgg16.layers if layer.name.startswith("block")]
    assert sum(layer.count_params() for layer in base) == 14_714_688
    assert small_vgg16.count_params() == 14_714_688 + (512 * 8 + 8) + (8 + 1)


def test_vgg16_takes_32_pixels_and_not_31():
    with pytest.raises(ValueError, match="31"):
        vgg16(31, 2, None)


def test_the_classifier_head_trains_8194_of_134268738_parameters():
    model = vgg16_classifier(params.VGG16_CLASSIFIER_INPUT, 2, None)
    assert model.count_params() == 134_268_738
    trained = [int(np.prod(weights.shape)) for weights in model.trainable_weights]
    assert sum(trained) == 8_194
    assert model.output_shape == (None, 2)
    assert loss_for(model) == "sparse_categorical_crossentropy"


@pytest.mark.parametrize(
    ("classes", "loss"),
    [(2, "binary_crossentropy"), (3, "sparse_categorical_crossentropy")],
)
def test_the_loss_fits_the_output(classes, loss):
    assert loss_for(cnn5(78, classes)) == loss


def test_outputs_are_probabilities_in_float32_under_any_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = cnn5(78, 3)
    finally:
        keras.config.set_dtype_policy("float32")
    outputs = model(pictures(2, 78))
    assert outputs.dtype == "float32"
    np.testing.assert_allclose(np.sum(outputs, axis=1), 1, rtol=1e-5)
    assert model.get_layer("conv2").compute_dtype == "bfloat16"


# VGG16


def test_preprocessing_is_keras():
    images = pictures(4, 32)
    images[0, :16, :16] = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)  # every value
    expected = preprocess_input(images.astype(np.float32))
    found = vgg16_preprocessing(32)(images)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_the_base_computes_what_keras_vgg16_does(small_vgg16):
    base = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
    ours = {layer.name: layer for layer in small_vgg16.layers}
    for layer in base.layers[1:]:
        layer.set_weights(ours[layer.name].get_weights())
    images = pictures(2, 32)
    first, _ = cut(small_vgg16, "block5_pool")
    np.testing.assert_allclose(
        first(images), base(preprocess_input(images.astype(np.float32))), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(
    ("unfrozen", "layer"),
    [(0, "block5_pool"), (1, "block4_pool"), (3, "block2_pool"), (5, "preprocessing")],
)
def test_the_frozen_part_ends_before_the_blocks_to_train(small_vgg16, unfrozen, layer):
    assert block_end(unfrozen) == layer
    assert small_vgg16.get_layer(layer)


@pytest.mark.parametrize("unfrozen", [6, -1])
def test_a_block_that_vgg16_lacks_is_refused(unfrozen):
    with pytest.raises(UserError, match=rf"^finetune.unfreeze is {unfrozen}, allowed: 0 to 5$"):
        block_end(unfrozen)


@pytest.mark.parametrize("name", ["preprocessing", "block4_pool", "block5_pool", "flatten"])
def test_the_parts_of_a_cut_network_compute_the_whole_and_share_its_weights(small_vgg16, name):
    first, second = cut(small_vgg16, name)
    images = pictures(3, 32)
    expected = keras.ops.convert_to_numpy(small_vgg16(images))
    np.testing.assert_allclose(second(first(images)), expected, rtol=1e-5, atol=1e-7)
    whole = {id(weights) for weights in small_vgg16.weights}
    assert {id(weights) for weights in [*first.weights, *second.weights]} == whole
    assert first.layers[-1].name == name


def small_base(filters=2, **options):
    """Keras's VGG16 with two filters a layer."""
    images = keras.Input(options["input_shape"])
    x = images
    for block, depth in enumerate([2, 2, 3, 3, 3], start=1):
        for conv in range(1, depth + 1):
            name = f"block{block}_conv{conv}"
            x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=name)(x)
        x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    return keras.Model(images, x, name="vgg16")


def test_weights_come_from_the_file_that_keras_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.applications, "VGG16", small_base)
    saved = small_base(input_shape=(32, 32, 3))
    saved.save_weights(tmp_path / "vgg16.weights.h5")
    model = vgg16(32, 2, tmp_path / "vgg16.weights.h5", dense_units=4)
    for layer in saved.layers[1:]:
        for ours, theirs in zip(
            model.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("content", [None, b"", b"no weights", "other network"])
def test_a_file_without_these_weights_is_refused_in_one_line(tmp_path, monkeypatch, content):
    monkeypatch.setattr(keras.applications, "VGG16", small_base)
    path = tmp_path / "vgg16.weights.h5"
    if content == "other network":
        small_base(filters=3, input_shape=(32, 32, 3)).save_weights(path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as error:
        vgg16(32, 2, path)
    message = str(error.value)
    assert message.splitlines() == [message]
    assert (
        "vgg16.weights.h5, from finetune.weights, does not hold what finetune.head needs" in message
    )


# the fast form of a block


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
@pytest.mark.parametrize(("pool", "size"), [(2, 12), (2, 11), (1, 9), (3, 13)])
def test_a_pooled_block_is_a_plain_one_and_so_are_its_gradients(channels, pool, size):
    rng = np.random.default_rng(channels)
    inputs = rng.standard_normal((3, size, size, channels)).astype(np.float32)
    before = keras.layers.Dense(channels, name="before")  # so that the input has a gradient
    models = []
    for block in (plain_block, pooled_block):
        shape = keras.Input(inputs.shape[1:])
        models.append(keras.Sequential([shape, before, *block(5, pool, 1)]))
    plain, pooled = models
    assert [w.shape for w in plain.weights] == [w.shape for w in pooled.weights]
    plain.get_layer("conv1").bias.assign(rng.standard_normal(5))
    pooled.set_weights(plain.get_weights())
    assert pooled.output_shape == plain.output_shape
    targets = rng.standard_normal(plain(inputs).shape).astype(np.float32)
    outputs, slopes = gradients(plain, inputs, targets)
    fast_outputs, fast_slopes = gradients(pooled, inputs, targets)
    assert_close(fast_outputs, outputs)
    for fast, slow in zip(fast_slopes, slopes, strict=True):
        assert_close(fast, slow)


def test_both_forms_of_cnn5_have_the_same_weights_outputs_and_gradients():
    keras.utils.set_random_seed(1)
    plain, pooled = (cnn5(80, 2, block=block) for block in (plain_block, pooled_block))
    assert [w.path for w in plain.weights] == [w.path for w in pooled.weights]
    pooled.set_weights(plain.get_weights())
    images, targets = pictures(4, 80), np.array([[0.0], [1], [0], [1]], np.float32)
    outputs, slopes = gradients(plain, images, targets)
    fast_outputs, fast_slopes = gradients(pooled, images, targets)
    assert_close(fast_outputs, outputs)
    for fast, slow in zip(fast_slopes, slopes, strict=True):
        assert_close(fast, slow)


def test_the_same_seed_draws_the_same_weights_for_both_forms():
    drawn = []
    for block in (plain_block, pooled_block):
        keras.utils.set_random_seed(3)
        drawn.append(cnn5(78, 2, block=block).get_weights())
    for one, other in zip(*drawn, strict=True):
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
