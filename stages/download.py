"""Fetch the data set and the pre-trained weights; all network access is here."""

import os
import shutil
from pathlib import Path
from typing import Any

from classifier.archives import Limits
from classifier.cache import cache_folder
from classifier.catalog import load_dataset, load_weights
from classifier.collecting import collect, collect_drawn
from classifier.downloading import fetch
from classifier.errors import UserError, one_line_errors
from classifier.files import whole
from classifier.params import Params, load_params

RAW = Path("data/raw")
WEIGHTS = Path("data/weights")
WEIGHTS_CATALOGUE = Path("data/catalog/weights.yaml")


def main() -> None:
    params = load_params()
    download_weights(params)
    source = Path(params.data.source)
    if source.suffix in (".yaml", ".yml"):
        download_dataset(source, params)
    else:
        facts = {"name": source.name, "source": params.data.source}
        collect(source, RAW, limits(params), facts)


def download_dataset(catalogue: Path, params: Params) -> None:
    """Fetch or draw what a catalogue file describes."""
    entry = load_dataset(catalogue)
    facts: dict[str, Any] = {
        "name": entry.name,
        "source": params.data.source,
        "terms": entry.terms,
        "citation": entry.citation,
    }
    if entry.drawn:
        collect_drawn(entry.drawn, RAW, facts)
    if not entry.file:
        return
    fetched = fetch(entry.file, cache_folder("downloads"), os.environ.get("DATA_MIRROR"))
    facts["file"] = {
        "name": entry.file.name,
        "urls": entry.file.urls,
        "bytes": fetched.bytes,
        "sha256": fetched.sha256,
        "note": fetched.note,
    }
    collect(fetched.path, RAW, limits(params), facts)


def limits(params: Params) -> Limits:
    """What is taken from a source at most."""
    given = params.data.limits
    return Limits(given.files, given.file_bytes, given.total_bytes, given.ratio)


def download_weights(params: Params) -> None:
    """Put the weights that finetune.weights names where finetune_vgg16 looks for them."""
    path = weights_file(params)
    # Keras tells its two formats of weights files apart by their names.
    name = "vgg16.weights.h5" if path and path.name.endswith(".weights.h5") else "vgg16.h5"
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    if path:
        with whole(WEIGHTS / name) as beside:
            shutil.copyfile(path, beside)
    for other in WEIGHTS.iterdir():
        if not path or other.name != name:
            other.unlink()


def weights_file(params: Params) -> Path | None:
    """The file that finetune.weights names, downloaded where that is a catalogue's name."""
    weights = params.finetune.weights
    if weights == "none":
        return None
    if weights != "imagenet":
        if not Path(weights).is_file():
            raise UserError(f"finetune.weights is {weights!r}, allowed: imagenet, none or a file")
        return Path(weights)
    name = "imagenet" if params.finetune.head == "dense" else "imagenet_classifier"
    file = load_weights(WEIGHTS_CATALOGUE, name).file
    ways_on = (
        f"set DATA_MIRROR to a folder or URL that holds {file.name}, "
        "finetune.weights to the path of a weights file, or finetune.weights: none"
    )
    mirror = os.environ.get("DATA_MIRROR")
    return fetch(file, cache_folder("downloads"), mirror, ways_on=ways_on).path


if __name__ == "__main__":
    with one_line_errors():
        main()
