"""Grad-CAM and activations, on networks small enough to know the answer."""

import keras
import numpy as np
import pytest
from keras import layers

from classifier.evaluation.explanations import (
    activations,
    explained_layer,
    grad_cam,
    logit_gradient,
)
from classifier.networks.cnn5 import cnn5
from classifier.networks.xception_small import xception_small
from classifier.transfer.vgg16 import vgg16


def bright_patch_network(units: int) -> keras.Model:
    """Its only convolution passes red on; the output grows with the mean of what it passes."""
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3), dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(2, 1, name="conv"),
            layers.Dropout(0.9),
            layers.Flatten(),
            layers.Dense(units, activation="sigmoid" if units == 1 else "softmax", name="output"),
        ]
    )
    kernel = np.zeros((1, 1, 3, 2), np.float32)
    kernel[0, 0, 0, 0] = 1  # the first channel is red, the second nothing
    model.get_layer("conv").set_weights([kernel, np.zeros(2, np.float32)])
    weights = np.zeros((144, 2, units), np.float32)
    weights[:, 0, -1] = 1
    output = model.get_layer("output")
    output.set_weights([weights.reshape(288, units), np.zeros(units, np.float32)])
    return model


def red_corner() -> np.ndarray:
    image = np.zeros((1, 12, 12, 3), np.uint8)
    image[0, :4, :4, 0] = 255
    return image


@pytest.mark.parametrize("units", [1, 3])
def test_the_heat_is_where_the_evidence_is(units):
    model = bright_patch_network(units)
    last = 1 if units == 1 else 2
    (heat,) = grad_cam(model, red_corner(), [last])
    expected = np.zeros((12, 12))
    expected[:4, :4] = 1
    np.testing.assert_array_equal(heat, expected)


def test_what_speaks_against_a_class_gives_no_heat():
    (heat,) = grad_cam(bright_patch_network(1), red_corner(), [0])
    assert not heat.any()


@pytest.mark.parametrize(("units", "classes", "signs"), [(1, [0, 1], [-1, 1]), (3, [0, 2], [0, 1])])
def test_the_gradient_is_that_of_the_logit_without_dropout(units, classes, signs):
    model = bright_patch_network(units)
    images = np.repeat(red_corner(), 2, axis=0)
    maps, gradient = logit_gradient(model, model.get_layer("conv"), images, np.array(classes))
    np.testing.assert_allclose(maps[..., 0], images[..., 0] / 255)
    for one, sign in zip(gradient, signs, strict=True):
        np.testing.assert_array_equal(one[..., 0], sign)
        np.testing.assert_array_equal(one[..., 1], 0)


def residual(inputs):
    """Two convolutions that the input also goes around."""
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(inputs)
    x = layers.Conv2D(4, 3, padding="same", name="second")(x)
    return layers.Add()([layers.Conv2D(4, 1, name="around")(inputs), x])


def test_a_model_with_branches_and_the_same_one_nested_are_explained_alike():
    keras.utils.set_random_seed(0)
    part = keras.Input((12, 12, 3))
    body = keras.Model(part, residual(part), name="body")

    def classifier(features) -> keras.Model:
        inputs = keras.Input((12, 12, 3), dtype="uint8")
        x = features(layers.Rescaling(1 / 255)(inputs))
        x = layers.GlobalAveragePooling2D()(x)
        return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))

    nested, flat = classifier(body), classifier(residual)
    for name in ("first", "second", "around"):
        flat.get_layer(name).set_weights(body.get_layer(name).get_weights())
    flat.layers[-1].set_weights(nested.layers[-1].get_weights())
    body.trainable = False  # frozen, as a backbone is
    images = np.random.default_rng(0).integers(0, 256, (2, 12, 12, 3), np.uint8)
    heat = grad_cam(nested, images, [0, 2])
    assert heat.max() == 1
    np.testing.assert_allclose(heat, grad_cam(flat, images, [0, 2]), atol=1e-6)
    # The mean over the positions is linear: the gradient is the output's weight by 144 positions.
    _, gradient = logit_gradient(nested, body.get_layer("second"), images, np.array([0, 2]))
    kernel = nested.layers[-1].get_weights()[0]
    np.testing.assert_allclose(gradient[1, 3, 4], kernel[:, 2] / 144, rtol=1e-5)
    for (one, ours), (other, theirs) in zip(
        activations(nested, images[0]), activations(flat, images[0]), strict=True
    ):
        assert one == other
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_score_of_exactly_one_is_still_explained():
    model = bright_patch_network(1)
    output = model.get_layer("output")
    output.set_weights([output.get_weights()[0], np.full(1, 1000, np.float32)])
    assert model.predict_on_batch(red_corner())[0, 0] == 1
    (heat,) = grad_cam(model, red_corner(), [1])
    assert heat[:4, :4].all()


def test_pictures_are_explained_each_on_its_own():
    keras.utils.set_random_seed(0)
    model = cnn5(80, 2)
    images = np.random.default_rng(0).integers(0, 256, (3, 80, 80, 3), np.uint8)
    together = grad_cam(model, images, [1, 0, 1])
    for image, label, heat in zip(images, [1, 0, 1], together, strict=True):
        np.testing.assert_allclose(grad_cam(model, image[None], [label])[0], heat, atol=1e-4)


def test_explaining_leaves_the_model_as_it_is():
    model = bright_patch_network(1)
    before = [weights.copy() for weights in model.get_weights()]
    score = model.predict_on_batch(red_corner())
    grad_cam(model, red_corner(), [1])
    np.testing.assert_array_equal(model.predict_on_batch(red_corner()), score)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert not any("call" in vars(layer) for layer in model.layers)


def test_the_layer_explained_is_the_last_with_a_map_of_some_size():
    assert explained_layer(cnn5(180, 2)).name == "conv5"
    assert explained_layer(cnn5(80, 2)).name == "conv4"  # conv5 sees a single position
    assert explained_layer(vgg16(80, 2, None, dense_units=4)).name == "block5_conv3"
    assert explained_layer(vgg16(32, 2, None, dense_units=4)).name == "block3_conv3"
    assert explained_layer(xception_small(180, 2)).name == "block5"  # the sum of its branches


def test_activations_are_those_of_every_convolution_and_pooling_layer():
    keras.utils.set_random_seed(0)
    model = cnn5(80, 2)
    image = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    found = dict(activations(model, image))
    pairs = [name for number in (1, 2, 3, 4) for name in (f"conv{number}", f"pool{number}")]
    assert list(found) == [*pairs, "conv5"]
    assert [output.shape for output in found.values()] == [
        (78, 78, 32),
        (39, 39, 32),
        (37, 37, 64),
        (18, 18, 64),
        (16, 16, 128),
        (8, 8, 128),
        (6, 6, 256),
        (3, 3, 256),
        (1, 1, 256),
    ]
    pooled = found["conv1"].reshape(39, 2, 39, 2, 32).max(axis=(1, 3))
    np.testing.assert_array_equal(found["pool1"], pooled)


def test_activations_of_branches_have_the_names_of_their_layers():
    model = xception_small(32, 2)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    found = dict(activations(model, image))
    assert len(found) == 1 + 5 * 4  # of each block two convolutions, pooling and shortcut
    asked = keras.Model(model.inputs, [model.get_layer(name).output for name in found])
    for output, (name, ours) in zip(asked([image[np.newaxis]]), found.items(), strict=True):
        np.testing.assert_allclose(ours, output[0], atol=1e-5, err_msg=name)
