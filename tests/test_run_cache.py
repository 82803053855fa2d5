"""What DVC does not do twice, and what it does not delete: real DVC on puppets of the stages."""

import pytest

from tests.projects import PUPPET, STAGES, ran

pytestmark = [pytest.mark.slow]


def test_a_repeated_experiment_is_taken_from_the_run_cache(committed):
    committed.dvc("exp", "run", "-S", "seed=77", "--name", "first")
    committed.run("git", "checkout", "--quiet", ".")
    committed.dvc("checkout", "--quiet")
    output = committed.dvc("exp", "run", "-S", "seed=77", "--name", "again")
    assert ran(output) == []
    for stage in STAGES[2:]:
        assert f"Stage '{stage}' is cached" in output
    committed.dvc("exp", "remove", "first", "again")


def test_a_refused_value_costs_no_output(committed):
    pipeline = committed.root / "dvc.yaml"
    puppets = pipeline.read_text(encoding="utf-8")
    pipeline.write_text(
        puppets.replace(f"python {PUPPET.name} check", "python -m classifier check"),
        encoding="utf-8",
    )
    said = committed.dvc("exp", "run", "-S", "train.epochs=abc", fails=True)
    committed.run("git", "checkout", "dvc.yaml")
    way_back = said.split("to undo all changes of params.yaml: ")[1].splitlines()[0]
    committed.run("bash", "-c", way_back)
    assert "abc" not in committed.read("params.yaml")
    assert committed.run("git", "status", "--porcelain") == ""
    assert "up to date" in committed.dvc("status")
