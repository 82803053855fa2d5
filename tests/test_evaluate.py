"""The stage evaluate as it runs: three classes, tiny models with random weights, no training."""

import csv
import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from classifier.base.files import write_json
from classifier.base.splits import read_split, write_split
from classifier.commands.demo import change_params
from classifier.evaluation.calibration_file import read_calibration
from classifier.evaluation.inference import scores
from classifier.networks.cnn5 import cnn5
from classifier.report.draw import PICTURES
from classifier.training.fit import write_curve
from classifier.training.saving import load_model, save_model
from classifier.transfer.mobilenet import mobilenet
from classifier.transfer.vgg16 import vgg16
from stages import evaluate
from tests.projects import ROOT, outputs
from tests.report.test_page import quality

CLASSES = ("ash", "birch", "<i>cedar</i>")
SIZES = {"train": 12, "validation": 18, "test": 21}
SIZE = 78


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What the other stages leave behind, and what evaluate makes of it."""
    folder = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        lay_out()
        evaluate.main()
    return folder


def lay_out() -> None:
    rng = np.random.default_rng(0)
    Path("params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    change_params(
        Path("params.yaml"),
        {
            "data": {"image_size": SIZE},
            "train": {"precision": "float32"},
            "finetune": {"weights": "none", "epochs": 1},
        },
    )
    facts = {"name": "trees", "source": "trees.zip", "layout": "one folder per class"}
    write_json(Path("data/raw/dataset.json"), facts)
    write_json(Path("data/splits/report.json"), quality(CLASSES))
    for name, count in SIZES.items():
        pixels = rng.integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)
        labels = [CLASSES[i % len(CLASSES)] for i in range(count)]
        table = [(f"{name}/日本{i}.jpg", label, str(i)) for i, label in enumerate(labels)]
        write_split(Path("data/splits"), name, pixels, range(count), table)
    keras.utils.set_random_seed(1)
    models = {
        "baseline": cnn5(SIZE, len(CLASSES)),
        "augmented": cnn5(SIZE, len(CLASSES), dropout=0.5),
        "vgg16": vgg16(SIZE, len(CLASSES), None, dense_units=8),
        "mobilenet": mobilenet(SIZE, len(CLASSES), None),
    }
    row = {"train_loss": 1.0, "validation_loss": 1.0, "learning_rate": 0.001}
    row |= {"train_accuracy": 0.3, "validation_accuracy": 0.3}
    for name, model in models.items():
        save_model(Path(f"data/models/{name}.keras"), model, {"classes": sorted(CLASSES)})
        write_curve(Path(f"plots/curves/{name}.tsv"), [row | {"epoch": n} for n in (1, 2, 3)])
        write_json(Path(f"metrics/{name}.json"), {"best_epoch": 2})
        write_json(Path(f"data/models/{name}.json"), {"recipe": "random weights", "note": ""})


def predictions(folder: Path) -> list[dict[str, str]]:
    text = (folder / "data/evaluation/predictions.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def test_it_writes_what_dvc_yaml_says(folder):
    for path in outputs(ROOT, "evaluate"):
        # The files of charts lie in a folder a kind, one a model.
        files = [folder / path] if Path(path).suffix else list((folder / path).iterdir())
        assert len(files) == (1 if Path(path).suffix else len(evaluate.MODELS)), path
        assert all(file.stat().st_size for file in files), path
    for name in PICTURES:
        with Image.open(folder / f"plots/{name}.png") as image:
            assert np.ptp(np.asarray(image.convert("L"))) > 100, f"{name} is empty"


def test_the_outliers_are_of_all_three_splits(folder):
    details = json.loads((folder / "data/evaluation/details.json").read_text(encoding="utf-8"))
    assert {one["split"] for one in details["outliers"]} == {"train", "validation", "test"}


def test_the_metrics_are_six_figures_a_model_that_the_predictions_give_too(folder):
    figures = json.loads((folder / "metrics/evaluate.json").read_text())
    assert list(figures) == list(evaluate.MODELS)
    for model, one in figures.items():
        assert list(one) == ["accuracy", "accuracy_low", "accuracy_high", "loss", "roc_auc", "ece"]
        rows = [r for r in predictions(folder) if (r["model"], r["split"]) == (model, "test")]
        right = sum(row["label"] == row["predicted"] for row in rows)
        assert one["accuracy"] == pytest.approx(right / len(rows), abs=1e-4)


def test_the_predictions_are_the_models_own(folder):
    rows = predictions(folder)
    assert Counter((row["model"], row["split"]) for row in rows) == {
        (model, split): SIZES[split]
        for model in evaluate.MODELS
        for split in ("validation", "test")
    }
    test = read_split("test", folder / "data/splits")
    for model in evaluate.MODELS:
        expected = scores(load_model(folder / f"data/models/{model}.keras")[0], test.images)
        mine = [row for row in rows if (row["model"], row["split"]) == (model, "test")]
        assert [row["path"] for row in mine] == test.paths
        found = [[float(row[f"score_{name}"]) for name in test.classes] for row in mine]
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert [row["predicted"] for row in mine] == [
            test.classes[c] for c in np.argmax(found, axis=1)
        ]


def test_the_calibration_names_the_models_that_it_is_of(folder):
    path = folder / "data/evaluation/calibration.json"
    written = json.loads(path.read_text())
    for name in evaluate.MODELS:
        file = folder / f"data/models/{name}.keras"
        assert written[name]["model_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert read_calibration(path, file).threshold is None


def test_the_plots_have_a_row_for_each_of_the_three_classes(folder):
    for name in evaluate.MODELS:
        with (folder / f"plots/confusion/{name}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        pairs = {(a, b) for a in CLASSES for b in CLASSES}
        assert {(row["actual"], row["predicted"]) for row in rows} == pairs
        assert sum(int(row["images"]) for row in rows) == SIZES["test"]


def test_the_report_shows_the_three_classes_and_both_calibrations(folder):
    html = (folder / "plots/report.html").read_text(encoding="utf-8")
    assert "<i>cedar</i>" not in html
    assert html.count("&lt;i&gt;cedar&lt;/i&gt;") > 3
    assert "12 training, 18 validation and 21 test pictures of 3 classes" in html
    assert "Mean over the classes" in html
    assert "Decision threshold" not in html
    assert html.count("epoch 2 of 3 was kept") == len(evaluate.MODELS)
    diagrams = re.findall(r"accuracy by confidence: ([^\"]*)\.\"", html)
    assert len(diagrams) == len(evaluate.MODELS)
    assert all(re.match(r"[\d.]+ at [\d.]+", diagram) for diagram in diagrams)
