"""The README's experiments, as it types them: real DVC on puppets of the stages."""

import csv
import io
import json
import time
from collections.abc import Iterator

import pytest

from classifier.base.family import MODELS
from tests.projects import STAGES, Project, ended_with_all, files_made, ran

pytestmark = [pytest.mark.slow]
PATIENCE = 300  # seconds that the queue may take
SELDOM = 10  # seconds; asking DVC takes the computing that the queue itself waits for


@pytest.fixture
def tidy(committed) -> Iterator[Project]:
    """The puppets' project, without experiments after a test."""
    yield committed
    committed.dvc("exp", "remove", "--all-commits", "--queue")


def experiments(project: Project) -> dict[str, dict[str, str]]:
    """`dvc exp show --csv`: the experiments by name, without the workspace and the baseline."""
    rows = csv.DictReader(io.StringIO(project.dvc("exp", "show", "--csv")))
    return {row["Experiment"]: row for row in rows if row["Experiment"]}


def in_git(project: Project) -> set[str]:
    """The names of the experiments that have left a commit."""
    listed = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    return {ref.rpartition("/")[2] for ref in listed}


def test_exp_run_with_another_parameter(tidy):
    output = tidy.run("dvc", "exp", "run", "-S", "train.epochs=100", "--name", "longer")
    assert sorted(ran(output)) == ["evaluate", "train_augmented", "train_baseline"]
    figures = json.loads(tidy.read("metrics/evaluate.json"))
    row = experiments(tidy)["longer"]
    assert row["train.epochs"] == "100"
    for name in MODELS:
        assert float(row[f"{name}.accuracy"]) == pytest.approx(figures[name]["accuracy"])
    shown = tidy.run("dvc", "exp", "show", "--only-changed", "--md")
    assert "train.epochs" in shown
    assert "data.image_size" not in shown

    # Only the change and its results: nothing else of params.yaml was rewritten.
    differing = tidy.run("git", "diff", "--name-only").split()
    results = {
        path for s in STAGES for path, cached in files_made(tidy.root, s).items() if not cached
    }
    assert set(differing) <= results | {"params.yaml", "dvc.lock"}
    assert tidy.run("git", "diff", "--numstat", "params.yaml").split()[:2] == ["1", "1"]


def test_metrics_and_plots_of_a_change_are_held_against_the_last_commit(tidy):
    tidy.change({"seed": 2})
    tidy.dvc("repro")
    assert "baseline.loss" in tidy.run("dvc", "metrics", "diff")
    changed = json.loads(tidy.dvc("metrics", "diff", "--json"))["metrics/evaluate.json"]
    assert changed["vgg16.accuracy"]["old"] != changed["vgg16.accuracy"]["new"]
    tidy.run("dvc", "plots", "diff")
    page = tidy.read("dvc_plots/index.html")
    assert "validation_loss" in page
    assert '"rev": "workspace"' in page
    assert '"rev": "HEAD"' in page
    assert tidy.run("git", "status", "--porcelain", "dvc_plots") == ""


def test_an_experiment_in_a_copy_leaves_the_workspace_alone(tidy):
    output = tidy.dvc("exp", "run", "--temp", "--name", "copied", "-S", "evaluate.threshold=0.6")
    assert ran(output) == ["evaluate"]
    assert experiments(tidy)["copied"]["evaluate.threshold"] == "0.6"
    assert tidy.run("git", "status", "--porcelain") == ""


def test_a_queue_of_seeds_of_two_recipes_is_run_and_compared(tidy):
    for recipe in (("-n", "base"), ("-S", "augment.dropout=0.3", "-n", "less-dropout")):
        output = tidy.run("dvc", "exp", "run", "--queue", "-S", "seed=range(1,3)", *recipe)
        assert output.count("Queued experiment") == 2
    names = {"base-1", "base-2", "less-dropout-1", "less-dropout-2"}
    tidy.dvc("queue", "start")
    try:
        end = time.monotonic() + PATIENCE
        while "Running" in (state := tidy.dvc("queue", "status")) or "Queued" in state:
            assert time.monotonic() < end, state
            if "Success" in state and "Running" not in state and "0 active, 0 idle" in state:
                # DVC's worker asks itself every minute what it has to do; on a busy machine it
                # does not answer within its second, takes the queue for empty and ends.
                tidy.dvc("queue", "start")
            # What has ended well is in Git; what has not is in DVC's answer alone.
            again = time.monotonic() + SELDOM
            while not names <= in_git(tidy) and time.monotonic() < again:
                time.sleep(0.2)
            time.sleep(1)
    finally:
        tidy.dvc("queue", "stop", "--kill")
    assert state.count("Success") == 4, state
    rows = experiments(tidy)
    assert {name: row["seed"] for name, row in rows.items()} == {
        **{"base-1": "1", "base-2": "2"},
        **{"less-dropout-1": "1", "less-dropout-2": "2"},
    }
    # The first is the commit once more.
    figures = json.loads(tidy.read("metrics/evaluate.json"))["baseline"]
    assert float(rows["base-1"]["baseline.loss"]) == pytest.approx(figures["loss"])
    assert float(rows["base-2"]["baseline.loss"]) != pytest.approx(figures["loss"])
    compared = tidy.run("python", "-m", "classifier", "compare", "base", "less-dropout")
    assert "less-dropout against base: augment.dropout 0.5 → 0.3" in compared


def test_what_is_deleted_comes_back_from_the_cache_and_a_clone_makes_the_same(tidy, tmp_path):
    lock = tidy.read("dvc.lock")
    made = {path: tidy.read(path) for stage in STAGES for path in files_made(tidy.root, stage)}
    cached = [path for s in STAGES for path, kept in files_made(tidy.root, s).items() if kept]
    for path in cached:
        (tidy.root / path).unlink()
    tidy.dvc("checkout")
    assert {path: tidy.read(path) for path in made} == made

    clone = tidy.clone(tmp_path)
    with ended_with_all(clone):
        assert not any((clone.root / path).exists() for path in cached)
        assert sorted(ran(clone.dvc("repro"))) == sorted(STAGES)
        assert clone.read("dvc.lock") == lock
        assert {path: clone.read(path) for path in made} == made
