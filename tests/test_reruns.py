"""Which stages an edit reruns: real DVC on the real dvc.yaml, whose stages are puppets.

No edit here changes a result, so that a stage runs when it depends on the edited file itself. Where
an edit does change a result, DVC runs what reads it as well: what depends on what is in dvc.yaml.

For each line of the tables DVC is asked what it would run, in this process; that it then runs just
that is tried once.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from classifier.base.params import leaves
from tests.projects import ROOT, STAGES, Project, clean_process, parameters, ran

FROM_SCRATCH = ("train_baseline", "train_augmented")
FINETUNINGS = ("finetune_vgg16", "finetune_mobilenet")
TRAININGS = (*FROM_SCRATCH, *FINETUNINGS)
# Evaluate loads finished models, so that an edit of a network reruns it when a model changes.
EDITS: dict[str, Collection[str]] = {
    "classifier/__init__.py": STAGES,
    "classifier/base/files.py": STAGES,
    "classifier/base/splits.py": STAGES,
    "classifier/base/cache.py": ("download", "split", "evaluate"),
    "classifier/base/errors.py": ("download", "split", "evaluate"),
    "classifier/base/params.py": ("download", "split", "evaluate"),
    "classifier/sources/__init__.py": ("download", "split"),
    "classifier/images/__init__.py": ("split",),
    "classifier/training/__init__.py": (*TRAININGS, "evaluate"),
    "classifier/networks/__init__.py": FROM_SCRATCH,
    "classifier/transfer/__init__.py": (*FINETUNINGS, "evaluate"),
    "classifier/evaluation/__init__.py": ("evaluate",),
    "classifier/report/__init__.py": ("evaluate",),
    "classifier/commands/__init__.py": (),
    "classifier/__main__.py": (),
    "stages/split.py": ("split",),
}
# By the section that gets one more key.
NEW_KEYS: dict[str, Collection[str]] = {
    "data": ("evaluate",),
    "split": ("split", "evaluate"),
    "train": (*FROM_SCRATCH, "evaluate"),
    "augment": ("train_augmented", "evaluate"),
    "finetune": ("finetune_vgg16", "evaluate"),
    "mobilenet": ("finetune_mobilenet", "evaluate"),
    "evaluate": ("evaluate",),
}


@pytest.fixture
def inside(puppet, monkeypatch) -> Project:
    """The puppets' project, which this process is in; whoever edits a file there restores it."""
    clean_process(monkeypatch, puppet.root.parent / "home")
    monkeypatch.chdir(puppet.root)
    return puppet


@contextmanager
def edited(file: Path) -> Iterator[None]:
    """Write a file back when the block ends."""
    content = file.read_bytes()
    try:
        yield
    finally:
        file.write_bytes(content)


def append(file: Path) -> None:
    with file.open("a", encoding="utf-8") as opened:
        opened.write("# an edit that changes no result\n")


def add_key(file: Path, section: str) -> None:
    yaml = YAML()
    content = yaml.load(file)
    content[section]["new"] = None
    yaml.dump(content, file)


def changed_stages() -> set[str]:
    """The stages that DVC finds a changed dependency of; `check` depends on all of params.yaml."""
    from dvc.repo import Repo

    with Repo() as repo:
        found = {stage.name for stage in repo.index.stages for dep in stage.deps if dep.status()}
    return found - {"check"}


def test_an_edit_in_a_room_reruns_the_stages_of_the_table(inside):
    assert changed_stages() == set()
    found = {}
    for path in EDITS:
        with edited(Path(path)):
            append(Path(path))
            found[path] = changed_stages()
    assert found == {path: set(stages) for path, stages in EDITS.items()}


def test_the_table_has_every_room():
    rooms = {path.parent.name for path in (ROOT / "classifier").glob("*/__init__.py")}
    assert {edited.split("/")[1] for edited in EDITS if edited.count("/") > 1} == rooms


def test_a_new_key_reruns_the_stages_that_read_its_section(inside):
    found = {}
    for section in NEW_KEYS:
        with edited(Path("params.yaml")):
            add_key(Path("params.yaml"), section)
            found[section] = changed_stages()
    assert found == {section: set(stages) for section, stages in NEW_KEYS.items()}


def test_what_dvc_finds_changed_is_what_it_runs(committed):
    append(committed.root / "classifier/sources/__init__.py")
    add_key(committed.root / "params.yaml", "finetune")
    expected = {*EDITS["classifier/sources/__init__.py"], *NEW_KEYS["finetune"]}
    assert sorted(ran(committed.dvc("repro"))) == sorted(expected)


def test_what_changes_a_result_reruns_all_that_reads_it(committed):
    committed.change({"split": {"seed": 2}})
    assert sorted(ran(committed.dvc("repro"))) == sorted({*STAGES} - {"download"})


def test_an_edit_of_a_compiled_module_is_none(committed):
    for name in ("one.pyc", "__pycache__/one.cpython-311.pyc"):
        path = committed.root / "classifier/training" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"compiled")
    assert ran(committed.dvc("repro")) == []


def another(value: Any) -> Any:
    """A different value; DVC compares values and does not ask whether they are allowed."""
    match value:
        case bool():
            return not value
        case None:
            return 2
        case int() | float():
            return value + 1
        case _:
            return f"{value}x"


def test_a_changed_parameter_reruns_the_stages_that_declare_it(inside):
    from dvc.dependency.param import ParamsDependency
    from dvc.repo import Repo

    declared = {stage: set(parameters(ROOT, stage)) for stage in STAGES}
    yaml, file = YAML(), Path("params.yaml")
    original = file.read_text(encoding="utf-8")
    wrong = {}
    with Repo() as repo, edited(file):
        # DVC reads params.yaml anew for each question, and dvc.yaml stays the same throughout.
        asked = [
            (stage.name, dep)
            for stage in repo.index.stages
            if stage.name != "check"
            for dep in stage.deps
            if isinstance(dep, ParamsDependency)
        ]
        for key, _ in leaves(yaml.load(original)):
            content = yaml.load(original)
            *sections, last = key.split(".")
            section = content
            for name in sections:
                section = section[name]
            section[last] = another(section[last])
            if key == "data.source":
                section[last] = "data/catalog/sample.yaml"  # a dependency as well
            with file.open("w", encoding="utf-8") as opened:
                yaml.dump(content, opened)
            named = {stage for stage, dep in asked if dep.status()}
            if named != {stage for stage in STAGES if key in declared[stage]} or not named:
                wrong[key] = named
    assert wrong == {}


def test_plain_dvc_sees_a_misspelled_leaf_of_a_section_that_a_stage_reads_whole(committed):
    committed.change({"train": {"epoch": 3}})
    assert "train_baseline" in committed.dvc("status")
