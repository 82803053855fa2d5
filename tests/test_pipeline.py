"""The pipeline as a user runs it: real DVC, real (tiny) training, in temporary repositories.

TensorFlow takes seconds to start, so that the tests share one undisturbed run, and one more that is
killed and interrupted. What asks something of DVC alone is in test_reruns.py and
test_experiments.py.
"""

import csv
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML

from classifier.base.files import write_json
from classifier.base.params import load_params
from classifier.sources.sample import CLASSES, pictures
from tests.http_server import Answer, serving
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
A, B = CLASSES
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


LONGER: dict[str, Any] = {
    **TINY,
    "train": {**TINY["train"], "epochs": 12},  # so many that it can be killed between two of them
    "finetune": {**TINY["finetune"], "epochs": 6},
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


watching = pytest.mark.xdist_group("watched")


@watching
def test_repro_runs_the_six_stages(watched):
    assert sorted(ran(watched.output)) == sorted(STAGES)
    figures = json.loads(watched.project.read("metrics/evaluate.json"))
    assert list(figures) == ["baseline", "augmented", "vgg16"]
    for one in figures.values():
        assert 0 <= one["accuracy_low"] <= one["accuracy"] <= one["accuracy_high"] <= 1


@watching
def test_a_second_repro_does_nothing_and_status_is_clean(watched):
    before = seconds_of_children()
    output = watched.project.run("dvc", "repro")
    assert seconds_of_children() - before < NOOP_SECONDS
    assert ran(output) == []
    assert output.count("didn't change, skipping") == len({"check", *STAGES})
    assert "up to date" in watched.project.dvc("status")
    assert watched.project.run("git", "status", "--porcelain") == ""


@watching
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


@watching
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
        "finetune_vgg16": {"data/weights"},  # as well
    }
    assert opened - own - passing == declared - unread.get(stage, set())


@watching
@pytest.mark.parametrize("stage", ["download", "split"])
def test_stages_that_do_not_train_import_no_tensorflow(watched, stage):
    imported = recorded(watched.records, stage, "module")
    assert not imported & {"tensorflow", "keras", "torch", "jax"}


@watching
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


@watching
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


@watching
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
    made = [path for path in outputs(project.root, stage) if (project.root / path).exists()]
    assert made == []
    lock = YAML(typ="safe").load(project.root / "dvc.lock")
    assert stage not in lock["stages"]
    assert stage in project.dvc("status")


@watching
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


# A user's own pictures.


def listed(project: Project, split: str) -> dict[str, str]:
    """Path and SHA-256 of a split's pictures."""
    rows = csv.DictReader(project.read(f"data/splits/{split}.csv").splitlines())
    return {row["path"]: row["sha256"] for row in rows}


def all_listed(project: Project) -> dict[str, str]:
    return listed(project, "train") | listed(project, "validation") | listed(project, "test")


def write_folder(files: dict[str, bytes], at: Path) -> None:
    shutil.rmtree(at, ignore_errors=True)
    for name, content in files.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_bytes(content)


def write_zip(files: dict[str, bytes], at: Path) -> None:
    with zipfile.ZipFile(at, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("source", "write"), [("pictures", write_folder), ("pictures.zip", write_zip)]
)
def test_a_users_pictures_change_the_split_when_they_change(project, source, write):
    drawn = dict(pictures(per_class=23, size=64, seed=0))
    files = {path: data for path, data in drawn.items() if int(path[-8:-4]) <= 20}
    at = project.root / source
    write(files, at)
    with (project.root / ".git/info/exclude").open("a", encoding="utf-8") as file:
        file.write(f"/{source}\n")
    project.change({"data": {"source": source}})

    assert ran(project.dvc("repro", "split")) == ["download", "split"]
    first = all_listed(project)
    assert first.keys() == files.keys()
    assert first[f"{A}/0001.jpg"] == hashlib.sha256(files[f"{A}/0001.jpg"]).hexdigest()
    assert ran(project.dvc("repro", "split")) == []

    added = files | {f"{A}/0021.jpg": drawn[f"{A}/0021.jpg"]}
    removed = {path: data for path, data in added.items() if path != f"{B}/0003.jpg"}
    if at.is_dir():  # of an archive DVC sees the bytes alone: one change is like another
        for state in (added, removed):
            write(state, at)
            assert ran(project.dvc("repro", "split")) == ["download", "split"]
            assert all_listed(project).keys() == state.keys()

    replaced = removed | {f"{A}/0001.jpg": drawn[f"{A}/0022.jpg"], f"{B}/0004.jpg": b"no picture"}
    write(replaced, at)
    assert ran(project.dvc("repro", "split")) == ["download", "split"]
    now = all_listed(project)
    assert now[f"{A}/0001.jpg"] == hashlib.sha256(drawn[f"{A}/0022.jpg"]).hexdigest()
    assert now.keys() == replaced.keys() - {f"{B}/0004.jpg"}
    rejected = list(csv.DictReader(project.read("data/splits/rejected.csv").splitlines()))
    assert [row["path"] for row in rejected] == [f"{B}/0004.jpg"]
    assert rejected[0]["reason"]
    assert f"{B}/0004.jpg" not in project.read("data/splits/train.csv")

    # Back to where it was. An archive packed anew has other bytes, but its pictures are the same:
    # DVC knows their split.
    write(files, at)
    assert ran(project.dvc("repro", "split")) == ([] if at.is_dir() else ["download"])
    assert all_listed(project) == first


# Downloads.


def archive() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as opened:
        for name, data in pictures(per_class=20, size=64, seed=0):
            opened.writestr(f"top/{name}", data)
    return content.getvalue()


def catalogue(project: Project, url: str, content: bytes) -> None:
    entry = {
        "name": "remote",
        "description": "Pictures on a server.",
        "file": {
            "name": "pictures.zip",
            "urls": [url],
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        },
        "terms": "None.",
        "citation": "None.",
    }
    # JSON is YAML.
    write_json(project.root / "data/catalog/remote.yaml", entry)
    project.change({"data": {"source": "data/catalog/remote.yaml"}})


@pytest.mark.parametrize("how", ["catalogue", "mirror"])
def test_a_data_set_comes_over_http(project, how):
    content = archive()
    with serving() as server:
        server.answers["/pictures.zip"] = [Answer(content)]
        # Nobody listens at port 9.
        home = server.url if how == "catalogue" else "http://127.0.0.1:9"
        catalogue(project, f"{home}/pictures.zip", content)
        variables = {} if how == "catalogue" else {"DATA_MIRROR": server.url}
        output = project.dvc("repro", "split", variables=variables)
        assert server.requests
    assert ran(output) == ["download", "split"]
    assert len(all_listed(project)) == 40
    recorded_file = json.loads(project.read("data/raw/dataset.json"))["file"]
    assert recorded_file["sha256"] == hashlib.sha256(content).hexdigest()
    assert ran(project.dvc("repro", "split")) == []
    assert server.url not in project.read("dvc.lock")


def errors_in(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("error: ")]


def test_without_a_network_the_ways_on_are_named_and_nothing_is_left(project):
    catalogue(project, "http://127.0.0.1:9/pictures.zip", b"content")
    output = project.dvc("repro", fails=True)
    (line,) = errors_in(output)
    for word in ("http://127.0.0.1:9/pictures.zip", "DATA_MIRROR", "data.source", "sample"):
        assert word in line
    assert "Traceback" not in output
    for stage in STAGES:
        assert files_made(project.root, stage) == {}
    assert not (project.root / "dvc.lock").exists()
    assert "download" in project.dvc("status")

    # One of the three ways.
    project.change({"data": {"source": CATALOGUE}})
    assert ran(project.dvc("repro", "download")) == ["download"]


def test_a_stage_that_fails_leaves_the_results_of_none(project):
    assert ran(project.dvc("repro", "split")) == ["download", "split"]
    project.change({"split": {"method": "numbered"}})  # the pictures have no numbers from 1000 on
    output = project.dvc("repro", "split", fails=True)
    (line,) = errors_in(output)
    assert "validation" in line
    assert "Traceback" not in output
    arrays = [path for path in outputs(project.root, "split") if path.endswith(".npy")]
    assert not any((project.root / path).exists() for path in arrays)
    assert "split" in project.dvc("status")
    # What was rejected may be the reason of the failure, so this list stays; no stage reads it.
    assert files_in(project.root / "data/splits") <= {".gitignore", "rejected.csv"}
    assert not any("rejected.csv" in path for stage in STAGES for path in dependencies(stage))


def test_the_parameters_of_these_tests_are_allowed(project):
    params = load_params(project.root / "params.yaml")
    assert params.data.source == CATALOGUE
