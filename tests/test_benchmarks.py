"""The benchmark: its formula, its arithmetic, its tables, its two sides; nothing that is timed."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from benchmarks import __main__ as program
from benchmarks import measure, processes, report, repro, size, workplace
from benchmarks.__main__ import check_committed
from benchmarks.measure import BUDGET_S, NEEDS, ROWS, in_time, in_turn
from benchmarks.ours import cpu_class
from benchmarks.processes import Worker, environment
from benchmarks.report import BEGIN, END, keep, render
from benchmarks.rows import Ours, Tutorial, figure, rates, rows
from benchmarks.size import HELD_OUT, memory_peaks, split_seconds
from classifier.base.errors import UserError
from classifier.base.splits import read_split
from classifier.commands.demo import change_params
from classifier.sources.dataset import Labelled, write_index
from tests.projects import ROOT, new_project, pipeline
from tests.test_wiring import modules_in

SETTINGS = {
    "image_size": 180,
    "batch_size": 10,
    "epochs": 3,
    "augment_epochs": 4,
    "head_epochs": 5,
    "block_epochs": 2,
    "views": None,
}
PICTURES = {"train": 100, "validation": 50, "test": 20, "unpacking": 0.5}


def slices(one_step, picture):
    """Three epochs of 5 steps and 20 validated pictures, two seconds lost around them."""
    train, validation = 5 * one_step, 20 * picture
    one = {
        "first": one_step,
        "train": train,
        "steps": 5,
        "validation": validation,
        "validation_steps": 2,
        "epoch": train + validation + 2,
    }
    return [one, one, one]


def trained(one_step, picture, compiling=3.0):
    sides = {"tutorial": 2.0, "ours": 1.0}
    return {
        "steps": 5,
        "validation_steps": 2,
        "startup": {"tutorial": 6.0, "ours": 5.0},
        "ending": {"tutorial": 0.0, "ours": 0.25},
        "warmup": {name: {"first": one_step * by + compiling} for name, by in sides.items()},
        "epochs": {name: slices(one_step * by, picture * by) for name, by in sides.items()},
    }


def measured():
    return {
        "class": "cpu",
        "machine": {"processor": "P", "cores": 2, "memory_gb": 8, "precision": "float32: so"},
        "versions": {"python": "3.11"},
        "commit": "abc",
        "settings": SETTINGS,
        "cnn5_gflop": 2.5,
        "products": {"512": 90.0, "1024": 100.0},
        "parts": {
            "pictures": PICTURES,
            "train_baseline": trained(0.5, 0.01),
            "train_augmented": trained(0.6, 0.01),
            "head": trained(2.0, 0.2),
            "last_block": trained(3.0, 0.3),
            "features": {
                "startup": 7.0,
                "passes": {
                    "head": {"count": 10, "seconds": [2.0, 2.0, 2.0]},
                    "blocks": {"count": 10, "seconds": [1.0, 1.0, 1.0]},
                },
            },
            "prediction_cnn5": {"count": 1, "seconds": {"tutorial": [2.0] * 3, "ours": [1.0] * 3}},
            "prediction_vgg16": {
                "count": 1,
                "seconds": {"tutorial": [20.0] * 3, "ours": [10.0] * 3},
            },
            "evaluate": {"count": 30, "seconds": [9.0, 9.0, 9.0]},
            "split": {"seconds": [4.0, 4.0, 4.0]},
            "noop": {"pictures": 170, "seconds": [1.1, 1.0, 1.2]},
            "decoding": {"count": 60, "seconds": {"tutorial": [3.0] * 3, "ours": [1.0] * 3}},
        },
    }


PARTS_OF = {"prediction": {"prediction_cnn5", "prediction_vgg16"}}


def by_title(results):
    return {row.title: row for row in rows(results)}


def test_the_flops_of_a_small_network_are_those_counted_by_hand():
    import keras

    from benchmarks.ours import training_flop

    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3),  # 6·6 places, 27·4 products: 3,888
            keras.layers.MaxPooling2D(2),  # 3·3·4
            keras.layers.Conv2D(5, 3),  # 1 place, 36·5 products: 180
            keras.layers.Flatten(),
            keras.layers.Dense(2),  # 5·2 products: 10
        ]
    )
    assert training_flop(model) == 2 * (2 * 3888 + 3 * 180 + 3 * 10)


def test_the_tutorials_networks_have_this_projects_parameters():
    from benchmarks.tutorial import small_network, vgg16
    from classifier.networks.cnn5 import cnn5
    from classifier.transfer.vgg16 import vgg16 as ours

    for augmented in (False, True):
        assert small_network(180, augmented=augmented).count_params() == 991_041
    assert cnn5(180, 2).count_params() == 991_041
    head, block = (vgg16(180, None, last_block=last_block) for last_block in (False, True))
    assert head.count_params() == block.count_params() == ours(180, 2, None).count_params()
    assert len(head.trainable_weights) == 4
    assert len(block.trainable_weights) == 4 + 6


def test_a_step_is_the_time_of_all_steps_divided_by_their_number():
    assert Ours(measured()).step("train_baseline").values.tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ({"avx2", "avx512f", "avx512_bf16", "amx_bf16"}, "cpu-amx"),
        ({"avx2", "avx512f", "avx512_bf16"}, "cpu-avx512"),
        ({"avx2"}, "cpu"),
    ],
)
def test_cpus_are_told_apart_by_what_they_can_do(flags, name):
    assert cpu_class(flags) == name
    assert name in report.TITLES


def test_feeding_is_what_a_stages_step_takes_over_one_in_memory():
    results = measured()
    title = "the first of these, over `train_on_batch` on a batch in memory"
    assert by_title(results)[title].ours is None
    baseline = results["parts"]["train_baseline"]
    baseline["epochs"]["in_memory"] = 3 * [{"seconds": 2.0}]  # of five steps, at 0.4 s
    row = by_title(results)[title]
    assert row.ours.values == pytest.approx([0.5 / 0.4] * 3)
    assert row.met is False


def test_an_epoch_is_the_slice_and_the_rest_at_its_rates():
    found = Ours(measured()).epoch("train_baseline")
    # Ten steps, fifty validated, and what the slice lost at its ends, once.
    assert found.values == pytest.approx([10 * 0.5 + 50 * 0.01 + 2] * 3)
    assert "5.0 steps × 0.500 s" in found.how
    assert "30 validated × 0.0100 s" in found.how


def test_the_head_pays_for_features_once_here_and_in_every_epoch_there():
    ours, tutorial = (side(measured()).transfer("head", 30) for side in (Ours, Tutorial))
    assert ours.median == pytest.approx(150 * 0.2 + 30 * (20 + 10 + 2))
    assert tutorial.median == pytest.approx(30 * (40 + 20 + 2))


@pytest.mark.parametrize(("changes", "passes"), [({}, 50), ({"views": 3}, 350)])
def test_the_last_block_pays_for_what_passes_the_frozen_blocks_once(changes, passes):
    found = Ours(measured() | {"settings": SETTINGS | changes}).transfer("last_block", 10)
    assert found.median == pytest.approx(passes * 0.1 + 10 * (30 + 15 + 2))


def test_the_whole_run_is_the_sum_of_its_parts():
    epochs = 3 * (5 + 0.5 + 2) + 4 * (6 + 0.5 + 2) + 5 * (20 + 10 + 2) + 2 * (30 + 15 + 2)
    features = 150 * 0.2 + 50 * 0.1
    evaluated = 9 + 40 * (2 * 0.01 + 0.1)
    # The head's training ends with no model of its own: the last block's has it.
    around = 4 * 3 + (5 + 5 + 7) + 3 * 0.25 + 4 + 1.1
    computed = epochs + features + evaluated + around
    assert Ours(measured()).whole().median == pytest.approx(computed)
    there = 3 * (10 + 1 + 2) + 4 * (12 + 1 + 2) + 5 * (40 + 20 + 2) + 2 * (60 + 30 + 2)
    tested = 20 * (0.02 + 0.02 + 0.6)
    computed = there + 4 * 3 + 6 + 0.5 + tested
    assert Tutorial(measured()).whole().median == pytest.approx(computed)


def test_goals_are_judged_by_medians():
    found = by_title(measured())
    step_row = found["`train_baseline`, a training step"]
    assert step_row.ratio == 0.5
    assert step_row.met
    assert found["`dvc repro` with nothing to do"].met
    assert found["decoding photographs to 180 px, a picture"].met
    slow = measured()
    slow["parts"]["noop"]["seconds"] = [1.0, 1.6, 1.7]
    assert by_title(slow)["`dvc repro` with nothing to do"].met is False


def test_without_the_other_side_there_is_no_ratio_and_no_goal_is_met():
    results = measured()
    del results["parts"]["train_baseline"]["epochs"]["tutorial"]
    row = by_title(results)["`train_baseline`, a training step"]
    assert row.tutorial is None
    assert row.ratio is None
    assert row.met is None
    assert by_title(results)["the whole default `dvc repro`, from images.zip: computed"].met is None


def test_the_steps_rate_stands_beside_the_best_product():
    found = rates(measured())
    assert found["`train_baseline`, this project"] == pytest.approx(2.5 * 10 / 0.5)
    assert found["numpy's product of float32 matrices, 1024 a side"] == 100


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "README.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    (tmp_path / "results").mkdir()
    return tmp_path


def test_a_class_that_was_not_measured_says_so_and_nothing_else(folder):
    render(folder)
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    for title in report.TITLES.values():
        assert f"## {title}\n\nnot measured\n" in text


def test_a_class_that_was_measured_has_its_table_and_the_others_stay(folder):
    results = measured()
    keep(results, results["parts"], folder)
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "## Other CPU\n\nP, 2 cores, 8 GB. Precision: float32: so.\n" in text
    line = "| `train_baseline`, a training step | 1.00 s (1.00–1.00) | 0.500 s (0.500–0.500) |"
    assert f"{line} 0.500 (2.00 times as fast) | ≤ 0.7 | yes |" in text
    assert "| the same, 25,000 pictures | not measured | not measured |  |  |  |" in text
    assert "## CPU with AMX\n\nnot measured\n" in text
    assert "## GPU\n\nnot measured\n" in text
    render(folder)
    assert (folder / "README.md").read_text(encoding="utf-8") == text


def test_parts_measured_at_another_time_stay_unless_the_machine_is_another(folder):
    results = measured()
    keep(results, {"split": {"seconds": [1.0]}}, folder)
    keep(results, {"noop": {"seconds": [1.0], "pictures": 9}}, folder)
    path = folder / "results/cpu.json"
    assert set(json.loads(path.read_text(encoding="utf-8"))["parts"]) == {"split", "noop"}
    keep(results | {"machine": {**results["machine"], "cores": 4}}, {}, folder)
    assert json.loads(path.read_text(encoding="utf-8"))["parts"] == {}


def test_a_changed_parameter_drops_the_parts_that_were_measured_with_it(folder):
    results = measured()
    path = folder / "results/cpu.json"

    def kept(**changes):
        keep(results, results["parts"] | {"whole_run": {"seconds": [9.0], "stages": {}}}, folder)
        keep(results | {"settings": results["settings"] | changes}, {}, folder)
        return set(json.loads(path.read_text(encoding="utf-8"))["parts"])

    everything = kept()
    assert everything == {*results["parts"], "whole_run"}
    assert kept(epochs=9) == everything - {"whole_run"}
    assert kept(views=2) == everything - {"whole_run", "features", "last_block"}
    assert kept(image_size=96) == set()


def commit_all(folder, *before):
    author = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
    git = (["init", "-q"], ["add", "-A"], [*author, "commit", "-qm", "all"])
    for command in (["git", *git[0]], *before, *(["git", *rest] for rest in git[1:])):
        subprocess.run(command, cwd=folder, check=True)


def test_a_whole_run_is_timed_in_a_fresh_clone_from_the_first_stage_after_the_download(
    tmp_path, monkeypatch
):
    origin, folder = tmp_path / "origin", tmp_path / "folder"
    downloads = ".cache/downloads"
    (origin / downloads).mkdir(parents=True)
    folder.mkdir()
    made = {"download": ([], "pictures"), "split": (["pictures"], "arrays")}
    stages = {
        name: {"cmd": f"touch {out}", "deps": deps, "outs": [out]}
        for name, (deps, out) in made.items()
    }
    (origin / "dvc.yaml").write_text(json.dumps({"stages": stages}), encoding="utf-8")
    commit_all(origin, [sys.executable, "-m", "dvc", "init", "--quiet"])
    for module in (repro, workplace):
        monkeypatch.setattr(module, "ROOT", origin)
    found = repro.run_whole(folder)
    assert list(found["stages"]) == ["split"]
    assert 0 < found["stages"]["split"] < found["seconds"][0]
    assert (folder / "checkout/arrays").exists()
    assert (folder / "checkout" / downloads).samefile(origin / downloads)


def test_a_whole_run_of_what_is_not_committed_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "benchmarks").mkdir()
    for name in ("params.yaml", "benchmarks/README.md"):
        Path(name).write_text("committed", encoding="utf-8")
    commit_all(tmp_path)
    Path("benchmarks/README.md").write_text("this run's own table", encoding="utf-8")
    check_committed()
    Path("params.yaml").write_text("changed", encoding="utf-8")
    with pytest.raises(UserError, match=r"not committed: params\.yaml$"):
        check_committed()


def test_a_step_that_compiled_nothing_is_not_counted_as_less():
    results = measured()
    results["parts"]["head"]["warmup"]["ours"]["first"] = 0.1
    assert Ours(results)._compiling("head") == 0.0


def test_the_committed_tables_are_those_of_the_committed_results(tmp_path):
    (tmp_path / "results").mkdir()
    for path in [ROOT / "benchmarks/README.md", *(ROOT / "benchmarks/results").glob("*.json")]:
        (tmp_path / path.relative_to(ROOT / "benchmarks")).write_bytes(path.read_bytes())
    render(tmp_path)
    committed = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == committed


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1,234"), (12.345, "12.3"), (1, "1.00"), (0.01234, "0.0123")]
)
def test_figures_have_three_digits(value, text):
    assert figure(value) == text


@pytest.mark.parametrize(("step", "steps"), [(1.0, 20), (0.0001, 61), (30.0, 2), (0.0, 61)])
def test_as_many_steps_as_fit_are_timed_within_bounds(step, steps):
    assert in_time(step, 20, 61, least=2) == steps


def test_the_tutorial_way_imports_nothing_of_this_project_but_the_clock():
    waiting, found = {"benchmarks/worker.py", "benchmarks/tutorial.py"}, set()
    while waiting:
        found |= waiting
        waiting = {module for one in waiting for module in modules_in(one)} - found
    assert found == {f"benchmarks/{n}.py" for n in ("__init__", "worker", "tutorial", "stopwatch")}


def test_the_tutorial_way_has_tensorflows_defaults():
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"  # classifier set it in this process
    assert "TF_ENABLE_ONEDNN_OPTS" not in environment()


def test_no_stage_depends_on_the_benchmark():
    for name, stage in pipeline()["stages"].items():
        assert not [one for one in stage.get("deps", []) if "benchmarks" in one], name


@pytest.mark.parametrize(
    ("row", "titles"),
    [
        ("train_baseline", ("a training step", "an epoch")),
        ("train_augmented", ("`train_augmented`, an epoch",)),
        ("features", ("VGG16's features",)),
        ("head", ("VGG16 head", "VGG16's features")),
        ("last_block", ("VGG16 last block",)),
        ("decoding", ("decoding",)),
        ("prediction", ("prediction, cnn5", "prediction, VGG16")),
        ("noop", ("`dvc repro` with nothing to do",)),
        ("whole", ("the whole default", "the same, run")),
    ],
)
def test_all_that_a_row_needs_is_measured(row, titles):
    results = measured()
    asked = {row} | NEEDS.get(row, set())
    parts = {part for one in asked for part in PARTS_OF.get(one, {one})}
    for part in set(results["parts"]) - {*parts, "pictures"}:
        del results["parts"][part]
    assert asked <= {*ROWS, "whole"}
    for title in titles:
        assert any(
            one.title.find(title) >= 0 and (one.ours or one.tutorial) for one in rows(results)
        )


def test_parts_are_handed_over_as_they_come_until_the_time_is_used_up(monkeypatch, capsys):
    kept, clock = [], iter([0, 1, 0.95 * BUDGET_S])
    place = SimpleNamespace(counts={"train": 9}, unpacking=0.1)
    monkeypatch.setattr(program, "this_machine", lambda folder: {})
    monkeypatch.setattr(program, "Workplace", lambda folder: place)
    monkeypatch.setattr(program, "keep", lambda results, parts: kept.append(parts))
    monkeypatch.setattr(program, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.chdir(ROOT)
    program.measure({"a": lambda place: {"split": {"seconds": [1]}}, "b": lambda place: 1 / 0})
    assert kept == [{"pictures": {"train": 9, "unpacking": 0.1}}, {"split": {"seconds": [1]}}]
    assert "b left out: 38 of 40 minutes are used" in capsys.readouterr().out


def test_both_sides_take_turns():
    turns = []

    def side(name):
        return SimpleNamespace(run=lambda count: turns.append(name) or {name: count})

    found = in_turn({"a": side("a"), "b": side("b")}, count=7)
    assert turns == ["a", "b"] * 3
    assert found == {name: [{name: 7}] * 3 for name in ("a", "b")}


@pytest.mark.parametrize("stop_after", [None, 2])
def test_an_epoch_is_timed_on_the_way(stop_after):
    import keras

    from benchmarks.stopwatch import Stopwatch

    said, model = [], keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    data = np.zeros((400, 1)), np.zeros(400)
    watch = Stopwatch(said.append, lambda: said.append("waited"), stop_after)
    model.fit(*data, batch_size=2, validation_data=data, callbacks=[watch], verbose=0)
    waited, found = said
    assert waited == "waited"
    assert found["validation_steps"] == 200
    # What stops it comes from another thread, a few steps later.
    assert 2 <= found["steps"] < 200 if stop_after else found["steps"] == 200
    assert 0 < found["first"] < found["train"]
    assert found["train"] + found["validation"] < found["epoch"]


def test_rows_that_do_not_exist_are_refused():
    command = [sys.executable, "-m", "benchmarks", "--rows", "nonsense"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert ",".join([*ROWS, "whole"]) in done.stderr


@pytest.mark.parametrize(
    ("kind", "goal"),
    [("cpu-amx", "≤ 1/4"), ("cpu-avx512", "≤ 0.7"), ("cpu", "≤ 0.7"), ("gpu", "")],
)
def test_a_cpu_that_is_not_named_has_the_goal_of_other_cpus(kind, goal):
    assert by_title(measured() | {"class": kind})["`train_baseline`, a training step"].goal == goal


def test_memory_is_judged_by_the_largest_peak_wherever_it_is_and_times_by_the_most_images():
    results = measured()
    peaks = {"5000": 1.0, "25000": 2.0, "100000": 1.5}
    sizes = {n: {"anonymous_gb": one, "mapped_gb": 9.0} for n, one in peaks.items()}
    for n, seconds in zip(peaks, (10.0, 99.0, 220.0), strict=True):
        sizes[n]["seconds"] = seconds
    results["parts"]["sizes_train"] = {"sizes": sizes, "note": "noted"}
    found = by_title(results)
    memory = found["peak anonymous memory of a training stage, largest over smallest"]
    assert memory.ours.values.tolist() == [2.0]
    assert memory.met is False
    assert memory.ours.how.startswith("5,000 images: 1.00 GB, 25,000 images: 2.00 GB, ")
    assert found["the same, the largest"].ours.values.tolist() == [2.0]
    epochs = found["time of an epoch an image, most images over fewest"]
    assert epochs.ours.median == pytest.approx(1.1)
    assert epochs.met is True
    assert epochs.ours.how.endswith("100,000 images: 220 s; noted")


@pytest.mark.parametrize(("free", "parts"), [(13e9, {"noop", "noop_25000"}), (11e9, {"noop"})])
def test_25000_pictures_are_left_out_where_the_disk_has_no_room(free, parts, monkeypatch, capsys):
    disk = SimpleNamespace(disk_usage=lambda folder: SimpleNamespace(free=free))
    monkeypatch.setattr(measure, "shutil", disk)
    monkeypatch.setattr(measure, "no_op", lambda project, counts: {"seconds": [1.0]})
    place = SimpleNamespace(folder=Path("somewhere"), counts={"train": 9})
    assert set(measure.nothing_to_do(place)) == parts
    assert ("25,000 pictures left out" in capsys.readouterr().out) == (len(parts) == 1)


def test_sizes_that_the_disk_has_no_room_for_are_left_out(monkeypatch, capsys):
    disk = SimpleNamespace(disk_usage=lambda folder: SimpleNamespace(free=1e9))
    monkeypatch.setattr(size, "shutil", disk)
    place = SimpleNamespace(folder=Path("somewhere"), image_size=180, change=lambda params: None)
    assert size.sizes(place) == {}
    said = capsys.readouterr().out.splitlines()
    assert len(said) == len(size.SIZES)
    assert said[-1] == "100,000 images left out: 20 GB of free disk space are needed"


def test_generated_pictures_are_split_as_the_stages_read_them(tmp_path):
    project = new_project(tmp_path).root
    (project / "data/raw").mkdir(parents=True)
    held_out = {"validation": HELD_OUT, "test": HELD_OUT}
    change_params(project / "params.yaml", {"split": {"random": held_out}})
    assert split_seconds(project, 700) > 0
    sizes = [len(read_split(name, project / "data/splits")) for name in ("validation", "test")]
    assert sizes == [HELD_OUT, HELD_OUT]


def test_the_peak_of_a_process_is_seen_until_it_ends():
    code = "import time; held = b'1' * 200_000_000; time.sleep(0.5)"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        peaks = memory_peaks(process.pid)
    assert 0.2 < peaks["anonymous_gb"] < 0.3
    assert 0 < peaks["mapped_gb"] < 0.1


def test_a_row_is_measured_in_a_process_of_its_own(tmp_path):
    """Decoding, which needs no TensorFlow, on this project's side: commands, replies, the end."""
    project = new_project(tmp_path).root
    (project / "data/raw").mkdir(parents=True)
    names = [f"cats/{i}.png" for i in range(6)]
    picture = cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes()
    with zipfile.ZipFile(project / "data/raw/images.zip", "w") as archive:
        for name in names:
            archive.writestr(name, picture)
    write_index(project / "data/raw/images.csv", [Labelled(name, "cats", "") for name in names])
    with Worker("ours", "decoding", project, tmp_path / "log", image_size=78) as worker:
        assert worker.startup > 0
        assert [set(worker.run(count=count)) for count in (6, 2)] == [{"seconds"}, {"seconds"}]
    assert worker.process.returncode is not None


def test_what_fails_in_a_process_is_told_by_its_last_words(tmp_path):
    with (
        pytest.raises(UserError, match=r"nonsense of ours failed.*KeyError"),
        Worker("ours", "nonsense", ROOT, tmp_path / "log"),
    ):
        pass


@pytest.mark.parametrize("says", ["", """echo '{"ready": true}'"""])
def test_a_process_that_ends_early_is_told_in_a_line(says, tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho last words >&2\n{says}\n", encoding="utf-8")
    python.chmod(0o755)
    monkeypatch.setattr(processes.sys, "executable", str(python))
    with (
        pytest.raises(UserError, match=r"decoding of ours ended early.*: last words$"),
        Worker("ours", "decoding", tmp_path, tmp_path / "log") as worker,
    ):
        worker.process.wait()
        worker.run(count=1)
