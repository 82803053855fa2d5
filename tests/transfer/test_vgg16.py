"""VGG16 has its published size, preprocessing and weights."""

import keras
import numpy as np
import pytest
from keras.applications.vgg16 import preprocess_input

from classifier.base import params
from classifier.base.errors import UserError
from classifier.training.outputs import loss_for
from classifier.transfer.backbone import cut
from classifier.transfer.vgg16 import VGG16, vgg16, vgg16_classifier, vgg16_preprocessing
from tests.rounding import UNIT, assert_same_but_for_rounding, rounding

pytestmark = pytest.mark.numeric
LAYERS = rounding(9 * 512, sums=13 + 2)  # the widest convolution; 13 of them and the head


def pictures(n, size):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8)


@pytest.fixture(scope="module")
def small_vgg16():
    return vgg16(32, 2, None, dense_units=8)


def test_vgg16s_base_has_14714688_parameters(small_vgg16):
    base = [layer for layer in small_vgg16.layers if layer.name.startswith("block")]
    assert sum(layer.count_params() for layer in base) == 14_714_688
    assert small_vgg16.count_params() == 14_714_688 + (512 * 8 + 8) + (8 + 1)


def test_the_averaged_head_is_trained_on_512_features_at_any_size():
    model = VGG16.build["average"](64, 2, None, dense_units=8)
    assert model.count_params() == 14_714_688 + (512 * 8 + 8) + (8 + 1)
    frozen, _ = cut(model, VGG16.head_starts_after["average"])
    assert frozen.output_shape == (None, 512)


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


def test_preprocessing_is_keras():
    images = pictures(4, 32)
    images[0, :16, :16] = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)  # every value
    expected = preprocess_input(images.astype(np.float32))
    found = vgg16_preprocessing(32)(images)
    # One difference of numbers below 256, rounded once in either way.
    np.testing.assert_allclose(found, expected, rtol=0, atol=2 * 256 * UNIT["float32"])


def test_the_base_computes_what_keras_vgg16_does(small_vgg16):
    base = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
    ours = {layer.name: layer for layer in small_vgg16.layers}
    for layer in base.layers[1:]:
        layer.set_weights(ours[layer.name].get_weights())
    images = pictures(2, 32)
    first, _ = cut(small_vgg16, "block5_pool")
    expected = base(preprocess_input(images.astype(np.float32)))
    assert_same_but_for_rounding(first(images), expected, LAYERS)


@pytest.mark.parametrize(
    ("unfrozen", "layer"),
    [(0, "block5_pool"), (1, "block4_pool"), (3, "block2_pool"), (5, "preprocessing")],
)
def test_the_frozen_part_ends_before_the_blocks_to_train(small_vgg16, unfrozen, layer):
    assert VGG16.frozen_up_to(unfrozen) == layer
    assert small_vgg16.get_layer(layer)


@pytest.mark.parametrize("unfrozen", [6, -1])
def test_a_block_that_vgg16_lacks_is_refused(unfrozen):
    with pytest.raises(UserError, match=rf"^unfreeze is {unfrozen}, VGG16 allows: 0 to 5$"):
        VGG16.frozen_up_to(unfrozen)


@pytest.mark.parametrize("name", ["preprocessing", "block4_pool", "block5_pool", "flatten"])
def test_the_parts_of_a_cut_network_compute_the_whole_and_share_its_weights(small_vgg16, name):
    first, second = cut(small_vgg16, name)
    images = pictures(3, 32)
    expected = keras.ops.convert_to_numpy(small_vgg16(images))
    assert_same_but_for_rounding(second(first(images)), expected, LAYERS)
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
    assert "vgg16.weights.h5 does not hold VGG16's weights without dense layers" in message
