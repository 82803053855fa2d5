"""`dvc repro` with nothing to do, and run whole."""

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT, printed, seconds_of
from benchmarks.workplace import with_downloads
from classifier.base.checked import read
from classifier.base.errors import UserError
from classifier.commands.demo import copy_checkout

REPEATS = 10  # it takes a second, and what else a machine does shows in one
DVC = ("python", "-m", "dvc")


def no_op(project: Path, counts: Mapping[str, int]) -> dict[str, Any]:
    """Time `dvc repro` in a copy of the checkout whose outputs are all there.

    What they hold is of no account, as DVC knows them by size and time: zeros are committed.
    `counts` are the pictures of each split.
    """
    copy_checkout(project)
    seconds_of(project, "git", "init", "--quiet")
    sizes = {f"data/splits/{name}.npy": 180 * 180 * 3 * n for name, n in counts.items()}
    sizes["data/raw/images.zip"] = 23_000 * sum(counts.values())
    for stage in read(project / "dvc.yaml")["stages"].values():
        for entry in (*stage.get("outs", ()), *stage.get("metrics", ()), *stage.get("plots", ())):
            name = entry if isinstance(entry, str) else next(iter(entry))
            path = project / name if Path(name).suffix else project / name / "file"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}\n", encoding="utf-8")  # DVC wants metrics to be text
            os.truncate(path, sizes.get(name, path.stat().st_size))
    seconds_of(project, *DVC, "commit", "--force")
    os.sync()  # nobody's second `dvc repro` comes right behind a gigabyte on its way to the disk
    runs = [seconds_of(project, *DVC, "repro") for _ in range(1 + REPEATS)]
    if any("Running stage" in said for _, said in runs):
        raise UserError("dvc repro found something to do where all outputs were committed")
    shutil.rmtree(project)
    return {"pictures": sum(counts.values()), "seconds": [taken for taken, _ in runs[1:]]}


def run_whole(folder: Path) -> dict[str, Any]:
    """Time all that follows the download in a fresh clone, as a user runs it: hours, perhaps.

    A stage's seconds are with what DVC does around it.
    """
    clone = folder / "checkout"
    seconds_of(folder, "git", "clone", "--quiet", str(ROOT), str(clone))
    # A result that is committed would be taken for this run's.
    (clone / "dvc.lock").unlink(missing_ok=True)
    with_downloads(clone)
    seconds_of(clone, *DVC, "repro", "download")
    start, stages, began = time.perf_counter(), list[str](), list[float]()
    for line in printed(clone, *DVC, "repro"):
        print(line, end="", flush=True)
        if line.startswith("Running stage"):
            stages.append(line.split("'")[1])
            began.append(time.perf_counter())
    ends = [*began[1:], time.perf_counter()]
    seconds = [end - one for one, end in zip(began, ends, strict=True)]
    return {"seconds": [ends[-1] - start], "stages": dict(zip(stages, seconds, strict=True))}
