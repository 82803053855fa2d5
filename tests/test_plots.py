"""The charts of `dvc plots show` and `dvc plots diff`, by real DVC in a small repository."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vl_convert
from ruamel.yaml import YAML

from classifier.base.family import MODELS, PALETTE
from classifier.evaluation.curves import chart_rows
from classifier.evaluation.files import write_charts
from classifier.training.fit import write_curve
from tests.projects import ROOT, Project, new_repository

TEMPLATES = "classifier/report/templates"
CHARTS = {"loss", "accuracy", "roc", "precision_recall", "reliability", "scores", "confusion"}


def write_tables(folder: Path, strength: float) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    scores = {}
    for name in MODELS:
        logits = strength * (labels - 0.5) + rng.normal(size=60)
        positive = 1 / (1 + np.exp(-logits))
        scores[name] = np.stack([1 - positive, positive], axis=1)
        row = {"train_loss": 0.5, "validation_loss": 0.6, "learning_rate": 0.001}
        row |= {"train_accuracy": 0.8, "validation_accuracy": 0.7}
        write_curve(
            folder / f"plots/curves/{name}.tsv", [row | {"epoch": epoch} for epoch in (1, 2, 3)]
        )
    rows = chart_rows(labels, scores, ("a", "b"), dict.fromkeys(scores, 2.0))
    write_charts(folder / "plots", rows)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = new_repository(tmp_path_factory.mktemp("plots"))
    project.dvc("init", "--quiet")
    folder = project.root
    for path in (".dvc/plots", TEMPLATES):
        shutil.copytree(ROOT / path, folder / path)
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc/config")
    yaml = YAML(typ="safe", pure=True)
    plots = yaml.load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    with (folder / "dvc.yaml").open("w", encoding="utf-8") as file:
        yaml.dump({"plots": plots}, file)
    write_tables(folder, strength=1.0)
    project.commit()
    write_tables(folder, strength=4.0)
    return project


def charts(output: str) -> dict[str, dict[str, Any]]:
    shown = json.loads(output)
    assert not shown.get("errors")
    for name, found in shown["data"].items():
        assert len(found) == 1, name
    return {name: found[0] for name, found in shown["data"].items()}


def rows_of(chart: dict[str, Any]) -> list[dict[str, Any]]:
    values: list[dict[str, Any]] = chart["content"]["data"]["values"]
    return values


def test_every_chart_shows_the_three_models(repository):
    shown = charts(repository.dvc("plots", "show", "--json"))
    assert set(shown) == CHARTS
    for name, chart in shown.items():
        files = {Path(row["filename"]).stem for row in rows_of(chart)}
        assert files == set(MODELS), name
        assert "DVC_METRIC" not in json.dumps(chart["content"]), f"{name} has an unfilled anchor"


def test_every_chart_compares_two_revisions(repository):
    shown = charts(repository.dvc("plots", "diff", "HEAD", "--json"))
    assert set(shown) == CHARTS
    for name, chart in shown.items():
        assert set(chart["revisions"]) == {"HEAD", "workspace"}, name
        # Facets by revision, or by model and revision: models keep their colours on either side.
        assert chart["content"]["facet"]["field"] in ("rev", "panel"), name


def test_a_curve_of_training_is_told_from_one_of_validation(repository):
    shown = charts(repository.dvc("plots", "show", "--json"))
    for name in ("loss", "accuracy"):
        fields = {row["field"] for row in rows_of(shown[name])}
        assert fields == {f"train_{name}", f"validation_{name}"}
        dash = shown[name]["content"]["spec"]["layer"][0]["encoding"]["strokeDash"]["scale"]
        assert dict(zip(dash["domain"], dash["range"], strict=True))["validation"] == [1, 0]


@pytest.mark.parametrize("path", sorted((ROOT / TEMPLATES).iterdir()), ids=lambda path: path.stem)
def test_every_template_has_the_palette_of_the_family(path):
    template = json.loads(path.read_text(encoding="utf-8"))
    assert template["config"]["range"]["category"] == list(PALETTE)


def test_every_chart_lists_the_models_in_the_order_of_the_family():
    plots = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    for chart in plots["plots"]:
        (options,) = chart.values()
        assert tuple(Path(path).stem for path in options["y"]) == MODELS, chart


def test_the_page_of_charts_brings_its_scripts(repository):
    repository.dvc("plots", "diff", "HEAD")
    page = repository.read("dvc_plots/index.html")
    assert not re.search(r"<script[^>]+src=|https?://cdn", page)
    # The very scripts that draw the report's charts.
    assert vl_convert.javascript_bundle().strip() in page
