import statistics
import subprocess
import sys
from dataclasses import replace

import pytest
from scipy.stats import ttest_1samp, ttest_ind

from classifier.base.errors import UserError
from classifier.commands.compare import (
    Run,
    compare,
    differing,
    figures_of,
    gather,
    summarise,
    table,
    unfinished,
)
from tests.projects import clean_process, new_repository

STAGE = """
import json, pathlib, yaml
given = yaml.safe_load(open("params.yaml"))
accuracy = 0.7 + given["train"]["boost"] + 0.01 * (given["seed"] * 7 % 5)
pathlib.Path("metrics").mkdir(exist_ok=True)
figures = {"baseline": {"accuracy": accuracy, "loss": 0.5}, "vgg16": {"accuracy": 0.95}}
json.dump(figures, open("metrics/evaluate.json", "w"))
json.dump({"baseline": {"accuracy": 9}}, open("metrics/baseline.json", "w"))
if given["seed"] == 13:
    raise SystemExit("unlucky")
"""
PIPELINE = """
stages:
  evaluate:
    cmd: python stage.py
    deps: [stage.py]
    params: [seed, train.boost]
    metrics:
      - metrics/evaluate.json: {cache: false}
      - metrics/baseline.json: {cache: false}
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository")
    project = new_repository(folder)
    root, dvc = project.root, project.dvc
    (root / "stage.py").write_text(STAGE)
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "params.yaml").write_text("seed: 1\ntrain:\n  boost: 0.0\n")
    dvc("init", "-q")
    project.commit()
    for seed in (1, 2, 3):
        dvc("exp", "run", "-q", "-n", f"low-{seed}", "-S", f"seed={seed}", "-S", "train.boost=0.0")
    for name, seed in (("high-1", 4), ("high-2", 5), ("high-10", 6), ("high-long-1", 7)):
        dvc("exp", "run", "-q", "-n", name, "-S", f"seed={seed}", "-S", "train.boost=0.2")
    dvc("exp", "run", "-q", "-n", "high-11", "-S", "seed=13", fails=True)
    # Nothing starts the queue, so that these stay unfinished.
    dvc("exp", "run", "-q", "--queue", "-n", "high-12", "-S", "seed=19")
    dvc("exp", "run", "-q", "--queue", "-n", "queued", "-S", "seed=range(20,22)")
    with pytest.MonkeyPatch.context() as monkeypatch:
        clean_process(monkeypatch, folder / "home")  # the experiments are read by DVC in here
        yield root


def run(name, accuracy, **parameters):
    figures = {"accuracy": accuracy, "loss": 0.5 + 0.001 * parameters["seed"]}
    return Run(name, parameters, {"baseline": figures})


def group(*accuracies, name="a"):
    return [run(f"{name}-{seed}", value, seed=seed) for seed, value in enumerate(accuracies, 1)]


@pytest.mark.slow
def test_a_group_is_the_prefix_and_a_number_in_order_and_only_what_ended_well(repository):
    assert [found.name for found in gather("low", root=repository)] == ["low-1", "low-2", "low-3"]
    assert [found.name for found in gather("high", root=repository)] == [
        "high-1",
        "high-2",
        "high-10",
    ]
    assert [found.name for found in gather("high-long", root=repository)] == ["high-long-1"]


@pytest.mark.slow
def test_runs_that_do_not_count_are_named_with_what_became_of_them(repository):
    """high-11 failed and left nothing, high-12 waits in the queue; high-3 to high-9 never were."""
    told = unfinished("high", root=repository)
    assert "high-12 (queued)" in told
    gone = {one for one in told if one.startswith("no ")}
    assert gone == {f"no high-{number}" for number in (*range(3, 10), 11)}
    assert not any("high-1 " in one or "high-10" in one for one in told)
    assert unfinished("low", root=repository) == []
    groups = gather("low", root=repository), gather("high", root=repository)
    shown = table(("low", "high"), groups, compare(*groups), ([], told))
    assert "not counted: high-12 (queued)" in shown
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.timeout(5)
def test_numbers_that_do_not_count_from_one_have_no_gaps(monkeypatch):
    """As dates and seeds of one's own."""
    listed = [
        {"name": name, "executor": None, "revs": []}
        for name in ("a-20240517", "a-20240518", "b-1", "b-21", "c-1", "c-23")
    ]
    monkeypatch.setattr("classifier.commands.compare._listed", lambda root, commits: listed)
    gaps = {
        prefix: [one for one in unfinished(prefix) if one.startswith("no ")] for prefix in "abc"
    }
    assert gaps == {"a": [], "b": [f"no b-{number}" for number in range(2, 21)], "c": []}


@pytest.mark.slow
def test_parameters_and_metrics_come_from_their_own_files(repository):
    first = gather("low", root=repository)[0]
    assert first.parameters == {"seed": 1, "train.boost": 0.0}
    assert first.metrics["baseline"] == {"accuracy": pytest.approx(0.72), "loss": 0.5}


def test_a_model_that_was_trained_alone_has_no_figures_of_the_evaluation_before():
    """As those of a recipe: metrics/evaluate.json there is of the commit that it started from."""
    path = "data/models/baseline.keras"
    data = {
        "metrics": {
            "metrics/evaluate.json": {"data": {"baseline": {"accuracy": 0.7}}},
            "metrics/baseline.json": {"data": {"validation_accuracy": 0.8, "precision": "float32"}},
        },
        "deps": {path: {"hash": "judged before"}},
        "outs": {path: {"hash": "trained now"}},
    }
    assert figures_of(data) == {"baseline": {"validation_accuracy": 0.8}}
    data["deps"] = data["outs"]
    assert figures_of(data) == {"baseline": {"validation_accuracy": 0.8, "accuracy": 0.7}}


@pytest.mark.slow
def test_the_groups_are_compared_and_shown(repository):
    low, high = gather("low", root=repository), gather("high", root=repository)
    rows = {row.model: row for row in compare(low, high)}
    assert rows["baseline"].difference == pytest.approx(
        0.2 + 0.01 * ((3 + 0 + 2) - (2 + 4 + 1)) / 3
    )
    assert rows["baseline"].p_value is not None and rows["baseline"].p_value < 0.05
    assert rows["vgg16"].p_value is None and "does not reach" in rows["vgg16"].note
    shown = table(("low", "high"), (low, high), list(rows.values()))
    assert "high against low: train.boost 0.0 → 0.2" in shown
    assert "low: 3 runs that differ in seed" in shown
    assert "baseline: accuracy is higher with high than with low" in shown
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.slow
def test_an_unknown_prefix_is_told_what_there_is(repository):
    with pytest.raises(UserError, match=r"'middle'.*high-1, .*low-1"):
        gather("middle", root=repository)


@pytest.mark.slow
def test_the_queue_numbers_the_experiments_of_a_range(repository):
    command = [sys.executable, "-m", "dvc", "queue", "status"]
    shown = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    names = {word for word in shown.stdout.split() if word.startswith("queued-")}
    assert names == {"queued-1", "queued-2"}
    with pytest.raises(UserError, match="no finished experiment is called 'queued'"):
        gather("queued", root=repository)


def test_outside_a_repository_the_error_is_one_line(tmp_path):
    with pytest.raises(UserError, match="dvc exp show failed") as refused:
        gather("a", root=tmp_path)
    assert "\n" not in str(refused.value)


def test_the_same_seed_twice_counts_once(monkeypatch):
    runs = [run("a-1", 0.7, seed=1), run("a-2", 0.7, seed=1), run("a-3", 0.8, seed=2)]
    monkeypatch.setattr("classifier.commands.compare._finished", lambda root, commits: iter(runs))
    assert [found.name for found in gather("a")] == ["a-1", "a-3"]


@pytest.mark.parametrize(
    "prefix, members",
    [
        ("net5", ["net5", "net5-1", "net5-seed2"]),
        ("net", ["net5", "net50"]),
        ("net5-1", ["net5-1"]),
        ("lr", ["lr1", "lr_2", "lr.seed3"]),
    ],
)
def test_a_group_is_a_prefix_and_a_number(monkeypatch, prefix, members):
    names = ["net5", "net50", "net5-1", "net5-seed2", "lr1", "lr_2", "lr.seed3", "lr-", "lrseed"]
    runs = [run(name, 0.7, seed=seed) for seed, name in enumerate(names)]
    monkeypatch.setattr("classifier.commands.compare._finished", lambda root, commits: iter(runs))
    assert sorted(found.name for found in gather(prefix)) == sorted(members)


def test_the_mean_and_deviation_of_a_group():
    found = summarise([0.7, 0.72, 0.77, 0.71])
    assert found.n == 4
    deviation = statistics.stdev([0.7, 0.72, 0.77, 0.71])
    assert [found.mean, found.deviation] == pytest.approx([0.725, deviation])


def test_welchs_test_and_its_interval():
    a, b = [0.70, 0.72, 0.71], [0.80, 0.85, 0.83, 0.79]
    (row,) = compare(group(*a), group(*b))
    expected = ttest_ind(b, a, equal_var=False)
    assert row.p_value == pytest.approx(expected.pvalue)
    assert row.low == pytest.approx(expected.confidence_interval().low)
    assert row.high == pytest.approx(expected.confidence_interval().high)
    (back,) = compare(group(*b), group(*a))
    assert back.difference == pytest.approx(-row.difference)


# Stricter, not laxer: scipy only warns.
@pytest.mark.filterwarnings("error")
def test_a_group_whose_runs_agree_is_tested_in_silence():
    a = [0.978, 0.974, 0.980]
    (row,) = compare(group(*a), group(0.982, 0.982, 0.982))
    assert row.p_value == pytest.approx(ttest_1samp(a, 0.982).pvalue)  # all spread is a's


def test_one_run_is_too_few_for_a_test():
    (row,) = compare(group(0.7), group(0.8, 0.9))
    assert row.a.n == 1 and row.a.deviation is None
    assert row.p_value is None and "at least two runs" in row.note
    assert "at least two runs" in table(("a", "b"), (group(0.7), group(0.8, 0.9)), [row])


def test_holms_correction_runs_over_the_models():
    def both(values):
        return [
            Run(f"a-{seed}", {"seed": seed}, {"x": {"accuracy": v}, "y": {"accuracy": v * v}})
            for seed, v in enumerate(values)
        ]

    rows = compare(both([0.70, 0.71, 0.74]), both([0.74, 0.77, 0.75]))
    smallest = min(row.p_value or 0 for row in rows)
    assert 0 < 2 * smallest == pytest.approx(min(row.p_holm or 0 for row in rows))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((0.70, 0.71, 0.74), (0.74, 0.77, 0.75)),
        ((0.70, 0.71), (0.74, 0.77, 0.75)),
        ((0.70, 0.71, 0.75), (0.74, 0.77)),
    ],
)
def test_a_model_that_the_change_does_not_reach_does_not_count_in_the_correction(a, b):
    def with_vgg16(*accuracies):
        return [
            Run(f"a-{seed}", {"seed": seed}, {"x": {"accuracy": v}, "vgg16": {"accuracy": fixed}})
            for seed, (v, fixed) in enumerate(zip(accuracies, (0.95, 0.96, 0.97), strict=False))
        ]

    rows = compare(with_vgg16(*a), with_vgg16(*b))
    reached, untouched = sorted(rows, key=lambda row: row.p_value is None)
    assert reached.p_holm == reached.p_value is not None
    assert untouched.p_holm is None and "does not reach" in untouched.note


def test_a_model_counts_once_however_many_runs_it_is_in():
    """As the baseline is where a parameter of VGG16 varies beside the seed."""
    runs = [
        run(f"a-{seed}-{units}", 0.7 + seed / 100, seed=seed, units=units)
        for seed in (1, 2, 3)
        for units in (64, 256)
    ]
    (row,) = compare(runs, group(0.8, 0.81))
    assert row.a.n == 3
    assert row.a == compare(runs[::2], group(0.8, 0.81))[0].a


def test_groups_without_any_spread_are_not_tested():
    (row,) = compare(group(0.7, 0.7), group(0.8, 0.8))
    assert row.p_value is None and "agree to the last digit" in row.note


def test_no_difference_is_claimed_from_overlapping_groups():
    groups = group(0.70, 0.75, 0.72), group(0.71, 0.76, 0.72, name="b")
    shown = table(("a", "b"), groups, compare(*groups))
    assert "no difference in accuracy can be told from these runs" in shown


def test_a_model_that_only_one_group_has_is_named():
    of_both, alone = {"accuracy": 0.7}, {"x": {"accuracy": 0.9}, "y": {"accuracy": 0.9}}
    a = [Run("a-1", {"seed": 1}, {"baseline": of_both} | alone)]
    b = [Run("b-1", {"seed": 1}, {"baseline": of_both, "x": {"loss": 0.5}})]
    shown = table(("a", "b"), (a, b), compare(a, b)).splitlines()
    assert [line for line in shown if "only in" in line] == ["accuracy only in a: x, y"]
    shown = table(("b", "a"), (b, a), compare(b, a)).splitlines()
    assert [line for line in shown if "only in" in line] == ["accuracy only in a: x, y"]
    assert "only in" not in table(("a", "b"), (a, a), compare(a, a))


def test_an_unknown_metric_is_told_what_there_is():
    with pytest.raises(UserError, match=r"'f1'.*accuracy"):
        compare(group(0.7), group(0.8), metric="f1")


def test_one_run_is_singular():
    shown = table(("a", "b"), (group(0.7), group(0.8, 0.9)), compare(group(0.7), group(0.8, 0.9)))
    assert shown.startswith("a: 1 run\nb: 2 runs that differ in seed\n")


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (
            ["a CPU with avx2"] * 2,
            ["a CPU with amx_bf16"] * 2,
            "same parameters different kinds of machine, which may explain a difference: "
            "a on a CPU with avx2 (2 runs); b on a CPU with amx_bf16 (2 runs)",
        ),
        (
            ["C", "C", "D"],
            ["C", "D", "D"],
            "a on C (2 runs), D (1 run); b on C (1 run), D (2 runs)",
        ),
        (
            ["C", "C"],
            ["", ""],
            "perhaps different kinds of machine, which may explain a difference: ",
        ),
        (["C", "C"], ["", "D"], "b on D (1 run), an unknown machine (1 run)"),
        (["C", "C"], ["C", "C", "C"], ""),
        (["C", "D"], ["D", "C", "C", "D"], ""),
        (["", ""], ["", "", ""], ""),
    ],
)
def test_groups_that_ran_on_different_machines_are_told_so(a, b, said):
    groups = tuple(
        [replace(run(f"x-{i}", 0.7 + i / 100, seed=i), machine=one) for i, one in enumerate(kinds)]
        for kinds in (a, b)
    )
    shown = table(("a", "b"), groups, compare(*groups))
    assert said in " ".join(shown.split())
    assert ("different kinds" in shown) == bool(said)
    assert max(map(len, shown.splitlines())) <= 100


def test_differing_parameters():
    runs = [run("a-1", 0.7, seed=1, rate=0.1), run("a-2", 0.7, seed=2, rate=0.1)]
    assert differing(runs) == {"seed": [1, 2]}
