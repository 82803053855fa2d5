"""`recipe` and `recipes`: the recipes of this checkout, the format, what is recorded of a run."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from ruamel.yaml import YAML
from statsmodels.stats.proportion import proportion_confint

from classifier.__main__ import main
from classifier.base.errors import UserError
from classifier.base.params import leaves
from classifier.base.splits import write_split
from classifier.commands.recipe import Figure, command, load_recipe, names
from classifier.commands.recipes import (
    BEGIN,
    END,
    Experiment,
    Result,
    accuracy_on_test,
    finished,
    is_news,
    markdown,
    measured,
    recorded,
    replaced,
    unfit,
)
from classifier.training.saving import save_model
from tests.projects import (
    ROOT,
    TINY,
    Project,
    clean_process,
    new_project,
    new_repository,
    parameters,
    pipeline,
)

SMALL = """\
title: A small one
source: this test
model: baseline
params:
  data.image_size: 32
  train.arch: cnn3
  train.epochs: 2
accuracy:
- {split: train, epoch: 2, published: 99 %}
- {split: validation, epoch: 1}
- {split: validation}
- {split: test}
"""
RESULT = Result("small", 1, "validation", "2", 0.7, 500, "a CPU", "0123456789")


def with_(result, **changes):
    return Result(**{**vars(result), **changes})


@pytest.fixture
def here(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with this checkout's params.yaml and dvc.yaml, and one recipe, `small`."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/small.yaml").write_text(SMALL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_published_row_is_a_recipe(here):
    assert set(names()) >= {
        *("cnn3", "cnn3-augmented", "cnn5", "cnn5-augmented", "vgg16", "cnn-002", "cnn2"),
        *("flowers", "flowers-augmented", "vgg16-classifier", "clinical-trial"),
        *("mobilenet", "mobilenet-digits"),
    }


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml")))
def test_a_recipe_is_good_and_says_only_what_differs(here, name):
    recipe = load_recipe(name)
    given = dict(leaves(YAML(typ="safe").load(recipe.params_file)))
    assert recipe.params == {key: v for key, v in recipe.params.items() if v != given[key]}
    if recipe.model:
        target = command(name, recipe, "--temp", {})[-1]
        assert f"data/models/{recipe.model}.keras" in pipeline()["stages"][target]["outs"]
        assert Path(recipe.params.get("data.source", "params.yaml")).is_file()
    else:
        assert (Path(recipe.pipeline) / "dvc.yaml").is_file()


def test_the_page_has_what_the_record_makes_of_the_results(here):
    written = (ROOT / "docs/results.md").read_text(encoding="utf-8").partition(BEGIN)[2]
    recipes = {name: load_recipe(name) for name in names()}
    assert written.partition(END)[0].strip() == markdown(recipes, recorded()).strip()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("source:", "sourse:", "sourse: unknown key; did you mean source?"),
        ("model: baseline", "model: vgg", "model is 'vgg', allowed: 'baseline' or "),
        ("model: baseline\n", "", "one of model and pipeline must be given, and not both"),
        ("train.arch", "train.arhc", "train.arhc: unknown key; did you mean arch?"),
        ("train.arch", "trian.arch", "trian: unknown key; did you mean train?"),
        ("train.epochs", "train.epochs.x", "train.epochs.x: epochs holds a value, and no x"),
        ("train.epochs", "seed.x", "seed.x: seed holds a value, and no x"),
        ("epochs: 2", "epochs: 0", "train.epochs is 0, allowed: greater than or equal to 1"),
        ("{split: test}", "{split: all}", "accuracy.3.split is 'all', allowed: 'train', "),
        ("{split: test}", "{split: test, epoch: 2}", "accuracy.3: test is measured with"),
        ("train, epoch: 2", "train", "accuracy.0: test is measured with the weights"),
    ],
)
def test_a_wrong_recipe_is_told_in_a_line(place, old, new, said):
    (place / "recipes/small.yaml").write_text(SMALL.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError) as told:
        load_recipe("small")
    assert str(told.value).startswith(f"recipes/small.yaml: {said}")
    assert "\n" not in str(told.value)


def test_a_recipe_that_is_none_is_told_with_its_neighbour(place):
    with pytest.raises(UserError, match=r"^recipes/smal.yaml is missing; did you mean small\?$"):
        load_recipe("smal")


def test_values_are_written_as_hydra_reads_them(place):
    from dvc.utils.hydra import apply_overrides

    changes = {
        "finetune.views": None,
        "augment.keep_aspect": False,
        "train.learning_rate": 1e-5,
        "evaluate.threshold": "precision>=0.95",
        "data.source": "Vögel",
        "split.group": r"(patient\d+)_",
    }
    arguments = command("small-1", load_recipe("small"), "--queue", {"seed": 3, **changes})
    assert arguments[:5] == ["exp", "run", "--queue", "-n", "small-1"]
    assert arguments[-1] == "train_baseline"
    apply_overrides(place / "params.yaml", arguments[6:-1:2])
    read = dict(leaves(YAML(typ="safe").load(place / "params.yaml")))
    assert {key: read[key] for key in changes} == changes
    assert (read["seed"], read["train.arch"]) == (3, "cnn3")


def test_an_interval_is_of_the_pictures_and_a_range_of_the_seeds():
    low, high = proportion_confint(360, 500, method="wilson")
    results = [RESULT, with_(RESULT, seed=2, accuracy=0.74)]
    bounds = f"({100 * low:.1f} to {100 * high:.1f})"
    assert measured(results) == f"72.0 % {bounds}, seeds 70.0 to 74.0"
    low, high = proportion_confint(60.5, 100, method="wilson")
    halves = [with_(RESULT, accuracy=one, pictures=100) for one in (0.56, 0.65)]
    assert f"({100 * low:.1f} to {100 * high:.1f})" in measured(halves)
    assert measured([with_(RESULT, split="train", accuracy=0.996)]) == "99.6 %"
    assert measured([]) == ""


def test_a_run_again_replaces_its_results_and_no_others():
    other = [with_(RESULT, seed=2), with_(RESULT, machine="a GPU"), with_(RESULT, recipe="large")]
    again = with_(RESULT, accuracy=0.8, commit="new")
    kept = replaced([RESULT, *other], [again])
    assert set(kept) == {again, *other}
    assert [one.recipe for one in kept] == ["large", "small", "small", "small"]


def test_what_is_recorded_already_or_older_than_that_is_no_news(place, monkeypatch):
    project = new_repository(place / "git")
    monkeypatch.chdir(project.root)
    commits = []
    for name in "abc":
        (project.root / name).touch()
        project.commit()
        commits.append(project.run("git", "rev-parse", "HEAD").strip())
    monkeypatch.chdir(place)
    recipe = load_recipe("small")
    monkeypatch.chdir(project.root)

    def news(start, **changes):
        one = Experiment("small-1", start, "its own", 1, "a CPU")
        known = [("train", "2"), ("validation", "1"), ("validation", "kept"), ("test", "kept")]
        recorded = [with_(RESULT, split=s, epoch=e, commit=commits[1][:10]) for s, e in known]
        return is_news("small", recipe, replace(one, **changes), recorded)

    assert [news(start) for start in commits] == [False, False, True]
    assert news(commits[1], seed=2) and news(commits[1], machine="a GPU")
    recipe.accuracy.append(Figure(split="validation", epoch=2))
    assert [news(start) for start in commits] == [False, True, True]


def test_what_counts_is_the_recipe_on_committed_code(place, monkeypatch):
    project = new_repository(place / "git")
    for path in ("params.yaml", "dvc.yaml", "recipes"):
        shutil.move(place / path, project.root)
    (project.root / "code.py").touch()
    project.commit()
    clean_process(monkeypatch, place / "git/home")
    monkeypatch.chdir(project.root)
    start = project.run("git", "rev-parse", "HEAD").strip()

    def experiment(name, changes, code="", stages=("download", "split", "train_baseline")):
        """Leave what DVC leaves of a finished experiment."""
        project.change(changes)
        given = dict(leaves(YAML(typ="safe").load(project.root / "params.yaml")))
        lock = {
            stage: {"params": {"params.yaml": {key: given[key] for key in parameters(ROOT, stage)}}}
            for stage in stages
        }
        (project.root / "dvc.lock").write_text(json.dumps({"stages": lock}))
        project.run("git", "add", "dvc.lock")
        (project.root / "code.py").write_text(code)
        project.run("git", "commit", "-qam", f"{name}, on a GPU" if "2" in name else "dvc")
        project.run("git", "update-ref", f"refs/exps/{start[:2]}/{start[2:]}/{name}", "HEAD")
        project.run("git", "reset", "-q", "--hard", start)

    params = {"data": {"image_size": 32}, "train": {"arch": "cnn3", "epochs": 2}}
    experiment("small-1", params)
    experiment("small-2", {**params, "seed": 2})
    experiment("small-3", {**params, "seed": 3, "train": {"arch": "cnn3", "epochs": 3}})
    experiment("small-4", {**params, "seed": 4}, code="edited")
    experiment("small-other-1", {**params, "seed": 5})
    experiment("small-5", {**params, "seed": 5}, stages=("download", "split"))
    recipe = load_recipe("small")
    found = {one.name: one for one in finished("small", recipe)}
    assert set(found) == {f"small-{number}" for number in range(1, 6)}
    assert {one.commit for one in found.values()} == {start[:10]}
    assert [one.seed for one in found.values()] == [1, 2, 3, 4, 5]
    assert found["small-2"].machine == "a GPU" != found["small-1"].machine
    reasons = [unfit(recipe, one) for one in found.values()]
    assert reasons[:2] == ["", ""]
    assert reasons[2].startswith("its train.epochs is neither the recipe's")
    assert reasons[3] == "it ran with an edit of code.py that is in no commit"
    assert reasons[4] == "train_baseline did not run with these parameters"


def take_from_cache(project: Project, revision: str, folder: Path) -> None:
    """Copy an experiment's model and test split, which lie under the hashes of its dvc.lock."""
    lock = YAML(typ="safe").load(project.run("git", "show", f"{revision}:dvc.lock"))
    outs = [out for stage in lock["stages"].values() for out in stage.get("outs", [])]
    hashes = {out["path"]: out["md5"] for out in outs}
    folder.mkdir()
    for path in ("models/baseline.keras", "splits/test.csv", "splits/test.npy"):
        md5 = hashes[f"data/{path}"]
        cached = project.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
        shutil.copy(cached, folder / Path(path).name)


@pytest.mark.slow
def test_a_recipe_trains_one_model_and_its_figures_are_recorded(tmp_path, monkeypatch, capsys):
    # 13 and 10 pictures: no accuracy of one is that of the other, but none or all right.
    sizes = {"split": {"method": "random", "random": {"validation": 10, "test": 13}}}
    project = new_project(tmp_path, TINY | sizes)
    for folder in ("recipes", "docs"):
        (project.root / folder).mkdir()
    (project.root / "recipes/small.yaml").write_text(SMALL, encoding="utf-8")
    (project.root / "docs/results.md").write_text(f"Before\n{BEGIN}old\n{END}After\n")
    project.commit()

    # The commands run in this process, which has TensorFlow already; the training has its own.
    clean_process(monkeypatch, tmp_path / "home")
    monkeypatch.chdir(project.root)

    def classifier(*arguments: str) -> str:
        main(arguments)
        return capsys.readouterr().out

    project.change({"seed": 2})
    with pytest.raises(UserError, match=r"^params.yaml differs from the last commit"):
        classifier("recipe", "small")
    project.run("git", "checkout", "params.yaml")
    said = classifier("recipe", "small", "--print", "--seeds", "2")
    assert said.count("dvc exp run --queue -n small-") == 2
    assert not project.run("git", "for-each-ref", "refs/exps")
    said = classifier("recipe", "small")
    assert "train_baseline      done" in said
    assert "train_augmented" not in said
    assert not project.run("git", "status", "--porcelain")

    said = classifier("recipes")
    assert "small: not recorded yet" in said
    assert not project.run("git", "status", "--porcelain")
    assert "small: recorded" in classifier("recipes", "--record")
    assert "small" not in classifier("recipes", "--record").splitlines()[0]
    table = csv.DictReader(project.read("recipes/results.csv").splitlines())
    found = {(row["split"], row["epoch"]): row for row in table}
    assert len(found) == 4
    assert {row["commit"] for row in found.values()} == {
        project.run("git", "rev-parse", "HEAD")[:10]
    }

    revision = project.run("git", "for-each-ref", "--format=%(objectname)", "refs/exps").strip()
    made = tmp_path / "made"
    take_from_cache(project, revision, made)
    text = project.run("git", "show", f"{revision}:plots/curves/baseline.tsv")
    first, second = csv.DictReader(text.splitlines(), delimiter="\t")
    metrics = json.loads(project.run("git", "show", f"{revision}:metrics/baseline.json"))
    rows = list(csv.DictReader((made / "test.csv").read_text().splitlines()))
    labels = np.array([row["label"] for row in rows]) == max(row["label"] for row in rows)
    model = keras.saving.load_model(made / "baseline.keras", compile=False)
    scores = model.predict(np.load(made / "test.npy"), verbose=0)[:, 0]
    for key, figure in {
        ("train", "2"): float(second["train_accuracy"]),
        ("validation", "1"): float(first["validation_accuracy"]),
        ("validation", "kept"): metrics["validation_accuracy"],
        ("test", "kept"): ((scores > 0.5) == labels).mean(),
    }.items():
        assert float(found[key]["accuracy"]) == pytest.approx(figure, abs=5e-5), key
    assert found["test", "kept"]["pictures"] == str(len(rows)) == "13"
    page = project.read("docs/results.md")
    assert page.startswith(f"Before\n{BEGIN}")
    assert page.endswith(f"{END}After\n")
    assert "old" not in page
    assert "| small | train, epoch 2 | 99 % | " in page


def test_where_the_recipe_flips_so_does_the_test(tmp_path):
    # Dark pictures are as light on their left side, which is all that the network looks at.
    pictures = np.zeros((4, 8, 8, 3), np.uint8)
    pictures[:, :, :4] = pictures[2:] = 255
    table = [(f"{i}.png", ("dark", "light")[i // 2], f"{i:064x}") for i in range(4)]
    for name in ("train", "test"):
        write_split(tmp_path / "data/splits", name, pictures, range(4), table)
    network = keras.Sequential(
        [
            keras.Input((8, 8, 3), dtype="uint8"),
            keras.layers.Cropping2D(((0, 0), (0, 4)), dtype="float32"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    light, neither = 0.6, 0.01
    bias = np.log(neither / (1 - neither))
    slope = (np.log(light / (1 - light)) - bias) / 255 / 3
    network.set_weights([np.full((3, 1), slope), np.array([bias])])
    save_model(tmp_path / "model.keras", network, {"classes": ["dark", "light"]})
    files = SimpleNamespace(get_file=lambda path, to: shutil.copy(tmp_path / path, to))
    assert accuracy_on_test(files, "model.keras", flip=False) == 0.5
    assert accuracy_on_test(files, "model.keras", flip=True) == 1
