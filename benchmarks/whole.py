"""`dvc repro` run whole, in a fresh clone of the checkout, from images.zip."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT, environment, seconds_of
from classifier.base.errors import UserError

DOWNLOADS = Path(".cache/downloads")


def run_whole(folder: Path) -> dict[str, Any]:
    """Time all that follows the download, as a user runs it: hours on a slow machine.

    Args:
        folder: that the clone is made in.

    Returns:
        Seconds of the whole, and of each stage with what DVC does around it.
    """
    clone = folder / "checkout"
    seconds_of(["git", "clone", "--quiet", str(ROOT), str(clone)], folder)
    # A result that is committed would be taken for this run's.
    (clone / "dvc.lock").unlink(missing_ok=True)
    downloaded = ROOT / DOWNLOADS
    if downloaded.is_dir():
        (clone / DOWNLOADS).parent.mkdir(parents=True)
        (clone / DOWNLOADS).symlink_to(downloaded)
    dvc = [sys.executable, "-m", "dvc"]
    seconds_of([*dvc, "repro", "download"], clone)
    start = time.perf_counter()
    stages = _stages_of([*dvc, "repro"], clone)
    return {"seconds": [time.perf_counter() - start], "stages": stages}


def _stages_of(command: list[str], folder: Path) -> dict[str, float]:
    """Run DVC, show what it prints, and time what lies between its lines about stages."""
    began: dict[str, float] = {}
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment("ours"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith("Running stage"):
                began[line.split("'")[1]] = time.perf_counter()
    if process.returncode:
        raise UserError(f"{' '.join(command[1:])} failed in a fresh clone; its messages are above")
    ends = [*list(began.values())[1:], time.perf_counter()]
    return {name: end - start for (name, start), end in zip(began.items(), ends, strict=True)}
