"""The download stage: which weights it takes, and what it records of them."""

import hashlib
import json
from pathlib import Path

import pytest

from classifier.base.errors import UserError
from classifier.base.params import load_params
from classifier.sources.catalog import load_weights
from stages.download import download_weights
from tests.projects import ROOT, Project, ran

OTHER_WEIGHTS = b"other weights than the catalogue's"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def downloaded(weights: str, head: str = "dense"):
    """What download records of these weights, which it puts into data/weights/vgg16/."""
    params = load_params(ROOT / "params.yaml")
    finetune = params.finetune.model_copy(update={"weights": weights, "head": head})
    mobilenet = params.mobilenet.model_copy(update={"weights": "none"})
    changed = params.model_copy(update={"finetune": finetune, "mobilenet": mobilenet})
    return download_weights(changed).get("vgg16")


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """The user's checkout with the catalogue; the working directory is an experiment's copy."""
    for name in ("checkout", "copy"):
        (tmp_path / name / "data").mkdir(parents=True)
        (tmp_path / name / "data/catalog").symlink_to(ROOT / "data/catalog")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "checkout"))
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    return tmp_path / "checkout"


@pytest.mark.parametrize(
    ("head", "name"),
    [("dense", "imagenet"), ("average", "imagenet"), ("classifier", "imagenet_classifier")],
)
def test_the_mirrors_weights_are_recorded_with_how_they_differ(checkout, monkeypatch, head, name):
    entry = load_weights(ROOT / "data/catalog/weights.yaml", name)
    (checkout / "mirror").mkdir()
    (checkout / "mirror" / entry.file.name).write_bytes(OTHER_WEIGHTS)
    monkeypatch.setenv("DATA_MIRROR", "mirror")
    facts = downloaded("imagenet", head)
    note = facts.pop("note")
    assert facts == {
        "source": "imagenet",
        "name": entry.file.name,
        "urls": entry.file.urls,
        "bytes": len(OTHER_WEIGHTS),
        "sha256": sha256(OTHER_WEIGHTS),
        "terms": entry.terms,
        "citation": entry.citation,
    }
    assert str(entry.file.md5) in note
    assert hashlib.md5(OTHER_WEIGHTS).hexdigest() in note
    assert Path("data/weights/vgg16/vgg16.h5").read_bytes() == OTHER_WEIGHTS


def test_an_untracked_file_of_ones_own_is_found_in_the_checkout_and_recorded(checkout):
    (checkout / "my.weights.h5").write_bytes(b"mine")
    assert downloaded("my.weights.h5") == {
        "source": "my.weights.h5",
        "name": "my.weights.h5",
        "bytes": 4,
        "sha256": sha256(b"mine"),
    }
    assert Path("data/weights/vgg16/vgg16.weights.h5").read_bytes() == b"mine"


def test_a_tracked_file_is_taken_from_the_experiments_copy(checkout):
    (checkout / "my.h5").write_bytes(b"edited since")
    Path("my.h5").write_bytes(b"as it was queued")
    assert downloaded("my.h5")["sha256"] == sha256(b"as it was queued")
    assert Path("data/weights/vgg16/vgg16.h5").read_bytes() == b"as it was queued"


def test_without_weights_none_are_recorded_and_none_are_left(checkout):
    Path("data/weights/vgg16").mkdir(parents=True)
    Path("data/weights/vgg16/vgg16.h5").write_bytes(b"of an earlier run")
    assert downloaded("none") is None
    assert list(Path("data/weights/vgg16").iterdir()) == []


def test_each_backbones_weights_lie_in_a_folder_of_their_own(checkout):
    for name in ("one.h5", "other.weights.h5"):
        (checkout / name).write_bytes(name.encode())
    params = load_params(ROOT / "params.yaml")
    finetune = params.finetune.model_copy(update={"weights": "one.h5"})
    mobilenet = params.mobilenet.model_copy(update={"weights": "other.weights.h5"})
    sections = {"finetune": finetune, "mobilenet": mobilenet}
    recorded = download_weights(params.model_copy(update=sections))
    assert {name: facts["source"] for name, facts in recorded.items()} == {
        "vgg16": "one.h5",
        "mobilenet": "other.weights.h5",
    }
    assert Path("data/weights/vgg16/vgg16.h5").read_bytes() == b"one.h5"
    other = Path("data/weights/mobilenet/mobilenet.weights.h5")
    assert other.read_bytes() == b"other.weights.h5"
    sections["mobilenet"] = mobilenet.model_copy(update={"weights": "lost.h5"})
    with pytest.raises(UserError, match=r"^mobilenet.weights is 'lost.h5', allowed: "):
        download_weights(params.model_copy(update=sections))


def test_a_missing_file_is_one_line(checkout):
    with pytest.raises(UserError, match=r"^finetune.weights is 'my.h5', allowed: .* or a file$"):
        downloaded("my.h5")


# As a user does it.


@pytest.fixture
def mine(project) -> Project:
    """A project that takes weights from an untracked file, in which download has run."""
    (project.root / "my.weights.h5").write_bytes(b"first")
    project.change({"finetune": {"weights": "my.weights.h5"}})
    assert ran(project.dvc("repro", "download")) == ["download"]
    return project


def recorded_weights(project: Project) -> dict[str, str]:
    facts: dict[str, str] = json.loads(project.read("data/raw/dataset.json"))["weights"]["vgg16"]
    return facts


@pytest.mark.slow
def test_changed_weights_are_told_by_check_and_taken_by_a_forced_download(mine):
    check = ("python", "-m", "classifier", "check")
    assert mine.run(*check) == "params.yaml is good\n"

    (mine.root / "my.weights.h5").write_bytes(b"other")
    assert ran(mine.dvc("repro", "download")) == []  # DVC does not watch the file
    told = mine.run(*check, fails=True)
    assert told.startswith("error: finetune.weights is 'my.weights.h5', whose content has changed")
    assert told.count("\n") == 1

    assert ran(mine.dvc("repro", "--force", "download")) == ["download"]
    assert recorded_weights(mine)["sha256"] == sha256(b"other")
    assert mine.read("data/weights/vgg16/vgg16.weights.h5") == "other"
    assert mine.run(*check) == "params.yaml is good\n"
    assert "finetune_vgg16" in mine.dvc("status")


@pytest.mark.slow
def test_check_lets_other_weights_pass_that_dvc_will_see(mine):
    (mine.root / "another.weights.h5").write_bytes(b"another")
    for weights in ("another.weights.h5", "imagenet", "none", "missing.h5"):
        mine.change({"finetune": {"weights": weights}})
        assert mine.run("python", "-m", "classifier", "check") == "params.yaml is good\n"


@pytest.mark.slow
def test_an_experiment_in_a_copy_finds_untracked_weights(project):
    (project.root / "my.weights.h5").write_bytes(b"first")
    output = project.dvc(
        *("exp", "run", "--temp", "--set-param", "finetune.weights=my.weights.h5", "download")
    )
    assert ran(output) == ["download"]
