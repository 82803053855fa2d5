"""The examples, run whole; each is a DVC repository of its own beside a copy of this code."""

import csv
import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix

from classifier.training.saving import load_model
from tests.projects import ROOT, Project, new_repository


@pytest.mark.slow
def test_the_clinical_trial_runs_and_its_figures_are_those_of_its_model(tmp_path):
    """With a rule that always holds and a few hundred steps, it learns the age of 65."""
    repository = new_repository(tmp_path)
    for name in ("classifier", "examples"):
        ignored = shutil.ignore_patterns("__pycache__", "cache", "tmp", "data")
        shutil.copytree(ROOT / name, repository.root / name, ignore=ignored)
    folder = repository.root / "examples/clinical_trial"
    project = Project(folder, repository.environment)
    project.change({"people": 1000, "rule": 0.99, "epochs": 5, "learning_rate": 0.01})
    project.dvc("repro")

    people = np.loadtxt(folder / "data/test.csv", delimiter=",", skiprows=1)
    ages, effects = people[:, :1], people[:, 1]
    old = ages[:, 0] >= 65
    assert (len(ages), old.sum(), ages.min(), ages.max()) == (1000, 500, 13, 100)
    # 1 % of 1,000 people break the rule: 10, with a standard deviation of 3.1.
    assert 1 <= (old != effects).sum() <= 25
    model, _ = load_model(folder / "trial.keras")
    assert model.count_params() == 2 * 16 + 17 * 32 + 33 * 2
    predicted = model.predict(ages, verbose=0).argmax(axis=1)
    figures = json.loads(project.read("metrics.json"))
    assert figures["accuracy"] == pytest.approx(accuracy_score(effects, predicted), abs=5e-5)
    assert figures["accuracy"] > 0.9
    assert figures["accuracy_low"] < figures["accuracy"] < figures["accuracy_high"]
    assert figures["examples"] == 1000
    rows = csv.DictReader(project.read("plots/confusion/trial.csv").splitlines())
    counts = [int(row["images"]) for row in rows]
    assert counts == confusion_matrix(effects, predicted).ravel().tolist()


@pytest.mark.parametrize("script", ["draw", "train", "evaluate"])
def test_a_script_of_the_clinical_trial_has_at_most_forty_lines(script):
    text = (ROOT / f"examples/clinical_trial/{script}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
