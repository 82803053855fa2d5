"""docs/adding.md, followed to the letter."""

import importlib
import re
from pathlib import Path

import keras
import pytest

import classifier.networks
import classifier.transfer
from classifier.base.errors import UserError
from classifier.base.family import NETWORKS
from classifier.base.params import load_params
from classifier.commands.demo import change_params
from classifier.commands.recipe import command, load_recipe
from classifier.networks.from_scratch import train_from_scratch
from classifier.training.recipe import Recipe
from classifier.transfer.finetune import finetune
from tests.projects import ROOT
from tests.training.test_fit import anew, made_splits

PAGE = (ROOT / "docs/adding.md").read_text(encoding="utf-8")
NETWORK, BACKBONE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(RECIPE,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to train in; what lies in its networks/ and transfer/ is in the rooms' packages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for package in (classifier.networks, classifier.transfer):
        folder = tmp_path / package.__name__.rpartition(".")[2]
        folder.mkdir()
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    anew()
    return tmp_path


def test_a_network_is_a_file_and_an_entry(place, monkeypatch):
    (place / "networks/small.py").write_text(NETWORK, encoding="utf-8")
    (entry,) = re.findall(r'`"(\w+)": (\d+)`', PAGE)
    (place / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    change_params(place / "params.yaml", {"train": {"arch": "small"}})
    with pytest.raises(UserError, match=r"train.arch is 'small', allowed: 'cnn5'"):
        load_params()
    monkeypatch.setitem(NETWORKS, entry[0], int(entry[1]))
    arch = load_params().train.arch
    made_splits(place, 16, train=8, validation=4)
    train_from_scratch(
        "baseline",
        arch,
        Recipe("sgd", 0.01, 1),
        batch_size=4,
        seed=1,
        precision="float32",
        dropout=0.5,
    )
    assert keras.saving.load_model("data/models/baseline.keras").name == "small"


def test_a_backbone_is_a_file(place, capsys):
    (place / "transfer/vgg19.py").write_text(BACKBONE, encoding="utf-8")
    backbone = importlib.import_module("classifier.transfer.vgg19").VGG19
    made_splits(place, 32, train=8, validation=4)
    options = {
        "options": {"dense_units": 4, "dropout": 0.5},
        "head_recipe": Recipe("sgd", 1e-9, 1),
        "block_recipe": Recipe("sgd", 1e-3, 1),
        "batch_size": 4,
        "unfreeze": 1,
        "augmentation": None,
        "views": None,
        "seed": 1,
        "precision": "float32",
    }
    with pytest.raises(UserError, match=r"^finetune.head is classifier, VGG19 has average$"):
        finetune("vgg19", backbone, head="classifier", weights="none", **options)
    with pytest.raises(UserError, match=r"^data/weights/vgg19/vgg19.h5 does not hold VGG19's"):
        finetune("vgg19", backbone, head="average", weights="imagenet", **options)
    assert not Path("data/models").exists()
    base = keras.applications.VGG19(weights=None, include_top=False, input_shape=(32, 32, 3))
    Path("data/weights/vgg19").mkdir(parents=True)
    base.save_weights("data/weights/vgg19/vgg19.weights.h5")
    finetune("vgg19", backbone, head="average", weights="imagenet", **options)
    saved = {
        layer.name: layer for layer in keras.saving.load_model("data/models/vgg19.keras").layers
    }
    for name in ("block1_conv1", "block4_conv4"):
        old, new = (layer.get_weights()[0] for layer in (base.get_layer(name), saved[name]))
        assert (old == new).all()
    told = Path("data/models/vgg19.json").read_text(encoding="utf-8")
    assert "VGG19 with ImageNet weights under a new head of 4 units" in told
    assert "its last block as well" in told


def test_a_recipe_is_a_file(place):
    for name in ("params.yaml", "dvc.yaml"):
        (place / name).write_bytes((ROOT / name).read_bytes())
    (place / "recipes").mkdir()
    (place / "recipes/mine.yaml").write_text(RECIPE, encoding="utf-8")
    arguments = command("mine", load_recipe("mine"), "--temp", {})
    assert arguments[-5:-1] == ["-S", "train.arch=cnn2", "-S", "train.epochs=10"]
