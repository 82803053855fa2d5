"""What the demo copies: all that a run reads, new modules too, and nothing that lies beside it."""

import contextlib
import os
import sys
from pathlib import Path

import pytest

from classifier.base.errors import UserError
from classifier.commands.demo import copy_checkout, run_demo
from tests.projects import (
    ROOT,
    STAGES,
    clean_process,
    dependencies,
    files_in,
    new_repository,
    outputs,
)

TRACKED = {
    ".gitignore": "__pycache__/\n/data/raw/\n",
    ".dvc/config": "",
    "README.md": "",
    "classifier/one.py": "",
    "classifier/removed.py": "",
    "data/catalog/sample.yaml": "",
    "dvc.lock": "",
    "dvc.yaml": "",
    "metrics/evaluate.json": "",
    "params.yaml": "",
    "pictures-in-git/cats/1.jpg": "a picture",
    "stages/download.py": "",
}
UNTRACKED = {
    "classifier/__pycache__/one.pyc": "",
    "classifier/new.py": "",
    "data/catalog/birds.zip": "pictures beside their catalogue file",
    "data/catalog/birds.yaml": "",
    "data/raw/images.zip": "",
    "my pictures/dogs/1.jpg": "a picture",
    "my.weights.h5": "weights",
}


@pytest.fixture(autouse=True)
def clean(tmp_path, monkeypatch) -> None:
    clean_process(monkeypatch, tmp_path / "home")


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A working directory that git tracks some of."""
    project = new_repository(tmp_path)
    monkeypatch.chdir(project.root)
    write(TRACKED)
    project.run("git", "add", "--all")
    write(UNTRACKED)
    Path("classifier/removed.py").unlink()
    return project.root


def write(files: dict[str, str]) -> None:
    for name, content in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content, encoding="utf-8")


def test_what_a_run_reads_is_copied_and_nothing_else(checkout):
    write({".demo/left/by/another/run": ""})
    copy_checkout(Path(".demo"))
    assert files_in(Path(".demo")) == {
        ".dvc/config",
        ".gitignore",
        "classifier/new.py",
        "classifier/one.py",
        "data/catalog/birds.yaml",
        "data/catalog/sample.yaml",
        "dvc.yaml",
        "params.yaml",
        "stages/download.py",
    }


def test_a_copy_of_this_checkout_lacks_nothing_that_a_stage_depends_on(tmp_path):
    with contextlib.chdir(ROOT):
        copy_checkout(tmp_path / "copy")
    copied = files_in(tmp_path / "copy")
    made = {path for stage in STAGES for path in outputs(ROOT, stage)}
    folders = {parent.as_posix() for path in copied for parent in Path(path).parents}
    assert {path for stage in STAGES for path in dependencies(stage)} <= copied | folders | made
    assert not copied & made
    assert not any(file.is_relative_to(path) for file in map(Path, copied) for path in made)
    assert {"dvc.yaml", "params.yaml", ".dvc/config", ".dvcignore", ".gitignore"} <= copied
    assert {path.relative_to(ROOT).as_posix() for path in ROOT.glob(".dvc/plots/*")} <= copied


def test_without_git_it_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UserError, match=r"^the demo copies what git lists: [^\n]*$"):
        copy_checkout(Path(".demo"))


def test_the_stages_run_in_the_python_that_runs_the_demo(checkout, monkeypatch):
    """As .venv/bin/python -m classifier demo does where .venv is not activated."""
    write(
        {
            "params.yaml": (ROOT / "params.yaml").read_text(encoding="utf-8"),
            "dvc.yaml": "stages: {look: {cmd: python stages/download.py}}",
            "stages/download.py": "import sys\nopen('which', 'w').write(sys.prefix)\nexit(1)\n",
        }
    )
    monkeypatch.setenv("PATH", os.defpath + ":/usr/bin:/bin")
    told = r"^failed to reproduce .* all that was printed: .demo/log.txt$"
    with pytest.raises(UserError, match=told):
        run_demo(seed=1)
    assert Path(".demo/which").read_text(encoding="utf-8") == sys.prefix
