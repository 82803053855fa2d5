"""This project's side: the stages themselves and the functions they are made of, under a clock."""

import functools
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

# Keras is imported later, in the functions: what this project sets for TensorFlow comes before it.
from benchmarks.flops import product_rates, training_flop
from benchmarks.worker import Channel, evenly
from classifier.base.cache import cache_folder
from classifier.base.params import load_params
from classifier.base.splits import Split, read_split
from classifier.images.scan import scan

LIBRARIES = ("keras", "tensorflow", "jax", "torch", "numpy", "opencv-python-headless", "dvc")


def stage(channel: Channel, *, name: str, stop_after: int | None = None) -> None:
    """Run a training stage whole, pausing before every epoch until a command comes."""
    module = import_module(f"stages.{name}")
    import keras

    from benchmarks.stopwatch import Stopwatch

    fit = keras.Model.fit
    watch = Stopwatch(channel.say, wait=channel.hear, stop_after=stop_after)

    @functools.wraps(fit)
    def watched(*args: Any, callbacks: list[Any], **kwargs: Any) -> Any:
        return fit(*args, callbacks=[*callbacks, watch], **kwargs)

    # The stages take no callback. Keras's own entrance is where one comes in without them.
    with patch.object(keras.Model, "fit", watched), _as_for_many():
        module.main()


def in_memory(channel: Channel) -> None:
    """Take so many of train_baseline's steps by Keras's train_on_batch, on a batch in memory."""
    params = load_params()
    train = read_split("train")
    from classifier.networks.from_scratch import network
    from classifier.training.fit import start
    from classifier.training.outputs import loss_for
    from classifier.training.pooled import pooled

    chosen = start(params.seed, params.train.precision)
    model = network(params.train.arch)(params.data.image_size, len(train.classes), 0.0)
    model = pooled(model) if chosen.device == "cpu" else model
    model.compile(params.train.optimizer, loss_for(model), metrics=["accuracy"])
    count = params.train.batch_size
    batch = np.asarray(train.images[:count]), train.labels[:count]

    def work(steps: int) -> None:
        for _ in range(steps):
            model.train_on_batch(*batch)

    channel.time(work)


def _as_for_many() -> AbstractContextManager[object]:
    """A slice stands for a whole run: what is done for many pictures alone is done for it too."""
    from classifier.transfer import winograd

    return patch.object(winograd, "FEWEST_PICTURES", 0)


def features(channel: Channel, *, splits: str, weights: str | None) -> None:
    """Compute the frozen features of so many images, up to where the head or the blocks start."""
    params = load_params()
    finetune, augment = params.finetune, params.augment
    train = read_split("train", Path(splits))
    from classifier.training.augmentation import Augmentation
    from classifier.training.fit import start
    from classifier.transfer.backbone import cut
    from classifier.transfer.features import frozen_features
    from classifier.transfer.vgg16 import VGG16, vgg16
    from classifier.transfer.winograd import accelerated

    start(params.seed, params.train.precision)
    model = vgg16(params.data.image_size, len(train.classes), Path(weights) if weights else None)
    model = accelerated(model, len(train))
    ends = {
        "head": VGG16.head_starts_after[finetune.head],
        "blocks": VGG16.frozen_up_to(finetune.unfreeze),
    }
    frozen = {name: cut(model, end)[0] for name, end in ends.items()}
    options = Augmentation.of(augment)
    views = {"head": None, "blocks": options if finetune.views else None}

    def work(until: str, count: int) -> None:
        shutil.rmtree(cache_folder("features"))
        images = np.asarray(train.images[evenly(len(train), count)])
        some = Split(images, train.labels[:count], train.paths[:count], train.classes)
        frozen_features(frozen[until], some, augmentation=views[until])

    channel.time(work)


def decoding(channel: Channel, **_: Any) -> None:
    """Decode so many of the pictures, as the split stage does, without its other findings."""
    params = load_params()
    from classifier.sources.dataset import read_index

    paths = sorted((one.path for one in read_index(Path("data/raw/images.csv"))), key=_file_name)

    def work(count: int) -> None:
        with tempfile.TemporaryDirectory(dir=".") as folder:
            scan(
                Path("data/raw/images.zip"),
                [paths[i] for i in evenly(len(paths), count)],
                Path(folder) / "all.npy",
                _nothing,
                size=params.data.image_size,
                resize=params.data.resize,
                max_pixels=params.data.limits.pixels,
            )

    channel.time(work)


def _file_name(path: str) -> str:
    return Path(path).name


def _nothing(data: bytes, picture: Any) -> None:
    """What is found of a picture besides its pixels."""


def prediction_cnn5(channel: Channel, *, image_size: int, images: str, **_: Any) -> None:
    from classifier.networks.cnn5 import cnn5

    model = cnn5(image_size, 2)
    channel.time(_predicting(model, images))


def prediction_vgg16(
    channel: Channel, *, image_size: int, images: str, weights: str | None, **_: Any
) -> None:
    from classifier.transfer.vgg16 import vgg16

    model = vgg16(image_size, 2, Path(weights) if weights else None)
    channel.time(_predicting(model, images))


def _predicting(model: Any, images: str) -> Callable[[int], None]:
    """Save and load the model as the pipeline does, then score one batch again and again."""
    from classifier.evaluation.inference import class_scores, compiled, in_batches, in_precision
    from classifier.training.precision import choose
    from classifier.training.saving import load_model, save_model
    from classifier.transfer.winograd import accelerated

    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder) / "model.keras", model, {})
        loaded, _ = load_model(Path(folder) / "model.keras")
    batch = np.load(images)
    with _as_for_many():
        loaded = accelerated(in_precision(loaded, choose("auto").policy), len(batch))
    run = compiled(loaded)

    def work(count: int) -> None:
        for _ in range(count):
            class_scores(in_batches(run, batch)[0])

    return work


def facts(channel: Channel) -> None:
    """The machine, as this project sees it."""
    params = load_params()
    from classifier.networks.cnn5 import cnn5
    from classifier.training.precision import choose, cpu_flags

    chosen = choose("auto")
    model = cnn5(params.data.image_size, 2)
    import keras

    channel.say(
        {
            "class": "gpu" if chosen.device == "gpu" else cpu_class(cpu_flags()),
            "machine": {
                "processor": _processor(),
                "cores": len(os.sched_getaffinity(0)),
                "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9),
                "precision": f"{chosen.policy}: {chosen.reason}",
            },
            "versions": {
                "python": platform.python_version(),
                "Keras's backend": keras.backend.backend(),
                **_versions(),
            },
            "cnn5_gflop": training_flop(model) / 1e9,
            "products": product_rates(),
        }
    )


def cpu_class(flags: set[str]) -> str:
    """The class of a CPU by its flags in Linux's words."""
    if "amx_bf16" in flags:
        return "cpu-amx"
    return "cpu-avx512" if "avx512f" in flags else "cpu"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    found = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(found, platform.machine())


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


PARTS: dict[str, Callable[..., None]] = {
    "stage": stage,
    "in_memory": in_memory,
    "features": features,
    "decoding": decoding,
    "prediction_cnn5": prediction_cnn5,
    "prediction_vgg16": prediction_vgg16,
    "facts": facts,
}
