"""Weights of the user's own, that finetune.weights or mobilenet.weights names by a path.

DVC does not watch that file: the same key also holds the catalogue's names, and a dependency must
exist. What download took is recorded, so that `python -m classifier check` can tell a change.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from classifier.base.cache import project_root
from classifier.base.errors import UserError

NAMES = ("imagenet", "none")  # what these keys may be besides a path


def find_own(weights: str) -> Path | None:
    """Find the file at a path, relative to the working directory or else the user's checkout.

    An experiment's temporary copy holds what is tracked, as it was when it was queued; whatever
    else the user has lies in the checkout alone.
    """
    places = (folder / weights for folder in (Path(), project_root()))
    return next((path for path in places if path.is_file()), None)


def own_facts(weights: str, path: Path) -> dict[str, Any]:
    """Return what is recorded of a user's file: the path as given, name, bytes and SHA-256."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "source": weights,
        "name": path.name,
        "bytes": path.stat().st_size,
        "sha256": sha256,
    }


def check_own(key: str, backbone: str, weights: str, dataset: Path) -> None:
    """Refuse a user's file whose content is not what download took from that path.

    Args:
        key: of params.yaml, such as finetune.weights.
        backbone: whose weights they are, such as vgg16.
        weights: the key's value.
        dataset: dataset.json; where it is missing, or of other weights, download will run anyway.

    Raises:
        UserError: the content has changed.
    """
    path = None if weights in NAMES else find_own(weights)
    if path is None or not dataset.is_file():
        return
    recorded = json.loads(dataset.read_text(encoding="utf-8")).get("weights") or {}
    taken = recorded.get(backbone)
    if not taken or taken["source"] != weights:
        return
    if path.stat().st_size != taken["bytes"] or own_facts(weights, path) != taken:
        raise UserError(
            f"{key} is {weights!r}, whose content has changed, which DVC does not see: "
            "type dvc repro -f download, or give the file a name that it never had"
        )
