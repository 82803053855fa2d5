"""data/evaluation/calibration.json: what evaluate found of each model, for `predict` to use."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from classifier.base.errors import UserError
from classifier.base.files import write_json


@dataclass(frozen=True)
class Calibration:
    """What was found on the validation split.

    `threshold` and `positive` are of two classes, and None for more.

    An image whose uncalibrated score of `positive` is at least `threshold` is called that class.
    The model may compute in `precision`, a Keras dtype policy, where the machine is fast at it.
    With `flip` scores are the means over a picture and its mirror image.
    """

    temperature: float
    threshold: float | None
    positive: str | None
    precision: str = "float32"
    flip: bool = False


def write_calibrations(
    path: Path,
    judged: Mapping[str, Mapping[str, Any]],
    models: Mapping[str, Path],
    *,
    flip: bool = False,
) -> None:
    """Write what was found of each model, and the SHA-256 of its file.

    Args:
        path: of the file.
        judged: by model, as details.json has it.
        models: the file of each.
        flip: whether it was found on means over pictures and their mirror images.
    """
    content = {}
    for name, one in judged.items():
        threshold = one["threshold"] or {"value": None, "positive": None}
        content[name] = {
            "model_sha256": _digest(models[name]),
            "temperature": one["temperature"],
            "threshold": threshold["value"],
            "positive": threshold["positive"],
            "precision": one["tested"]["policy"],
            "flip": flip,
        }
    write_json(path, content)


def read_calibration(path: Path, model: Path) -> Calibration:
    """Read what `write_calibrations` wrote of one model's file.

    Raises:
        UserError: evaluate has not run for this model, or for another one of its name.
    """
    name = model.stem
    try:
        found = json.loads(path.read_text(encoding="utf-8"))[name]
        names = (field.name for field in fields(Calibration))
        calibration = Calibration(**{name: found[name] for name in names})
    # JSONDecodeError is a ValueError: a file that was cut off has none either.
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise UserError(f"{path} has no calibration of {name}: dvc repro evaluate") from error
    if found.get("model_sha256") != _digest(model):
        raise UserError(f"{path} has the calibration of another {model}: dvc repro evaluate")
    return calibration


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
