"""This project's side: the stages themselves and the functions they are made of, under a clock."""

import math
import os
import platform
import shutil
import sys
import timeit
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

# Keras is imported later, in the functions: what this project sets for TensorFlow comes before it.
from benchmarks.worker import Channel, evenly
from classifier.base.cache import cache_folder
from classifier.base.params import load_params
from classifier.base.splits import Split, read_split
from classifier.images.scan import scan

# A slice stands for a whole run: what is done for many pictures alone is done for it too.
AS_FOR_MANY = ("classifier.transfer.winograd.FEWEST_PICTURES", 0)


def stage(name: str, channel: Channel, *, stop_after: int | None = None, **_: Any) -> None:
    """Run a training stage whole, pausing before every epoch until a command comes."""
    import keras

    from benchmarks.stopwatch import Stopwatch

    fit, watch = keras.Model.fit, Stopwatch(channel.say, channel.hear, stop_after)

    def watched(*args: Any, callbacks: list[Any], **kwargs: Any) -> Any:
        return fit(*args, callbacks=[*callbacks, watch], **kwargs)

    _run(name, watched)


def in_memory(channel: Channel, **_: Any) -> None:
    """Take so many of train_baseline's steps by Keras's train_on_batch, on its first batch."""

    def fit(model: Any, batches: Any, **_: Any) -> None:
        batch = batches[0]
        channel.repeat(lambda: model.train_on_batch(*batch))
        sys.exit()  # the stage has no epoch to go on with

    _run("train_baseline", fit)


def _run(name: str, fit: Callable[..., Any]) -> None:
    """Run a stage; it takes no callback, so Keras's own entrance is replaced."""
    import keras

    with patch.object(keras.Model, "fit", fit), patch(*AS_FOR_MANY):
        import_module(f"stages.{name}").main()


def features(channel: Channel, *, splits: str, weights: str, **_: Any) -> None:
    """Compute the frozen features of so many images, up to where the head or the blocks start."""
    params, train = load_params(), read_split("train", Path(splits))
    from classifier.training.augmentation import Augmentation
    from classifier.training.fit import start
    from classifier.transfer.backbone import cut
    from classifier.transfer.features import frozen_features
    from classifier.transfer.vgg16 import VGG16, vgg16
    from classifier.transfer.winograd import accelerated

    start(params.seed, params.train.precision)
    model = vgg16(params.data.image_size, len(train.classes), Path(weights))
    model = accelerated(model, len(train))
    drawn = Augmentation.of(params.augment) if params.finetune.views else None
    frozen = {
        "head": (cut(model, VGG16.head_starts_after[params.finetune.head])[0], None),
        "blocks": (cut(model, VGG16.frozen_up_to(params.finetune.unfreeze))[0], drawn),
    }

    def work(until: str, count: int) -> None:
        shutil.rmtree(cache_folder("features"))
        images = np.asarray(train.images[evenly(len(train), count)])
        some = Split(images, train.labels[:count], train.paths[:count], train.classes)
        layers, augmentation = frozen[until]
        frozen_features(layers, some, augmentation=augmentation)

    channel.time(work)


def decoding(channel: Channel, *, image_size: int, **_: Any) -> None:
    """Decode so many of the pictures, as the split stage does, without its other findings."""
    data = load_params().data
    from classifier.sources.dataset import read_index

    paths = [one.path for one in read_index(Path("data/raw/images.csv"))]
    paths.sort(key=lambda path: Path(path).name)
    archive, into = Path("data/raw/images.zip"), Path("decoded.npy")
    how: dict[str, Any] = {"resize": data.resize, "max_pixels": data.limits.pixels}

    def work(count: int) -> None:
        some = [paths[i] for i in evenly(len(paths), count)]
        scan(archive, some, into, _nothing, size=image_size, **how)

    channel.time(work)


def _nothing(data: bytes, picture: Any) -> None:
    """Return what is found of a picture besides its pixels."""


def prediction(
    name: str, channel: Channel, *, image_size: int, splits: str, weights: str, **_: Any
) -> None:
    """Score one batch again and again, by a model saved and loaded as the pipeline does."""
    from classifier.evaluation.inference import class_scores, compiled, in_batches, in_precision
    from classifier.networks.cnn5 import cnn5
    from classifier.training.precision import choose
    from classifier.training.saving import load_model, save_model
    from classifier.transfer.vgg16 import vgg16
    from classifier.transfer.winograd import accelerated

    batch = np.array(read_split("train", Path(splits)).images[:100])
    built = cnn5(image_size, 2) if name == "cnn5" else vgg16(image_size, 2, Path(weights))
    saved = Path(f"{name}.keras")
    save_model(saved, built, {})
    model, _ = load_model(saved)
    with patch(*AS_FOR_MANY):
        run = compiled(accelerated(in_precision(model, choose("auto").policy), len(batch)))
    channel.repeat(lambda: class_scores(in_batches(run, batch)[0]))


def facts(channel: Channel) -> None:
    """Say what the machine is, as this project sees it in a process of its own."""
    from classifier.networks.cnn5 import cnn5
    from classifier.training.precision import choose, cpu_flags

    chosen = choose("auto")
    model = cnn5(load_params().data.image_size, 2)
    import keras

    backend = keras.backend.backend()
    libraries = ("keras", backend, "numpy", "opencv-python-headless", "dvc")
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    channel.hear()
    channel.say(
        {
            "class": "gpu" if chosen.device == "gpu" else cpu_class(cpu_flags()),
            "machine": {
                "processor": next(names, platform.machine()),
                "cores": len(os.sched_getaffinity(0)),
                "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9),
                "precision": f"{chosen.policy}: {chosen.reason}",
            },
            "versions": {
                "python": platform.python_version(),
                "Keras's backend": backend,
                **{name: version(name) for name in libraries},
            },
            "cnn5_gflop": training_flop(model) / 1e9,
            "products": product_rates(),
        }
    )


def cpu_class(flags: set[str]) -> str:
    """Return the class of a CPU by its flags in Linux's words."""
    if "amx_bf16" in flags:
        return "cpu-amx"
    return "cpu-avx512" if "avx512f" in flags else "cpu"


def training_flop(model: Any) -> float:
    """Floating-point operations of a training step, an image.

    Two (multiply and add) for every product of convolutions and dense layers, in three passes:
    forward, the gradient of the kernel and that of the input; the first layer needs no gradient of
    its input. What is left out (biases, pooling, activations, the optimizer) is a few per cent.
    """
    total, passes = 0, 2
    for layer in model.layers:
        kind = type(layer).__name__
        if kind in ("Conv2D", "Dense"):
            positions = math.prod(layer.output.shape[1:3]) if kind == "Conv2D" else 1
            total += 2 * passes * positions * math.prod(layer.kernel.shape)
            passes = 3
    return float(total)


def product_rates() -> dict[str, float]:
    """GFLOP/s of numpy's product of two float32 matrices [n, n], the best of four, by n."""
    rates = {}
    for n in (512, 1024, 2048, 4096):
        a = np.random.default_rng(0).random((n, n), np.float32)
        seconds = timeit.repeat("a @ a", number=1, repeat=4, globals={"a": a})
        rates[str(n)] = 2 * n**3 / min(seconds) / 1e9
    return rates


PARTS: dict[str, Callable[..., None]] = {
    "train_baseline": partial(stage, "train_baseline"),
    "train_augmented": partial(stage, "train_augmented"),
    "head": partial(stage, "finetune_vgg16"),
    "last_block": partial(stage, "finetune_vgg16"),
    "in_memory": in_memory,
    "features": features,
    "decoding": decoding,
    "prediction_cnn5": partial(prediction, "cnn5"),
    "prediction_vgg16": partial(prediction, "vgg16"),
    "facts": facts,
}
