"""Test the models on the pictures that nothing was chosen on, and show where they fail."""

from dataclasses import asdict
from pathlib import Path

from classifier.base.errors import one_line_errors
from classifier.base.family import MODELS
from classifier.base.files import write_json
from classifier.base.params import load_params, positive_class
from classifier.base.splits import SPLITS, read_split
from classifier.evaluation.calibration_file import write_calibrations
from classifier.evaluation.cost import cost
from classifier.evaluation.curves import chart_rows
from classifier.evaluation.details import all_details
from classifier.evaluation.figures import headline
from classifier.evaluation.files import write_charts, write_predictions
from classifier.evaluation.scores import look
from classifier.report import page
from classifier.report.draw import draw
from classifier.training.augmentation import Augmentation
from classifier.training.precision import choose
from classifier.training.saving import load_model
from classifier.transfer.mobilenet import MOBILENET
from classifier.transfer.vgg16 import VGG16

FOLDER, PLOTS = Path("data/evaluation"), Path("plots")


def main() -> None:
    """Write data/evaluation, metrics/evaluate.json, the charts, the pictures and the report."""
    params = load_params()
    splits = {name: read_split(name) for name in SPLITS}
    test = splits["test"]
    positive = positive_class(params.evaluate.positive, test.classes)
    files = {name: Path("data/models") / f"{name}.keras" for name in MODELS}
    models = {name: load_model(path)[0] for name, path in files.items()}

    chosen = choose(params.train.precision)
    print(f"precision: {chosen.policy} ({chosen.reason})")
    vgg16, mobilenet = params.finetune, params.mobilenet
    frozen = {
        "vgg16": VGG16.never_trained(vgg16.head, vgg16.unfreeze, vgg16.epochs),
        "mobilenet": MOBILENET.never_trained("linear", mobilenet.unfreeze, mobilenet.epochs),
    }
    flip = params.evaluate.flip
    seen = look(models, splits, MODELS[-1], chosen.policy, frozen, flip=flip)
    scores = seen.scores["test"]
    metrics = {name: headline(test.labels, table) for name, table in scores.items()}
    details = all_details(splits, seen, params.evaluate.threshold, positive)
    for name, judged in details["models"].items():
        judged["cost"] = asdict(cost(models[name], files[name]))
    temperatures = {name: judged["temperature"] for name, judged in details["models"].items()}
    charts = chart_rows(test.labels, scores, test.classes, temperatures, positive)

    write_json(Path("metrics/evaluate.json"), metrics)
    write_json(FOLDER / "details.json", details)
    write_predictions(FOLDER / "predictions.csv", splits, seen)
    write_calibrations(FOLDER / "calibration.json", details["models"], files, flip=flip)
    write_charts(PLOTS, charts)
    options = Augmentation.of(params.augment)
    found = details["label_errors"], details["outliers"]
    pictures = draw(PLOTS, splits, models, scores, *found, options)
    page.render(PLOTS / "report.html", page.gather(details, charts, pictures, params.model_dump()))
    print(*(pair["sentence"] for pair in details["comparisons"]), sep="\n")


if __name__ == "__main__":
    with one_line_errors():
        main()
