"""The parts of a benchmark: what is timed, on both sides in turn, within a bounded time."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from benchmarks.processes import Measured, Worker, seconds_of
from benchmarks.repro import no_op
from benchmarks.workplace import Workplace

BUDGET_S = 40 * 60
REPEATS = 3
SIDES = ("tutorial", "ours")
# How long one timed repeat of the slower side may take: the repeats of all parts, the warm-ups and
# two dozen starts of TensorFlow fit into the budget. On the slowest class known (2 cores, 28 img/s
# in cnn5's training and 5 in VGG16's base) they take 2/3 of it.
SLICE_S, VGG16_SLICE_S = BUDGET_S / 120, BUDGET_S / 66
EVALUATED = 64  # pictures of validation and of test each that evaluate is run on
PREDICTIONS = ("prediction_cnn5", "prediction_vgg16")
OF_25000 = {"train": 15_000, "validation": 3_750, "test": 6_250}
ROOM_FOR_25000 = 12e9  # bytes: the stages' outputs and DVC's copies of them
# Epochs of this project's stages: one to warm up, and one a repeat.
EPOCHS: dict[str, dict[str, Any]] = {
    "train_baseline": {"train": {"epochs": 1 + REPEATS}},
    "train_augmented": {"augment": {"epochs": 1 + REPEATS}},
    "head": {"finetune": {"head_epochs": 1 + REPEATS, "epochs": 0}},
    "last_block": {"finetune": {"head_epochs": 1, "epochs": 1 + REPEATS}},
}

Parts = dict[str, dict[str, Any]]


def in_time(step: float, seconds: float, most: int, least: int = 1) -> int:
    """How many steps of so many seconds fit, within bounds."""
    return max(least, min(most, int(seconds / max(step, 1e-9))))


def in_turn(sides: Mapping[str, Worker], **command: Any) -> dict[str, list[Measured]]:
    """Time a command on each side, A B A B A B."""
    runs = [[worker.run(**command) for worker in sides.values()] for _ in range(REPEATS)]
    return {side: [turn[place] for turn in runs] for place, side in enumerate(sides)}


def training(place: Workplace, part: str) -> Parts:
    """Time epochs of a training on a slice of the pictures."""
    batch, train, validation = place.batch_size, place.counts["train"], place.counts["validation"]
    with ExitStack() as stack:
        tutorial = stack.enter_context(place.worker("tutorial", part))
        place.cut(2 * batch, batch)
        warmup = tutorial.run()
        # The second step, as the first one compiles, says how long a slice is.
        seconds = SLICE_S if part.startswith("train") else VGG16_SLICE_S
        steps = in_time(warmup["train"] - warmup["first"], seconds, train // batch, least=3)
        # As much validation as belongs to so many steps.
        validated = min(validation // batch, max(1, round(steps * validation / train)))
        place.cut(steps * batch, validated * batch)
        place.change(EPOCHS[part])
        ours = stack.enter_context(place.worker("ours", part))
        if part == "last_block":
            ours.run()  # the blocks come after an epoch of the head, at least
        sides = {"tutorial": tutorial, "ours": ours}
        warmups = {"tutorial": warmup, "ours": ours.run()}
        beside = {}
        if part == "train_baseline":
            beside["in_memory"] = stack.enter_context(place.worker("ours", "in_memory"))
            beside["in_memory"].run(count=2)  # compiles
        found = {
            "steps": steps,
            "validation_steps": validated,
            "startup": {side: worker.startup for side, worker in sides.items()},
            "warmup": warmups,
            "epochs": in_turn(sides | beside, count=steps),
            "ending": {side: worker.ending for side, worker in sides.items()},
        }
    return {part: found}


def timed(
    place: Workplace, part: str, lot: int, most: int, sides: Sequence[str] = SIDES, **command: Any
) -> dict[str, Any]:
    """Time as many pictures or batches, in whole lots, as fit by the slower side's warm-up."""
    with ExitStack() as stack:
        workers = {side: stack.enter_context(place.worker(side, part)) for side in sides}
        for _ in range(2):  # the first sets up
            runs = [worker.run(count=lot, **command) for worker in workers.values()]
        slowest = max(run["seconds"] for run in runs)
        count = min(most, lot * in_time(slowest, SLICE_S, most // lot))
        found = in_turn(workers, count=count, **command)
    seconds = {side: [run["seconds"] for run in runs] for side, runs in found.items()}
    return {"count": count, "seconds": seconds, "startup": workers["ours"].startup}


def features(place: Workplace) -> Parts:
    """Time VGG16's frozen features, up to the head and up to the blocks that are trained."""
    passes = {}
    for until in ("head", "blocks"):
        one = timed(place, "features", 32, place.counts["train"], SIDES[1:], until=until)
        passes[until] = one | {"seconds": one["seconds"]["ours"]}
    return {"features": {"passes": passes, "startup": passes["head"]["startup"]}}


def evaluate(place: Workplace) -> Parts:
    """Time the last stage on a slice, with the models that the training parts left behind."""
    place.cut(EVALUATED, EVALUATED)
    # No row trains MobileNet: the tutorials have no such network.
    place.change({"mobilenet": {"head_epochs": 1, "epochs": 0}})
    seconds_of(place.project, "python", "-m", "stages.finetune_mobilenet")
    seconds = []
    for _ in range(REPEATS):
        shutil.rmtree(place.project / ".cache/features", ignore_errors=True)
        seconds.append(seconds_of(place.project, "python", "-m", "stages.evaluate")[0])
    return {"evaluate": {"count": 2 * EVALUATED, "seconds": seconds}}


def nothing_to_do(place: Workplace) -> Parts:
    """Time `dvc repro` when all is made, for the default data set and for 25,000 pictures."""
    finished = place.folder / "finished"
    found = {"noop": no_op(finished, place.counts)}
    if shutil.disk_usage(place.folder).free < ROOM_FOR_25000:
        print("dvc repro of 25,000 pictures left out: it needs 12 GB of free disk space")
    else:
        found["noop_25000"] = no_op(finished, OF_25000)
    return found


# In this order: evaluate tests what the trainings left behind.
ROWS: dict[str, Callable[[Workplace], Parts]] = {
    **{part: partial(training, part=part) for part in EPOCHS},
    "features": features,
    "decoding": lambda place: {"decoding": timed(place, "decoding", 60, 3_000)},
    "prediction": lambda place: {name: timed(place, name, 1, 10) for name in PREDICTIONS},
    "evaluate": evaluate,
    "split": lambda place: {"split": {"seconds": [place.split() for _ in range(REPEATS)]}},
    "noop": nothing_to_do,
}
NEEDS = {
    "head": {"features"},
    "last_block": {"features"},
    "evaluate": set(EPOCHS),
    "whole": set(ROWS),
}
