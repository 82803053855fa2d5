"""Winograd's convolutions are convolutions."""

import keras
import numpy as np
import pytest

from classifier.base.family import NETWORKS
from classifier.networks import from_scratch
from classifier.transfer import winograd
from classifier.transfer.backbone import cut
from classifier.transfer.winograd import WinogradConv2D, accelerated, convolve
from tests.rounding import UNIT, assert_same_but_for_rounding, rounding

pytestmark = pytest.mark.numeric
# Four steps and a prediction, of twelve layers forwards and back; the longest sum is that over the
# positions of ten pictures. Winograd's transformations enlarge a rounding tenfold (the rows of
# FROM_INPUT add up to 10).
TRAINED = 10 * rounding(10 * 9 * 10, sums=5 * 2 * 12)


@pytest.fixture
def worthwhile(monkeypatch):
    monkeypatch.setattr(winograd, "cpu_flags", lambda: {"avx2"})
    monkeypatch.setattr(winograd, "FEWEST_FILTERS", 4)


def network() -> keras.Sequential:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((9, 10, 3), dtype="uint8"),
            keras.layers.Rescaling(1 / 64, offset=-2),
            keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="few_channels"),
            keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="suits"),
            keras.layers.Conv2D(6, 3, activation="relu", name="valid"),
            keras.layers.Conv2D(6, 5, padding="same", activation="relu", name="larger"),
            keras.layers.Conv2D(6, 3, padding="same", strides=2, name="strided"),
            keras.layers.Conv2D(5, 3, padding="same", name="linear"),
            keras.layers.Conv2D(6, 3, padding="same", use_bias=False, name="unbiased"),
            keras.layers.Conv2D(6, 3, padding="same", groups=2, name="grouped"),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.layers[1].trainable = False
    for layer in model.layers:
        if getattr(layer, "bias", None) is not None:
            layer.bias.assign(np.linspace(-0.2, 0.2, layer.bias.shape[0]))
    return model


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 7, 9), (3, 11, 12), (1, 1, 2), (2, 22, 5)])
def test_it_convolves_any_size(monkeypatch, shape):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((*shape, 6)).astype(np.float32)
    kernel = rng.standard_normal((3, 3, 6, 5)).astype(np.float32)
    expected = keras.ops.conv(images, kernel, padding="same")
    error = np.abs(np.asarray(convolve(images, kernel)) - expected)
    for name in ("FROM_INPUT", "FROM_KERNEL", "TO_OUTPUT"):
        monkeypatch.setattr(winograd, name, np.abs(getattr(winograd, name)))
    # However its sums are ordered, a result is off by at most a UNIT of the sum of all absolute
    # values for each rounding on its way: 3 products and 6 sums along each axis of the three
    # transformations, and the sum over the channels. The plain convolution is off by less.
    largest = np.asarray(convolve(np.abs(images), np.abs(kernel)))
    roundings = 2 * (6 + 3 + 6) + 6
    assert (error <= 2 * roundings * UNIT["float32"] * largest).all()


def test_its_rounding_is_a_hundred_thousandth_of_what_vgg16s_layers_give():
    rng = np.random.default_rng(0)
    images = np.maximum(rng.standard_normal((2, 22, 22, 256)), 0).astype(np.float32)
    kernel = (rng.standard_normal((3, 3, 256, 64)) / 48).astype(np.float32)
    expected = np.asarray(keras.ops.conv(images, kernel, padding="same"))
    error = np.abs(np.asarray(convolve(images, kernel)) - expected)
    assert error.max() < 1e-4 * expected.std()
    assert error.mean() < 1e-5 * expected.std()


@pytest.mark.usefixtures("worthwhile")
def test_the_layers_that_suit_are_exchanged_and_no_others():
    model = network()
    fast = accelerated(model, winograd.FEWEST_PICTURES)
    exchanged = [layer.name for layer in fast.layers if isinstance(layer, WinogradConv2D)]
    assert exchanged == ["suits", "linear"]
    assert [layer.name for layer in fast.layers] == [layer.name for layer in model.layers]
    assert [layer.trainable for layer in fast.layers] == [layer.trainable for layer in model.layers]
    for one, other in zip(fast.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("worthwhile")
def test_scores_and_training_stay_the_same_but_for_rounding():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (10, 9, 10, 3), np.uint8)
    labels = np.arange(10) % 2
    models = network(), accelerated(network(), winograd.FEWEST_PICTURES)
    for model in models:
        model.layers[-2].rate = 0.0
        model.compile(optimizer=keras.optimizers.SGD(0.1), loss="binary_crossentropy")
        for _ in range(3):
            model.train_on_batch(images, labels)
        model.train_on_batch(images[:7], labels[:7])  # the last batch of an epoch is smaller
    plain, fast = (model.predict(images, verbose=0) for model in models)
    assert plain.std() > 0.01
    assert_same_but_for_rounding(fast, plain, TRAINED)


@pytest.mark.usefixtures("worthwhile")
def test_a_graph_of_branches_and_operations_gives_the_same_scores():
    keras.utils.set_random_seed(1)
    images = keras.Input((9, 10, 6))
    x = keras.ops.flip(images, axis=-1)
    twice = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="called_twice")
    joined = keras.layers.Concatenate()([twice(x), twice(keras.layers.Dropout(0.5)(x))])
    skipped = keras.layers.Conv2D(6, 3, padding="same", name="skipped")(x)
    narrowed = keras.layers.Conv2D(6, 3, padding="same", name="narrowed")(joined)
    model = keras.Model(images, keras.layers.Add()([narrowed, skipped]))
    fast = accelerated(model, winograd.FEWEST_PICTURES)
    exchanged = {layer.name for layer in fast.layers if isinstance(layer, WinogradConv2D)}
    assert exchanged == {"called_twice", "skipped", "narrowed"}
    some = np.random.default_rng(0).standard_normal((3, 9, 10, 6)).astype(np.float32)
    np.testing.assert_allclose(fast(some), model(some), atol=1e-4)


@pytest.mark.usefixtures("worthwhile")
@pytest.mark.parametrize("arch", NETWORKS)
def test_every_network_of_the_registry_has_an_equal_copy(arch):
    model = from_scratch.network(arch)(78, 2, 0.2)
    fast = accelerated(model, winograd.FEWEST_PICTURES)
    assert fast is not model
    some = np.random.default_rng(0).integers(0, 256, (2, 78, 78, 3), np.uint8)
    np.testing.assert_allclose(fast(some), model(some), atol=1e-4)


@pytest.mark.usefixtures("worthwhile")
def test_an_exchanged_network_can_be_cut():
    model = network()
    first, second = cut(accelerated(model, winograd.FEWEST_PICTURES), "suits")
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 10, 3), np.uint8)
    whole = model.predict(images, verbose=0)
    parts = second.predict(first.predict(images, verbose=0), verbose=0)
    assert_same_but_for_rounding(parts, whole, TRAINED)


@pytest.mark.parametrize(
    ("flags", "pictures"),
    [({"avx2", "avx512f"}, 5000), (set(), 5000), ({"avx2"}, winograd.FEWEST_PICTURES - 1)],
)
def test_elsewhere_the_model_stays_as_it_is(monkeypatch, flags, pictures):
    monkeypatch.setattr(winograd, "cpu_flags", lambda: flags)
    model = network()
    assert accelerated(model, pictures) is model


@pytest.mark.usefixtures("worthwhile")
def test_other_precisions_are_left_alone():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        fast = accelerated(network(), winograd.FEWEST_PICTURES)
    finally:
        keras.config.set_dtype_policy("float32")
    assert not [layer for layer in fast.layers if isinstance(layer, WinogradConv2D)]
