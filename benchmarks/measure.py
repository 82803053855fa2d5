"""The parts of a benchmark: what is timed, on both sides in turn, within a bounded time."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.processes import SIDES, Measured, Worker, seconds_of
from benchmarks.workplace import Workplace
from classifier.base.errors import UserError
from classifier.base.family import MODELS
from classifier.commands.demo import change_params, copy_checkout

BUDGET_S = 40 * 60
REPEATS = 3
REPEATS_OF_NOTHING = 10  # it takes a second, and what else a machine does shows in one
# How long one timed repeat of the slower side may take, as a share of the budget: the repeats of
# all parts, the warm-ups and two dozen starts of TensorFlow fit into it. On the slowest class known
# (2 cores, 28 img/s in cnn5's training and 5 in VGG16's base) that is 2/3 of the budget.
SLICE_S = {
    "cnn5": BUDGET_S / 120,
    "vgg16": BUDGET_S / 66,
    "features": BUDGET_S / 120,
    "decoding": BUDGET_S / 160,
    "prediction": BUDGET_S / 120,
}
EVALUATED = 64  # pictures of validation and of test each that evaluate is run on
OF_25000 = {"train": 15_000, "validation": 3_750, "test": 6_250}
ROOM_FOR_25000 = 12e9  # bytes: the stages' outputs and DVC's copies of them

Part = dict[str, Any]
NONE: Mapping[str, Worker] = {}


def in_time(step: float, seconds: float, most: int, least: int = 1) -> int:
    """How many steps of so many seconds fit, within bounds."""
    return max(least, min(most, int(seconds / max(step, 1e-9))))


def in_turn(sides: Mapping[str, Worker], **command: Any) -> dict[str, list[Measured]]:
    """Time a command on each side, A B A B A B."""
    found: dict[str, list[Measured]] = {side: [] for side in sides}
    for _ in range(REPEATS):
        for side, worker in sides.items():
            found[side].append(worker.run(**command))
    return found


class Benchmark:
    """Measures parts of a run in a workplace."""

    def __init__(self, place: Workplace) -> None:
        self.place = place
        self.settings = {
            "image_size": place.params.data.image_size,
            "batch_size": place.params.train.batch_size,
        }

    def train(self, part: str) -> dict[str, Part]:
        """A training stage of cnn5: train_baseline or train_augmented."""
        settings = self.settings | {"pictures": str(self.place.slice)}
        with self.place.worker("tutorial", part, **settings) as tutorial, ExitStack() as stack:
            found = self._chosen(tutorial, "cnn5")
            ours = self._stage(stack, part, found)
            beside = {}
            if part == "train_baseline":
                beside["in_memory"] = stack.enter_context(self.place.worker("ours", "in_memory"))
                beside["in_memory"].run(steps=2)  # compiles
            return {part: self._epochs(tutorial, ours, found, beside)}

    def vgg16(self, parts: Collection[str]) -> dict[str, Part]:
        """The head, the last block or both; this project's side does both in one stage."""
        arguments = {"pictures": str(self.place.slice), "weights": self.place.weights}
        results: dict[str, Part] = {}
        ours: Worker | None = None
        with ExitStack() as stack:
            for part in [name for name in ("head", "last_block") if name in parts]:
                worker = self.place.worker("tutorial", part, **self.settings, **arguments)
                with worker as tutorial:
                    found = self._chosen(tutorial, "vgg16")
                    if results:  # both are phases of one run, on one slice
                        found |= {k: results["head"][k] for k in ("steps", "validation_steps")}
                    ours = ours or self._stage(stack, "finetune_vgg16", found, parts)
                    results[part] = self._epochs(tutorial, ours, found)
        return results

    def _chosen(self, tutorial: Worker, kind: str) -> Part:
        """Warm the tutorial way up; its second step decides how long a slice is."""
        batch = self.settings["batch_size"]
        self.place.cut(2 * batch, batch)
        warmup = tutorial.run()
        second = warmup["train"] - warmup["first"]
        train, validation = self.place.counts["train"], self.place.counts["validation"]
        steps = min(in_time(second, SLICE_S[kind], train // batch, least=3), train // batch)
        # As much validation as belongs to so many steps.
        validated = min(validation // batch, max(1, round(steps * validation / train)))
        return {"steps": steps, "validation_steps": validated, "warmup": {"tutorial": warmup}}

    def _stage(
        self, stack: ExitStack, name: str, found: Part, parts: Collection[str] = ()
    ) -> Worker:
        """Start a stage of this project on a slice; it pauses before each epoch."""
        epochs = 1 + REPEATS
        changes = {
            "train": {"epochs": epochs},
            "augment": {"epochs": epochs},
            "finetune": {
                "batch_size": self.settings["batch_size"],
                "head_epochs": epochs if "head" in parts else 1,
                "epochs": epochs if "last_block" in parts else 0,
            },
        }
        change_params(self.place.project / "params.yaml", changes)
        self._cut(found)
        worker = stack.enter_context(self.place.worker("ours", "stage", name=name))
        if parts and "head" not in parts:
            worker.run()  # the blocks come after an epoch of the head, at least
        return worker

    def _cut(self, found: Part) -> None:
        batch = self.settings["batch_size"]
        self.place.cut(found["steps"] * batch, found["validation_steps"] * batch)

    def _epochs(
        self, tutorial: Worker, ours: Worker, found: Part, beside: Mapping[str, Worker] = NONE
    ) -> Part:
        self._cut(found)
        workers = {"tutorial": tutorial, "ours": ours}
        found["startup"] = {side: worker.startup for side, worker in workers.items()}
        found["warmup"]["ours"] = ours.run()
        found["epochs"] = in_turn(workers | dict(beside), steps=found["steps"])
        found["ending"] = {side: worker.ending for side, worker in workers.items()}
        return found

    def features(self) -> dict[str, Part]:
        """VGG16's frozen features, up to the head and up to the blocks that are trained."""
        arguments = {"splits": str(self.place.splits), "weights": self.place.weights}
        batch = 32
        found: Part = {"passes": {}}
        with self.place.worker("ours", "features", **arguments) as worker:
            found["startup"] = worker.startup
            for until in ("head", "blocks"):
                first = worker.run(until=until, count=batch)["seconds"]
                most = self.place.counts["train"] // batch
                count = batch * in_time(first, SLICE_S["features"], most)
                seconds = [worker.run(until=until, count=count)["seconds"] for _ in range(REPEATS)]
                found["passes"][until] = {"count": count, "seconds": seconds}
        return {"features": found}

    def decoding(self) -> dict[str, Part]:
        arguments = self.settings | {"pictures": str(self.place.pictures)}
        return {"decoding": self._timed("decoding", arguments, 60, sum(self.place.counts.values()))}

    def prediction(self) -> dict[str, Part]:
        arguments = {
            "image_size": self.settings["image_size"],
            "images": str(self.place.images),
            "weights": self.place.weights,
        }
        names = ("prediction_cnn5", "prediction_vgg16")
        return {name: self._timed(name, arguments, 1, 10) for name in names}

    def _timed(self, name: str, arguments: Part, at_first: int, most: int) -> Part:
        """Both sides in turn, as often as fits by the slower side's warm-up."""
        kind = name.partition("_")[0]
        with ExitStack() as stack:
            workers = {
                side: stack.enter_context(self.place.worker(side, name, **arguments))
                for side in SIDES
            }
            first = max(worker.run(count=at_first)["seconds"] for worker in workers.values())
            if first < SLICE_S[kind] / 2:
                # The very first one set up; now the slower side's rate is known.
                first = max(worker.run(count=at_first)["seconds"] for worker in workers.values())
            count = min(most, at_first * in_time(first, SLICE_S[kind], max(1, most // at_first)))
            found = in_turn(workers, count=count)
        seconds = {side: [one["seconds"] for one in many] for side, many in found.items()}
        return {"count": count, "seconds": seconds}

    def split(self) -> dict[str, Part]:
        return {"split": {"seconds": [self.place.split() for _ in range(REPEATS)]}}

    def evaluate(self) -> dict[str, Part]:
        """The last stage on a slice, with the models that the training parts left behind."""
        models = self.place.project / "data/models"
        self.place.cut(64, EVALUATED, EVALUATED)
        missing = {n for n in MODELS if not (models / f"{n}.keras").exists()}
        if "mobilenet" in missing:  # no row trains it: the tutorials have no such network
            missing.remove("mobilenet")
            once = {"mobilenet": {"head_epochs": 1, "epochs": 0}}
            change_params(self.place.project / "params.yaml", once)
            seconds_of([sys.executable, "-m", "stages.finetune_mobilenet"], self.place.project)
        if missing:
            raise UserError(f"evaluate needs the training rows first: no {', '.join(missing)}")
        command = [sys.executable, "-m", "stages.evaluate"]
        seconds = []
        for _ in range(REPEATS):
            shutil.rmtree(self.place.project / ".cache/features", ignore_errors=True)
            seconds.append(seconds_of(command, self.place.project)[0])
        return {"evaluate": {"count": 2 * EVALUATED, "seconds": seconds}}

    def nothing_to_do(self) -> dict[str, Part]:
        """`dvc repro` when all is made, for the default data set and for 25,000 pictures."""
        results = {"noop": no_op(self.place.folder / "finished", self.place.counts)}
        if shutil.disk_usage(self.place.folder).free < ROOM_FOR_25000:
            print("dvc repro of 25,000 pictures left out: it needs 12 GB of free disk space")
        else:
            results["noop_25000"] = no_op(self.place.folder / "finished", OF_25000)
        return results


def no_op(project: Path, counts: Mapping[str, int]) -> Part:
    """Time `dvc repro` in a copy of the checkout whose outputs are all there.

    What they hold is of no account, as DVC knows them by size and time: zeros are committed.

    Args:
        project: the copy's folder; made, and deleted.
        counts: pictures in each split.
    """
    dvc = [sys.executable, "-m", "dvc"]
    copy_checkout(project)
    seconds_of(["git", "init", "--quiet"], project)
    _make_outputs(project, counts)
    seconds_of([*dvc, "commit", "--force"], project)
    os.sync()  # nobody's second `dvc repro` comes right behind a gigabyte on its way to the disk
    seconds = []
    for _ in range(1 + REPEATS_OF_NOTHING):
        taken, printed = seconds_of([*dvc, "repro"], project)
        if "Running stage" in printed:
            raise UserError("dvc repro found something to do where all outputs were committed")
        seconds.append(taken)
    shutil.rmtree(project)
    return {"pictures": sum(counts.values()), "seconds": seconds[1:]}


def _make_outputs(project: Path, counts: Mapping[str, int]) -> None:
    sizes = {f"data/splits/{name}.npy": 180 * 180 * 3 * n for name, n in counts.items()}
    sizes["data/raw/images.zip"] = 23_000 * sum(counts.values())
    sizes["data/weights"] = 58_000_000
    for one in YAML(typ="safe").load(project / "dvc.yaml")["stages"].values():
        for kind in ("outs", "metrics", "plots"):
            for entry in one.get(kind, []):
                name = entry if isinstance(entry, str) else next(iter(entry))
                path = project / name if Path(name).suffix else project / name / "file"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("{}\n", encoding="utf-8")  # DVC wants metrics to be text
                if name in sizes:
                    os.truncate(path, sizes[name])


def measured(
    benchmark: Benchmark, wanted: Iterable[str], keep: Callable[[dict[str, Part]], None]
) -> None:
    """Measure the wanted parts one after the other and hand each over when it is there.

    What is left when the budget is nearly used up is named and left out.

    Args:
        benchmark: measures them.
        wanted: names of parts, as benchmarks/rows.py's NEEDS has them.
        keep: is given every part.
    """
    wanted = set(wanted)
    vgg16 = wanted & {"head", "last_block"}
    steps: dict[str, Callable[[], dict[str, Part]]] = {
        "train_baseline": lambda: benchmark.train("train_baseline"),
        "train_augmented": lambda: benchmark.train("train_augmented"),
        "vgg16": lambda: benchmark.vgg16(vgg16),
        "features": benchmark.features,
        "decoding": benchmark.decoding,
        "prediction": benchmark.prediction,
        "evaluate": benchmark.evaluate,
        "split": benchmark.split,
        "noop": benchmark.nothing_to_do,
    }
    unknown = wanted - vgg16 - set(steps)
    assert not unknown, f"nothing measures {unknown}"
    began = time.monotonic()
    for name, step in steps.items():
        if name not in wanted | ({"vgg16"} if vgg16 else set()):
            continue
        spent = time.monotonic() - began
        if spent > 0.9 * BUDGET_S:
            print(f"{name} left out: {spent / 60:.0f} of {BUDGET_S / 60:.0f} minutes are used up")
            continue
        print(f"{name} ...", flush=True)
        keep(step())
