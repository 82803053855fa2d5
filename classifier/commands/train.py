"""`python -m classifier train FOLDER`: from a folder of pictures to a DVC experiment."""

import shlex
import subprocess
import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from classifier.base.cache import cache_folder
from classifier.base.params import Params, load_params
from classifier.base.wording import counted
from classifier.commands.repro import results, run_dvc, written
from classifier.sources.dataset import Source
from classifier.sources.layouts import detect
from classifier.sources.members import open_members

SAMPLE = 16  # pictures that the machine is timed with


def run(options: Namespace) -> None:
    """Train on what the user names."""
    train(options.folder, options.plan)


def train(folder: Path, only_plan: bool = False) -> None:
    """Check a folder or archive, print the plan, and run it as a DVC experiment.

    Args:
        folder: of pictures; an archive serves as well.
        only_plan: print, and run nothing.

    Raises:
        UserError: no labelled pictures are recognised there, or a stage failed.
    """
    params = load_params()
    found = recognised(folder, params)
    parts = Counter(one.part for one in found.pictures)
    method = "predefined" if parts.keys() - {""} else "random"
    changes = ["-S", f"data.source={written(folder.as_posix())}", "-S", f"split.method={method}"]
    arguments = ["exp", "run", *changes]
    print(plan(found, method, params))
    print(f"Time      {expected(len(found.pictures), params)}")
    print(f"Command   {shlex.join(['dvc', *arguments])}\n", flush=True)
    if not only_plan:
        run_dvc(arguments, Path(), cache_folder("logs") / "train.log")
        print(results(Path()))


def recognised(folder: Path, params: Params) -> Source:
    """Look for labelled pictures as the stage download does."""
    with open_members(folder, params.data.limits, cache_folder("spool")) as members:
        return detect(members.paths, members.read, members.lost, params.data.classes)


def plan(found: Source, method: str, params: Params) -> str:
    """Say what was recognised and how it will be split."""
    classes = Counter(one.label for one in found.pictures)
    named = ", ".join(f"{count:,} {label}" for label, count in sorted(classes.items())[:25])
    more = f" and {len(classes) - 25} more" if len(classes) > 25 else ""
    if method == "random":
        given = params.split.random
        rest = "the rest" if given.train is None else f"{given.train:g}"
        split = f"random: validation {given.validation:g}, test {given.test:g}, training {rest}"
    else:
        parts = Counter(one.part or "in no part" for one in found.pictures)
        split = "the folders' own: " + ", ".join(f"{n:,} {part}" for part, n in parts.items())
    left_out = f"; {len(found.skipped):,} files left out" if found.skipped else ""
    return "\n".join(
        [
            f"Layout    {found.layout}",
            f"Classes   {len(classes)} in {counted(len(found.pictures), 'picture')}: "
            f"{named}{more}{left_out}",
            f"Split     {split}",
        ]
    )


def expected(pictures: int, params: Params) -> str:
    """Say what all epochs will take on this machine."""
    timed = measured_elsewhere()
    if not timed:
        return "unknown: the networks could not be timed here"
    step, forward = timed
    epochs = params.train.epochs + (params.augment.epochs or params.train.epochs)
    vgg16 = params.finetune
    copies = vgg16.views or vgg16.epochs if vgg16.augment and vgg16.unfreeze and vgg16.epochs else 0
    # Most of the pictures are trained on. VGG16 sees each and its copies, and twice to be judged.
    seconds = pictures * (epochs * step + (1 + copies + 2) * forward)
    minutes = counted(max(1, round(seconds / 60)), "minute")
    return f"about {minutes} on this machine, timed now, MobileNet not counted"


def measured_elsewhere() -> tuple[float, float] | None:
    """Call `measured` in another process: TensorFlow's greetings stay there, and its memory."""
    program = "from classifier.commands.train import measured; print(*measured())"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    step, forward = map(float, done.stdout.split()[-2:])
    return step, forward


def measured() -> tuple[float, float]:
    """Time a training step of `train.arch` and a pass through VGG16, seconds a picture."""
    import numpy as np

    from classifier.networks.from_scratch import network
    from classifier.training.fit import start
    from classifier.training.fused import fused
    from classifier.training.outputs import loss_for
    from classifier.transfer.vgg16 import vgg16
    from classifier.transfer.winograd import FEWEST_PICTURES, accelerated

    params = load_params()
    device = start(params.seed, params.train.precision).device
    size = params.data.image_size
    images = np.zeros((SAMPLE, size, size, 3), np.uint8)
    labels = np.arange(SAMPLE) % 2
    small = network(params.train.arch)(size, 2, 0.0)
    small = fused(small) if device == "cpu" else small
    small.compile(optimizer=params.train.optimizer, loss=loss_for(small))
    large = accelerated(vgg16(size, 2, None), FEWEST_PICTURES)
    step = _seconds(lambda: small.train_on_batch(images, labels))
    return step / SAMPLE, _seconds(lambda: large.predict_on_batch(images)) / SAMPLE


def _seconds(work: Callable[[], object]) -> float:
    work()  # compiles
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
