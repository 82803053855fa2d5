"""Temporary copies of this checkout, each a git repository with a DVC cache of its own."""

import contextlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import psutil
import pytest
from ruamel.yaml import YAML

from classifier.base.params import leaves
from classifier.commands.demo import change_params, copy_checkout
from tests import dvc_process

ROOT = Path(__file__).parents[1]
RECORDER = Path(__file__).parent / "recorder"
PUPPET = Path(__file__).parent / "puppet.py"
STAGES = (
    "download",
    "split",
    "train_baseline",
    "train_augmented",
    "finetune_vgg16",
    "finetune_mobilenet",
    "evaluate",
)
CATALOGUE = "data/catalog/tiny.yaml"
DRAWN = """\
name: tiny
description: A few drawn pictures.
drawn:
  per_class: 20
  size: 64
  seed: 0
terms: This project's own.
citation: None needed.
"""
IDENTITY = """\
[user]
name = Tester
email = tester@example.org
"""
NO_VARIABLES: Mapping[str, str] = {}
# The least that trains: seconds a stage, most of them TensorFlow's start.
TINY: dict[str, Any] = {
    "data": {"source": CATALOGUE, "image_size": 78},
    "split": {"method": "random", "random": {"validation": 10, "test": 14}},
    "train": {"epochs": 1, "batch_size": 8},
    "finetune": {
        "weights": "none",
        "dense_units": 8,
        "batch_size": 8,
        "head_epochs": 1,
        "epochs": 1,
    },
    "mobilenet": {"weights": "none", "batch_size": 8, "head_epochs": 1, "epochs": 1},
}


@dataclass(frozen=True)
class Project:
    """A checkout and the environment that its commands run in."""

    root: Path
    environment: dict[str, str]

    def run(
        self, *command: str, fails: bool = False, variables: Mapping[str, str] = NO_VARIABLES
    ) -> str:
        """Run a command in the checkout; return all that it printed."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert bool(done.returncode) == fails, done.stdout
        return done.stdout

    def dvc(
        self, *arguments: str, fails: bool = False, variables: Mapping[str, str] = NO_VARIABLES
    ) -> str:
        """Run DVC as `run` would, without waiting for it to start."""
        with tempfile.NamedTemporaryFile("r") as out:
            environment = {**self.environment, **variables}
            status = dvc_process.run(arguments, self.root, environment, Path(out.name))
            said = out.read()
        assert bool(status) == fails, said
        return said

    def stage(
        self, name: str, *, fails: bool = False, variables: Mapping[str, str] = NO_VARIABLES
    ) -> str:
        """Run one stage without DVC."""
        return self.run(sys.executable, "-m", f"stages.{name}", fails=fails, variables=variables)

    def start_dvc(self, *arguments: str) -> subprocess.Popen[str]:
        """Start DVC as the head of a process group, as a terminal does."""
        return subprocess.Popen(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A shell's background job ignores Ctrl-C, and so would all that it starts: tests that
            # send it must not depend on how they were started themselves. No threads run here that
            # PLW1509 warns of.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )

    def change(self, changes: dict[str, Any]) -> None:
        change_params(self.root / "params.yaml", changes)

    def commit(self) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", "a state")

    def clone(self, folder: Path) -> "Project":
        """Clone what is committed; nothing that DVC has made comes along."""
        self.run("git", "clone", "--quiet", ".", str(folder / "checkout"))
        return Project(folder / "checkout", clean_environment(folder / "home"))

    def read(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")


def new_project(folder: Path, changes: dict[str, Any] = TINY, *, puppet: bool = False) -> Project:
    """Copy what a run needs, modules that git does not track yet among it, and commit the copy.

    Args:
        folder: will hold checkout/ and the commands' home.
        changes: of params.yaml.
        puppet: tests/puppet.py stands for every stage; the rest of dvc.yaml stays as it is.
    """
    root = folder / "checkout"
    with contextlib.chdir(ROOT), pytest.MonkeyPatch.context() as monkeypatch:
        clean_process(monkeypatch, folder / "home")
        copy_checkout(root)
    (root / CATALOGUE).write_text(DRAWN, encoding="utf-8")
    if puppet:
        shutil.copy(PUPPET, root)
        written = (root / "dvc.yaml").read_text(encoding="utf-8")
        replaced = re.sub(r"python -m (stages\.|classifier )", f"python {PUPPET.name} ", written)
        (root / "dvc.yaml").write_text(replaced, encoding="utf-8")
    project = new_repository(folder)
    project.change(changes)
    project.commit()
    return project


def new_repository(folder: Path) -> Project:
    """Make a git repository of folder/checkout, which may be there; a home lies beside it."""
    root = folder / "checkout"
    root.mkdir(parents=True, exist_ok=True)
    project = Project(root, clean_environment(folder / "home"))
    project.run("git", "init", "--quiet")
    return project


def pretend(project: Project, stage: str) -> None:
    """Make DVC believe that a stage has run: text stands for each file that it reads or makes."""
    for path in {*dependencies(stage), *outputs(project.root, stage)}:
        file = project.root / path
        if not file.exists():
            file = file if file.suffix else file / "file"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"stands for {path}", encoding="utf-8")
    project.dvc("commit", "--force", stage)


def clean_environment(home: Path) -> dict[str, str]:
    """The variables of commands that run git or DVC: nothing of the user's, a home of their own.

    A hook of git sets GIT_DIR and GIT_INDEX_FILE, and whatever runs git under them changes the
    user's own repository, wherever it runs.
    """
    home.mkdir(parents=True, exist_ok=True)
    (home / ".gitconfig").write_text(IDENTITY, encoding="utf-8")
    ours = ("DVC_", "GIT_", "DATA_MIRROR", "PYTHONPATH", "RECORD", "XDG_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return environment | {
        # `python` in dvc.yaml is then the one that runs the tests.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc"),
        "DVC_SYSTEM_CONFIG_DIR": str(home / "dvc"),
        "DVC_SITE_CACHE_DIR": str(home / "site"),
        "DVC_NO_ANALYTICS": "1",
        "MPLCONFIGDIR": matplotlib.get_cachedir(),  # a new list of fonts takes many seconds
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def clean_process(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Give this process a clean environment: for what runs git or DVC from it or in it."""
    environment = clean_environment(home)
    for name in os.environ.keys() - environment.keys():
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def pipeline(root: Path = ROOT) -> dict[str, Any]:
    """dvc.yaml as it is written."""
    content: dict[str, Any] = YAML(typ="safe").load(root / "dvc.yaml")
    return content


def dependencies(stage: str) -> set[str]:
    """The paths under `deps` of a stage, the data set's source aside."""
    return set(pipeline()["stages"][stage]["deps"]) - {"${data.source}"}


def outputs(root: Path, stage: str) -> dict[str, bool]:
    """What a stage of dvc.yaml makes: the paths, and whether DVC keeps them in its cache."""
    found: dict[str, bool] = {}
    declared = pipeline(root)["stages"][stage]
    for kind in ("outs", "metrics", "plots"):
        for one in declared.get(kind, []):
            path, options = (one, {}) if isinstance(one, str) else next(iter(one.items()))
            found[path] = options.get("cache", True)
    return found


def files_in(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def files_made(root: Path, stage: str) -> dict[str, bool]:
    """The files that a stage has made, those in folders too, and whether DVC caches them."""
    return {
        file.relative_to(root).as_posix(): cached
        for path, cached in outputs(root, stage).items()
        for file in (root / path, *(root / path).rglob("*"))
        if file.is_file()
    }


def parameters(root: Path, stage: str) -> list[str]:
    """The leaves of params.yaml that a stage of dvc.yaml declares, alone or by their section."""
    everything = dict(leaves(YAML(typ="safe").load(root / "params.yaml")))
    return [
        leaf
        for declared in pipeline(root)["stages"][stage].get("params", [])
        for leaf in everything
        if leaf == declared or leaf.startswith(f"{declared}.")
    ]


def seconds_of_children() -> float:
    """Of computing, by all processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def ran(output: str) -> list[str]:
    """The stages that DVC says it ran, `check` aside."""
    lines = (line.split("'") for line in output.splitlines() if line.startswith("Running stage"))
    return [parts[1] for parts in lines if parts[1] != "check"]


def recorded(folder: Path, stage: str, kind: str) -> set[str]:
    """What tests/recorder wrote down."""
    lines = (folder / f"{stage}.tsv").read_text(encoding="utf-8").splitlines()
    return {line.split("\t")[1] for line in lines if line.startswith(f"{kind}\t")}


def recording(folder: Path) -> dict[str, str]:
    """The variables that make tests/recorder write to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return {"RECORD": str(folder), "PYTHONPATH": str(RECORDER)}


@contextlib.contextmanager
def ended_with_all(project: Project) -> Iterator[None]:
    """End what still runs in a project when the block ends, and free its disk space."""
    try:
        yield
    finally:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if Path(process.cwd()).is_relative_to(project.root):
                    process.kill()
        shutil.rmtree(project.root.parent, ignore_errors=True)
