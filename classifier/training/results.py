"""What a training stage leaves behind: the model, its learning curve and its metrics."""

from pathlib import Path

import keras

from classifier.base.errors import UserError
from classifier.base.files import write_json
from classifier.training.fit import History, write_curve
from classifier.training.precision import Precision
from classifier.training.saving import save_model

CURVES = Path("plots/curves")


def write_results(
    name: str,
    model: keras.Model,
    classes: tuple[str, ...],
    history: History,
    precision: Precision,
    recipe: str,
    note: str = "",
) -> None:
    """Write data/models/NAME.keras and NAME.json, plots/curves/NAME.tsv and metrics/NAME.json.

    Args:
        name: of the model.
        model: in float32, with the weights of the best epoch.
        classes: the names of the classes, in the order of the model's labels.
        history: of its training.
        precision: that it was trained in.
        recipe: how it was trained, in a sentence without its full stop.
        note: what must be known wherever its figures stand, if anything.

    Raises:
        UserError: the model can't be written; then its figures are not either.
    """
    best = history.rows[history.best]
    models = Path("data/models")
    try:
        # The largest goes first: a full disk leaves no new figures beside an old model.
        save_model(models / f"{name}.keras", model, {"classes": list(classes)})
        write_json(models / f"{name}.json", {"recipe": recipe, "note": note})
    except OSError as error:
        raise UserError(f"{models} can't be written: {error.strerror or error}") from error
    write_curve(CURVES / f"{name}.tsv", history.rows)
    write_json(
        Path("metrics") / f"{name}.json",
        {
            "best_epoch": best["epoch"],
            "train_accuracy": round(best["train_accuracy"], 4),
            "validation_accuracy": round(best["validation_accuracy"], 4),
            "validation_loss": round(best["validation_loss"], 4),
            "parameters": model.count_params(),
            "precision": precision.policy,
        },
    )
    print(
        f"{name}: best epoch {best['epoch']} of {len(history.rows)}, "
        f"validation accuracy {best['validation_accuracy']:.1%}"
    )
