"""MobileNet has its published size, preprocessing and weights, and keeps its statistics."""

import keras
import numpy as np
import pytest
from keras.applications.mobilenet import preprocess_input

from classifier.base.errors import UserError
from classifier.transfer.backbone import cut
from classifier.transfer.mobilenet import BLOCKS, MOBILENET, mobilenet
from tests.rounding import assert_same_but_for_rounding, rounding

pytestmark = pytest.mark.numeric
LAYERS = rounding(1024, sums=27)  # the widest of its convolutions; 27 of them


@pytest.fixture(scope="module")
def model():
    return mobilenet(32, 2, None)


def pictures(n, size=32):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8)


def test_ten_classes_have_3239114_parameters_at_any_size():
    assert mobilenet(224, 10, None).count_params() == 3_239_114
    assert mobilenet(96, 10, None).count_params() == 3_239_114


def test_it_computes_what_keras_own_does_on_its_own_preprocessing(tmp_path):
    whole = keras.applications.MobileNet(weights=None, input_shape=(224, 224, 3))
    whole.save_weights(tmp_path / "mobilenet.weights.h5")
    features, _ = cut(mobilenet(224, 2, tmp_path / "mobilenet.weights.h5"), "pooling")
    base = keras.Model(whole.input, whole.get_layer("conv_pw_13_relu").output)
    images = pictures(2, 224)
    expected = np.mean(base(preprocess_input(images.astype(np.float32))), axis=(1, 2))
    assert_same_but_for_rounding(features(images), expected, LAYERS)


def test_training_it_leaves_the_statistics_of_batch_normalisation_alone(model):
    before = [weights.numpy() for weights in model.non_trainable_variables]
    model.compile("sgd", "binary_crossentropy")
    model.train_on_batch(pictures(4), np.array([0, 1, 0, 1]))
    after = [weights.numpy() for weights in model.non_trainable_variables]
    assert len(before) > 4 * 27 - 1
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_tutorials_last_23_layers_are_three_blocks_and_the_output(model):
    """The three have no weights before the 23 that would be trained: the rest is normalisation."""
    _, ours = cut(model, MOBILENET.frozen_up_to(3))
    named = [layer.name for layer in model.layers]
    _, theirs = cut(model, named[-24])
    trained = [weights.path for weights in theirs.trainable_weights]
    assert [weights.path for weights in ours.trainable_weights] == trained
    assert trained[0].startswith("conv_dw_11")


def test_every_block_can_be_cut_off(model):
    assert MOBILENET.frozen_up_to(BLOCKS) == "preprocessing"
    for unfrozen in range(BLOCKS + 1):
        assert model.get_layer(MOBILENET.frozen_up_to(unfrozen))


def test_a_file_without_its_output_layer_is_refused_in_one_line(tmp_path):
    base = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(32, 32, 3))
    base.save_weights(tmp_path / "mobilenet.weights.h5")
    with pytest.raises(UserError, match=r"does not hold MobileNet's weights with its output") as e:
        mobilenet(32, 2, tmp_path / "mobilenet.weights.h5")
    assert len(str(e.value).splitlines()) == 1
