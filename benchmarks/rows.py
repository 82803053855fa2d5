"""From measured parts to the rows of the table: the arithmetic, each with its own words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

HEAD_EPOCHS, BLOCK_EPOCHS = 30, 10  # of the two rows about VGG16
VALIDATED = 1_000  # pictures, of the rows that time a whole epoch
DECODED = 3_000
FLAT, MOST_MEMORY_GB = 1.2, 3.0

Part = Mapping[str, Any]


@dataclass(frozen=True)
class Quantity:
    """One figure, once for each repeat, and how it was computed of what was measured."""

    values: list[float]
    how: str = ""

    @property
    def median(self) -> float:
        return median(self.values)


@dataclass(frozen=True)
class Goal:
    """The most that is allowed: of this project's figure, or of its share of the other's."""

    text: str
    most: float
    of: str = "ratio"  # ratio or figure


@dataclass(frozen=True)
class Row:
    """A row of the table; a side that was not measured is None.

    `met` is None where there is no goal or too little was measured.
    """

    title: str
    unit: str
    tutorial: Quantity | None
    ours: Quantity | None
    goal: Goal | None = None

    @property
    def ratio(self) -> float | None:
        """This project's figure over the tutorial way's: less is faster."""
        if self.tutorial is None or self.ours is None:
            return None
        return self.ours.median / self.tutorial.median

    @property
    def met(self) -> bool | None:
        if self.goal is None or self.ours is None:
            return None
        judged = self.ours.median if self.goal.of == "figure" else self.ratio
        return None if judged is None else judged <= self.goal.most


def _goals(steps: Goal, head: Goal, block: Goal, run: Goal, prediction: Goal) -> dict[str, Goal]:
    """The goals of a class of CPUs; the last are the same on all."""
    return {
        **dict.fromkeys(("train_baseline", "train_augmented"), steps),
        "head": head,
        "last_block": block,
        **dict.fromkeys(("whole", "whole_run"), run),
        **dict.fromkeys(("prediction_cnn5", "prediction_vgg16"), prediction),
        # libjpeg-turbo's own work is most of it, on both sides.
        "decoding": Goal("≤ 1", 1.0),
        "fed": Goal("≤ 1.05 times", 1.05, "figure"),
        "noop": Goal("≤ 1.5 s", 1.5, "figure"),
        "memory": Goal("flat within 20 %", FLAT, "figure"),
        "memory_peak": Goal("< 3 GB", MOST_MEMORY_GB, "figure"),
        **dict.fromkeys(
            ("split_growth", "epoch_growth"), Goal("at most 20 % above linear", FLAT, "figure")
        ),
    }


_WITHOUT_AMX = _goals(
    steps=Goal("≤ 0.7", 0.7),
    head=Goal("≤ 1/25", 1 / 25),
    block=Goal("≤ 1/2", 1 / 2),
    run=Goal("≤ 0.22", 0.22),
    prediction=Goal("≥ 1.3 times faster", 1 / 1.3),
)
GOALS: dict[str, dict[str, Goal]] = {
    "cpu-amx": _goals(
        steps=Goal("≤ 1/4", 1 / 4),
        head=Goal("≤ 1/60", 1 / 60),
        block=Goal("≤ 1/6", 1 / 6),
        run=Goal("≤ 1/10", 1 / 10),
        prediction=Goal("≥ 3 times faster", 1 / 3),
    ),
    "cpu-avx512": _WITHOUT_AMX,
    "cpu": _WITHOUT_AMX,
    "gpu": {
        "epoch_baseline": Goal("≤ 0.3 s", 0.3, "figure"),
        "epoch_augmented": Goal("≤ 0.4 s", 0.4, "figure"),
        "features": Goal("≤ 2 s", 2.0, "figure"),
        **dict.fromkeys(("whole", "whole_run"), Goal("≤ 90 s", 90.0, "figure")),
    },
}
# What each row of `--rows` needs to be measured.
NEEDS: dict[str, tuple[str, ...]] = {
    "train_baseline": ("train_baseline",),
    "train_augmented": ("train_augmented",),
    "head": ("head", "features"),
    "last_block": ("last_block", "features"),
    **{name: (name,) for name in ("decoding", "prediction", "noop")},
}
NEEDS["whole"] = (*{part: 0 for parts in NEEDS.values() for part in parts}, "evaluate", "split")


def step(part: Part, side: str) -> Quantity:
    """Seconds of a training step."""
    epochs = part["epochs"][side]
    return Quantity(
        [one["train"] / one["steps"] for one in epochs],
        f"{epochs[0]['steps']} steps timed, {len(epochs)} times",
    )


def _fed(part: Part) -> Quantity:
    """How many times a step of train_on_batch a step of the stage takes."""
    one, steps = step(part, "ours"), part["steps"]
    bare = [run["seconds"] / steps for run in part["epochs"]["in_memory"]]
    return Quantity(
        [ours / alone for ours, alone in zip(one.values, bare, strict=True)],
        f"{figure(one.median)} s over {figure(median(bare))} s",
    )


def picture(part: Part, side: str, batch_size: int) -> Quantity:
    """Seconds of a picture's validation."""
    return Quantity(
        [one["validation"] / (one["validation_steps"] * batch_size) for one in part["epochs"][side]]
    )


def epoch(part: Part, side: str, settings: Part, validation: int | None = None) -> Quantity:
    """Seconds of a whole epoch: of a timed slice, and of the rest at the slice's own rates."""
    size = settings["batch_size"]
    validation = settings["validation"] if validation is None else validation
    one_step, one_picture = step(part, side), picture(part, side, size)
    slices = part["epochs"][side]
    timed, validated = part["steps"], part["validation_steps"] * size
    more_steps = settings["train"] / size - timed
    more = validation - validated
    values = [
        one["epoch"] + more_steps * a + more * b
        for one, a, b in zip(slices, one_step.values, one_picture.values, strict=True)
    ]
    of_slices = median(one["epoch"] for one in slices)
    how = (
        f"an epoch {figure(median(values))} s = {figure(of_slices)} s "
        f"({timed} steps, {validated:,} validated) + {more_steps:.1f} steps × "
        f"{figure(one_step.median)} s + {more:,} validated × {figure(one_picture.median)} s"
    )
    return Quantity(values, how)


def per_image(part: Part, until: str) -> Quantity:
    """Seconds of an image's pass through VGG16's frozen layers."""
    timed = part["passes"][until]
    count = timed["count"]
    return Quantity([one / count for one in timed["seconds"]], f"{count:,} images timed")


def head(parts: Mapping[str, Part], side: str, settings: Part, epochs: int) -> Quantity:
    """Seconds of so many epochs of the head; with the features, where they are computed once."""
    one_epoch = epoch(parts["head"], side, settings)
    if side == "tutorial":
        return _sum([(epochs, one_epoch)], f"{epochs} epochs; {one_epoch.how}")
    images = settings["train"] + settings["validation"]
    once = per_image(parts["features"], "head")
    how = (
        f"features of {images:,} images × {figure(once.median)} s ({once.how}) + {epochs} epochs; "
        f"{one_epoch.how}"
    )
    return _sum([(images, once), (epochs, one_epoch)], how)


def last_block(parts: Mapping[str, Part], side: str, settings: Part, epochs: int) -> Quantity:
    """Seconds of so many epochs of the last block; with what passes the frozen blocks once."""
    one_epoch = epoch(parts["last_block"], side, settings)
    if side == "tutorial":
        return _sum([(epochs, one_epoch)], f"{epochs} epochs; {one_epoch.how}")
    images, views = settings["validation"], settings["views"]
    if views:
        images += views * settings["train"]
    once = per_image(parts["features"], "blocks")
    how = (
        f"{images:,} passes of the frozen blocks × {figure(once.median)} s ({once.how}) + "
        f"{epochs} epochs; {one_epoch.how}"
    )
    return _sum([(images, once), (epochs, one_epoch)], how)


def whole(parts: Mapping[str, Part], side: str, settings: Part) -> Quantity:
    """Seconds of a whole run with the epochs of params.yaml, from images.zip."""
    baseline, augmented = parts["train_baseline"], parts["train_augmented"]
    trained = [
        ("train_baseline", settings["epochs"], epoch(baseline, side, settings)),
        ("train_augmented", settings["augment_epochs"], epoch(augmented, side, settings)),
    ]
    terms: list[tuple[str, float, Quantity]] = [
        (f"{name}: {count} epochs", count, one) for name, count, one in trained
    ]
    terms += [
        ("head", 1, head(parts, side, settings, settings["head_epochs"])),
        ("last block", 1, last_block(parts, side, settings, settings["block_epochs"])),
    ]
    names = ("train_baseline", "train_augmented", "head", "last_block")
    compiled = sum(_compiling(parts[name], side) for name in names)
    terms.append(("compiling four steps", 1, Quantity([compiled])))
    if side == "tutorial":
        tested = [
            sum(rates)
            for rates in zip(
                *(
                    picture(parts[name], side, settings["batch_size"]).values
                    for name in ("train_baseline", "train_augmented", "last_block")
                ),
                strict=True,
            )
        ]
        terms += [
            ("one start", 1, Quantity([baseline["startup"][side]])),
            ("unpacking", 1, Quantity([settings["unpacking"]])),
            (f"{settings['test']:,} tested by three models", settings["test"], Quantity(tested)),
        ]
    else:
        starts = baseline["startup"][side] + augmented["startup"][side]
        ends = sum(parts[name]["ending"][side] for name in names)
        sample = parts["evaluate"]["count"]
        rest = settings["validation"] + settings["test"] - sample
        small, large = (
            counted(parts[f"prediction_{name}"], side, 100, "") for name in ("cnn5", "vgg16")
        )
        by_all = [2 * a + b for a, b in zip(small.values, large.values, strict=True)]
        terms += [
            ("three starts", 1, Quantity([starts + parts["features"]["startup"]])),
            ("writing three models", 1, Quantity([ends])),
            ("split", 1, Quantity(parts["split"]["seconds"])),
            (f"evaluate on {sample} pictures", 1, Quantity(parts["evaluate"]["seconds"])),
            (f"{rest:,} more by three models", rest, Quantity(by_all)),
            ("DVC itself", 1, Quantity([median(parts["noop"]["seconds"])])),
        ]
    how = " + ".join(f"{name} {figure(count * one.median)} s" for name, count, one in terms)
    return _sum([(count, one) for _, count, one in terms], how)


def _compiling(part: Part, side: str) -> float:
    """How much longer the very first call took than its steps do later."""
    first = part["warmup"][side]
    return max(0.0, first["first"] - first["first_steps"] * step(part, side).median)


def counted(part: Part, side: str, each: int, words: str) -> Quantity:
    """Seconds of a picture, where so many lots of `each` were timed."""
    seconds, count = part["seconds"][side], part["count"]
    how = f"{count:,} {words}, {len(seconds)} times"
    return Quantity([one / (each * count) for one in seconds], how)


def _sum(terms: Sequence[tuple[float, Quantity]], how: str) -> Quantity:
    """Add up products, repeat by repeat; what was measured once counts in every repeat."""
    repeats = max(len(one.values) for _, one in terms)
    values = [
        sum(
            count * (one.values[i] if len(one.values) > 1 else one.values[0])
            for count, one in terms
        )
        for i in range(repeats)
    ]
    return Quantity(values, how)


def _there(results: Part, name: str, side: str) -> bool:
    part = results["parts"].get(name)
    if not part:
        return False
    measured = part.get("epochs", part.get("seconds"))
    return side in measured if isinstance(measured, Mapping) else True


def _alone(of: Callable[[Part], Quantity], part: Part, side: str) -> Quantity:
    return of(part)


def _no_op(part: Part) -> Quantity:
    how = f"{part['pictures']:,} pictures, {len(part['seconds'])} times"
    return Quantity(part["seconds"], how)


def _features(part: Part) -> Quantity:
    once = per_image(part, "head")
    return _sum([(DECODED, once)], f"{DECODED:,} × {figure(once.median)} s; {once.how}")


def _run(part: Part) -> Quantity:
    stages = ", ".join(f"{name} {figure(one)} s" for name, one in part["stages"].items())
    return Quantity(part["seconds"], f"run once; {stages}")


def _memory(part: Part) -> Quantity:
    peaks = {int(n): one["anonymous_gb"] for n, one in part["sizes"].items()}
    how = ", ".join(f"{n:,} images: {figure(one)} GB" for n, one in peaks.items())
    return Quantity([max(peaks.values()) / min(peaks.values())], how)


def _memory_peak(part: Part) -> Quantity:
    sizes = part["sizes"].values()
    mapped = max(one["mapped_gb"] for one in sizes)
    peak = max(one["anonymous_gb"] for one in sizes)
    return Quantity([peak], f"mapped pages apart: {figure(mapped)} GB")


def _growth(part: Part) -> Quantity:
    sizes = {int(n): one["seconds"] for n, one in part["sizes"].items()}
    per_one = {n: one / n for n, one in sizes.items()}
    how = ", ".join(f"{n:,} images: {figure(one)} s" for n, one in sizes.items())
    return Quantity([per_one[max(sizes)] / per_one[min(sizes)]], f"{how}; {part['note']}")


def rows(results: Part) -> list[Row]:
    """Every row of a class of machine, in the table's order."""
    parts, goals, found = results["parts"], GOALS[results["class"]], []
    settings = {**results["settings"], **parts.get("pictures", {})}

    def add(
        key: str,
        title: str,
        of: Callable[[str], Quantity],
        ours: Sequence[str],
        tutorial: Sequence[str] = (),
        unit: str = "s",
    ) -> None:
        """Add a row; `of` gives a side's figure where all parts are there that it is made of."""
        there = {
            side: bool(needed) and all(_there(results, name, side) for name in needed)
            for side, needed in (("tutorial", tutorial), ("ours", ours))
        }
        sides = {side: of(side) if known else None for side, known in there.items()}
        found.append(Row(title, unit, sides["tutorial"], sides["ours"], goals.get(key)))

    cnn5, pictures = ("train_baseline", "train_augmented"), ("pictures",)
    trained = (*cnn5, "head", "last_block", *pictures)
    beside = ("features", "prediction_cnn5", "prediction_vgg16", "evaluate", "split", "noop")
    computed = "the whole default `dvc repro`, from images.zip: computed"
    for name in cnn5:
        one = (name,)
        add(name, f"`{name}`, a training step", partial(step, parts.get(name)), one, one)
    fed = parts.get("train_baseline", {})
    there = ["train_baseline"] if "in_memory" in fed.get("epochs", {}) else []
    title = "the first of these, over `train_on_batch` on a batch in memory"
    add("fed", title, partial(_alone, _fed, fed), there, unit="times")
    for name in cnn5:
        title = f"`{name}`, an epoch, {VALIDATED:,} images validated"
        of = partial(epoch, parts.get(name), settings=settings, validation=VALIDATED)
        add(name.replace("train", "epoch"), title, of, (name, *pictures), (name, *pictures))
    title = f"VGG16's features of {DECODED:,} images"
    add("features", title, partial(_alone, _features, parts.get("features")), ["features"])
    add(
        "head",
        f"VGG16 head, {HEAD_EPOCHS} epochs, features included",
        lambda side: head(parts, side, settings, HEAD_EPOCHS),
        ("head", "features", *pictures),
        ("head", *pictures),
    )
    add(
        "last_block",
        f"VGG16 last block, {BLOCK_EPOCHS} epochs, views as in params.yaml",
        lambda side: last_block(parts, side, settings, BLOCK_EPOCHS),
        ("last_block", "features", *pictures),
        ("last_block", *pictures),
    )
    run = partial(whole, parts, settings=settings)
    add("whole", computed, run, (*trained, *beside), trained)
    add(
        "whole_run",
        "the same, run (the tutorial way computed)",
        lambda side: _run(parts["whole_run"]) if side == "ours" else Quantity(run(side).values),
        ["whole_run"],
        trained,
    )
    for part, title, pictures_a_time, words in (
        ("decoding", "decoding photographs to 180 px", 1, "photographs"),
        ("prediction_cnn5", "prediction, cnn5", 100, "batches of 100"),
        ("prediction_vgg16", "prediction, VGG16", 100, "batches of 100"),
    ):
        timed = partial(counted, parts.get(part), each=pictures_a_time, words=words)
        add(part, f"{title}, a picture", timed, [part], [part])
    for name, part, title, alone, unit in _OURS_ALONE:
        add(name, title, partial(_alone, alone, parts.get(part)), [part], unit=unit)
    return found


_OURS_ALONE: tuple[tuple[str, str, str, Callable[[Part], Quantity], str], ...] = (
    ("noop", "noop", "`dvc repro` with nothing to do", _no_op, "s"),
    ("noop_25000", "noop_25000", "the same, 25,000 pictures", _no_op, "s"),
    (
        "memory",
        "sizes_train",
        "peak anonymous memory of a training stage, largest over smallest",
        _memory,
        "times",
    ),
    ("memory_peak", "sizes_train", "the same, the largest", _memory_peak, "GB"),
    (
        "split_growth",
        "sizes_split",
        "time of `split` an image, most images over fewest",
        _growth,
        "times",
    ),
    (
        "epoch_growth",
        "sizes_train",
        "time of an epoch an image, most images over fewest",
        _growth,
        "times",
    ),
)


def rates(results: Part) -> list[tuple[str, float]]:
    """GFLOP/s of cnn5's training steps, beside the best of numpy's matrix product."""
    found = []
    for name in ("train_baseline", "train_augmented"):
        for side, words in (("tutorial", "the tutorial way"), ("ours", "this project")):
            if _there(results, name, side):
                seconds = step(results["parts"][name], side).median
                flop = results["cnn5_gflop"] * results["settings"]["batch_size"]
                found.append((f"`{name}`, {words}", flop / seconds))
    best = max(results["products"], key=lambda n: results["products"][n])
    found.append((f"numpy's product of float32 matrices, {best} a side", results["products"][best]))
    return found


def figure(value: float) -> str:
    """Three significant figures, no exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".") if value >= 0.0001 else f"{value:.1g}"
