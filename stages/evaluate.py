"""Test the models on the pictures that nothing was chosen on, and show where they fail."""

from pathlib import Path

from classifier.base.errors import one_line_errors
from classifier.base.family import MODELS
from classifier.base.files import write_json
from classifier.base.params import load_params
from classifier.base.splits import SPLITS, read_split
from classifier.evaluation import assessment
from classifier.evaluation.calibration_file import write_calibrations
from classifier.evaluation.figures import headline
from classifier.report import page
from classifier.report.draw import draw
from classifier.training.augmentation import Augmentation
from classifier.training.saving import load_model

FOLDER, PLOTS = Path("data/evaluation"), Path("plots")


def main() -> None:
    params = load_params()
    splits = {name: read_split(name) for name in SPLITS}
    files = {name: Path("data/models") / f"{name}.keras" for name in MODELS}
    models = {name: load_model(path)[0] for name, path in files.items()}
    seen = {
        name: assessment.look(models, splits[name], features_of=MODELS[-1])
        for name in ("validation", "test")
    }
    test, scores = splits["test"], seen["test"].scores
    headlines = {name: headline(test.labels, scores[name]) for name in MODELS}
    details = assessment.all_details(splits, seen, params.evaluate.threshold)
    charts = assessment.chart_rows(test, seen["test"], details)

    write_json(Path("metrics/evaluate.json"), headlines)
    assessment.write_predictions(FOLDER / "predictions.csv", splits, seen)
    assessment.write_details(FOLDER / "details.json", details)
    write_calibrations(FOLDER / "calibration.json", details["models"], files)
    assessment.write_charts(PLOTS, charts)

    options = Augmentation.of(params.augment)
    pictures = draw(PLOTS, splits, models, scores, details["label_errors"], options)
    trained = {name: page.read_json(Path("metrics") / f"{name}.json") for name in MODELS}
    content = page.Report(
        dataset=page.read_json(Path("data/raw/dataset.json")),
        quality=page.read_json(Path("data/splits/report.json")),
        details=details,
        curves={name: page.read_curve(PLOTS / f"curves/{name}.tsv") for name in MODELS},
        kept={name: trained[name]["best_epoch"] for name in MODELS},
        trained={name: page.read_json(files[name].with_suffix(".json")) for name in MODELS},
        roc=charts["roc"],
        precision_recall=charts["precision_recall"],
        reliability=charts["reliability"],
        scores=charts["scores"],
        pictures=pictures,
        params=params.model_dump(),
        versions=page.versions(),
    )
    page.render(PLOTS / "report.html", content)
    print(*(pair["sentence"] for pair in details["comparisons"]), sep="\n")


if __name__ == "__main__":
    with one_line_errors():
        main()
