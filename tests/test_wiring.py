"""dvc.yaml, dvc.lock and params.yaml against the code; what needs no run."""

import ast
import copy
import functools
import os
import shutil
import subprocess
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from ruamel.yaml import YAML

from classifier.base.family import MODELS
from classifier.base.params import leaves, load_params
from tests.projects import ROOT, STAGES, dependencies, outputs, parameters, pipeline


def modules_in(path: str, root: Path = ROOT) -> set[str]:
    """The project's modules that a file imports anywhere in it, as paths."""
    names = set()
    for node in ast.walk(ast.parse((root / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import, which this test does not follow"
            names.add(str(node.module))
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    found = set()
    for name in names:
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            stem = "/".join(parts[:end])
            found |= {f for f in (f"{stem}.py", f"{stem}/__init__.py") if (root / f).is_file()}
    return found


def closure(path: str, root: Path = ROOT) -> set[str]:
    """A file and the project's modules that it imports, directly or not."""
    found, waiting = set(), {path}
    while waiting:
        found |= waiting
        waiting = {module for one in waiting for module in modules_in(one, root)} - found
    return found


# They refuse a value or name a folder, and can change no result. A training that costs half an hour
# must not start anew for a new key of params.yaml or a better message.
CHANGE_NOTHING = {
    "stages/__init__.py",
    "classifier/base/__init__.py",
    "classifier/base/cache.py",
    "classifier/base/errors.py",
    "classifier/base/checked.py",
    "classifier/base/family.py",
    "classifier/base/params.py",
}


def code_of(stage: str) -> set[str]:
    """The code among the `deps` of a stage, files and folders."""
    return {path for path in dependencies(stage) if path.startswith(("classifier", "stages"))}


def holds(declared: str, path: str) -> bool:
    return path == declared or path.startswith(f"{declared}/")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_rooms_that_it_can_import_and_on_no_other(stage):
    imported, declared = closure(f"stages/{stage}.py"), code_of(stage)
    unseen = {path for path in imported if not any(holds(one, path) for one in declared)}
    assert unseen <= CHANGE_NOTHING
    unused = {one for one in declared if not any(holds(one, path) for path in imported)}
    assert not unused


@pytest.mark.parametrize("stage", [s for s in STAGES if s.startswith(("train", "finetune"))])
def test_a_training_does_not_depend_on_what_can_only_refuse_a_value(stage):
    for path in CHANGE_NOTHING:
        assert not any(holds(one, path) for one in code_of(stage)), path


# What the modules of a room may import, besides their own room and `base`.
MAY_IMPORT = {
    "base": set(),
    "sources": set(),
    "images": {"sources"},
    "training": set(),
    "networks": {"training"},
    "transfer": {"training"},
    "evaluation": {"training", "networks", "transfer"},
    "report": {"training", "networks", "transfer", "evaluation"},
}


def room_of(path: str) -> str:
    return path.split("/")[1]


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_between_rooms_point_one_way(room):
    allowed = MAY_IMPORT[room] | {"base", room, "__init__.py"}
    for file in sorted((ROOT / "classifier" / room).glob("*.py")):
        path = file.relative_to(ROOT).as_posix()
        wrong = {one for one in modules_in(path) if room_of(one) not in allowed}
        assert not wrong, path


def test_every_room_is_in_the_contract_and_says_what_it_is_for():
    rooms = [path.parent for path in sorted((ROOT / "classifier").glob("*/__init__.py"))]
    assert {room.name for room in rooms} == {*MAY_IMPORT, "commands"}
    for room in rooms:
        tree = ast.parse((room / "__init__.py").read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), room
        assert len(tree.body) == 1, f"{room} holds code"


def test_imports_inside_functions_and_of_submodules_are_followed(tmp_path):
    (tmp_path / "one").mkdir()
    for name, content in {
        "start.py": "import os\ndef f():\n    from one import two, three\n",
        "one/__init__.py": "",
        "one/two.py": "import one.four\n",
        "one/four.py": "",
        "one/three.py": "",
        "one/other.py": "",
    }.items():
        (tmp_path / name).write_text(content)
    assert closure("start.py", tmp_path) == {
        "start.py",
        "one/__init__.py",
        "one/two.py",
        "one/three.py",
        "one/four.py",
    }


def test_after_a_check_come_the_stages_and_each_is_a_module():
    commands = {name: one["cmd"] for name, one in pipeline()["stages"].items()}
    assert tuple(commands) == ("check", *STAGES)
    assert commands.pop("check") == "python -m classifier check"
    assert list(commands.values()) == [f"python -m stages.{stage}" for stage in STAGES]


def test_every_parameter_is_declared_by_a_stage_and_every_declared_one_exists():
    in_file = dict(leaves(load_params(ROOT / "params.yaml").model_dump()))
    assert {leaf for stage in STAGES for leaf in parameters(ROOT, stage)} == in_file.keys()
    declared = {key for stage in STAGES for key in pipeline()["stages"][stage]["params"]}
    known = {".".join(leaf.split(".")[:n]) for leaf in in_file for n in range(1, 4)}
    assert declared <= known


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_is_declared_twice_in_a_stage(stage):
    declared = pipeline()["stages"][stage]
    for kind in ("deps", "params", "outs", "metrics", "plots"):
        entries = [str(one) for one in declared.get(kind, [])]
        assert sorted(entries) == sorted(set(entries)), kind
    # Nor a leaf beside its section.
    read = parameters(ROOT, stage)
    assert sorted(read) == sorted(set(read))


def test_params_yaml_keeps_its_form_when_an_experiment_rewrites_it(tmp_path):
    # DVC's own writer, as `dvc exp run -S` uses it: the first experiment shall make no noise.
    from dvc.utils.serialize import modify_yaml

    committed = (ROOT / "params.yaml").read_bytes()
    rewritten = tmp_path / "params.yaml"
    rewritten.write_bytes(committed)
    with modify_yaml(rewritten) as content:
        content["seed"] = 2
    assert rewritten.read_bytes() == committed.replace(b"\nseed: 1", b"\nseed: 2")
    for epochs in (7, 30):
        with modify_yaml(rewritten) as content:
            content["seed"], content["train"]["epochs"] = 1, epochs
        assert (rewritten.read_bytes() == committed) == (epochs == 30)


@pytest.mark.parametrize("pipeline_folder", [".", "examples/clinical_trial"])
def test_every_parameter_counts_in_dvcs_run_cache(pipeline_folder):
    # DVC leaves every key called size or nfiles out of its key, as it does for a file's: with
    # another value of such a parameter it would take the result of the first for this one's.
    from dvc.stage.cache import _get_cache_hash

    params = YAML(typ="safe").load(ROOT / pipeline_folder / "params.yaml")
    for name, value in leaves(params):
        changed = copy.deepcopy(params)
        *sections, last = name.split(".")
        functools.reduce(dict.__getitem__, sections, changed)[last] = f"not {value}"
        assert _get_cache_hash(changed) != _get_cache_hash(params), name


def test_dvc_yaml_keeps_its_form_when_dvc_rewrites_it(tmp_path):
    # DVC's own writer, as `dvc freeze` uses it: it sorts the lists and indents them its own way.
    from dvc.repo import Repo

    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    with Repo.init(tmp_path, no_scm=True) as repo:
        for stage in repo.index.stages:
            if not stage.raw_data.parametrized:
                stage.dump(update_lock=False)
    assert (tmp_path / "dvc.yaml").read_text() == (ROOT / "dvc.yaml").read_text()


def ignored_by_git(path: str) -> bool:
    # A folder's pattern ends in a slash, and in a fresh clone git cannot see that it is a folder.
    name = path if Path(path).suffix else f"{path}/"
    command = ["git", "check-ignore", "--quiet", "--no-index", name]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("stage", STAGES)
def test_what_dvc_caches_git_ignores_and_what_git_keeps_dvc_does_not_cache(stage):
    made = outputs(ROOT, stage)
    assert made
    assert {path: ignored_by_git(path) for path in made} == made


def test_git_ignores_what_only_this_machine_needs():
    for path in (".venv/x", ".cache/x", ".demo/x", "dvc_plots/index.html", ".dvc/cache/x"):
        assert ignored_by_git(path), path


def test_what_experiments_are_compared_by_stays_in_git():
    kept = {path for stage in STAGES for path, cached in outputs(ROOT, stage).items() if not cached}
    assert "metrics/evaluate.json" in kept
    assert {f"plots/curves/{name}.tsv" for name in MODELS} <= kept


def test_dvc_reports_nothing_to_anybody():
    config = (ROOT / ".dvc/config").read_text(encoding="utf-8")
    settings = {line.strip() for line in config.splitlines()}
    assert {"analytics = false", "check_update = false"} <= settings


def test_the_models_are_artifacts():
    made = {path for stage in STAGES for path in outputs(ROOT, stage)}
    artifacts = pipeline()["artifacts"]
    assert tuple(artifacts) == MODELS
    for name, one in artifacts.items():
        assert one["path"] == f"data/models/{name}.keras"
        assert one["path"] in made
        assert one["type"] == "model"
        assert one["desc"]
        assert one["labels"]


def locked() -> dict[str, Any]:
    content: dict[str, Any] = YAML(typ="safe").load(ROOT / "dvc.lock")
    return content["stages"]


@pytest.mark.parametrize("name", STAGES)
def test_the_committed_lock_has_the_stages_of_dvc_yaml(name):
    lock, stages = locked(), pipeline()["stages"]
    assert set(lock) == set(stages)
    params = load_params(ROOT / "params.yaml")
    assert lock["check"]["params"]["params.yaml"] == params.model_dump()
    one = stages[name]
    assert lock[name]["cmd"] == one["cmd"]
    deps = {path.replace("${data.source}", params.data.source) for path in one["deps"]}
    assert {dep["path"] for dep in lock[name]["deps"]} == deps
    assert {out["path"] for out in lock[name]["outs"]} == set(outputs(ROOT, name))
    read = dict(leaves(lock[name].get("params", {}).get("params.yaml", {})))
    assert read.keys() == set(parameters(ROOT, name))


def test_the_committed_lock_names_nothing_outside_the_repository():
    for one in locked().values():
        for entry in [*one.get("deps", []), *one.get("outs", [])]:
            path = PurePosixPath(entry["path"])
            assert not path.is_absolute(), path
            assert ".." not in path.parts, path
            assert "://" not in entry["path"], path


def test_no_tracked_file_names_a_place_on_this_machine():
    """Of the folders above the checkout, those that are no one's in particular do not count."""
    place = str(ROOT)
    if len(ROOT.parts) < 3 or os.environ.get("CI"):
        pytest.skip("the path of a CI runner, or of a folder at the root, may stand in a text")
    listed = subprocess.run(
        ["git", "grep", "--files-with-matches", "--fixed-strings", place],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.stdout == ""
