"""A benchmark's temporary folder: a copy of the checkout, the pictures, slices of the splits."""

import csv
import shutil
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import Worker, seconds_of
from benchmarks.worker import evenly
from classifier.base.params import Params, load_params
from classifier.base.splits import SPLITS, write_split
from classifier.commands.demo import change_params, copy_checkout

PLAIN = {
    "schedule": "constant",
    "warmup": 0,
    "patience": None,
    "weight_decay": 0.0,
    "label_smoothing": 0.0,
    "ema": None,
    "clip": None,
}
# What tutorial.py has written out. Both sides do the same, whatever params.yaml says.
AS_THE_TUTORIALS = {
    "data": {"source": "data/catalog/cats_and_dogs_filtered.yaml", "resize": "squash"},
    "split": {"method": "predefined", "drop_leaks": False},
    "train": {
        "arch": "cnn5",
        "optimizer": "rmsprop",
        "learning_rate": 0.001,
        "class_weight": "none",
        **PLAIN,
    },
    "augment": {
        "flip": "horizontal",
        "rotation": 0.1,
        "zoom": 0.2,
        "keep_aspect": True,
        "shift": 0.0,
        "shear": 0.0,
        "channel_shift": 0.0,
        "fill": "reflect",
        "crop": 1.0,
        "brightness": 0.0,
        "contrast": 0.0,
        "erasing": 0.0,
        "mixup": 0.0,
        "cutmix": 0.0,
        "dropout": 0.5,
    },
    "finetune": {
        "weights": "imagenet",
        "head": "dense",
        "dense_units": 256,
        "dropout": 0.5,
        "optimizer": "rmsprop",
        "head_learning_rate": 0.001,
        "unfreeze": 1,
        "learning_rate": 0.00001,
        "augment": True,
        **PLAIN,
    },
}
PREDICTED = 100  # pictures a batch of the prediction rows


class Workplace:
    """Where both sides find the same pictures.

    Attributes:
        project: a copy of the checkout; its data/splits holds the slice at hand.
        splits: the three splits whole.
        pictures: the tutorial way's folders, SPLIT/LABEL/NAME, of the same pictures, whole.
        slice: those of the slice at hand.
        params: of the copy.
        weights: VGG16's file in the copy; None where finetune.weights is none.
    """

    def __init__(self, folder: Path) -> None:
        """Name the parts of a folder; `fill` makes them."""
        self.folder = folder
        self.project = folder / "project"
        self.splits = folder / "splits"
        self.pictures = folder / "pictures"
        self.slice = folder / "slice"
        self.images = folder / "images.npy"

    def fill(self) -> dict[str, Any]:
        """Copy the checkout, fetch and split the pictures, unpack them for the tutorial way.

        Returns:
            How many pictures each split has, and seconds of the unpacking, which is part of the
            tutorial way's whole run.
        """
        copy_checkout(self.project)
        change_params(self.project / "params.yaml", AS_THE_TUTORIALS)
        self.params: Params = load_params(self.project / "params.yaml")
        self._fetch()
        self.split()
        self._sample()
        start = time.perf_counter()
        self._unpack()
        return self.counts | {"unpacking": time.perf_counter() - start}

    def _fetch(self) -> None:
        """Take what an earlier download left in the checkout, if it is this data set's."""
        facts = Path("data/raw/dataset.json")
        asked = f'"source": "{self.params.data.source}"'
        if facts.is_file() and asked in facts.read_text(encoding="utf-8"):
            shutil.copytree("data/raw", self.project / "data/raw")
            shutil.copytree("data/weights", self.project / "data/weights")
        else:
            seconds_of([sys.executable, "-m", "stages.download"], self.project)
        found = sorted((self.project / "data/weights/vgg16").glob("*.h5"))
        self.weights = str(found[0].relative_to(self.project)) if found else None

    def split(self) -> float:
        """Run the split stage and keep what it made; return its seconds."""
        seconds, _ = seconds_of([sys.executable, "-m", "stages.split"], self.project)
        self.splits.mkdir(exist_ok=True)
        for name in SPLITS:
            for suffix in (".npy", ".csv"):
                made = self.project / "data/splits" / (name + suffix)
                made.replace(self.splits / made.name)
        self.counts = {name: len(self._table(name)) for name in SPLITS}
        return seconds

    def _table(self, split: str) -> list[tuple[str, str, str]]:
        with (self.splits / f"{split}.csv").open(encoding="utf-8", newline="") as file:
            return [(row["path"], row["label"], row["sha256"]) for row in csv.DictReader(file)]

    def _sample(self) -> None:
        """The batch of the prediction rows, uint8 [100, size, size, 3]."""
        train = np.load(self.splits / "train.npy", mmap_mode="r")
        np.save(self.images, train[evenly(len(train), PREDICTED)])

    def _unpack(self) -> None:
        with zipfile.ZipFile(self.project / "data/raw/images.zip") as archive:
            for split in SPLITS:
                for path, label, _ in self._table(split):
                    to = self.pictures / split / label / Path(path).name
                    to.parent.mkdir(parents=True, exist_ok=True)
                    to.write_bytes(archive.read(path))

    def cut(self, train: int, validation: int, test: int | None = None) -> None:
        """Give both sides so many pictures of each split, evenly spaced."""
        shutil.rmtree(self.slice, ignore_errors=True)
        for name, count in {"train": train, "validation": validation, "test": test}.items():
            table = self._table(name)
            rows = evenly(len(table), min(len(table), validation if count is None else count))
            pixels = np.load(self.splits / f"{name}.npy", mmap_mode="r")
            chosen = [table[i] for i in rows]
            write_split(self.project / "data/splits", name, pixels, rows, chosen)
            for path, label, _ in chosen:
                picture = Path(name, label, Path(path).name)
                (self.slice / picture).parent.mkdir(parents=True, exist_ok=True)
                (self.slice / picture).hardlink_to(self.pictures / picture)

    def worker(self, side: str, part: str, **arguments: Any) -> Worker:
        """Start one part of one side in the copy."""
        log = self.folder / f"{side}-{part}.log"
        return Worker(side, part, self.project, log, **arguments)
