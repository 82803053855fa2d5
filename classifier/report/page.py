"""plots/report.html: one page that holds all it shows, for people who were not there.

Everything is put into words and numbers here; the template only lays it out. Whatever comes from
the data (file names, class names, terms) is escaped by the template engine.
"""

import base64
import csv
import io
import json
import platform
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from classifier.base.family import colour
from classifier.base.files import write_text
from classifier.base.params import leaves
from classifier.base.wording import counted, decimals, percent, points
from classifier.report import charts
from classifier.report.findings import findings

TEMPLATE = "page.html.j2"
MOST_CLASSES_SHOWN = 10  # a wider confusion matrix is no table for a phone
# Width in pixels and quality of the pictures: the first at which all fit.
ENCODINGS = ((1800, 82), (1500, 74), (1200, 66), (900, 58))
PICTURE_BYTES = 3_300_000  # of all pictures together, before base64 adds a third
# Those that have a part in the figures.
LIBRARIES = ("keras", "tensorflow", "numpy", "scikit-learn", "scipy", "cleanlab", "dvc")

# Heading, caption, and what those are told who cannot see it.
PICTURES = {
    "samples": (
        "Samples",
        "Training pictures of each class, as the networks see them.",
        "Grid of training pictures, some of each class.",
    ),
    "augmentation": (
        "Augmentation",
        "Training pictures as they are, then some of their random variations; mixup, cutmix and "
        "augment.image_size come after these.",
        "Grid: training pictures in the first column, random variations of each beside it.",
    ),
    "mistakes": (
        "The most confident mistakes",
        "Test pictures that each model was most sure of, and wrong about: path, label, score.",
        "For each model, the test pictures that it got wrong with the highest scores.",
    ),
    "disagreements": (
        "Where the models disagree",
        "Test pictures that the models put into different classes.",
        "Test pictures on which the models disagree, each with the class that each model gives.",
    ),
    "gradcam": (
        "Where a model looks",
        "Grad-CAM: the warmer, the more a region speaks for the predicted class; right and wrong "
        "predictions.",
        "Test pictures overlaid with heat maps of the regions that speak for the predicted class.",
    ),
    "activations": (
        "Inside the baseline",
        "One picture on its way through every convolution and pooling layer.",
        "Activations of each convolution and pooling layer of the baseline for one picture.",
    ),
    "outliers": (
        "Outliers",
        "Pictures that look like few others of the set, the least alike first: a drawing, a "
        "building, a person among the dogs.",
        "Pictures that look like few others, each with its split, label and path.",
    ),
    "label_errors": (
        "Likely wrong labels",
        "Pictures whose label a cross-fitted model contradicts with confidence.",
        "Pictures with likely wrong labels, each with its label and the class suggested.",
    ),
}


@dataclass(frozen=True)
class Report:
    """What the report is made of."""

    dataset: dict[str, Any]  # data/raw/dataset.json
    quality: dict[str, Any]  # data/splits/report.json
    details: dict[str, Any]  # data/evaluation/details.json
    # By model, as in charts: the rows of its files under plots/.
    curves: dict[str, list[dict[str, Any]]]
    kept: dict[str, int]  # by model, the epoch whose weights are the model's
    trained: dict[str, dict[str, str]]  # by model, data/models/NAME.json: its recipe and its note
    # Tables by kind (roc, precision_recall, reliability, scores, confusion) and model.
    charts: dict[str, dict[str, list[dict[str, Any]]]]
    pictures: dict[str, Path]  # PNG files by name, those of `PICTURES`
    params: dict[str, Any]  # params.yaml
    versions: dict[str, str]  # of what the report was made with


def gather(
    details: dict[str, Any],
    charts: dict[str, dict[str, list[dict[str, Any]]]],
    pictures: dict[str, Path],
    params: dict[str, Any],
) -> Report:
    """Put what the earlier stages left behind beside what evaluation has found."""
    names = list(details["models"])
    return Report(
        dataset=read_json(Path("data/raw/dataset.json")),
        quality=read_json(Path("data/splits/report.json")),
        details=details,
        curves={name: read_curve(Path("plots/curves") / f"{name}.tsv") for name in names},
        kept={name: read_json(Path("metrics") / f"{name}.json")["best_epoch"] for name in names},
        trained={name: read_json(Path("data/models") / f"{name}.json") for name in names},
        charts=charts,
        pictures=pictures,
        params=params,
        versions=versions(),
    )


def read_json(path: Path) -> Any:
    """Read a JSON file that another stage wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_curve(path: Path) -> list[dict[str, float]]:
    """Read the rows of a learning curve."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return [{column: float(value) for column, value in row.items()} for row in rows]


def versions() -> dict[str, str]:
    """Of Python and of `LIBRARIES`."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def render(path: Path, content: Report) -> None:
    """Write the page; the same content gives the same bytes."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent_or_dash,
        "decimals": decimals,
        "interval": interval,
        "plain": plain,
        "counted": counted,
    }
    write_text(path, environment.get_template(TEMPLATE).render(view(content)))


def view(content: Report) -> dict[str, Any]:
    """Gather what the template shows: what there is, and what is put into words and charts here."""
    details, models = content.details, content.details["models"]
    tests = {name: model["test"] for name, model in models.items()}
    positive = details["positive"]
    x_label = f"score of {positive}" if positive else "confidence"

    def tables(kind: str) -> dict[str, list[dict[str, Any]]]:
        return {name: content.charts[kind].get(name, []) for name in models}

    def areas(key: str) -> list[float]:
        return [test[key]["value"] for test in tests.values()]

    derived = {
        "names": list(models),
        "colours": [colour(number) for number in range(len(models))],
        "tests": tests,
        "best": best_sentence(tests),
        "scale": accuracy_scale(tests),
        "rows": figure_rows(details),
        "learning": [
            charts.learning(content.curves, content.kept, measure)
            for measure in ("accuracy", "loss")
        ],
        "ranking": [
            charts.roc(tables("roc"), areas("roc_auc")),
            charts.precision_recall(tables("precision_recall"), areas("average_precision")),
        ],
        "reliability": [
            charts.reliability(name, number, rows)
            for number, (name, rows) in enumerate(tables("reliability").items())
        ],
        "calibration": [calibration_sentence(name, model) for name, model in models.items()],
        "histograms": [
            charts.histogram(name, rows, x_label) for name, rows in tables("scores").items()
        ],
        "score_labels": list(
            dict.fromkeys(
                row["label"] for rows in content.charts["scores"].values() for row in rows
            )
        ),
        "thresholds": {
            name: model["threshold"] for name, model in models.items() if model["threshold"]
        },
        "confusions": [
            charts.confusion(name, number, rows)
            for number, (name, rows) in enumerate(tables("confusion").items())
        ]
        if len(details["classes"]) > MOST_CLASSES_SHOWN
        else [],
        "findings": findings(content.quality, content.params["split"]["drop_leaks"]),
        "parts": parts(content.quality),
        "pictures": pictures(content.pictures),
        "params": dict(leaves(content.params)),
    }
    return vars(content) | details | derived


def best_sentence(tests: dict[str, dict[str, Any]]) -> str:
    """Which model was right most often, and how often: what was seen, no claim of a difference."""
    most = max(test["accuracy"]["value"] for test in tests.values())
    best = [name for name, test in tests.items() if test["accuracy"]["value"] == most]
    accuracy, images = tests[best[0]]["accuracy"], tests[best[0]]["images"]
    seen = f"{percent(most)} of {images:,} test pictures"
    bounds = f"95 % interval {interval(accuracy, as_percent=True)}"
    if len(best) > 1:
        return f"{' and '.join(best)} were right most often: each on {seen} ({bounds})."
    return f"{best[0]} was right most often: on {seen} ({bounds})."


def accuracy_scale(tests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Choose the axis under the intervals of accuracy: its ends and ticks, percent."""
    lowest = min(test["accuracy"]["low"] for test in tests.values())
    low = max(0, int(10 * lowest) * 10)
    step = 10 if low >= 50 else 20
    return {"low": low, "high": 100, "ticks": list(range(low, 101, step if low < 90 else 5))}


@dataclass(frozen=True)
class Row:
    """A row of the table: a figure of each model with its interval."""

    label: str
    hint: str
    figures: list[dict[str, Any] | None]
    as_percent: bool


def figure_rows(details: dict[str, Any]) -> list[tuple[str, list[Row]]]:
    """Collect the rows of the table, under their headings."""
    models = list(details["models"].values())
    tests = [model["test"] for model in models]

    def row(label: str, *keys: str, hint: str = "", as_percent: bool = True) -> Row:
        found = []
        for test in tests:
            figure: Any = test
            for key in keys:
                figure = figure.get(key, {})
            found.append(figure or None)
        return Row(label, hint, found, as_percent)

    lower = "lower is better"
    overall = [
        row("Accuracy", "accuracy"),
        *(row(f"Top-{k} accuracy", "top", k) for k in tests[0]["top"]),
        row("Balanced accuracy", "balanced_accuracy", hint="mean recall of the classes"),
        row("ROC AUC", "roc_auc", as_percent=False),
        row("Average precision", "average_precision", as_percent=False),
        row("Log loss", "log_loss", hint=lower, as_percent=False),
        row("Brier score", "brier", hint=lower, as_percent=False),
        row("Calibration error", "ece", hint=lower, as_percent=False),
        Row(
            "… after scaling",
            f"by temperature; {lower}",
            [model["calibrated"]["ece"] for model in models],
            as_percent=False,
        ),
    ]
    groups = [("All classes", overall)]
    measures = {"precision": "Precision", "recall": "Recall", "f1": "F1"}
    if len(details["classes"]) > 2:
        macro = [row(name, "macro", key) for key, name in measures.items()]
        groups.append(("Mean over the classes", macro))
    if len(details["classes"]) > MOST_CLASSES_SHOWN:
        recalls = [row(label, "classes", label, "recall") for label in details["classes"]]
        return [*groups, ("Recall of each class", recalls)]
    for label in details["classes"]:
        groups.append((label, [row(name, "classes", label, key) for key, name in measures.items()]))
    return groups


def calibration_sentence(name: str, model: dict[str, Any]) -> str:
    """Whether a model's confidence may be trusted, before and after temperature scaling."""
    before, after = model["test"]["ece"], model["calibrated"]["ece"]
    way = "less" if model["temperature"] > 1 else "more"
    return (
        f"{name}: confidence and accuracy are {points(before['value'])} points apart, "
        f"{_beyond_chance(before)}. A temperature of {model['temperature']:.2f}, fitted on the "
        f"validation pictures, makes it {way} confident: {points(after['value'])} points apart, "
        f"{_beyond_chance(after)}."
    )


def _beyond_chance(ece: dict[str, Any]) -> str:
    more = "more" if ece["value"] > ece["if_calibrated_95"] else "no more"
    chance = points(ece["if_calibrated_95"])
    return f"{more} than chance explains (up to {chance} for a perfectly calibrated model)"


def parts(quality: dict[str, Any]) -> list[str]:
    """Return the splits that the data-quality report counts pictures of, in order."""
    classes = quality["classes"]
    shown = [key for counts in classes.values() for key in counts if key != "images"]
    return list(dict.fromkeys(shown))


def pictures(files: dict[str, Path]) -> dict[str, dict[str, str]]:
    """Heading, caption, alternative text and data URI of each picture there is."""
    opened = {name: Image.open(files[name]) for name in PICTURES if name in files}
    encoded: dict[str, bytes] = {}
    for width, quality in ENCODINGS:
        encoded = {name: _encode(image, width, quality) for name, image in opened.items()}
        if sum(map(len, encoded.values())) <= PICTURE_BYTES:
            break
    shown = {}
    for name, content in encoded.items():
        heading, caption, alt = PICTURES[name]
        shown[name] = {
            "heading": heading,
            "caption": caption,
            "alt": alt,
            "source": f"data:image/webp;base64,{base64.b64encode(content).decode()}",
            "width": str(opened[name].width),
            "height": str(opened[name].height),
        }
    return shown


def _encode(image: Image.Image, width: int, quality: int) -> bytes:
    image = image.convert("RGB")
    if image.width > width:
        image = image.resize(
            (width, max(1, round(image.height * width / image.width))),
            Image.Resampling.LANCZOS,
        )
    file = io.BytesIO()
    image.save(file, "WEBP", quality=quality, method=4)
    return file.getvalue()


def plain(value: Any) -> str:
    """Format a parameter as params.yaml has it: 0.00001, not 1e-05; true and null."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{Decimal(repr(value)):f}" if isinstance(value, float) else str(value)


def percent_or_dash(share: float | None) -> str:
    """97.2 %, with a space that does not break; a dash for what has no meaning."""
    return "–" if share is None else percent(share).replace(" ", "\N{NO-BREAK SPACE}")


def interval(figure: dict[str, Any], as_percent: bool) -> str:
    """«95.4 to 98.3», or with three decimals; empty where there is none."""
    if figure.get("low") is None:
        return ""
    written = points if as_percent else decimals
    return f"{written(figure['low'])} to {written(figure['high'])}"
