"""Trained models on the disk: the same bytes for the same weights."""

import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from classifier.base.errors import UserError
from classifier.base.files import ZIP_TIME, whole
from classifier.training.precision import dtype_policy


def save_model(path: Path, model: keras.Model, metadata: dict[str, Any]) -> None:
    """Save a Keras model without the time of saving.

    Args:
        path: ends in .keras.
        model: in float32, so that any machine runs it.
        metadata: JSON-able facts such as the class names, kept in the archive's metadata.json.
    """
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "model.keras"
        model.save(saved)
        with (
            whole(path) as beside,
            zipfile.ZipFile(saved) as old,
            zipfile.ZipFile(beside, "w") as new,
        ):
            for name in sorted(old.namelist()):
                content = old.read(name)
                if name == "metadata.json":
                    known = {"keras_version": json.loads(content)["keras_version"]}
                    content = json.dumps(known | metadata, sort_keys=True).encode()
                if name == "config.json":
                    content = _numbered(content)
                new.writestr(zipfile.ZipInfo(name, ZIP_TIME), content)


def _numbered(config: bytes) -> bytes:
    """Give numbers to the objects that a configuration shares: Keras writes their addresses."""
    numbers: dict[int, int] = {}

    def number(node: dict[str, Any]) -> dict[str, Any]:
        if "shared_object_id" in node:
            address = node["shared_object_id"]
            node["shared_object_id"] = numbers.setdefault(address, len(numbers) + 1)
        return node

    return json.dumps(json.loads(config, object_hook=number)).encode()


def load_model(path: Path) -> tuple[keras.Model, dict[str, Any]]:
    """Load a model and the metadata that it was saved with.

    Raises:
        UserError: the file is missing or no model of this project.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            metadata = json.loads(archive.read("metadata.json"))
        return keras.saving.load_model(path, compile=False), metadata
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} can't be loaded as a model: {reason}") from error


def in_float32(model: keras.Model, build: Callable[[], keras.Model]) -> keras.Model:
    """Copy a network and its weights into float32, whatever precision it was trained in."""
    with dtype_policy("float32"):
        plain = build()
    plain.set_weights(model.get_weights())
    return plain
