"""What cannot run here of GitHub's workflows: their schema, and the commands of their steps."""

import json
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.projects import ROOT, Project, new_repository, pretend

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
    assert gpu["on"] == {"pull_request": {"types": ["labeled"]}, "workflow_dispatch": None}
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


@pytest.fixture
def small(tmp_path) -> Project:
    """A committed repository of two stages that have run, as CI sees it: without the data."""
    origin = new_repository(tmp_path / "origin")
    (origin.root / "dvc.yaml").write_text(SMALL)
    (origin.root / "params.yaml").write_text("size: 1\n")
    (origin.root / "pictures").write_text("pictures")
    (origin.root / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/check-lock", origin.root / ".ci")
    origin.dvc("init", "--quiet")
    origin.dvc("repro")
    origin.commit()
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


# The steps of the GPU run, as its runner runs them: bash -eo pipefail.


def step(project: Project, name: str, **variables: str) -> str:
    """Run a step; return what it wrote to the job's summary."""
    summary = project.root.parent / "step-summary"
    summary.write_text("")
    script = scripts("gpu.yml")[name]
    variables["GITHUB_STEP_SUMMARY"] = str(summary)
    project.run("bash", "-eo", "pipefail", "-c", script, variables=variables)
    return summary.read_text(encoding="utf-8")


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
    assert step(trained, "Pull") == "No DVC remote is configured: nothing was pulled.\n"
    trained.dvc("remote", "add", "--default", "storage", str(tmp_path / "storage"))
    trained.dvc("push", "data/models/vgg16.keras")
    trained.commit()
    clone = trained.clone(tmp_path / "runner")
    (clone.root / "data/models").mkdir(parents=True)
    (clone.root / "data/models/vgg16.keras").write_text("left by a run that was cut short")
    assert step(clone, "Pull") == ""  # what no one has pushed yet is made by the next step
    assert clone.read("data/models/vgg16.keras") == "stands for data/models/vgg16.keras"


@pytest.mark.slow
def test_the_summary_has_metrics_parameters_and_curves(trained, tmp_path):
    branch = trained.run("git", "branch", "--show-current").strip()
    runner = trained.clone(tmp_path / "runner")
    runner.change({"finetune": {"dropout": 0.25}})
    write_figures(runner, 0.75)
    text = step(runner, "Summarise", BASE=branch, RUN="https://example.org/run", STATUS="success")
    assert text == runner.read("summary.md")
    assert f"## Metrics against {branch}\n" in text
    assert "| vgg16.accuracy | 0.5" in " ".join(text.split())
    assert "finetune.dropout" in text
    assert "line [0.5000, 0.7500]" in text
    assert text.startswith("<!-- classifier-gpu-run -->\nFigures of a GPU")
    assert text.endswith(
        "of [the run](https://example.org/run): unpack it over the branch and commit.\n"
    )
    # By hand, on a branch: against its last commit.
    assert "## Metrics against the last commit\n" in step(
        runner, "Summarise", BASE="", RUN="", STATUS="success"
    )
    assert "**The run failed" in step(runner, "Summarise", BASE="", RUN="", STATUS="failure")
