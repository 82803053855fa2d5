"""A benchmark's temporary folder: a copy of the checkout, the pictures, slices of the splits."""

import csv
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import ROOT, Worker, seconds_of
from benchmarks.worker import evenly
from classifier.base.checked import read
from classifier.base.params import load_params
from classifier.base.splits import SPLITS, write_split
from classifier.commands.demo import change_params, copy_checkout


class Workplace:
    """Where both sides find the same pictures.

    Attributes:
        project: a copy of the checkout; its data/splits holds the slice at hand.
        splits: the three splits whole; `tables` has path, label and SHA-256 of their pictures.
        pictures: the same pictures as files.
        unpacking: seconds that these took, a part of the tutorial way's whole run.
        slice: the tutorial way's folders, SPLIT/LABEL/NAME, of the slice at hand.
    """

    def __init__(self, folder: Path) -> None:
        """Copy the checkout, fetch, unpack and split the pictures."""
        self.folder = folder
        self.project, self.splits = folder / "project", folder / "splits"
        self.pictures, self.slice = folder / "pictures", folder / "slice"
        copy_checkout(self.project)
        self.change(read(Path(__file__).with_name("as_the_tutorials.yaml")))
        params = load_params(self.project / "params.yaml")
        self.image_size, self.batch_size = params.data.image_size, params.train.batch_size
        self.change({"finetune": {"batch_size": self.batch_size}})
        with_downloads(self.project)
        seconds_of(self.project, "python", "-m", "stages.download")
        start = time.perf_counter()
        shutil.unpack_archive(self.project / "data/raw/images.zip", self.pictures)
        self.unpacking = time.perf_counter() - start
        self.split()
        self.tables: dict[str, list[list[str]]] = {}
        for name in SPLITS:
            with (self.splits / f"{name}.csv").open(encoding="utf-8", newline="") as file:
                self.tables[name] = list(csv.reader(file))[1:]
        self.counts = {name: len(table) for name, table in self.tables.items()}

    def change(self, params: dict[str, Any]) -> None:
        """Change the copy's params.yaml."""
        change_params(self.project / "params.yaml", params)

    def split(self) -> float:
        """Run the split stage and keep what it made; return its seconds."""
        seconds, _ = seconds_of(self.project, "python", "-m", "stages.split")
        self.splits.mkdir(exist_ok=True)
        for name in SPLITS:
            for made in (self.project / "data/splits").glob(f"{name}.*"):
                made.replace(self.splits / made.name)
        return seconds

    def cut(self, train: int, validation: int) -> None:
        """Give both sides so many pictures, evenly spaced; of test as many as of validation."""
        shutil.rmtree(self.slice, ignore_errors=True)
        for name, count in zip(SPLITS, (train, validation, validation), strict=True):
            table = self.tables[name]
            rows = evenly(len(table), min(len(table), count))
            pixels = np.load(self.splits / f"{name}.npy", mmap_mode="r")
            chosen = [(table[i][0], table[i][1], table[i][2]) for i in rows]
            write_split(self.project / "data/splits", name, pixels, rows, chosen)
            for path, label, _ in chosen:
                picture = self.slice / name / label / Path(path).name
                picture.parent.mkdir(parents=True, exist_ok=True)
                picture.hardlink_to(self.pictures / path)

    def worker(self, side: str, part: str, **arguments: Any) -> Worker:
        """Start one part of one side in the copy."""
        return Worker(
            *(side, part, self.project, self.folder / f"{side}-{part}.log"),
            image_size=self.image_size,
            batch_size=self.batch_size,
            splits=str(self.splits),
            pictures=str(self.pictures),
            slice=str(self.slice),
            weights=str(next(self.project.glob("data/weights/vgg16/*.h5"))),
            **arguments,
        )


def with_downloads(project: Path) -> None:
    """Let a copy of the checkout have what was downloaded in this one."""
    downloads = Path(".cache/downloads")
    if (ROOT / downloads).is_dir():
        (project / downloads).parent.mkdir(parents=True)
        (project / downloads).symlink_to(ROOT / downloads)
