"""The networks have the published sizes, and outputs that are probabilities."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import layers

from classifier.base.family import NETWORKS
from classifier.networks.cnn5 import cnn5
from classifier.networks.from_scratch import network
from classifier.training.outputs import loss_for, output_unit
from classifier.transfer.vgg16 import vgg16_preprocessing


def pictures(n, size):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8)


# sizes


def test_cnn5_has_991041_parameters_at_180_pixels():
    model = cnn5(180, classes=2)
    assert model.count_params() == 991_041
    assert model.output_shape == (None, 1)
    assert cnn5(180, classes=2, dropout=0.5).count_params() == 991_041


def test_cnn5_has_a_unit_a_class_for_more_than_two():
    model = cnn5(80, classes=5)
    assert model.output_shape == (None, 5)
    assert model.layers[-1].activation is keras.activations.softmax


def test_dropout_stands_before_the_output():
    names = [layer.name for layer in cnn5(78, 2, dropout=0.5).layers]
    assert names[-3:] == ["flatten", "dropout", "output"]
    assert "dropout" not in [layer.name for layer in cnn5(78, 2).layers]


@pytest.mark.parametrize("arch", NETWORKS)
def test_the_smallest_input_builds_and_a_pixel_less_does_not(arch):
    smallest = NETWORKS[arch]
    network(arch)(smallest, 2, 0.0)
    with pytest.raises(ValueError, match=r"-\d|negative"):
        network(arch)(smallest - 1, 2, 0.0)


# Networks of other tutorials, as somebody who adds one would write them: some lines each.


def same_padding(filters):
    for number, count in enumerate(filters, start=1):
        yield layers.Conv2D(count, 3, padding="same", activation="relu", name=f"conv{number}")
        yield layers.MaxPooling2D(name=f"pool{number}")


def cnn3(image_size, classes, dropout=0.0, units=512):
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


def cnn2(image_size, classes, dropout=0.0):
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
