"""The sentences that say how a model was trained, and the files that a training leaves."""

import errno
import json
import os
import zipfile
from pathlib import Path

import keras
import pytest

from classifier.base.errors import UserError
from classifier.training.augmentation import Augmentation
from classifier.training.fit import CURVE, History
from classifier.training.precision import Precision
from classifier.training.recipe import Recipe
from classifier.training.results import write_results
from classifier.transfer.finetune import blocks_in_words, in_words
from classifier.transfer.vgg16 import VGG16

RECIPE = Recipe("rmsprop", 0.00001, 5)


def test_a_recipe_names_optimizer_rate_epochs_and_class_weights():
    assert RECIPE.in_words() == "rmsprop at 0.00001, 5 epochs"
    weighted = Recipe("adam", 0.001, 1, "balanced").in_words()
    assert weighted == "adam at 0.001, 1 epoch, balanced class weights"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (Augmentation("horizontal", 0.1, 0.2), "horizontal flips, rotation ±36°, zoom ±20 %"),
        (Augmentation("both", 0, 0, shift=0.05), "flips both ways, shift ±5 %"),
        (
            Augmentation("none", 0, 0, shear=0.15, channel_shift=10),
            "shear ±15 %, channel shift ±10",
        ),
        (Augmentation("none", 0, 0.5, False), "zoom ±50 % of height and width each on its own"),
        (
            Augmentation("none", 0, 0, crop=0.5, brightness=0.2, contrast=0.1, erasing=0.25),
            "crops from 50 % of the area, brightness ±20 %, contrast ±10 %, erasing in 25 %",
        ),
        (Augmentation("none", 0, 0, rand_augment=0.3), "RandAugment at 0.3"),
        (Augmentation("none", 0, 0), "none"),
    ],
)
def test_an_augmentation_names_what_it_changes_and_nothing_else(options, told):
    assert options.in_words() == told


@pytest.mark.parametrize(
    ("head", "weights", "network"),
    [
        ("dense", "imagenet", "VGG16 with ImageNet weights under a new head of 1 unit"),
        ("dense", "my.h5", "VGG16 with the weights of my.h5 under a new head of 1 unit"),
        (
            "average",
            "none",
            "VGG16 with random weights under a new head of 1 unit on averaged features",
        ),
        (
            "classifier",
            "none",
            "VGG16 whole with random weights, frozen but for a new output layer",
        ),
    ],
)
def test_a_finetuning_names_its_head_and_where_its_weights_come_from(head, weights, network):
    told = in_words(VGG16, head, {"dense_units": 1}, weights, RECIPE, 32)
    assert told == f"{network}: rmsprop at 0.00001, 5 epochs, batches of 32"


def test_a_finetuning_of_blocks_names_its_copies_of_the_pictures():
    flips = Augmentation("horizontal", 0, 0)
    assert blocks_in_words(1, RECIPE, None, 2) == f"its last block as well: {RECIPE.in_words()}"
    assert blocks_in_words(2, RECIPE, flips, 2) == (
        f"its last 2 blocks as well: {RECIPE.in_words()}, on augmented copies (horizontal flips), "
        "2 of each picture, drawn once"
    )
    assert blocks_in_words(1, RECIPE, flips, None).endswith("drawn anew in every epoch")


def test_a_training_leaves_its_sentence_beside_its_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    history = History([dict.fromkeys(CURVE, 0.5) | {"epoch": 1}])
    write_results(
        "x", model, ("a", "b"), history, Precision("float32", "asked", "cpu"), "told", "mind it"
    )
    left = {path.name for path in Path().rglob("*") if path.is_file()}
    assert left == {"x.keras", "x.json", "x.tsv"}
    assert json.loads(Path("data/models/x.json").read_text(encoding="utf-8")) == {
        "recipe": "told",
        "note": "mind it",
    }


def test_a_full_disk_leaves_no_new_figures_without_their_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    history = History([dict.fromkeys(CURVE, 0.5) | {"epoch": 1}])
    precision = Precision("float32", "asked", "cpu")
    write_results("x", model, ("a", "b"), history, precision, "old")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}

    def full(self, *_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    history.rows[0] |= {"train_accuracy": 0.75}
    with pytest.raises(UserError, match=r"^data/models can't be written: No space left on device$"):
        write_results("x", model, ("a", "b"), history, precision, "new")
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
