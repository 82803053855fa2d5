"""`make demo`: the whole pipeline on drawn pictures, in a copy of the checkout."""

import shutil
import subprocess
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from classifier.base.errors import UserError
from classifier.commands.repro import results, run_dvc

FOLDER = Path(".demo")
LOG = FOLDER / "log.txt"
# What a run reads. Whatever else lies in a checkout (pictures, weights, results, documents) may be
# large, and is nobody's business here.
NEEDED = (
    *(".dvc", ".dvcignore", ".gitignore", "dvc.yaml", "params.yaml"),
    *("classifier", "stages", "data/catalog/*.yaml"),
)
# Few training pictures: the small network overfits within a minute, as it does on photographs
# within an hour, and augmentation has something to mend. Many test pictures: a calm figure.
# The weights of VGG16 and MobileNet are random, as nothing is downloaded.
OVERRIDES: dict[str, Any] = {
    "data": {"source": "data/catalog/sample.yaml", "image_size": 80},
    "split": {"method": "random", "random": {"validation": 120, "test": 320}},
    "train": {"epochs": 20, "batch_size": 16},
    "augment": {"epochs": 80},
    "finetune": {"weights": "none", "head_epochs": 3, "epochs": 1},
    "mobilenet": {"weights": "none", "head_epochs": 3, "epochs": 1},
}


def run(options: Namespace) -> None:
    """Run the demo."""
    run_demo(options.seed)


def run_demo(seed: int) -> None:
    """Copy the checkout, run all stages there, print the comparison and where the report is.

    Args:
        seed: of all trainings.

    Raises:
        UserError: a stage failed.
    """
    print(f"The whole pipeline on pictures drawn for it, in {FOLDER}: about four minutes.")
    started = time.monotonic()
    copy_checkout(FOLDER)
    change_params(FOLDER / "params.yaml", OVERRIDES | {"seed": seed})
    run_dvc(["config", "--local", "core.no_scm", "true"], FOLDER, LOG)
    run_dvc(["repro"], FOLDER, LOG)
    print(results(FOLDER))
    print(f"{time.monotonic() - started:.0f} s in all; all that was printed: {LOG}")


def copy_checkout(target: Path) -> None:
    """Copy what a run needs; what was in `target` is deleted.

    That is every file of NEEDED that git tracks, or would track: a new module is part of the
    program before it is added, and what git ignores is made by the program.

    Raises:
        UserError: this is no git repository.
    """
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *NEEDED],
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        raise UserError(f"the demo copies what git lists: {listed.stderr.strip()}")
    shutil.rmtree(target, ignore_errors=True)
    for name in filter(None, listed.stdout.split("\0")):
        if Path(name).is_file():  # git also lists what was deleted since
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, target / name)


def change_params(path: Path, changes: dict[str, Any]) -> None:
    """Set some parameters, keeping the others and the comments."""
    yaml = YAML()
    content = yaml.load(path)
    _update(content, changes)
    yaml.dump(content, path)


def _update(section: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict):
            _update(section[key], value)
        else:
            section[key] = value
