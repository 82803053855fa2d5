"""Training ends with the same bytes, whether it was interrupted or not."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from classifier.base.errors import UserError
from classifier.base.splits import Split, read_split, write_split
from classifier.networks import from_scratch
from classifier.networks.from_scratch import train_from_scratch
from classifier.training import checkpoint, precision
from classifier.training import fit as fitting
from classifier.training.augmentation import Augmentation
from classifier.training.batches import Batches
from classifier.training.checkpoint import checkpoint_path
from classifier.training.fit import CURVE, History, fit, start, write_curve
from classifier.training.mixing import Mixing
from classifier.training.outputs import output_unit
from classifier.training.recipe import Recipe
from tests.projects import dependencies
from tests.rounding import rounding

ROOT = Path(__file__).parents[2]
RECIPE = Recipe("rmsprop", 0.01, epochs=4)
SIZE = 8


@pytest.fixture(autouse=True)
def fresh_process(tmp_path, monkeypatch):
    """Names of layers, random seeds and the precision are those of a process that just began."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    anew()
    yield
    anew()


def anew() -> None:
    keras.utils.clear_session()
    keras.config.set_dtype_policy("float32")


def made_splits(folder, size, train=24, validation=12, classes=("dark", "light")) -> None:
    """data/splits below a folder: noise, the lighter the later its class."""
    rng = np.random.default_rng(0)
    for name, n in (("train", train), ("validation", validation)):
        labels = np.arange(n) % len(classes)
        low = 150 * labels // (len(classes) - 1)
        pixels = low[:, None, None, None] + rng.integers(0, 100, (n, size, size, 3))
        table = [(f"{name}/{i}.png", classes[k], f"{i:064x}") for i, k in enumerate(labels)]
        folder_of_splits = folder / "data/splits"
        write_split(folder_of_splits, name, pixels.astype(np.uint8), range(n), table)


def data(n=20, batch_size=4, seed=3):
    """Labels that the inputs cannot tell: the training never comes to rest."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, SIZE, SIZE, 3), np.uint8)
    labels = rng.integers(0, 2, n)
    train = Batches([images], labels, batch_size, seed=seed, prepare=brighter)
    return train, Batches([images], labels, batch_size)


def brighter(images, rng):
    return images // 2 + rng.integers(0, 100, (len(images), 1, 1, 1)).astype(np.uint8)


def tiny(dropout=0.5) -> keras.Sequential:
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


def trained(checkpoint, recipe=RECIPE):
    """History and weights of a training in what could be a process of its own."""
    anew()
    model = tiny()
    history = fit(model, *data(), recipe, Path(checkpoint))
    return history, model.get_weights()


def interrupted(monkeypatch, train, *, epoch, batch):
    """Run `train` and interrupt it, as Ctrl-C does, at a batch of an epoch counted from 0."""

    def after_batch(keeper, position, logs=None):
        if (keeper.train.epoch, position) == (epoch, batch):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fitting._Keeper, "on_train_batch_end", after_batch)
        with pytest.raises(KeyboardInterrupt):
            train()


def assert_same(weights, others) -> None:
    for one, other in zip(weights, others, strict=True):
        np.testing.assert_array_equal(one, other)


# interruptions


class Undisturbed(NamedTuple):
    """What a training leaves; the tests share one."""

    history: History
    weights: list[NDArray]
    checkpoint: bytes


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Undisturbed:
    path = tmp_path_factory.mktemp("undisturbed") / "checkpoint.npz"
    history, weights = trained(path)
    return Undisturbed(history, weights, path.read_bytes())


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory) -> bytes:
    """The checkpoint of a training that was interrupted after two epochs."""
    path = tmp_path_factory.mktemp("unfinished") / "checkpoint.npz"
    with pytest.MonkeyPatch.context() as monkeypatch:
        interrupted(monkeypatch, lambda: trained(path), epoch=2, batch=0)
    return path.read_bytes()


@pytest.mark.parametrize(("epoch", "batch", "finished"), [(0, 1, 0), (2, 3, 2)])
def test_an_interrupted_training_ends_as_an_undisturbed_one(
    undisturbed, monkeypatch, capsys, epoch, batch, finished
):
    interrupted(monkeypatch, lambda: trained("other.npz"), epoch=epoch, batch=batch)
    assert Path("other.npz").exists() == (finished > 0)
    capsys.readouterr()
    resumed_history, resumed_weights = trained("other.npz")
    assert (f"going on after epoch {finished}," in capsys.readouterr().out) == (finished > 0)
    assert resumed_history == undisturbed.history
    assert_same(resumed_weights, undisturbed.weights)
    assert Path("other.npz").read_bytes() == undisturbed.checkpoint


@pytest.mark.parametrize(
    "options",
    [
        {"schedule": "cosine", "warmup": 2, "optimizer": "adamw", "weight_decay": 0.1},
        {"schedule": "step", "label_smoothing": 0.1, "clip": 0.1},
        {"ema": 0.9},
    ],
    ids=" ".join,
)
def test_a_training_with_these_options_goes_on_as_if_undisturbed(monkeypatch, options):
    recipe = replace(RECIPE, **options)
    trained("undisturbed.npz", recipe)
    interrupted(monkeypatch, lambda: trained("other.npz", recipe), epoch=2, batch=1)
    trained("other.npz", recipe)
    assert Path("other.npz").read_bytes() == Path("undisturbed.npz").read_bytes()


def test_a_training_interrupted_twice_ends_the_same(undisturbed, monkeypatch):
    for epoch in (1, 2):
        interrupted(monkeypatch, lambda: trained("other.npz"), epoch=epoch, batch=2)
    resumed_history, resumed_weights = trained("other.npz")
    assert resumed_history == undisturbed.history
    assert_same(resumed_weights, undisturbed.weights)


def test_averaging_leaves_the_weights_that_are_trained_alone():
    trained("plain.npz")
    trained("averaged.npz", replace(RECIPE, ema=0.9))
    with np.load("plain.npz") as plain, np.load("averaged.npz") as averaged:
        np.testing.assert_allclose(averaged["variable0"], plain["variable0"], rtol=1e-4, atol=1e-6)
        assert np.abs(averaged["best0"] - plain["variable0"]).max() > 1e-3


def test_a_finished_training_is_not_done_again(undisturbed, monkeypatch):
    Path("a.npz").write_bytes(undisturbed.checkpoint)
    monkeypatch.setattr(keras.Model, "fit", None)
    again, same_weights = trained("a.npz")
    assert again == undisturbed.history
    assert_same(same_weights, undisturbed.weights)


def test_a_checkpoint_is_whole_or_absent(monkeypatch, tmp_path):
    def broken(path, **arrays):
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", broken)
        with pytest.raises(KeyboardInterrupt):
            trained("a.npz")
    assert list(tmp_path.iterdir()) == []
    interrupted(monkeypatch, lambda: trained("a.npz"), epoch=1, batch=0)
    before = Path("a.npz").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", broken)
        with pytest.raises(KeyboardInterrupt):
            trained("a.npz")
    assert Path("a.npz").read_bytes() == before
    assert list(tmp_path.iterdir()) == [tmp_path / "a.npz"]


@pytest.mark.parametrize("keep", [0, 1000, -100])
def test_a_damaged_checkpoint_is_left_aside(undisturbed, unfinished, capsys, keep):
    Path("a.npz").write_bytes(unfinished[:keep])
    history, weights = trained("a.npz")
    assert "a.npz is damaged: starting anew" in capsys.readouterr().out
    assert len(history.rows) == RECIPE.epochs
    assert_same(weights, undisturbed.weights)


OUTPUTS = ("data/models/{}.keras", "plots/curves/{}.tsv", "metrics/{}.json")
AUGMENTED: dict[str, Any] = {
    "batch_size": 8,
    "seed": 1,
    "precision": "float32",
    "dropout": 0.5,
    "augmentation": Augmentation("horizontal", 0.1, 0.2),
}


def outputs(folder, name="augmented") -> dict[str, bytes]:
    return {path: (folder / path.format(name)).read_bytes() for path in OUTPUTS}


def small(image_size, classes, dropout=0.0) -> keras.Sequential:
    """A network as one of classifier/networks, whose training takes a moment."""
    return keras.Sequential(
        [
            keras.Input((image_size, image_size, 3), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.GlobalAveragePooling2D(),
            *([keras.layers.Dropout(dropout)] if dropout else []),
            output_unit(classes),
        ]
    )


@pytest.fixture
def small_network(monkeypatch) -> None:
    monkeypatch.setattr(from_scratch, "network", lambda arch: small)


def stage_trained(**changes: Any) -> None:
    anew()
    recipe = Recipe("rmsprop", 0.001, epochs=3)
    train_from_scratch("augmented", "small", recipe, **(AUGMENTED | changes))


def checkpoints(folder) -> list[Path]:
    # What begins with a dot is still being written.
    return list((folder / ".cache/checkpoints").glob("[!.]*.npz"))


EVERYTHING = Augmentation(
    "both",
    0.1,
    0.2,
    crop=0.5,
    brightness=0.2,
    contrast=0.2,
    rand_augment=0.3,
    erasing=0.5,
    channel_shift=5,
)


@pytest.mark.usefixtures("small_network")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"augmentation": EVERYTHING, "mixing": Mixing(0.2, 1.0), "training_size": SIZE - 2},
    ],
    ids=["", "everything"],
)
def test_a_stage_that_was_interrupted_leaves_the_same_files(monkeypatch, tmp_path, capsys, changes):
    made_splits(tmp_path, SIZE)
    stage_trained(**changes)
    expected = outputs(tmp_path)
    assert checkpoints(tmp_path) == []
    for path in OUTPUTS:
        Path(path.format("augmented")).unlink()
    interrupted(monkeypatch, lambda: stage_trained(**changes), epoch=1, batch=1)
    # The curve alone, which grows while it trains: DVC takes no stage for done without its model.
    assert [Path(path.format("augmented")).exists() for path in OUTPUTS] == [False, True, False]
    assert len(Path(OUTPUTS[1].format("augmented")).read_text().splitlines()) == 1 + 1
    assert len(checkpoints(tmp_path)) == 1
    stage_trained(**changes)
    assert "going on after epoch 1" in capsys.readouterr().out
    assert outputs(tmp_path) == expected
    assert checkpoints(tmp_path) == []


@pytest.mark.usefixtures("small_network")
def test_corrected_validation_labels_begin_a_new_training(monkeypatch, tmp_path, capsys):
    made_splits(tmp_path, SIZE)
    interrupted(monkeypatch, stage_trained, epoch=1, batch=1)
    table = tmp_path / "data/splits/validation.csv"
    table.write_text(table.read_text().replace(",light,", ",dark,", 3))
    capsys.readouterr()
    stage_trained()
    assert "going on" not in capsys.readouterr().out


@pytest.mark.usefixtures("small_network")
def test_a_changed_parameter_does_not_go_on_from_another_ones_checkpoint(
    monkeypatch, tmp_path, capsys
):
    made_splits(tmp_path, SIZE)
    stage_trained()
    expected = outputs(tmp_path)
    interrupted(monkeypatch, stage_trained, epoch=1, batch=1)
    capsys.readouterr()
    stage_trained(augmentation=Augmentation("horizontal", 0.1, 0.1))
    assert "going on" not in capsys.readouterr().out
    assert outputs(tmp_path) != expected
    assert len(checkpoints(tmp_path)) == 1  # that of the first parameters still waits for them
    stage_trained()
    assert "going on after epoch 1" in capsys.readouterr().out
    assert outputs(tmp_path) == expected


# the best epoch


class Numbered(keras.layers.Layer):
    """Always one half; its one weight counts the batches trained, so that epochs can be told."""

    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, x, training=False):
        if training:
            self.count.assign_add(1)
        return keras.ops.sum(x, axis=(1, 2, 3))[:, None] * 0 * self.scale + 0.5


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ([3, 1, 2, 2], 1),
        ([1, 2, 3, 4], 0),
        ([4, 3, 2, 1], 3),
        ([2, 1, 1, 1], 1),
        ([np.nan, 3, 2, np.inf], 2),
        ([np.inf, np.nan, 2, np.nan], 2),
    ],
)
def test_the_epoch_of_lowest_validation_loss_is_kept(monkeypatch, losses, best):
    model = keras.Sequential(
        [keras.Input((SIZE, SIZE, 3), dtype="uint8"), keras.layers.Rescaling(1.0), Numbered()]
    )
    train, validation = data()
    on_epoch_end = fitting._Keeper.on_epoch_end

    def with_loss(keeper, epoch, logs=None):
        on_epoch_end(keeper, epoch, logs | {"val_loss": float(losses[epoch])})

    monkeypatch.setattr(fitting._Keeper, "on_epoch_end", with_loss)
    history = fit(model, train, validation, RECIPE, Path("a.npz"))
    assert history.best == best
    np.testing.assert_array_equal([row["validation_loss"] for row in history.rows], losses)
    assert float(model.layers[-1].count.value) == len(train) * (best + 1)


def test_a_training_that_diverged_is_an_error_that_names_the_learning_rate():
    train, validation = data()
    model = tiny()
    model.layers[-1].bias.assign([np.nan])
    history = fit(model, train, validation, RECIPE, Path("a.npz"))
    with pytest.raises(UserError, match=r"loss is nan in each of 4 epochs.* 0\.01"):
        history.check_finite(RECIPE)


@pytest.mark.usefixtures("small_network")
def test_a_network_that_diverged_is_not_kept(tmp_path):
    made_splits(tmp_path, SIZE, train=8, validation=4)
    recipe = Recipe("sgd", 1e30, epochs=1)
    with pytest.raises(UserError, match=r"^the training diverged: "):
        train_from_scratch("m", "small", recipe, batch_size=4, seed=1, precision="float32")
    assert not Path("data/models").exists()


@pytest.mark.parametrize("options", [{}, {"ema": 0.9}, {"label_smoothing": 0.3}])
def test_the_model_left_has_the_loss_that_the_curve_says(options):
    """With averaged weights those; with smoothed labels the loss by the labels as they are."""
    anew()
    model = tiny()
    history = fit(model, *data(), replace(RECIPE, **options), Path("a.npz"))
    _, validation = data()
    model.compile(loss="binary_crossentropy", metrics=["accuracy"])
    loss, accuracy = model.evaluate(validation, verbose=0)
    best = min(history.rows, key=lambda row: row["validation_loss"])
    assert history.rows[history.best] == best
    # Twenty pictures' losses are summed anew, each of two layers.
    assert loss == pytest.approx(best["validation_loss"], rel=rounding(6 * 6 * 4, sums=3))
    assert accuracy == pytest.approx(best["validation_accuracy"])
    assert [row["epoch"] for row in history.rows] == [1, 2, 3, 4]
    assert {row["learning_rate"] for row in history.rows} == {0.01}


# an early end

VALIDATION_LOSSES = [3.0, 1.0, 2.0, 1.5, 1.0, 0.5]


@pytest.fixture
def losses(monkeypatch) -> None:
    on_epoch_end = fitting._Keeper.on_epoch_end

    def with_loss(keeper, epoch, logs=None):
        on_epoch_end(keeper, epoch, logs | {"val_loss": VALIDATION_LOSSES[epoch]})

    monkeypatch.setattr(fitting._Keeper, "on_epoch_end", with_loss)


@pytest.mark.parametrize(("patience", "epochs"), [(None, 6), (1, 3), (2, 4), (3, 5), (4, 6)])
def test_training_ends_when_patience_has_run_out(patience, epochs):
    recipe = replace(RECIPE, epochs=6, patience=patience)
    rows = [{"validation_loss": loss} for loss in VALIDATION_LOSSES]
    ended = [History(rows[:n], min(n - 1, 1)).ended(recipe) for n in range(1, 6)]
    assert [*ended, True].index(True) + 1 == epochs


def test_patience_runs_out_where_a_training_diverges_at_once():
    recipe = replace(RECIPE, epochs=6, patience=2)
    rows = [{"validation_loss": math.nan}] * 5
    assert [History(rows[:n], n - 1).ended(recipe) for n in (1, 2, 3)] == [False, True, True]


@pytest.mark.usefixtures("losses")
def test_an_interruption_does_not_begin_the_count_anew(monkeypatch, capsys):
    recipe = replace(RECIPE, epochs=6, patience=2)
    history, _ = trained("undisturbed.npz", recipe)
    assert (len(history.rows), history.best) == (4, 1)
    interrupted(monkeypatch, lambda: trained("other.npz", recipe), epoch=3, batch=1)
    capsys.readouterr()
    trained("other.npz", recipe)
    told = "ended after epoch 4: no lower validation loss in 2 epochs"
    assert told in capsys.readouterr().out
    assert Path("other.npz").read_bytes() == Path("undisturbed.npz").read_bytes()
    monkeypatch.setattr(keras.Model, "fit", None)
    assert trained("other.npz", recipe)[0] == history  # patience has run out already


def test_the_history_is_watched_after_every_epoch_and_when_it_goes_on(monkeypatch):
    seen = []

    def watched():
        anew()
        fit(tiny(), *data(), RECIPE, Path("a.npz"), lambda history: seen.append(len(history.rows)))

    interrupted(monkeypatch, watched, epoch=2, batch=1)
    watched()
    assert seen == [1, 2, 2, 3, 4]


# what a training consists of


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", "adamw", "sgd"])
def test_optimizer_and_learning_rate_are_those_of_the_recipe(optimizer):
    model = tiny()
    fit(model, *data(), Recipe(optimizer, 0.003, epochs=1), Path("a.npz"))
    assert type(model.optimizer).__name__.lower() == optimizer
    assert float(model.optimizer.learning_rate.value) == pytest.approx(0.003)


def test_a_tiny_training_learns(tmp_path):
    made_splits(tmp_path, SIZE, train=40)
    images = np.load(tmp_path / "data/splits/train.npy")
    labels = np.arange(40) % 2
    train = Batches([images], labels, 8, seed=1)
    model = tiny(dropout=0)
    recipe = replace(RECIPE, epochs=8)
    history = fit(model, train, Batches([images], labels, 8), recipe, Path("a.npz"))
    assert history.rows[history.best]["validation_accuracy"] == 1


def test_the_batches_of_each_epoch_are_those_of_the_seed(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "tests.training.test_fit.brighter", lambda images, rng: seen.append(images.copy()) or images
    )
    train, validation = data()
    expected = []
    for epoch in range(2):
        train.start_epoch(epoch)
        expected.append(
            sorted(train[position][0][:, 0, 0, 0].tolist() for position in range(len(train)))
        )
    seen.clear()
    train.start_epoch(0)
    fit(tiny(), train, validation, Recipe("sgd", 0.01, epochs=2), Path("a.npz"))
    # Two threads prepare them, so that the order here may differ from that in which they are learnt
    # (test_batches.py). Keras looks at the first ones once more, to learn their shapes.
    drawn = [batch[:, 0, 0, 0].tolist() for batch in seen[-2 * len(train) :]]
    assert [sorted(drawn[: len(train)]), sorted(drawn[len(train) :])] == expected


@pytest.mark.usefixtures("small_network")
def test_validation_pictures_are_neither_augmented_nor_shuffled(monkeypatch, tmp_path):
    made_splits(tmp_path, SIZE)
    seen = []

    def watched(model, train, validation, *rest):
        seen.extend(validation[position] for position in range(len(validation)))
        return fit(model, train, validation, *rest)

    monkeypatch.setattr(from_scratch, "fit", watched)
    stage_trained()
    split = read_split("validation")
    np.testing.assert_array_equal(np.concatenate([images for images, _ in seen]), split.images)
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in seen]), split.labels)


@pytest.mark.usefixtures("small_network")
def test_training_pictures_may_be_smaller_than_those_that_are_classified(monkeypatch, tmp_path):
    made_splits(tmp_path, SIZE)
    seen = []

    def watched(model, train, validation, *rest):
        seen.extend(batches[0][0].shape[1:] for batches in (train, validation))
        return fit(model, train, validation, *rest)

    monkeypatch.setattr(from_scratch, "fit", watched)
    stage_trained(training_size=SIZE - 2)
    assert seen == [(SIZE - 2, SIZE - 2, 3), (SIZE, SIZE, 3)]
    model = keras.saving.load_model("data/models/augmented.keras")
    assert model.input_shape == (None, SIZE, SIZE, 3)
    told = Path("data/models/augmented.json").read_text(encoding="utf-8")
    assert f"on pictures of {SIZE - 2} pixels" in told


def test_balanced_classes_count_alike():
    weights = fitting._class_weights(np.array([0, 0, 0, 1, 2, 2]), "balanced")
    assert weights == pytest.approx({0: 6 / 9, 1: 2, 2: 1})
    assert fitting._class_weights(np.array([0, 1, 1]), "none") is None


def test_class_weights_change_the_training():
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (20, SIZE, SIZE, 3), np.uint8), np.arange(20) // 18
    weights = []
    for mode in ("none", "balanced"):
        anew()
        model = tiny(dropout=0)
        train, validation = Batches([images], labels, 4, seed=1), Batches([images], labels, 4)
        recipe = Recipe("sgd", 0.1, 1, class_weight=mode)
        fit(model, train, validation, recipe, Path(f"{mode}.npz"))
        weights.append(model.get_weights())
    assert any((one != other).any() for one, other in zip(*weights, strict=True))


def test_it_says_after_the_first_epoch_how_long_it_will_take(capsys):
    fit(tiny(), *data(), RECIPE, Path("a.npz"))
    said = capsys.readouterr().out
    assert said.count("an epoch takes") == 1
    assert "3 more: about 0 min" in said


def test_it_says_so_again_when_it_goes_on(monkeypatch, capsys):
    interrupted(monkeypatch, lambda: trained("a.npz"), epoch=2, batch=0)
    capsys.readouterr()
    trained("a.npz")
    said = capsys.readouterr().out
    assert said.count("an epoch takes") == 1
    assert "1 more: about" in said


@pytest.mark.usefixtures("small_network")
def test_an_equal_training_that_was_first_does_no_harm(monkeypatch, tmp_path):
    made_splits(tmp_path, SIZE)
    folder = tmp_path / ".cache/checkpoints"
    write = from_scratch.write_results

    def meanwhile(*results):
        write(*results)
        for path in folder.iterdir():
            path.unlink()

    monkeypatch.setattr(from_scratch, "write_results", meanwhile)
    stage_trained()
    assert checkpoints(tmp_path) == []
    assert len(outputs(tmp_path)) == len(OUTPUTS)


@pytest.mark.usefixtures("small_network")
def test_a_training_is_repeatable_and_depends_on_the_seed(tmp_path):
    made_splits(tmp_path, SIZE)

    def models(seed):
        stage_trained(seed=seed)
        return outputs(tmp_path)

    assert models(1) == models(1)
    assert models(1) != models(2)


def test_starting_sets_precision_and_seed_and_says_why(capsys):
    chosen = start(5, "mixed_bfloat16")
    assert keras.config.dtype_policy().name == chosen.policy == "mixed_bfloat16"
    assert "precision: mixed_bfloat16 (as train.precision says)" in capsys.readouterr().out
    first = float(keras.random.uniform(()))
    start(5, "float32")
    assert float(keras.random.uniform(())) == first


def test_no_variable_of_keras_cuts_a_training_short_or_takes_it_elsewhere(tmp_path):
    made_splits(tmp_path, 78, train=8, validation=4)
    code = """
from classifier.networks.from_scratch import train_from_scratch
from classifier.training.recipe import Recipe
recipe = Recipe("sgd", 0.01, epochs=2)
train_from_scratch("m", "cnn5", recipe, batch_size=4, seed=1, precision="float32")
"""
    caps = {"KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "1", "KERAS_BACKEND": "jax"}
    caps["DNNL_MAX_CPU_ISA"] = "AVX2"
    environment = os.environ | caps | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert len(Path("plots/curves/m.tsv").read_text().splitlines()) == 1 + 2
    assert "2/2" in done.stdout  # steps


@pytest.mark.usefixtures("small_network")
def test_a_model_trained_in_bfloat16_is_saved_in_float32(tmp_path):
    made_splits(tmp_path, SIZE, train=8, validation=4)
    recipe = Recipe("rmsprop", 0.001, epochs=1)
    train_from_scratch("m", "small", recipe, batch_size=8, seed=1, precision="mixed_bfloat16")
    model = keras.saving.load_model("data/models/m.keras")
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    assert {str(weights.dtype) for weights in model.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "mixed_bfloat16"


def test_a_registered_network_trains_whatever_layers_it_is_made_of(tmp_path, monkeypatch):
    """As one with a softmax output for its two classes."""

    def build(image_size, classes, dropout):
        images = keras.Input((image_size, image_size, 3), dtype="uint8")
        scaled = keras.layers.Rescaling(1 / 255)(images)
        pooled = keras.layers.GlobalAveragePooling2D()(scaled)
        return keras.Model(images, keras.layers.Dense(classes, activation="softmax")(pooled))

    monkeypatch.setattr(from_scratch, "network", lambda _: build)
    made_splits(tmp_path, 8)
    recipe = Recipe("adam", 0.1, epochs=20)
    train_from_scratch("m", "mean_colour", recipe, batch_size=8, seed=1, precision="float32")
    model = keras.saving.load_model("data/models/m.keras")
    validation = read_split("validation")
    found = model.predict(validation.images[:], verbose=0)
    assert found.shape == (12, 2)
    assert (found.argmax(axis=1) == validation.labels).mean() > 0.9


# the checkpoint's name


def test_the_checkpoint_changes_with_all_that_could_change_the_training(tmp_path, monkeypatch):
    def path(model=None, pixel=0, label=0, settings=RECIPE):
        anew()
        images = np.full((2, SIZE, SIZE, 3), pixel, np.uint8)
        split = Split(images, np.array([label, 1]), ["a", "b"], ("dark", "light"))
        return checkpoint_path([model or tiny()], [split], settings, "networks")

    first = path()
    assert first == path()
    assert first.parent == tmp_path / ".cache/checkpoints"
    assert list(first.parent.iterdir()) == []
    paths = [first]

    paths.append(path(settings=replace(RECIPE, epochs=5)))
    paths.append(path(settings=replace(RECIPE, learning_rate=0.02)))
    paths.append(path(settings=(RECIPE, 32)))
    paths.append(path(tiny(dropout=0.4)))
    other = tiny()
    other.layers[1].bias.assign(np.ones(4))
    paths.append(path(other))
    keras.config.set_dtype_policy("mixed_bfloat16")
    paths.append(path(tiny()))
    with monkeypatch.context() as patched:
        patched.setattr(precision, "version", lambda name: "another")
        paths.append(path())

    edited = tmp_path / "edited.py"
    monkeypatch.setattr(checkpoint, "_code", lambda room: [edited])
    for code in ("a = 1\n", "a = 2\n"):
        edited.write_text(code)
        paths.append(path())

    paths += [path(pixel=1), path(label=1)]
    assert len(set(paths)) == len(paths) == 12


@pytest.mark.parametrize(
    ("stage", "room"), [("train_augmented", "networks"), ("finetune_vgg16", "transfer")]
)
def test_the_code_that_a_checkpoint_is_named_by_is_what_the_stage_depends_on(stage, room):
    named = {path.relative_to(ROOT).as_posix() for path in checkpoint._code(room)}
    declared = {path for path in dependencies(stage) if path.startswith("classifier")}
    files = {path for path in declared if path.endswith(".py")}
    for folder in declared - files:
        files |= {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).glob("*.py")}
    assert named == files


# the curve


def test_the_curve_is_a_table_with_a_row_an_epoch(tmp_path):
    rows = [dict.fromkeys(CURVE, 1 / 3) | {"epoch": number} for number in (1, 2)]
    write_curve(tmp_path / "a.tsv", rows)
    assert (tmp_path / "a.tsv").read_text().splitlines() == [
        "epoch\ttrain_loss\tvalidation_loss\ttrain_accuracy\tvalidation_accuracy\tlearning_rate",
        "1\t0.333333\t0.333333\t0.333333\t0.333333\t0.333333",
        "2\t0.333333\t0.333333\t0.333333\t0.333333\t0.333333",
    ]
