"""The head first, then the last blocks with it, and of the rest nothing."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from classifier.base.errors import UserError
from classifier.base.params import load_params
from classifier.base.splits import read_split
from classifier.evaluation.scores import look
from classifier.training.augmentation import Augmentation, augment
from classifier.training.fit import start
from classifier.training.recipe import Recipe
from classifier.training.saving import load_model
from classifier.transfer import features
from classifier.transfer import finetune as module
from classifier.transfer.finetune import finetune
from classifier.transfer.vgg16 import VGG16, vgg16, vgg16_classifier
from stages.download import download_weights
from tests.training.test_fit import ROOT, anew, fresh_process, interrupted, made_splits

__all__ = ["fresh_process"]  # a fixture of this module too

SIZE = 32
MODEL = Path("data/models/vgg16.keras")
OUTPUTS = (MODEL, Path("plots/curves/vgg16.tsv"), Path("metrics/vgg16.json"))
WITHOUT_DROPOUT = {"dense_units": 8, "dropout": 0.0}
HARDLY = 1e-9  # a learning rate that moves nothing worth a name


def recipe(epochs, learning_rate, optimizer="rmsprop") -> Recipe:
    return Recipe(optimizer, learning_rate, epochs)


SETTINGS: dict[str, Any] = {
    "head": "dense",
    "weights": "none",
    "options": {"dense_units": 8, "dropout": 0.5},
    "batch_size": 4,
    "head_recipe": recipe(1, HARDLY),
    "block_recipe": recipe(2, 1e-3),
    "unfreeze": 1,
    "augmentation": Augmentation("horizontal", 0.1, 0.2),
    "views": None,
    "seed": 1,
    "precision": "float32",
}


def small_vgg16(depths=(1, 1, 1, 1, 1), *, include_top, input_shape, **options):
    """Keras's VGG16 with four filters a layer; one convolution a block, or `depths`."""
    images = x = keras.Input(input_shape)
    for block, depth in enumerate(depths, start=1):
        for number in range(1, depth + 1):
            x = keras.layers.Conv2D(
                4,
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                name=f"block{block}_conv{number}",
            )(x)
        x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    if include_top:
        x = keras.layers.Flatten(name="flatten")(x)
        for name, units in (("fc1", 8), ("fc2", 8), ("predictions", 10)):
            x = keras.layers.Dense(units, activation="relu", name=name)(x)
    return keras.Model(images, x, name="vgg16")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(keras.applications, "VGG16", small_vgg16)


@pytest.fixture
def deep(monkeypatch):
    """As many convolutions as VGG16 has."""
    monkeypatch.setattr(keras.applications, "VGG16", partial(small_vgg16, (2, 2, 3, 3, 3)))


def finetuned(**changes) -> None:
    anew()
    finetune("vgg16", VGG16, **(SETTINGS | changes))


def changed_layers(before: keras.Model) -> set[str]:
    """Whose weights in the saved model are other than before."""
    after = {layer.name: layer.get_weights() for layer in keras.saving.load_model(MODEL).layers}
    return {
        layer.name
        for layer in before.layers
        if any(
            (one != other).any()
            for one, other in zip(layer.get_weights(), after[layer.name], strict=True)
        )
    }


def untrained(dropout=0.5) -> keras.Model:
    """The very network that a training with the settings above begins with."""
    anew()
    start(SETTINGS["seed"], "float32")
    return vgg16(SIZE, 2, None, dense_units=8, dropout=dropout)


def curve() -> list[dict[str, float]]:
    head, *rows = (line.split("\t") for line in OUTPUTS[1].read_text().splitlines())
    return [dict(zip(head, map(float, row), strict=True)) for row in rows]


def figures() -> dict:
    return json.loads(OUTPUTS[2].read_text())


def test_training_the_last_block_changes_exactly_it_and_the_head(tmp_path, deep):
    made_splits(tmp_path, SIZE, train=16, validation=8)
    finetuned(block_recipe=recipe(3, 1e-3), augmentation=None, options=WITHOUT_DROPOUT)
    assert figures()["best_epoch"] > 1, "the second phase was no better than the first"
    assert changed_layers(untrained(dropout=0.0)) == {
        *("block5_conv1", "block5_conv2", "block5_conv3"),
        *("dense", "output"),
    }


@pytest.mark.parametrize("unfreeze", [0, 2])
def test_as_many_blocks_are_trained_as_asked_for(tmp_path, small, unfreeze):
    made_splits(tmp_path, SIZE, train=16, validation=8)
    finetuned(unfreeze=unfreeze, head_recipe=recipe(1, 1e-3 if unfreeze == 0 else HARDLY))
    assert len(curve()) == (3 if unfreeze else 1)
    changed = {name.partition("_")[0] for name in changed_layers(untrained())}
    blocks = {name for name in changed if name.startswith("block")}
    if figures()["best_epoch"] > 1:
        assert blocks == {f"block{number}" for number in range(6 - unfreeze, 6)}
    else:
        assert unfreeze == 0
        assert blocks == set()
    assert changed - blocks == {"dense", "output"}


def test_an_averaged_head_is_trained_on_averages_and_then_with_the_last_block(tmp_path, small):
    made_splits(tmp_path, SIZE, train=16, validation=8)
    start(SETTINGS["seed"], "float32")
    before = VGG16.build["average"](SIZE, 2, None, dense_units=8, dropout=0.0)
    finetuned(head="average", options=WITHOUT_DROPOUT, block_recipe=recipe(2, 1e-3))
    assert figures()["best_epoch"] > 1
    assert {name.partition("_")[0] for name in changed_layers(before)} == {
        *("block5", "dense", "output"),
    }


def test_a_block_that_vgg16_lacks_is_refused(tmp_path, small):
    made_splits(tmp_path, SIZE, train=8, validation=4)
    with pytest.raises(UserError, match=r"^unfreeze is 6, VGG16 allows: 0 to 5$"):
        finetuned(unfreeze=6)
    assert not MODEL.exists()


def test_a_second_phase_that_makes_it_worse_is_undone(tmp_path, deep):
    # Steps that throw fewer layers far away need not make it worse.
    made_splits(tmp_path, SIZE, train=16, validation=8)
    good = {"head_recipe": recipe(4, 0.01), "augmentation": None, "options": WITHOUT_DROPOUT}
    finetuned(**good, block_recipe=recipe(0, 0.1))
    head_alone, alone = keras.saving.load_model(MODEL), curve()
    # Sign-like steps of a tenth throw the blocks far away.
    finetuned(**good, block_recipe=recipe(2, 0.5))
    assert figures()["best_epoch"] <= 4
    assert changed_layers(head_alone) == set()
    rows = curve()
    assert rows[:4] == alone
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["learning_rate"] for row in rows] == [0.01] * 4 + [0.5] * 2


def test_a_second_phase_that_diverges_is_undone(tmp_path, small, capsys):
    made_splits(tmp_path, SIZE, train=16, validation=8)
    good = {"head_recipe": recipe(2, 0.01), "augmentation": None, "options": WITHOUT_DROPOUT}
    finetuned(**good, block_recipe=recipe(0, 0.1))
    head_alone = keras.saving.load_model(MODEL)
    capsys.readouterr()
    finetuned(**good, block_recipe=recipe(2, 1e30, "sgd"))
    assert [np.isnan(row["validation_loss"]) for row in curve()] == [False] * 2 + [True] * 2
    assert figures()["best_epoch"] <= 2
    assert changed_layers(head_alone) == set()
    assert "the head's best, which is kept" in capsys.readouterr().out


def test_a_head_that_diverges_is_an_error_in_one_line(tmp_path, small):
    made_splits(tmp_path, SIZE, train=8, validation=4)
    with pytest.raises(UserError, match=r"^the training diverged: .* which is 1e\+30$"):
        finetuned(head_recipe=recipe(1, 1e30, "sgd"))
    assert not MODEL.exists()


def test_the_classifier_head_trains_its_output_alone(tmp_path, small):
    made_splits(tmp_path, SIZE, train=8, validation=4)
    finetuned(head="classifier", options={}, head_recipe=recipe(2, 0.01))
    anew()
    start(1, "float32")
    assert changed_layers(vgg16_classifier(SIZE, 2, None)) == {"output"}
    assert len(curve()) == 2


@pytest.mark.parametrize("phase", ["head", "blocks"])
def test_an_interrupted_training_ends_as_an_undisturbed_one(
    tmp_path, small, monkeypatch, capsys, phase
):
    made_splits(tmp_path, SIZE, train=16, validation=8)
    changes = {"head_recipe": recipe(2, 1e-3), "block_recipe": recipe(3, 1e-3)}
    finetuned(**changes)
    expected = [path.read_bytes() for path in OUTPUTS]
    assert list(Path(".cache/checkpoints").iterdir()) == []
    epoch = 1 if phase == "head" else 2
    interrupted(monkeypatch, lambda: finetuned(**changes), epoch=epoch, batch=1)
    assert len(list(Path(".cache/checkpoints").iterdir())) == (1 if phase == "head" else 2)
    capsys.readouterr()
    finetuned(**changes)
    assert capsys.readouterr().out.count("going on after epoch") == (1 if phase == "head" else 2)
    assert [path.read_bytes() for path in OUTPUTS] == expected
    assert list(Path(".cache/checkpoints").iterdir()) == []


def counted(monkeypatch) -> dict[str, int]:
    """How many sets of features are computed, and pictures augmented during the epochs."""
    counts = {"features": 0, "fresh": 0}
    compute = features._compute

    def counting(*arguments):
        counts["features"] += 1
        compute(*arguments)

    def counting_fresh(images, *arguments):
        counts["fresh"] += len(images)
        return augment(images, *arguments)

    monkeypatch.setattr(features, "_compute", counting)
    monkeypatch.setattr(module, "augment", counting_fresh)
    return counts


def test_experiments_on_the_head_do_not_compute_features_again(tmp_path, small, monkeypatch):
    made_splits(tmp_path, SIZE, train=8, validation=4)
    counts = counted(monkeypatch)
    off = {"block_recipe": recipe(0, 0.1)}
    finetuned(**off)
    assert counts["features"] == 2  # of training and validation
    wider = {"options": {"dense_units": 16, "dropout": 0.5}}
    for changes in (wider, {"options": WITHOUT_DROPOUT}, {"head_recipe": recipe(2, 0.01)}):
        finetuned(**off, **changes)
    assert counts["features"] == 2
    finetuned(**off, seed=2)  # without pre-trained weights, those of the base are other ones
    assert counts["features"] == 4


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_the_evaluation_finds_the_features_that_training_kept(
    tmp_path, small, monkeypatch, precision
):
    made_splits(tmp_path, SIZE, train=8, validation=4)
    counts = counted(monkeypatch)
    finetuned(precision=precision, views=2)
    # of training and validation pictures up to the blocks and from there to the head; two views
    assert counts["features"] == 4 + 2
    start(2, "float32")
    model = load_model(MODEL)[0]
    cut_at = VGG16.never_trained("dense", SETTINGS["unfreeze"], 2)
    splits = {name: read_split(name) for name in ("train", "validation")}
    splits["test"] = splits["validation"]  # has the same pictures, so that nothing is left to do
    monkeypatch.setattr("classifier.evaluation.inference.ALLOWED", 1)
    look({"vgg16": model}, splits, "vgg16", precision, {"vgg16": cut_at})
    assert counts["features"] == 4 + 2


def test_views_are_drawn_once_and_fresh_ones_in_every_epoch(tmp_path, small, monkeypatch):
    made_splits(tmp_path, SIZE, train=8, validation=4)
    counts = counted(monkeypatch)
    finetuned(views=3)
    # two up to the blocks and from there to the head, three views for the blocks
    assert counts == {"features": 2 + 2 + 3, "fresh": 0}
    counts["features"] = 0
    finetuned(views=3, block_recipe=recipe(3, 1e-3))
    assert counts == {"features": 0, "fresh": 0}
    finetuned(views=None)
    assert counts["features"] == 0
    assert counts["fresh"] >= 2 * 8
    counts["fresh"] = 0
    finetuned(augmentation=None)
    assert counts == {"features": 0, "fresh": 0}  # the training pictures as they are: kept before


def test_fresh_views_pass_the_frozen_layers_one_batch_at_a_time():
    inside: list[int] = []

    class Frozen:
        def predict_on_batch(self, images):
            inside.append(threading.get_ident())
            time.sleep(0.2)
            assert inside == [threading.get_ident()]
            inside.clear()
            return images

    prepare = module._fresh_views(Frozen(), SETTINGS["augmentation"])
    images = np.zeros((2, 8, 8, 3), np.uint8)
    with ThreadPoolExecutor() as pool:
        passed = [pool.submit(prepare, images, np.random.default_rng(n)) for n in range(3)]
        assert all(one.result().shape == images.shape for one in passed)


def test_views_are_those_of_the_seed_and_differ(tmp_path, small, monkeypatch):
    made_splits(tmp_path, SIZE, train=8, validation=4)
    seeds = []
    original = module.frozen_features

    def recorded(frozen, images, *, augmentation=None, seed=0, **options):
        if augmentation:
            seeds.append(seed)
        return original(frozen, images, augmentation=augmentation, seed=seed, **options)

    monkeypatch.setattr(module, "frozen_features", recorded)
    for seed in (1, 2):
        finetuned(views=3, seed=seed)
    assert len(set(seeds)) == len(seeds) == 6


def test_weights_of_ones_own_are_read(tmp_path, small):
    made_splits(tmp_path, SIZE, train=8, validation=4)
    pretrained = small_vgg16(include_top=False, input_shape=(SIZE, SIZE, 3))
    pretrained.save_weights("my.weights.h5")  # the one form that Keras 3 writes
    params = load_params(ROOT / "params.yaml")
    section = params.finetune.model_copy(update={"weights": "my.weights.h5"})
    none = params.mobilenet.model_copy(update={"weights": "none"})
    download_weights(params.model_copy(update={"finetune": section, "mobilenet": none}))
    finetuned(weights="my.weights.h5", block_recipe=recipe(0, 0.1))
    saved = {layer.name: layer.get_weights() for layer in keras.saving.load_model(MODEL).layers}
    for layer in pretrained.layers[1:]:
        for ours, theirs in zip(saved[layer.name], layer.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_missing_weights_file_is_told_in_one_line(tmp_path, small):
    made_splits(tmp_path, SIZE, train=8, validation=4)
    with pytest.raises(
        UserError, match=r"^data/weights/vgg16/vgg16.h5 does not hold VGG16's weights"
    ):
        finetuned(weights="imagenet")
