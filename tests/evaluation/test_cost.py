"""What models cost, against figures that are published or counted by hand."""

import keras
import pytest
from keras import layers

from classifier.evaluation.cost import cost, multiplications
from classifier.networks.cnn5 import cnn5
from classifier.training.saving import save_model
from classifier.transfer.mobilenet import mobilenet


def counted(model):
    return sum(multiplications(layer) for layer in model._flatten_layers())


def test_mobilenet_multiplies_as_often_as_its_paper_says():
    """569 million multiply-adds with its thousand classes (Howard et al. 2017, table 4)."""
    whole = keras.applications.MobileNet(weights=None)
    assert counted(whole) / 1e6 == pytest.approx(569, abs=0.5)
    ours = counted(mobilenet(224, 1000, None))
    assert ours == counted(whole)


def test_a_network_is_counted_by_hand():
    first, second = 9 * 3 * 32 * 76**2, 9 * 32 * 64 * 36**2
    third, fourth = 9 * 64 * 128 * 16**2, 9 * 128 * 256 * 6**2
    fifth, output = 9 * 256 * 256 * 1, 256
    expected = first + second + third + fourth + fifth + output
    assert counted(cnn5(78, 2)) == expected


def test_a_separable_convolution_is_two_and_branches_count_each_once():
    images = keras.Input((8, 8, 4))
    left = layers.SeparableConv2D(6, 3, padding="same")(images)
    right = layers.Conv2D(6, 1, strides=2)(images)
    together = layers.Add()([layers.MaxPooling2D(2)(left), right])
    model = keras.Model(images, layers.Flatten()(together))
    assert counted(model) == (9 * 4 + 4 * 6) * 64 + 4 * 6 * 16


def test_the_file_is_measured_as_it_was_saved(tmp_path):
    model = cnn5(78, 2)
    save_model(tmp_path / "m.keras", model, {})
    found = cost(model, tmp_path / "m.keras")
    assert found.parameters == model.count_params()
    assert found.file_bytes == (tmp_path / "m.keras").stat().st_size
