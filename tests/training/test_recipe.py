"""How weights are changed, by each option that a recipe has."""

from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pytest

from classifier.training import fit as fitting
from classifier.training.batches import Batches
from classifier.training.fit import fit
from classifier.training.outputs import output_unit, soft_accuracy, soft_labels
from classifier.training.recipe import Recipe

RECIPE = Recipe("sgd", 0.1, epochs=8)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def linear(units=1) -> keras.Sequential:
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((3,)), output_unit(max(units, 2))])


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ({"schedule": "step"}, [0.1] * 4 + [0.01] * 2 + [0.001] * 2),
        ({"schedule": "cosine"}, [0.05 * (1 + np.cos(np.pi * k / 32)) for k in range(3, 32, 4)]),
        ({"warmup": 4}, [0.025, 0.05, 0.075] + [0.1] * 5),
        ({"warmup": 1, "schedule": "step"}, [0.1] * 4 + [0.01] * 2 + [0.001] * 2),
    ],
)
def test_a_schedule_ends_each_of_its_eight_epochs_of_four_steps_at_this_rate(options, rates):
    found = replace(RECIPE, **options).rates(4)
    assert [float(found(step)) for step in range(3, 32, 4)] == pytest.approx(rates, rel=1e-5)


def test_the_rates_of_the_curve_are_those_that_were_used(monkeypatch):
    used = []
    monkeypatch.setattr(
        fitting._Keeper,
        "on_train_batch_begin",
        lambda keeper, batch, logs=None: used.append(float(keeper.model.optimizer.learning_rate)),
        raising=False,
    )
    train = Batches([np.ones((2, 3), np.float32)], np.arange(2), 1, seed=1)
    recipe = replace(RECIPE, schedule="cosine", warmup=2, epochs=4)
    history = fit(linear(), train, train, recipe, Path("a.npz"))
    assert [row["learning_rate"] for row in history.rows] == used[1::2]
    assert len(set(used)) == 8


def stepped(optimizer: keras.optimizers.Optimizer, gradient: float, times=1) -> dict[str, float]:
    """A kernel and a bias, 1 at first, after steps with a gradient."""
    layer = keras.layers.Dense(1, kernel_initializer="ones", bias_initializer="ones")
    layer.build((None, 1))
    return _stepped(layer, optimizer, gradient, times)


def _stepped(layer, optimizer, gradient, times=1) -> dict[str, float]:
    optimizer.build(layer.trainable_variables)
    for _ in range(times):
        optimizer.apply([keras.ops.full(v.shape, gradient) for v in layer.trainable_variables])
    return {one.name: float(np.ravel(one)[0]) for one in layer.trainable_variables}


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", "adamw", "sgd"])
def test_weight_decay_is_of_kernels_alone_whatever_the_optimizer(optimizer):
    decaying = replace(RECIPE, optimizer=optimizer, weight_decay=0.5)
    found = stepped(decaying.made(1), 0.0)
    assert found == pytest.approx({"kernel": 1 - 0.1 * 0.5, "bias": 1})
    assert stepped(replace(decaying, weight_decay=0.0).made(1), 0.0) == {"kernel": 1, "bias": 1}
    layer = keras.layers.BatchNormalization(beta_initializer="ones")
    layer.build((None, 1))
    assert _stepped(layer, decaying.made(1), 0.0) == {"gamma": 1, "beta": 1}


def test_gradients_are_clipped_together():
    # Of kernel and bias: the norm of (3, 3) is 3 √2.
    found = stepped(replace(RECIPE, clip=1.0).made(1), 3.0)
    assert found["kernel"] == pytest.approx(1 - 0.1 / np.sqrt(2), rel=1e-5)
    assert stepped(replace(RECIPE, clip=10.0).made(1), 3.0)["kernel"] == pytest.approx(1 - 0.3)


def test_averages_are_those_of_the_weights_after_each_step():
    optimizer = replace(RECIPE, ema=0.75).made(1)
    stepped(optimizer, 1.0, times=3)
    (found,) = np.ravel(optimizer._model_variables_moving_average[0])
    # The kernel goes 0.9, 0.8, 0.7; the average begins with the first step's.
    assert found == pytest.approx(0.75**2 * 0.9 + 0.75 * 0.25 * 0.8 + 0.25 * 0.7)


# labels


def test_soft_labels_are_what_the_outputs_should_say():
    labels = np.array([0, 1])
    assert soft_labels(labels, 1).tolist() == [[0], [1]]
    np.testing.assert_allclose(soft_labels(labels, 1, 0.2), [[0.1], [0.9]])
    np.testing.assert_allclose(soft_labels(labels, 2, 0.2), [[0.9, 0.1], [0.1, 0.9]])
    np.testing.assert_allclose(soft_labels(labels, 4, 0.2)[1], [0.05, 0.85, 0.05, 0.05])


@pytest.mark.parametrize("units", [1, 4])
def test_smoothed_labels_are_those_of_keras_losses(units):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, max(units, 2), 6)
    outputs = rng.uniform(0.1, 0.9, (6, units)).astype(np.float32)
    outputs = outputs if units == 1 else outputs / outputs.sum(axis=1, keepdims=True)
    losses = keras.losses
    kind = losses.BinaryCrossentropy if units == 1 else losses.CategoricalCrossentropy
    found = kind()(soft_labels(labels, units, 0.3), outputs)
    expected = kind(label_smoothing=0.3)(soft_labels(labels, units), outputs)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("labels", "outputs"),
    [
        ([[0.6], [0.4]], [[0.9], [0.9]]),
        ([[0.2, 0.5, 0.3]] * 2, [[0.1, 0.8, 0.1], [0.5, 0.4, 0.1]]),
    ],
)
def test_accuracy_counts_the_class_that_a_soft_label_has_most_of(labels, outputs):
    assert np.asarray(soft_accuracy(np.array(labels), np.array(outputs))).tolist() == [1, 0]


@pytest.mark.parametrize("classes", [2, 3])
def test_class_weights_hold_for_smoothed_labels(classes):
    """The first step's gradient by the bias is the weighted mean of what the outputs are off by."""
    labels = np.array([0, 0, 0, classes - 1])
    inputs = np.zeros((4, 3), np.float32)
    model = linear(classes)
    train, validation = Batches([inputs], labels, 4, seed=1), Batches([inputs], labels, 4)
    recipe = Recipe("sgd", 1.0, 1, class_weight="balanced", label_smoothing=0.1)
    units = model.output_shape[-1]
    outputs = np.asarray(model(inputs))
    fit(model, train, validation, recipe, Path("a.npz"))
    weights = 4 / (classes * np.bincount(labels)[labels])
    off = soft_labels(labels, units, 0.1) - outputs
    expected = (off * weights[:, np.newaxis]).sum(axis=0) / 4
    np.testing.assert_allclose(model.get_weights()[1], expected, rtol=1e-4, atol=1e-6)


# from a section of the parameters


@dataclass
class Some:
    optimizer: str = "adam"
    learning_rate: float = 0.01
    epochs: int = 3
    ema: float | None = 0.9


def test_a_recipe_takes_what_a_section_has_but_for_what_is_given():
    assert Recipe.of(Some(), epochs=7) == Recipe("adam", 0.01, 7, ema=0.9)


def test_a_recipe_says_every_option_that_is_on():
    on = Recipe("adamw", 0.001, 100, "balanced", 10, "cosine", 5, 0.05, 0.1, 0.999, 1.0)
    assert on.in_words() == (
        "adamw at 0.001, cosine schedule, 5 epochs of warm-up, up to 100 epochs, a patience of 10, "
        "weight decay 0.05, label smoothing 0.1, weights averaged with momentum 0.999, gradients "
        "clipped to 1, balanced class weights"
    )
