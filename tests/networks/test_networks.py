"""The networks have the published sizes, and outputs that are probabilities."""

import keras
import numpy as np
import pytest

from classifier.base.family import NETWORKS, OF_ANY_SIZE
from classifier.networks.cnn5 import cnn5
from classifier.networks.from_scratch import network
from classifier.training.fused import PooledConv2D, fused
from classifier.training.outputs import loss_for
from tests.rounding import rounding


def pictures(n, size):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8)


@pytest.mark.parametrize(
    ("arch", "size", "classes", "parameters"),
    [
        ("cnn5", 180, 2, 991_041),
        ("cnn3", 150, 2, 10_641_441),
        ("cnn3_flowers", 180, 5, 3_989_285),
        ("cnn2", 224, 2, 420_802),
        ("cnn_002", 150, 2, 9_546_625),
        ("xception_small", 180, 2, 721_857),
        ("resnet_small", 128, 2, 4_973_081),
    ],
)
def test_a_network_has_its_parameters_with_and_without_dropout(arch, size, classes, parameters):
    for dropout in (0.0, 0.2):
        model = network(arch)(size, classes, dropout)
        assert model.count_params() == parameters
        assert model.name == arch


def test_the_tutorial_of_cnn_002_shows_its_first_convolution():
    assert network("cnn_002")(150, 2, 0.0).get_layer("conv1").output.shape == (None, 148, 148, 64)


DROPOUTS = {
    "cnn5": [("flatten", "output")],
    "cnn3": [("pool1", "conv2"), ("pool3", "flatten")],
    "cnn3_flowers": [("pool3", "flatten")],
    "cnn2": [("flatten", "output")],
    "cnn_002": [("dense", "output")],
    "xception_small": [("pool", "output")],
    "resnet_small": [("pool", "output")],
}


@pytest.mark.parametrize("arch", NETWORKS)
def test_dropout_stands_where_the_networks_tutorial_has_it(arch):
    found = [layer.name for layer in network(arch)(78, 2, 0.2).layers]
    places = [
        (found[i - 1], found[i + 1]) for i, name in enumerate(found) if name.startswith("dropout")
    ]
    assert places == DROPOUTS[arch]
    without = network(arch)(78, 2, 0.0)
    assert not [layer for layer in without.layers if isinstance(layer, keras.layers.Dropout)]


@pytest.mark.parametrize(("arch", "units"), [("cnn5", 1), ("cnn2", 2)])
def test_two_classes_have_one_sigmoid_unit_or_the_tutorials_two(arch, units):
    assert network(arch)(78, 2, 0.0).output_shape == (None, units)


@pytest.mark.parametrize("arch", NETWORKS)
def test_more_classes_have_a_unit_each(arch):
    model = network(arch)(78, 5, 0.0)
    assert model.output_shape == (None, 5)
    assert model.layers[-1].activation is keras.activations.softmax


def test_cnn2_sees_what_vgg16_sees():
    model = network("cnn2")(32, 2, 0.0)
    seen = keras.Model(model.inputs, model.get_layer("conv1").input)
    expected = keras.applications.vgg16.preprocess_input(pictures(2, 32).astype(np.float32))
    np.testing.assert_allclose(seen(pictures(2, 32)), expected, atol=1e-4)


@pytest.mark.parametrize("arch", NETWORKS)
def test_the_smallest_input_leaves_something_to_convolve(arch):
    smallest = max(NETWORKS[arch], 8)
    last = network(arch)(smallest, 2, 0.0).layers[-1]
    assert last.input.shape[1] > 0
    if smallest > 8:  # less than 8 pixels are refused for every network
        with pytest.raises(ValueError, match=r"-\d|negative|zero"):
            network(arch)(smallest - 1, 2, 0.0)


@pytest.mark.parametrize("arch", NETWORKS)
def test_networks_of_any_size_are_those_whose_weights_do_not_depend_on_it(arch):
    shapes = [[each.shape for each in network(arch)(size, 2, 0.0).weights] for size in (78, 96)]
    assert (shapes[0] == shapes[1]) == (arch in OF_ANY_SIZE)
    if arch in OF_ANY_SIZE:
        assert [each.shape for each in network(arch)(None, 2, 0.0).weights] == shapes[0]


@pytest.mark.parametrize("arch", NETWORKS)
def test_the_form_that_trains_fast_gives_the_same_probabilities(arch):
    keras.utils.set_random_seed(1)
    model = network(arch)(78, 3, 0.0)
    fast = fused(model)
    joined = [layer for layer in fast.layers if isinstance(layer, PooledConv2D)]
    # One pools what is separable, the other the sum of two branches.
    assert bool(joined) == (arch not in ("xception_small", "resnet_small"))
    outputs = np.asarray(model(pictures(2, 78)))
    np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(
        fast.predict_on_batch(pictures(2, 78)), outputs, rtol=1e-4, atol=1e-6
    )


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
    np.testing.assert_allclose(np.sum(outputs, axis=1), 1, rtol=rounding(3, sums=2))
    assert model.get_layer("conv2").compute_dtype == "bfloat16"
