"""`tune`: what is asked depends on the answers alone, and every answer is an experiment."""

import json
import sys
from argparse import Namespace

import numpy as np
import pytest

from classifier.__main__ import main
from classifier.base.errors import UserError
from classifier.commands import tune
from tests.projects import ROOT, clean_process, new_project

OVER = ["train.learning_rate=log(1e-4,1e-1)", "train.optimizer=choice(adam,sgd)"]


@pytest.fixture
def answers(monkeypatch):
    """Experiments that take no time: by name, parameters and validation loss."""
    pytest.importorskip("optuna", reason="requirements-tune.txt is not installed")
    done: dict = {}

    def ran(name, model, values):
        if values["train.learning_rate"] > 0.05:
            return False
        loss = (np.log10(values["train.learning_rate"]) + 3) ** 2
        done[name] = dict(values), loss + (values["train.optimizer"] == "sgd")
        return True

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(tune, "ran", ran)
    monkeypatch.setattr(tune, "check_committed", lambda: None)
    monkeypatch.setattr(tune, "finished", lambda name, model, space: done.get(name))
    return done


def searched(trials=20, over=OVER):
    return tune.search("t", trials, "augmented", dict(map(tune.parsed, over)))


def test_a_search_that_was_interrupted_asks_what_it_would_have_asked(answers):
    searched()
    undisturbed = dict(answers)
    assert 10 < len(undisturbed) < 20  # what diverged is no experiment
    for name in list(undisturbed)[12:]:
        del answers[name]
    searched()
    assert answers == undisturbed


def test_values_that_only_together_are_wrong_fail_and_the_search_goes_on(answers, capsys):
    over = [*OVER, "train.epochs=int(2,9)", "train.warmup=int(0,8)"]
    searched(20, over)
    said = capsys.readouterr().out
    assert "refused: params.yaml: train.epochs is " in said
    assert len(answers) + said.count("refused") + said.count("diverged") == 20
    assert all(values["train.warmup"] < values["train.epochs"] for values, _ in answers.values())
    undisturbed = dict(answers)
    for name in list(undisturbed)[4:]:
        del answers[name]
    searched(20, over)
    assert answers == undisturbed


def test_a_search_whose_trials_all_fail_ends_with_a_line(answers):
    over = ["train.epochs=int(2,3)", "train.warmup=int(4,8)"]
    with pytest.raises(UserError, match=r"^every trial diverged or was refused: [^\n]*$"):
        tune.run(Namespace(name="t", trials=3, model="augmented", over=over))
    assert not answers


def test_a_search_finds_lower_losses_than_its_first_questions(answers):
    best = searched(40).best_trial
    assert best.params["train.optimizer"] == "adam"
    # Ten questions at random first: of a decade and a half either side of the best rate.
    assert 10**-3.2 < best.params["train.learning_rate"] < 10**-2.8


def test_experiments_of_another_search_are_refused(answers):
    searched(3)
    with pytest.raises(UserError, match=r"^experiment t-\d is of another search .*--name$"):
        searched(3, ["train.learning_rate=log(1e-9,1e-8)", OVER[1]])


def test_what_was_found_is_told_and_drawn(answers, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tune, "PICTURES", tmp_path)
    tune.run(Namespace(name="t", trials=8, model="augmented", over=OVER))
    said = capsys.readouterr().out
    best = min(answers, key=lambda name: answers[name][1])
    assert f"dvc exp apply {best} puts it into the workspace" in said
    assert (tmp_path / "tune_t.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ("train.learning_rate=1e-4", "--over is 'train.learning_rate=1e-4', allowed: KEY=log("),
        ("train.learning_rate=log(1,a)", "--over is 'train.learning_rate=log(1,a)' (could not"),
        ("train.optimizer=choice(adam,[sgd)", "--over is 'train.optimizer=choice(adam,[sgd)' ("),
        ("train.epochs=int(5,1)", "--over is 'train.epochs=int(5,1)' ("),
        ("train.learning_rat=log(1e-4,1e-2)", "--over: params.yaml has no train.learning_rat"),
        ("train.learning_rate=log(1e-4,10)", "params.yaml: train.learning_rate is 10.0, allowed:"),
        (
            "finetune.dropout=float(0,0.5)",
            "--over: finetune.dropout changes nothing in augmented; ",
        ),
        ("train.optimizer=choice(adam,lion)", "params.yaml: train.optimizer is 'lion', allowed:"),
        ("train.epochs=float(1,5)", "params.yaml: train.epochs is 1.0, allowed:"),
    ],
)
def test_a_wrong_range_is_told_in_a_line_before_anything_runs(answers, over, said):
    with pytest.raises(UserError) as told:
        tune.run(Namespace(name="t", trials=1, model="augmented", over=[over]))
    assert str(told.value).startswith(said)
    assert "\n" not in str(told.value)
    assert not answers


def test_two_ranges_of_one_key_are_refused(answers):
    over = [OVER[0], OVER[1], "train.learning_rate=float(0,1)"]
    with pytest.raises(UserError, match=r"^--over: train.learning_rate has more than one range$"):
        tune.run(Namespace(name="t", trials=1, model="augmented", over=over))
    assert not answers


def test_a_name_that_leads_out_of_a_folder_is_refused():
    with pytest.raises(UserError, match=r"^--name is '../x', allowed: letters, digits and -_., "):
        main(["tune", "-n", "../x", "--over", "no range"])


def test_without_optuna_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(tune, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"requirements-tune.txt$"):
        main(["tune", "-n", "t", "--over", OVER[0]])


@pytest.mark.slow
def test_every_trial_is_an_experiment_of_one_training(tmp_path, monkeypatch, capsys):
    pytest.importorskip("optuna", reason="requirements-tune.txt is not installed")
    project = new_project(tmp_path, puppet=True)
    puppet = project.root / "puppet.py"
    puppet.write_text(puppet.read_text().replace('"loss": ', '"validation_loss": '))
    project.commit()
    clean_process(monkeypatch, tmp_path / "home")
    monkeypatch.chdir(project.root)
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    before = project.run("git", "status", "--porcelain")
    arguments = ["tune", "-n", "t", "--trials", "2", "--over", OVER[0], "--over", OVER[1]]
    main(arguments)
    said = capsys.readouterr().out
    losses = []
    for number in (1, 2):
        found = tune.finished(f"t-{number}", "augmented", dict(map(tune.parsed, OVER)))
        assert found
        assert f"t-{number}: {tune.said(found[0])}" in said
        losses.append(found[1])
    shown = json.loads(project.dvc("exp", "show", "--json"))
    assert {one["name"] for rev in shown for one in (rev["experiments"] or [])} == {"t-1", "t-2"}
    assert f"lowest: {min(losses):.4f}" in said
    assert project.run("git", "status", "--porcelain") == before  # the workspace is as it was
    monkeypatch.setattr(tune, "run_dvc", None)
    main(arguments)  # nothing is left to run
    space = dict(map(tune.parsed, OVER))
    for model, of in (
        ("augmented", {"train.optimizer": space["train.optimizer"]}),
        ("baseline", space),
    ):
        with pytest.raises(
            UserError, match=r"^experiment t-1 is of another search \(train.*--name$"
        ):
            tune.finished("t-1", model, of)
    project.change({"train": {"epochs": 7}})
    with pytest.raises(UserError, match=r"^a search is of one commit, and params.yaml differs"):
        main(arguments)
