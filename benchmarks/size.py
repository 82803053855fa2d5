"""`python -m benchmarks.size`: memory and time of this project at 5,000 to 100,000 images."""

import argparse
import csv
import io
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.machine import this_machine
from benchmarks.processes import ROOT, Worker, seconds_of
from benchmarks.report import keep
from classifier.base.errors import one_line_errors
from classifier.base.files import write_json
from classifier.base.params import load_params
from classifier.commands.demo import change_params, copy_checkout
from classifier.sources.dataset import Labelled, write_images, write_index

SIZES = (5_000, 25_000, 100_000)
STEPS = 60  # of an epoch that are timed, and during which memory is sampled
VALIDATED = 320  # pictures
SAMPLED_EVERY_S = 0.05
SMALL = 64  # height and width of the generated JPEGs, pixels
BLOCK = 500  # images written at once
CLASSES = ("cats", "dogs")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.size", description=__doc__)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of images")
    sizes = [int(n) for n in parser.parse_args().sizes.split(",")]
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        results = this_machine(Path(folder))
        image_size = results["settings"]["image_size"]
        # Splits hold every image once, and split has a second copy of all while it writes them.
        sizes = [n for n in sizes if enough_room(Path(folder), n, image_size)]
        if not sizes:
            return
        project = Path(folder) / "project"
        copy_checkout(project)
        changes = {"train": {"epochs": 1}, "split": {"method": "random"}}
        change_params(project / "params.yaml", changes)
        trained = {str(n): train(project, n, image_size) for n in sizes}
        note = f"{STEPS - 1} steps of each epoch timed, the others at their rate"
        keep(results, {"sizes_train": {"sizes": trained, "note": note}})
        split = {str(n): {"seconds": split_seconds(project, n)} for n in sizes}
        note = f"of JPEGs of {SMALL} pixels"
        keep(results, {"sizes_split": {"sizes": split, "note": note}})


def enough_room(folder: Path, count: int, image_size: int) -> bool:
    """Whether there is disk space for so many images twice; says in a line when not."""
    needed = 2 * count * image_size**2 * 3 + 1e9
    free = shutil.disk_usage(folder).free
    if free < needed:
        sizes = f"{needed / 1e9:.0f} GB are needed in {folder.parent}, {free / 1e9:.0f} GB are free"
        print(f"{count:,} images left out: {sizes}")
    return free >= needed


def train(project: Path, count: int, image_size: int) -> dict[str, float]:
    """Run train_baseline on generated images for a bounded number of steps.

    Returns:
        Peak anonymous and mapped memory of the process, GB; seconds of a step, and of all training
        steps of an epoch at this rate.
    """
    print(f"train_baseline, {count:,} images ...", flush=True)
    shutil.rmtree(project / "data/splits", ignore_errors=True)
    write_arrays(project / "data/splits", "train", count, image_size)
    write_arrays(project / "data/splits", "validation", VALIDATED, image_size)
    log = project.parent / "train.log"
    worker = Worker("ours", "stage", project, log, name="train_baseline", stop_after=STEPS)
    with Memory(worker.process.pid) as memory, worker:
        measured = worker.run()
    # The first call is compiled.
    step = (measured["train"] - measured["first"]) / (measured["steps"] - measured["first_steps"])
    batch = load_params(project / "params.yaml").train.batch_size
    return {
        "anonymous_gb": memory.anonymous / 1e9,
        "mapped_gb": memory.mapped / 1e9,
        "step": step,
        "seconds": count / batch * step,
    }


class Memory:
    """The peaks of a process's memory, sampled while the block runs."""

    def __init__(self, pid: int) -> None:
        self.status = Path(f"/proc/{pid}/status")
        self.anonymous = self.mapped = 0  # bytes: RssAnon and RssFile
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._sample)

    def _sample(self) -> None:
        while not self.over.wait(SAMPLED_EVERY_S):
            try:
                text = self.status.read_text(encoding="ascii", errors="replace")
            except OSError:
                return
            found = dict(line.split(":", 1) for line in text.splitlines())
            if "RssAnon" not in found:  # it has ended
                return
            kilobytes = {key: int(found[key].split()[0]) for key in ("RssAnon", "RssFile")}
            self.anonymous = max(self.anonymous, 1024 * kilobytes["RssAnon"])
            self.mapped = max(self.mapped, 1024 * kilobytes["RssFile"])

    def __enter__(self) -> "Memory":
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.thread.join()


def write_arrays(folder: Path, name: str, count: int, image_size: int) -> None:
    """Write a split in the form of classifier/splits.py: noise, the same block again and again."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = (count, image_size, image_size, 3)
    images = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, shape)
    block = np.random.default_rng(0).integers(0, 256, (BLOCK, *shape[1:]), np.uint8)
    for start in range(0, count, BLOCK):
        some = images[start : start + BLOCK]
        some[:] = block[: len(some)]
    images.flush()
    with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "label", "sha256"])
        writer.writerows((f"{i}.jpg", CLASSES[i % 2], f"{i:064x}") for i in range(count))


def split_seconds(project: Path, count: int) -> float:
    """Time the split stage on generated pictures."""
    print(f"split, {count:,} images ...", flush=True)
    raw = project / "data/raw"
    shutil.rmtree(project / "data/splits", ignore_errors=True)
    raw.mkdir(parents=True, exist_ok=True)
    (project / "plots").mkdir(exist_ok=True)
    names = [f"{CLASSES[i % 2]}/{i:06d}.jpg" for i in range(count)]
    write_images(raw / "images.zip", zip(names, drawn(count), strict=True))
    index = [Labelled(name, name.partition("/")[0], "") for name in names]
    write_index(raw / "images.csv", index)
    write_json(raw / "dataset.json", {"skipped": []})
    start = time.perf_counter()
    seconds_of([sys.executable, "-m", "stages.split"], project)
    return time.perf_counter() - start


def drawn(count: int) -> Iterator[bytes]:
    """JPEGs of coarse noise, no two alike: as many near-duplicates as chance gives."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        content = io.BytesIO()
        coarse.resize((SMALL, SMALL), Image.Resampling.BICUBIC).save(content, "JPEG", quality=90)
        yield content.getvalue()


if __name__ == "__main__":
    with one_line_errors():
        main()
