"""`python -m benchmarks.size`: memory and time of this project at 5,000 to 100,000 images."""

import io
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.__main__ import measure
from benchmarks.measure import Parts
from benchmarks.processes import seconds_of
from benchmarks.workplace import Workplace
from classifier.base.errors import one_line_errors
from classifier.base.files import write_json
from classifier.sources.dataset import Labelled, write_images, write_index

SIZES = (5_000, 25_000, 100_000)
STEPS = 60  # of an epoch that are timed, and during which memory is sampled
HELD_OUT = 320  # pictures of validation and of test each
SMALL = 64  # height and width of the generated JPEGs, pixels


def sizes(place: Workplace) -> Parts:
    """Split generated pictures and train on them, a bounded number of steps, at each size."""
    held_out = {"validation": HELD_OUT, "test": HELD_OUT}
    place.change({"split": {"method": "random", "random": held_out}, "train": {"epochs": 1}})
    split, trained = {}, {}
    free = shutil.disk_usage(place.folder).free
    for count in SIZES:
        # The splits hold every image once, and the stage has a second copy while it writes them.
        needed = 2 * count * place.image_size**2 * 3 + 1e9
        if free < needed:
            print(f"{count:,} images left out: {needed / 1e9:.0f} GB of free disk space are needed")
            continue
        print(f"{count:,} images ...", flush=True)
        split[str(count)] = {"seconds": split_seconds(place.project, count)}
        worker = place.worker("ours", "train_baseline", stop_after=STEPS)
        with ThreadPoolExecutor(1) as thread:
            peaks = thread.submit(memory_peaks, worker.process.pid)
            with worker:
                measured = worker.run()
        # The first step compiles.
        step = (measured["train"] - measured["first"]) / (measured["steps"] - 1)
        trained[str(count)] = peaks.result() | {"seconds": count / place.batch_size * step}
    if not trained:
        return {}
    note = f"{STEPS - 1} steps of each epoch timed, the others at their rate"
    return {
        "sizes_split": {"sizes": split, "note": f"of JPEGs of {SMALL} pixels"},
        "sizes_train": {"sizes": trained, "note": note},
    }


def split_seconds(project: Path, count: int) -> float:
    """Time the split stage on so many generated pictures."""
    data = project / "data"
    shutil.rmtree(data / "splits", ignore_errors=True)
    index = [Labelled(f"{i % 2}/{i:06d}.jpg", str(i % 2), "") for i in range(count)]
    names = [one.path for one in index]
    write_images(data / "raw/images.zip", zip(names, drawn(count), strict=True))
    write_index(data / "raw/images.csv", index)
    write_json(data / "raw/dataset.json", {"skipped": []})
    return seconds_of(project, "python", "-m", "stages.split")[0]


def drawn(count: int) -> Iterator[bytes]:
    """JPEGs of coarse noise, no two alike: as many near-duplicates as chance gives."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        content = io.BytesIO()
        coarse.resize((SMALL, SMALL), Image.Resampling.BICUBIC).save(content, "JPEG", quality=90)
        yield content.getvalue()


def memory_peaks(pid: int) -> dict[str, float]:
    """Sample the peaks of a process's memory, GB, until it ends."""
    status, peaks = Path(f"/proc/{pid}/status"), {"anonymous_gb": 0.0, "mapped_gb": 0.0}
    with suppress(FileNotFoundError, ProcessLookupError):
        while found := re.findall(r"Rss(?:Anon|File):\s+(\d+) kB", status.read_text()):
            for key, kilobytes in zip(peaks, found, strict=True):
                peaks[key] = max(peaks[key], int(kilobytes) * 1024 / 1e9)
            time.sleep(0.05)
    return peaks


if __name__ == "__main__":
    with one_line_errors():
        measure({"sizes": sizes})
