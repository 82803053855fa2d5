"""Networks as they left ImageNet: the five likeliest of its thousand classes, by name."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from classifier.base.cache import cache_folder
from classifier.base.errors import UserError
from classifier.base.params import Params
from classifier.base.quiet import stderr_silenced
from classifier.commands.predict import Complain, Prediction, batches, decide, decoded
from classifier.evaluation.calibration_file import Calibration
from classifier.sources import catalog
from classifier.sources.fetch import fetch

CATALOGUE = Path("data/catalog")
# By name: Keras's builder, and the catalogue's entry of the whole network's weights.
NETWORKS = {"mobilenet": ("MobileNet", "mobilenet"), "vgg16": ("VGG16", "imagenet_classifier")}
SIZE = 224  # of the pictures that they were trained on, pixels
RUNNERS_UP = 4
UNCALIBRATED = Calibration(temperature=1.0, threshold=None, positive=None)


def predict(
    sources: Sequence[Path], name: str, params: Params, complain: Complain
) -> Iterator[Prediction]:
    """Yield a prediction for each picture, as `commands.predict.predict` does; uncalibrated.

    Args:
        sources: pictures, folders and archives.
        name: of `NETWORKS`.
        params: of data, all but image_size is used.
        complain: is given the path of a file that shows no picture, and the reason.

    Raises:
        UserError: there is no such network, or its weights or classes cannot be had.
    """
    if name not in NETWORKS:
        known = " or ".join(f"imagenet:{network}" for network in NETWORKS)
        raise UserError(f"--model is 'imagenet:{name}', allowed: {known}")
    builder, entry = NETWORKS[name]
    classes = class_names(fetched("imagenet.yaml", "classes"))
    weights = fetched("weights.yaml", entry)
    with stderr_silenced():
        import keras

        from classifier.evaluation.inference import class_scores, compiled
        from classifier.transfer.backbone import load_weights

        model = getattr(keras.applications, builder)(weights=None)
        preprocess = getattr(keras.applications, name).preprocess_input
    load_weights(model, weights, f"{builder}'s weights of a thousand classes")
    # What auto means, the pipeline finds in its own pictures, and may not have run.
    grey16 = params.data.grey16 if params.data.levels else "0-65535"
    data = params.data.model_copy(update={"image_size": SIZE, "grey16": grey16})
    run = compiled(model)
    for paths, pixels in batches(
        decoded(sources, params.model_copy(update={"data": data}), complain)
    ):
        found = class_scores(run(preprocess(pixels.astype(np.float32))))
        yield from decide(paths, found, classes, UNCALIBRATED, RUNNERS_UP)


def fetched(catalogue: str, entry: str) -> Path:
    """Get the file of a catalogue's entry: from the mirror, the download cache or the web."""
    file = catalog.load_weights(CATALOGUE / catalogue, entry).file
    ways_on = f"set DATA_MIRROR to a folder that holds {file.name}"
    mirror = os.environ.get("DATA_MIRROR")
    return fetch(file, cache_folder("downloads"), mirror, ways_on=ways_on).path


def class_names(path: Path) -> list[str]:
    """Read Keras's class index: number to WordNet's identifier and name.

    Raises:
        UserError: the file is none.
    """
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        return [index[str(number)][1].replace("_", " ") for number in range(1000)]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not list ImageNet's thousand classes") from error
