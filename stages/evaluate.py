"""Test the three models on the pictures that nothing was chosen on, and show where they fail."""

from pathlib import Path

from classifier.errors import one_line_errors
from classifier.params import load_params

MODELS = ("baseline", "augmented", "vgg16")
FOLDER, PLOTS = Path("data/evaluation"), Path("plots")


def main() -> None:
    params = load_params()

    from classifier import evaluation, metrics, report
    from classifier.augmentation import Augmentation
    from classifier.calibration_file import write_calibrations
    from classifier.files import write_json
    from classifier.models import load_model
    from classifier.splits import SPLITS, read_split

    splits = {name: read_split(name) for name in SPLITS}
    test = splits["test"]
    files = {name: Path("data/models") / f"{name}.keras" for name in MODELS}
    models = {name: load_model(path)[0] for name, path in files.items()}
    seen = {
        name: evaluation.look(models, splits[name], features_of="vgg16")
        for name in ("validation", "test")
    }
    scores = seen["test"].scores
    figures = {name: metrics.headline(test.labels, scores[name]) for name in MODELS}
    write_json(Path("metrics/evaluate.json"), figures)
    evaluation.write_predictions(FOLDER / "predictions.csv", splits, seen)

    details = evaluation.all_details(splits, seen, params.evaluate.threshold)
    charts = evaluation.chart_rows(test, seen["test"], details)
    evaluation.write_details(FOLDER / "details.json", details)
    write_calibrations(FOLDER / "calibration.json", details["models"], files)
    evaluation.write_charts(PLOTS, charts)

    options = Augmentation.of(params.augment)
    pictures = evaluation.draw(PLOTS, splits, models, scores, details["label_errors"], options)
    trained = {name: report.read_json(Path("metrics") / f"{name}.json") for name in MODELS}
    content = report.Report(
        dataset=report.read_json(Path("data/raw/dataset.json")),
        quality=report.read_json(Path("data/splits/report.json")),
        details=details,
        curves={name: report.read_curve(PLOTS / f"curves/{name}.tsv") for name in MODELS},
        kept={name: trained[name]["best_epoch"] for name in MODELS},
        **{chart: charts[chart] for chart in ("roc", "precision_recall", "reliability", "scores")},
        pictures=pictures,
        params=params.model_dump(),
        versions=report.versions(),
    )
    report.render(PLOTS / "report.html", content)
    print(*(pair["sentence"] for pair in details["comparisons"]), sep="\n")


if __name__ == "__main__":
    with one_line_errors():
        main()
