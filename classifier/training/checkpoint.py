"""Where the checkpoint of a training lies: its name is a digest of all that could change it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import keras

from classifier.base.cache import cache_folder
from classifier.base.splits import Split
from classifier.training.precision import environment


def checkpoint_path(
    models: Sequence[keras.Model], splits: Sequence[Split], settings: object, room: str
) -> Path:
    """Where the checkpoint of this very training lies: it changes with all that could change it.

    Args:
        models: to be trained or passed through; their structure and weights count.
        splits: that it is trained and validated on.
        settings: of the training; their `repr` counts.
        room: whose code trains: networks or transfer; that of its files counts.
    """
    digest = hashlib.sha256(f"{environment()} {settings!r}".encode())
    for model in models:
        digest.update(model.to_json().encode())
        for weights in model.get_weights():
            digest.update(weights.tobytes())
    for split in splits:
        digest.update(split.digest.encode())
        digest.update(split.labels.tobytes())
    for path in _code(room):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return cache_folder("checkpoints") / f"{digest.hexdigest()[:32]}.npz"


def _code(room: str) -> list[Path]:
    """List the code that can change a result: a training never goes on under changed code."""
    package = Path(__file__).parents[1]
    rooms = [path for name in ("training", room) for path in sorted((package / name).glob("*.py"))]
    return [package / "__init__.py", package / "base/files.py", package / "base/splits.py", *rooms]
