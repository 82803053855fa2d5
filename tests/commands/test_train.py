"""From a folder to a plan; the run itself is the demo's and DVC's."""

import shlex
from pathlib import Path

import keras
import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from classifier.base.errors import UserError
from classifier.base.params import load_params
from classifier.commands import train as command
from classifier.commands.repro import written
from classifier.commands.train import train
from classifier.training.precision import dtype_policy
from tests.commands.test_predict import jpeg
from tests.projects import ROOT


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    Path("params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.setattr(command, "measured_elsewhere", lambda: (0.01, 0.1))
    return tmp_path


def pictures(*folders: str, each: int = 3) -> None:
    for folder in folders:
        Path(folder).mkdir(parents=True)
        for number in range(each):
            Path(folder, f"{number}.jpg").write_bytes(jpeg(100 + number))


def test_the_plan_says_what_was_found_and_the_command_that_runs_it(capsys):
    pictures("my pets/cats", "my pets/dogs")
    Path("my pets/notes.txt").write_text("hello")
    train(Path("my pets"), only_plan=True)
    lines = capsys.readouterr().out.splitlines()
    told = {line[:10].strip(): line[10:] for line in lines if line.strip()}
    assert told["Classes"].startswith("2 in 6 pictures: 3 cats, 3 dogs; 1 ")
    assert told["Split"] == "random: validation 0.15, test 0.25, training the rest"
    # 6 pictures: 60 epochs of a step of 0.01 s, and 5 passes of 0.1 s.
    assert told["Time"].startswith("about 1 minute on this machine")
    words = shlex.split(told["Command"])
    assert words[:3] == ["dvc", "exp", "run"]
    apply_overrides(Path("params.yaml"), [word for word in words[3:] if word != "-S"])
    changed = load_params()
    assert (changed.data.source, changed.split.method) == ("my pets", "random")


@pytest.mark.parametrize(
    ("changes", "minutes"),
    [
        ({}, 12),  # 1,000 pictures: 60 epochs of a step of 0.01 s, and 5 passes through VGG16
        ({"views": None}, 13),  # a copy for each of 5 epochs
        ({"augment": False}, 11),
        ({"unfreeze": 0, "views": 600}, 11),
    ],
)
def test_the_time_counts_what_vgg16_will_see(monkeypatch, changes, minutes):
    monkeypatch.setattr(command, "measured_elsewhere", lambda: (0.01, 0.02))
    params = load_params()
    params = params.model_copy(update={"finetune": params.finetune.model_copy(update=changes)})
    assert command.expected(1000, params).startswith(f"about {minutes} minutes")


def test_the_machine_is_timed_in_the_precision_of_the_training(monkeypatch):
    text = Path("params.yaml").read_text().replace("arch: cnn5", "arch: cnn3")
    text = text.replace("image_size: 180", "image_size: 32")
    Path("params.yaml").write_text(text.replace("precision: auto", "precision: mixed_bfloat16"))
    policies = []

    def seconds(work):
        work()
        policies.append(keras.config.dtype_policy().name)
        return 16.0

    monkeypatch.setattr(command, "_seconds", seconds)
    with dtype_policy("float32"):  # as before, when it ends
        assert command.measured() == (1.0, 1.0)
    assert policies == ["mixed_bfloat16", "mixed_bfloat16"]


def test_folders_that_are_split_already_keep_their_split(capsys):
    pictures("pets/train/cats", "pets/train/dogs", "pets/test/cats", "pets/test/dogs")
    train(Path("pets"), only_plan=True)
    told = capsys.readouterr().out
    assert "the folders' own: 6 test, 6 train" in told
    assert "split.method=predefined" in told


def test_a_folder_without_labels_is_refused_before_anything_runs():
    pictures("flat")
    with pytest.raises(UserError):
        train(Path("flat"))


@pytest.mark.parametrize(
    "name",
    ["2024_05_17", "a,b", "a=b", "it's", 'a "b"', "日本", "1e5", "null", "Nan", "a\\d", 'a\\"\\'],
)
def test_any_name_of_a_folder_reaches_params_yaml_as_it_is(name):
    apply_overrides(Path("params.yaml"), [f"data.source={written(name)}"])
    content = YAML(typ="safe", pure=True).load(Path("params.yaml").read_text(encoding="utf-8"))
    assert content["data"]["source"] == name
