"""What cannot run here of GitHub's workflows: their schema, and the commands of their steps."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from ruamel.yaml import YAML

from tests.projects import ROOT, Project, files_in, new_repository, pretend

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
NAMES = [path.name for path in WORKFLOWS]
CURVE = """\
epoch	train_loss	validation_loss	train_accuracy	validation_accuracy	learning_rate
1	0.7	0.8	0.5	0.4	1e-05
2	0.5	0.6	0.75	0.7	1e-05
"""


def workflow(name: str) -> dict[str, Any]:
    # YAML 1.2, as GitHub reads it: in 1.1 the key `on` is the value true.
    content: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / ".github/workflows" / name)
    return content


def scripts(name: str) -> dict[str, str]:
    """The shell scripts of a workflow, by the step's name or, without one, the script itself."""
    return {
        step.get("name", step["run"]): step["run"]
        for job in workflow(name)["jobs"].values()
        for step in job["steps"]
        if "run" in step
    }


def test_the_workflows_fit_githubs_schema():
    schema = ("--builtin-schema", "vendor.github-workflows")
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *schema, *WORKFLOWS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_the_scripts_are_bash_and_nothing_is_pasted_into_them(name):
    for step, script in scripts(name).items():
        # What a branch or a title is called would run as code.
        assert "${{" not in script, step
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_a_label_or_a_hand_starts_the_gpu_run():
    gpu = workflow("gpu.yml")
    assert gpu["on"]["pull_request"] == {"types": ["labeled"]}
    assert json.loads(gpu["on"]["workflow_dispatch"]["inputs"]["sweep"]["default"]) == [""]
    assert "github.event.label.name == 'gpu'" in gpu["jobs"]["reproduce"]["if"]


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_pinned_by_commit_and_leave_no_credentials(name):
    steps = [step for job in workflow(name)["jobs"].values() for step in job["steps"]]
    for step in (step for step in steps if "uses" in step):
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"])
        if "checkout" in step["uses"]:
            assert step["with"]["persist-credentials"] is False


def test_a_failed_gpu_run_is_told_and_kept():
    steps = workflow("gpu.yml")["jobs"]["reproduce"]["steps"]
    comment, artifact = steps[-2:]
    assert "marker in its first line" in comment["with"]["script"]
    assert comment["if"].startswith("always()")
    assert artifact["if"] == "always()"


def test_the_lock_is_checked_by_ci():
    assert "make check-lock" in scripts("ci.yml")
    rules = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "\ncheck-lock: setup" in rules
    assert "\n\t.ci/check-lock\n" in rules


# The lock.

SMALL = """\
stages:
  copy:
    cmd: cp pictures copies
    deps: [pictures]
    params: [size]
    outs: [copies]
  count:
    cmd: wc -c copies > copies.txt
    deps: [copies]
    outs: [copies.txt: {cache: false}]
"""


@pytest.fixture(scope="module")
def origin(tmp_path_factory) -> Project:
    """A committed repository of two stages that have run."""
    origin = new_repository(tmp_path_factory.mktemp("origin"))
    (origin.root / "dvc.yaml").write_text(SMALL)
    (origin.root / "params.yaml").write_text("size: 1\n")
    (origin.root / "pictures").write_text("pictures")
    (origin.root / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/check-lock", origin.root / ".ci")
    origin.dvc("init", "--quiet")
    origin.dvc("repro")
    origin.commit()
    return origin


@pytest.fixture
def small(origin, tmp_path) -> Project:
    """That repository as CI sees it: without the data."""
    return origin.clone(tmp_path / "clone")


@pytest.mark.slow
def test_a_current_lock_passes_without_data_and_stays_as_it_is(small):
    assert not (small.root / "copies").exists()
    small.run(".ci/check-lock")
    assert small.run("git", "status", "--porcelain") == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("params.yaml", "size: 2\n"),
        ("pictures", "other pictures"),
        ("copies.txt", "edited by hand"),
        ("dvc.yaml", SMALL.replace("wc -c", "wc -l")),
        ("dvc.yaml", SMALL + "  new:\n    cmd: echo\n    deps: [pictures]\n"),
        ("dvc.lock", None),
    ],
    ids=["parameter", "dependency", "output", "command", "new stage", "no lock"],
)
def test_a_lock_that_is_not_current_fails(small, file, content):
    (small.root / file).unlink()
    if content is not None:
        (small.root / file).write_text(content)
    assert "error: " in small.run(".ci/check-lock", fails=True).splitlines()[-1]


# The steps of the GPU run, as a bare runner runs them: bash -eo pipefail with nothing of the user's
# environment, with few programs, an old Python among them and no gh, and without a GPU.

PROGRAMS = ("bash", "cat", "git", "rm", "sed", "sh", "tee")
OLD = """#!/bin/sh
echo Python 3.8 >&2; exit 1
"""
# Python as setup-python puts it there, but for pip: it notes what it is asked for.
NEW = """#!/bin/sh
echo "$@" >> asked
case "$*" in "-m venv "*) mkdir -p .venv-gpu/bin; cp "$0" .venv-gpu/bin/python;; esac
"""
FILES = ("GITHUB_STEP_SUMMARY", "GITHUB_PATH", "GITHUB_ENV")


@dataclass(frozen=True)
class Runner:
    """A checkout on a machine of its own, whose jobs see `programs` and nothing else."""

    project: Project
    programs: Path

    def step(self, name: str, *, fails: bool = False, **variables: str) -> str:
        """Run a step of the workflow; return what it said."""
        for file in FILES:
            (self.programs.parent / file).write_text("")
            variables[file] = str(self.programs.parent / file)
        variables.setdefault("PATH", f"{Path(sys.executable).parent}:{self.programs}")
        ours = {k: v for k, v in self.project.environment.items() if k == "HOME" or "DVC" in k}
        script = scripts("gpu.yml")[name]
        bash = ("bash", "-eo", "pipefail", "-c", script)
        return Project(self.project.root, ours).run(*bash, fails=fails, variables=variables)

    def wrote(self, file: str) -> str:
        """What the step wrote for GitHub."""
        return (self.programs.parent / file).read_text(encoding="utf-8")


def runner(project: Project, folder: Path) -> Runner:
    programs = folder / "programs"
    programs.mkdir(parents=True)
    for name in PROGRAMS:
        (programs / name).symlink_to(str(shutil.which(name)))
    write_program(programs / "python3", OLD)
    return Runner(project, programs)


def write_program(path: Path, script: str) -> None:
    path.write_text(script)
    path.chmod(0o755)


@pytest.fixture
def bare(tmp_path) -> Runner:
    """A runner with a checkout of two files."""
    project = new_repository(tmp_path)
    shutil.copy(ROOT / "requirements-gpu.txt", project.root)
    return runner(project, tmp_path / "machine")


def test_the_environment_is_of_the_python_that_was_set_up(bare):
    for name in ("mkdir", "cp"):
        (bare.programs / name).symlink_to(str(shutil.which(name)))
    write_program(bare.programs / "python", NEW)
    (bare.project.root / "experiment.bundle").touch()  # of an earlier job
    bare.step("Install", PATH=str(bare.programs), DVC_REMOTE_PACKAGE="dvc-ssh")
    made, locked, extra = bare.project.read("asked").splitlines()
    assert made == "-m venv --clear .venv-gpu"
    assert not (bare.project.root / "experiment.bundle").exists()
    assert "--require-hashes -r requirements-gpu.txt" in locked
    assert extra.endswith("-c .venv-gpu/constraints.txt dvc-ssh")
    assert bare.wrote("GITHUB_PATH") == f"{bare.project.root}/.venv-gpu/bin\n"
    constraints = bare.project.read(".venv-gpu/constraints.txt").splitlines()
    pins = [Requirement(line) for line in constraints if line and not line.lstrip().startswith("#")]
    assert {"dvc", "tensorflow"} <= {pin.name for pin in pins}
    assert all(str(pin.specifier).startswith("==") for pin in pins)


@pytest.mark.parametrize("devices", ["[]", "['GPU:0']", None], ids=["no GPU", "GPU", "no module"])
def test_a_runner_without_a_gpu_stops_at_once(bare, devices):
    fake = bare.project.root / "tensorflow"
    content = f"class config:\n    list_physical_devices = lambda kind: {devices}\n"
    fake.with_suffix(".py").write_text(content if devices else "import no_such_library\n")
    fails = devices != "['GPU:0']"
    said = bare.step("Find the GPU", fails=fails)
    assert ("::error::TensorFlow finds no GPU here" in said) == fails


@pytest.mark.skipif(not shutil.which("ssh-agent"), reason="no ssh here")
def test_credentials_are_handed_to_the_later_steps_alone(bare, tmp_path):
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    for name in ("ssh-agent", "ssh-add"):
        (bare.programs / name).symlink_to(str(shutil.which(name)))
    temp = {"RUNNER_TEMP": str(tmp_path)}
    bare.step("Credentials", GS_CREDENTIALS="", SSH_PRIVATE_KEY="", **temp)
    assert bare.wrote("GITHUB_ENV") == ""
    secrets = {"GS_CREDENTIALS": '{"a": "\\n"}', "SSH_PRIVATE_KEY": key.read_text().rstrip()}
    said = bare.step("Credentials", **secrets, **temp)
    handed = dict(line.split("=", 1) for line in bare.wrote("GITHUB_ENV").splitlines())
    try:
        file = Path(handed["GOOGLE_APPLICATION_CREDENTIALS"])
        assert file.read_text() == '{"a": "\\n"}\n'
        assert file.stat().st_mode & 0o77 == 0
        listed = subprocess.run(
            ["ssh-add", "-L"], env=handed, capture_output=True, text=True, check=True
        )
        assert listed.stdout.split()[1] == (tmp_path / "key.pub").read_text().split()[1]
    finally:
        os.kill(int(re.search(r"pid (\d+)", said)[1]), signal.SIGTERM)


@pytest.mark.slow
def test_an_entry_of_the_matrix_is_an_experiment_that_others_fetch(committed, tmp_path):
    def kept() -> set[str]:
        return files_in(committed.root / ".dvc/cache/files")

    machine, before = runner(committed, tmp_path), kept()
    job = {"OVERRIDES": "seed=78 augment.dropout=0.3", "NAME": "sweep-7-0"}
    machine.step("Reproduce", **job)
    bundle = (committed.root / "experiment.bundle").rename(tmp_path / "bundle")
    user = committed.clone(tmp_path / "user")
    user.run("git", "fetch", "--quiet", str(bundle), "refs/exps/*:refs/exps/*")
    assert user.dvc("exp", "list", "--name-only").split() == ["sweep-7-0"]
    changed = user.dvc("params", "diff", "HEAD", "sweep-7-0")
    assert "augment.dropout" in changed
    assert "seed" in changed
    message = user.run("git", "log", "-1", "--format=%B", "--glob=refs/exps/*/*/sweep-7-0")
    assert message.startswith("sweep-7-0, on a CPU")
    machine.step("Reproduce", **job)  # started again on the runner that has its experiment
    (committed.root / "experiment.bundle").unlink()

    # The cache does not grow for ever: what no commit has goes.
    committed.run("git", "checkout", "--quiet", ".")
    committed.dvc("checkout", "--quiet")
    made = kept() - before
    assert made
    machine.step("Push")
    assert not made & kept()
    assert "up to date" in committed.dvc("status")
    committed.dvc("exp", "remove", "sweep-7-0")


@pytest.mark.slow
def test_a_plain_run_is_no_experiment(committed, tmp_path):
    runner(committed, tmp_path).step("Reproduce", OVERRIDES="", NAME="sweep-7-1")
    assert "sweep-7-1" not in committed.dvc("exp", "list", "--name-only")
    assert not (committed.root / "experiment.bundle").exists()


def test_what_failed_before_anything_was_installed_is_told(bare):
    bare.step(
        "Summarise",
        BASE="",
        RUN="https://example.org/run",
        STATUS="failure",
        PATH=str(bare.programs),
    )
    text = bare.project.read("summary.md")
    assert text.startswith(
        "<!-- classifier-gpu-run -->\n**The run failed: [its log](https://example.org/run)"
    )
    assert "None: `dvc metrics diff --md HEAD` failed." in text
    assert text.rstrip().endswith("commit.")


@pytest.fixture
def trained(project) -> Project:
    """A committed project in which VGG16's training seems to have run."""
    write_figures(project, 0.5)
    pretend(project, "finetune_vgg16")
    project.commit()
    return project


def write_figures(project: Project, accuracy: float) -> None:
    for name, content in {
        "metrics/vgg16.json": json.dumps({"best_epoch": 2}),
        "metrics/evaluate.json": json.dumps({"vgg16": {"accuracy": accuracy}}),
        "plots/curves/vgg16.tsv": CURVE,
    }.items():
        (project.root / name).parent.mkdir(parents=True, exist_ok=True)
        (project.root / name).write_text(content, encoding="utf-8")


@pytest.mark.slow
def test_the_cache_is_pulled_where_a_remote_is_configured(trained, tmp_path):
    told = "No DVC remote is configured: nothing was pulled.\n"
    assert runner(trained, tmp_path / "a").step("Pull") == told
    trained.dvc("remote", "add", "--default", "storage", str(tmp_path / "storage"))
    trained.dvc("push", "data/models/vgg16.keras")
    trained.commit()
    clone = trained.clone(tmp_path / "runner")
    (clone.root / "data/models").mkdir(parents=True)
    (clone.root / "data/models/vgg16.keras").write_text("left by a run that was cut short")
    machine = runner(clone, tmp_path / "b")
    machine.step("Pull")
    assert (
        machine.wrote("GITHUB_STEP_SUMMARY") == ""
    )  # what no one has pushed yet is made by the next step
    assert clone.read("data/models/vgg16.keras") == "stands for data/models/vgg16.keras"


@pytest.mark.slow
def test_the_summary_has_metrics_parameters_and_curves(trained, tmp_path):
    branch = trained.run("git", "branch", "--show-current").strip()
    checkout = trained.clone(tmp_path / "runner")
    machine = runner(checkout, tmp_path / "machine")
    checkout.change({"finetune": {"dropout": 0.25}})
    write_figures(checkout, 0.75)

    def summary(base: str, status: str) -> str:
        machine.step("Summarise", BASE=base, RUN="https://example.org/run", STATUS=status)
        return machine.wrote("GITHUB_STEP_SUMMARY")

    text = summary(branch, "success")
    assert text == checkout.read("summary.md")
    assert f"## Metrics against {branch}\n" in text
    assert "| vgg16.accuracy | 0.5" in " ".join(text.split())
    assert "finetune.dropout" in text
    assert "line [0.5000, 0.7500]" in text
    assert text.startswith("<!-- classifier-gpu-run -->\nFigures of a GPU")
    assert text.endswith(
        "of [the run](https://example.org/run): unpack it over the branch and commit.\n"
    )
    # By hand, on a branch: against its last commit.
    assert "## Metrics against the last commit\n" in summary("", "success")
    assert "**The run failed" in summary("", "failure")
