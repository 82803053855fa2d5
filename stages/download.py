"""Fetch the data set and the pre-trained weights; all network access is here."""

import os
import shutil
from pathlib import Path
from typing import Any

from classifier.base.cache import cache_folder
from classifier.base.errors import UserError, one_line_errors
from classifier.base.files import whole
from classifier.base.params import Params, load_params
from classifier.sources.catalog import RemoteFile, load_dataset, load_weights
from classifier.sources.collect import collect, collect_drawn
from classifier.sources.fetch import Fetched, fetch
from classifier.sources.weights import find_own, own_facts

RAW = Path("data/raw")
WEIGHTS = Path("data/weights")
WEIGHTS_CATALOGUE = Path("data/catalog/weights.yaml")


def main() -> None:
    """Write the pictures to data/raw and the weights to data/weights."""
    params = load_params()
    weights = download_weights(params)
    source = Path(params.data.source)
    if source.suffix in (".yaml", ".yml"):
        download_dataset(source, params, weights)
    else:
        facts = {"name": source.name, "source": params.data.source, "weights": weights}
        collect(source, RAW, params.data.limits, facts, params.data.classes)


def download_dataset(catalogue: Path, params: Params, weights: dict[str, Any]) -> None:
    """Fetch or draw what a catalogue file describes; `weights` are recorded beside it."""
    entry = load_dataset(catalogue)
    facts: dict[str, Any] = {
        "name": entry.name,
        "source": params.data.source,
        "terms": entry.terms,
        "citation": entry.citation,
        "weights": weights,
    }
    if entry.drawn:
        collect_drawn(entry.drawn, RAW, facts)
    if not entry.file:
        return
    fetched = fetch(entry.file, cache_folder("downloads"), os.environ.get("DATA_MIRROR"))
    facts["file"] = file_facts(entry.file, fetched)
    collect(fetched.path, RAW, params.data.limits, facts, params.data.classes)


def file_facts(file: RemoteFile, fetched: Fetched) -> dict[str, Any]:
    """Return what is recorded of a file of the catalogue, as it was found."""
    return {
        "name": file.name,
        "urls": file.urls,
        "bytes": fetched.bytes,
        "sha256": fetched.sha256,
        "note": fetched.note,
    }


def download_weights(params: Params) -> dict[str, dict[str, Any]]:
    """Put each backbone's weights where its stage looks for them.

    Returns:
        What is to be recorded of its file, by backbone; those whose weights are `none` have none.
    """
    vgg16 = "imagenet_classifier" if params.finetune.head == "classifier" else "imagenet"
    wanted = {
        "vgg16": ("finetune.weights", params.finetune.weights, vgg16),
        "mobilenet": ("mobilenet.weights", params.mobilenet.weights, "mobilenet"),
    }
    recorded = {}
    for backbone, (key, weights, in_catalogue) in wanted.items():
        path, facts = weights_file(key, weights, in_catalogue)
        # Keras tells its two formats of weights files apart by their names.
        suffix = ".weights.h5" if path and path.name.endswith(".weights.h5") else ".h5"
        target = WEIGHTS / backbone / f"{backbone}{suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        if path:
            with whole(target) as beside:
                shutil.copyfile(path, beside)
        for other in target.parent.iterdir():
            if not path or other != target:
                other.unlink()
        if facts:
            recorded[backbone] = facts
    return recorded


def weights_file(
    key: str, weights: str, in_catalogue: str
) -> tuple[Path | None, dict[str, Any] | None]:
    """Find the file that a key of params.yaml names, and what is to be recorded of it.

    Args:
        key: such as finetune.weights, for the messages.
        weights: its value.
        in_catalogue: the entry that is downloaded where the value is imagenet.
    """
    if weights == "none":
        return None, None
    if weights != "imagenet":
        own = find_own(weights)
        if own is None:
            raise UserError(f"{key} is {weights!r}, allowed: imagenet, none or a file")
        return own, own_facts(weights, own)
    entry = load_weights(WEIGHTS_CATALOGUE, in_catalogue)
    ways_on = (
        f"set DATA_MIRROR to a folder or URL that holds {entry.file.name}, "
        f"{key} to the path of a weights file, or {key}: none"
    )
    mirror = os.environ.get("DATA_MIRROR")
    fetched = fetch(entry.file, cache_folder("downloads"), mirror, ways_on=ways_on)
    facts = {"source": weights} | file_facts(entry.file, fetched)
    return fetched.path, facts | {"terms": entry.terms, "citation": entry.citation}


if __name__ == "__main__":
    with one_line_errors():
        main()
