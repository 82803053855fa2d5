"""The pipeline as a user runs it: real DVC, real (tiny) training, in temporary repositories.

TensorFlow takes seconds to start, so that the tests share one undisturbed run, and one more that is
killed and interrupted. What asks something of DVC alone is in test_reruns.py and
test_experiments.py.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML

from classifier.base.family import MODELS
from classifier.sources.sample import CLASSES, pictures
from tests.projects import (
    CATALOGUE,
    ROOT,
    STAGES,
    TINY,
    Project,
    dependencies,
    ended_with_all,
    files_in,
    files_made,
    new_project,
    outputs,
    parameters,
    ran,
    recorded,
    recording,
    seconds_of_children,
)
from tests.test_wiring import CHANGE_NOTHING, code_of, holds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
PATIENCE = 1200  # seconds that a test waits for something to happen
# Of computing, which other programs on the machine do not lengthen much; the benchmark has the time
# that passes.
NOOP_SECONDS = 5.0


def bytes_of(project: Project, stages: tuple[str, ...] = STAGES) -> dict[str, str]:
    """SHA-256 of every output of some stages."""
    return {
        path: hashlib.sha256((project.root / path).read_bytes()).hexdigest()
        for stage in stages
        for path in files_made(project.root, stage)
    }


# One repository that everything has run in, watched by tests/recorder.


# Small pictures and a small network, so that a stage is little more than TensorFlow's start; but so
# many epochs that it can be killed between two of them. Keras sleeps for 0.2 seconds in each.
LONGER: dict[str, Any] = {
    **TINY,
    "data": {**TINY["data"], "image_size": 32},
    "train": {**TINY["train"], "arch": "cnn3", "epochs": 5},
    "finetune": {**TINY["finetune"], "epochs": 3},
}


@dataclass(frozen=True)
class Watched:
    project: Project
    output: str
    records: Path
    before: set[str]
    after: set[str]


@pytest.fixture(scope="module")
def watched(tmp_path_factory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    project = new_project(folder, LONGER)
    with ended_with_all(project):
        before = files_in(project.root)
        output = project.dvc("repro", variables=recording(folder / "records"))
        after = files_in(project.root)
        project.commit()
        yield Watched(project, output, folder / "records", before, after)


def test_repro_runs_all_stages(watched):
    assert sorted(ran(watched.output)) == sorted(STAGES)
    figures = json.loads(watched.project.read("metrics/evaluate.json"))
    assert list(figures) == list(MODELS)
    for one in figures.values():
        assert 0 <= one["accuracy_low"] <= one["accuracy"] <= one["accuracy_high"] <= 1


def test_a_second_repro_does_nothing_and_status_is_clean(watched):
    before = seconds_of_children()
    output = watched.project.run("dvc", "repro")
    assert seconds_of_children() - before < NOOP_SECONDS
    assert ran(output) == []
    assert output.count("didn't change, skipping") == len({"check", *STAGES})
    assert "up to date" in watched.project.dvc("status")
    assert watched.project.run("git", "status", "--porcelain") == ""


def test_the_stages_write_what_dvc_yaml_says_and_nothing_else(watched):
    made = {path for path in watched.after - watched.before if "__pycache__" not in path}
    made = {path for path in made if path.split("/")[0] not in (".git", ".dvc", ".cache")}
    root = watched.project.root
    declared = {path for stage in STAGES for path in outputs(root, stage)}
    assert all((root / path).exists() for path in declared)
    ignores = {f"{Path(path).parent}/.gitignore" for path in declared}
    files = {path for stage in STAGES for path in files_made(root, stage)}
    assert made - ignores == files | {"dvc.lock"}


def is_code(path: str) -> bool:
    return path.startswith(("classifier/", "stages/", "tests/"))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_the_files_among_its_deps_and_no_others(watched, stage):
    opened = {path for path in recorded(watched.records, stage, "opened") if not is_code(path)}
    own = set(files_made(watched.project.root, stage)) | {"params.yaml"}
    passing = {path for path in opened if path.split("/")[0] in (".cache", ".dvc", ".git")}
    passing |= {path for path in opened if any(part[0] == "." for part in path.split("/"))}
    source = {CATALOGUE} if stage == "download" else set()
    declared = {path for path in dependencies(stage) | source if not is_code(path)}
    unread = {
        "download": {"data/catalog/weights.yaml"},  # finetune.weights is none
        "finetune_vgg16": {"data/weights/vgg16"},  # as well
        "finetune_mobilenet": {"data/weights/mobilenet"},
    }
    assert opened - own - passing == declared - unread.get(stage, set())


@pytest.mark.parametrize("stage", ["download", "split"])
def test_stages_that_do_not_train_import_no_tensorflow(watched, stage):
    imported = recorded(watched.records, stage, "module")
    assert not imported & {"tensorflow", "keras", "torch", "jax"}


@pytest.mark.parametrize("stage", STAGES)
def test_params_yaml_is_read_once_and_before_anything_heavy(watched, stage):
    lines = (watched.records / f"{stage}.tsv").read_text(encoding="utf-8").splitlines()
    at = lines.index("opened\tparams.yaml")
    heavy = [i for i, line in enumerate(lines) if "tensorflow" in line or "/keras/" in line]
    assert at < min(heavy, default=len(lines))


# What the one run above leaves out: branches of download and split, which run in a second or two.


@pytest.fixture(scope="module")
def all_records(watched, tmp_path_factory) -> list[Path]:
    """Folders of records, of runs that together go through all branches of the stages' main()."""
    folder = tmp_path_factory.mktemp("branches")
    project = new_project(folder)
    records = [watched.records]
    mirror = folder / "mirror"
    mirror.mkdir()
    (mirror / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5").write_bytes(b"weights")
    drawn = dict(pictures(per_class=20, size=64, seed=0))
    for part, numbers in (("train", range(1, 11)), ("validation", range(11, 21))):
        for label in CLASSES:
            (folder / "pictures" / part / label).mkdir(parents=True)
            for n in numbers:
                name = f"{label}/{n:04d}.jpg"
                (folder / "pictures" / part / name).write_bytes(drawn[name])

    def run(stage: str, changes: dict[str, Any], mirror: str = "") -> None:
        project.change(changes)
        records.append(folder / f"records{len(records)}")
        project.stage(stage, variables=recording(records[-1]) | {"DATA_MIRROR": mirror})

    with ended_with_all(project):
        source = {"data": {"source": "../pictures"}, "finetune": {"weights": "imagenet"}}
        run("download", source, mirror=str(mirror))
        run("split", {"split": {"method": "predefined", "drop_leaks": True}})
        ranges = {"train": "0-10", "validation": "11-15", "test": "16-20"}
        run("split", {"split": {"method": "numbered", "numbered": ranges}})
        kept = folder.parent / "kept-records"
        for k, one in enumerate(records[1:], start=1):
            shutil.copytree(one, kept / str(k))
            records[k] = kept / str(k)
    return records


def gathered(records: list[Path], stage: str, kind: str) -> set[str]:
    folders = (one for one in records if (one / f"{stage}.tsv").exists())
    return set().union(*(recorded(folder, stage, kind) for folder in folders))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_code_that_it_imported_and_that_can_change_a_result(
    all_records, stage
):
    def path(module: str) -> str:
        stem = module.replace(".", "/")
        return f"{stem}.py" if (ROOT / f"{stem}.py").is_file() else f"{stem}/__init__.py"

    ours = {
        path(name)
        for name in gathered(all_records, stage, "module")
        if name.split(".")[0] in ("classifier", "stages")
    }
    ours |= {f"stages/{stage}.py"}  # which ran as __main__
    declared = code_of(stage)
    unseen = {one for one in ours if not any(holds(dep, one) for dep in declared)}
    assert unseen <= CHANGE_NOTHING
    assert not {dep for dep in declared if not any(holds(dep, one) for one in ours)}


@pytest.mark.parametrize("stage", STAGES)
def test_the_params_of_a_stage_are_those_that_it_reads(all_records, stage):
    assert gathered(all_records, stage, "read") == set(parameters(ROOT, stage))


# A clone that trains for itself.


def interrupted(
    project: Project, stage: str, checkpoints: int, interrupt: Callable[[psutil.Process, int], Any]
) -> str:
    """Run `dvc repro` until a stage has so many checkpoints, then interrupt it.

    Args:
        project: where.
        stage: to be interrupted.
        checkpoints: in .cache/checkpoints.
        interrupt: is given the stage's process and DVC's group.

    Returns:
        What DVC printed.
    """
    folder = project.root / ".cache/checkpoints"
    dvc = project.start_dvc("repro")
    end = time.monotonic() + PATIENCE
    process = None
    while dvc.poll() is None and time.monotonic() < end:
        process = process or process_of(dvc, stage)
        if process and len(list(folder.glob("[!.]*.npz"))) >= checkpoints:
            interrupt(process, dvc.pid)
            break
        time.sleep(0.02)
    output = dvc.communicate(timeout=PATIENCE)[0]
    assert process, f"{stage} did not run:\n{output}"
    assert dvc.returncode, f"{stage} was over before it could be interrupted:\n{output}"
    return output


def process_of(dvc: subprocess.Popen[str], stage: str) -> psutil.Process | None:
    try:
        for child in psutil.Process(dvc.pid).children(recursive=True):
            command = child.cmdline()
            if command[-2:] == ["-m", f"stages.{stage}"] and "python" in command[0]:
                return child
    except psutil.Error:
        pass
    return None


def nothing_is_left_of(project: Project, stage: str) -> None:
    """But for the curve, which grows while training runs."""
    made = {path for path in outputs(project.root, stage) if (project.root / path).exists()}
    assert made <= {f"plots/curves/{stage.partition('_')[2]}.tsv"}
    lock = YAML(typ="safe").load(project.root / "dvc.lock")
    assert stage not in lock["stages"]
    assert stage in project.dvc("status")


def test_a_clone_whose_training_was_killed_and_interrupted_ends_with_the_same_bytes(
    watched, tmp_path
):
    clone = watched.project.clone(tmp_path)
    clone.run("git", "checkout", "--quiet", "HEAD~1")  # before anything had run
    with ended_with_all(clone):
        output = interrupted(clone, "train_augmented", 1, lambda process, _: process.kill())
        nothing_is_left_of(clone, "train_augmented")

        # The second checkpoint of this stage is that of the blocks, trained after the head; Ctrl-C
        # goes to DVC and the stage alike.
        output += interrupted(
            clone, "finetune_vgg16", 2, lambda _, group: os.killpg(group, signal.SIGINT)
        )
        nothing_is_left_of(clone, "finetune_vgg16")
        output += clone.dvc("repro")

        assert set(ran(output)) == set(STAGES)
        # Augmented once; of VGG16 the head, which was trained to its end, and the blocks.
        assert output.count("going on after epoch") == 3
        assert bytes_of(clone) == bytes_of(watched.project)
        assert clone.read("dvc.lock") == watched.project.read("dvc.lock")
        assert list((clone.root / ".cache/checkpoints").iterdir()) == []


# An experiment's copy of the checkout.


def test_exp_run_in_a_copy_runs_that_copys_code(project):
    # What DVC copies is the tracked state with its edits: here, to a module of a stage.
    with (project.root / "classifier/sources/collect.py").open("a", encoding="utf-8") as file:
        file.write("print('collected by', __file__)\n")
    output = project.dvc("exp", "run", "--temp", "--name", "copied", "download")
    assert ran(output) == ["download"]
    copy = next(line for line in output.splitlines() if line.startswith("collected by"))
    assert ".dvc/tmp/exps" in copy
