"""What a benchmark's figures depend on besides the code that is timed."""

import subprocess
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT, Worker
from classifier.base.params import load_params


def this_machine(folder: Path) -> dict[str, Any]:
    """The class of machine, what it is, the versions, the parameters that count, the commit.

    Args:
        folder: for the log of the process that looks.
    """
    with Worker("ours", "facts", ROOT, folder / "facts.log") as worker:
        facts = worker.first or {}
    return facts | {"settings": settings(), "commit": commit()}


def settings() -> dict[str, Any]:
    """The parameters that the arithmetic of the rows needs."""
    params = load_params(ROOT / "params.yaml")
    train, finetune = params.train, params.finetune
    return {
        "image_size": params.data.image_size,
        "batch_size": train.batch_size,
        "epochs": train.epochs,
        "augment_epochs": params.augment.epochs or train.epochs,
        "head_epochs": finetune.head_epochs,
        "block_epochs": finetune.epochs,
        "views": finetune.views,
    }


def commit() -> str:
    """The checkout's commit, with a plus where files differ from it."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
