"""From measured parts to the rows of the tables: the arithmetic, each with its own words."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from classifier.base.checked import read

CNN5 = ("train_baseline", "train_augmented")
TRAININGS = (*CNN5, "head", "last_block")
MODELS = (*CNN5, "last_block")  # the trainings that end with a model


class Quantity:
    """One figure, once for each repeat, and how it was computed of what was measured."""

    def __init__(self, values: ArrayLike, how: str = "") -> None:
        self.values, self.how = np.atleast_1d(values), how
        self.median = float(np.median(self.values))

    def __str__(self) -> str:
        return figure(self.median)


def figure(value: float) -> str:
    """Three significant figures, no exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".") if value >= 0.0001 else f"{value:.1g}"


class Side:
    """What was measured of one side, and what follows from it: seconds, where nothing else is said.

    Every method raises KeyError where a part was not measured that its figure is made of.
    """

    name: str

    def __init__(self, results: Mapping[str, Any]) -> None:
        self.parts = results["parts"]
        self.settings = results["settings"] | self.parts.get("pictures", {})

    def epochs(self, part: str, key: str) -> Any:
        """Return what the stopwatch said of each timed epoch, [repeats]."""
        return np.array([one[key] for one in self.parts[part]["epochs"][self.name]])

    def step(self, part: str) -> Quantity:
        """Compute the seconds of a training step."""
        steps = self.epochs(part, "steps")
        how = f"{steps[0]} steps timed, {len(steps)} times"
        return Quantity(self.epochs(part, "train") / steps, how)

    def picture(self, part: str) -> Quantity:
        """Compute the seconds of a picture's validation."""
        pictures = self.epochs(part, "validation_steps") * self.settings["batch_size"]
        return Quantity(self.epochs(part, "validation") / pictures)

    def epoch(self, part: str, validation: int | None = None) -> Quantity:
        """Compute a whole epoch: of a timed slice, and of the rest at the slice's own rates."""
        size = self.settings["batch_size"]
        timed, validated = (self.parts[part][key] for key in ("steps", "validation_steps"))
        more_steps = self.settings["train"] / size - timed
        more = (validation or self.settings["validation"]) - validated * size
        one, step, picture = self.epochs(part, "epoch"), self.step(part), self.picture(part)
        found = Quantity(one + more_steps * step.values + more * picture.values)
        found.how = (
            f"an epoch {found} s = {Quantity(one)} s ({timed} steps, {validated * size:,} "
            f"validated) + {more_steps:.1f} steps × {step} s + {more:,} validated × {picture} s"
        )
        return found

    def transfer(self, part: str, epochs: int) -> Quantity:
        """So many epochs of VGG16's head or last block."""
        one = self.epoch(part)
        return Quantity(epochs * one.values, f"{epochs} epochs; {one.how}")

    def whole(self) -> Quantity:
        """Compute a run with the epochs of params.yaml, from images.zip."""
        terms = {}
        for part, epochs in zip(CNN5, ("epochs", "augment_epochs"), strict=True):
            count = self.settings[epochs]
            terms[f"{part}: {count} epochs"] = count * self.epoch(part).values
        terms["head"] = self.transfer("head", self.settings["head_epochs"]).values
        terms["last block"] = self.transfer("last_block", self.settings["block_epochs"]).values
        terms["compiling four steps"] = sum(map(self._compiling, TRAININGS))
        terms |= self._around()
        how = " + ".join(f"{name} {Quantity(values)} s" for name, values in terms.items())
        return Quantity(sum(terms.values()), how)

    def _compiling(self, part: str) -> float:
        """How much longer the very first step took than it does later."""
        first: float = self.parts[part]["warmup"][self.name]["first"]
        return max(0.0, first - self.step(part).median)

    def _around(self) -> dict[str, Any]:
        """List the seconds of a whole run beside training, by what takes them."""
        raise NotImplementedError

    def counted(self, part: str, each: int, words: str) -> Quantity:
        """Compute the seconds of a picture, where so many lots of `each` were timed."""
        seconds, count = self.parts[part]["seconds"][self.name], self.parts[part]["count"]
        how = f"{count:,} {words}, {len(seconds)} times"
        return Quantity(np.array(seconds) / (each * count), how)


class Tutorial(Side):
    """The tutorial way: one process, in which every epoch passes the frozen layers."""

    name = "tutorial"

    def _around(self) -> dict[str, Any]:
        tested = sum(self.picture(part).values for part in MODELS)
        return {
            "one start": self.parts["train_baseline"]["startup"]["tutorial"],
            "unpacking": self.settings["unpacking"],
            f"{self.settings['test']:,} tested by three models": self.settings["test"] * tested,
        }

    def run(self) -> Quantity:
        """Compute a whole run, as it takes hours."""
        return Quantity(self.whole().values)


class Ours(Side):
    """This project: five processes, features computed once."""

    name = "ours"

    def fed(self, part: str) -> Quantity:
        """How many times a step of train_on_batch a step of the stage takes."""
        runs, step = self.parts[part]["epochs"]["in_memory"], self.step(part)
        bare = Quantity(np.array([run["seconds"] for run in runs]) / self.parts[part]["steps"])
        return Quantity(step.values / bare.values, f"{step} s over {bare} s")

    def passing(self, until: str, images: int) -> Quantity:
        """So many images' pass through VGG16's layers, up to the head or to the trained blocks."""
        timed = self.parts["features"]["passes"][until]
        one = Quantity(np.array(timed["seconds"]) / timed["count"])
        what = "features of {:,} images" if until == "head" else "{:,} passes of the frozen blocks"
        how = f"{what.format(images)} × {one} s ({timed['count']:,} images timed)"
        return Quantity(images * one.values, how)

    def transfer(self, part: str, epochs: int) -> Quantity:
        """Compute the same, with what passes the frozen layers once."""
        train, validation = self.settings["train"], self.settings["validation"]
        if part == "head":
            once = self.passing("head", train + validation)
        else:
            once = self.passing("blocks", train * (self.settings["views"] or 0) + validation)
        trained = super().transfer(part, epochs)
        return Quantity(once.values + trained.values, f"{once.how} + {trained.how}")

    def _around(self) -> dict[str, Any]:
        parts, sample = self.parts, self.parts["evaluate"]["count"]
        rest = self.settings["validation"] + self.settings["test"] - sample
        small, large = (self.counted(f"prediction_{name}", 100, "") for name in ("cnn5", "vgg16"))
        starts = sum(parts[part]["startup"]["ours"] for part in CNN5)
        return {
            "three starts": starts + parts["features"]["startup"],
            "writing three models": sum(parts[part]["ending"]["ours"] for part in MODELS),
            "split": np.array(parts["split"]["seconds"]),
            f"evaluate on {sample} pictures": np.array(parts["evaluate"]["seconds"]),
            f"{rest:,} more by three models": rest * (2 * small.values + large.values),
            "DVC itself": self.nothing("noop").median,
        }

    def run(self) -> Quantity:
        """Take the seconds of a run that was run."""
        run = self.parts["whole_run"]
        stages = ", ".join(f"{name} {figure(one)} s" for name, one in run["stages"].items())
        return Quantity(run["seconds"], f"run once; {stages}")

    def nothing(self, part: str) -> Quantity:
        """`dvc repro` with nothing to do."""
        seconds, pictures = self.parts[part]["seconds"], self.parts[part]["pictures"]
        return Quantity(seconds, f"{pictures:,} pictures, {len(seconds)} times")

    def peak(self) -> Quantity:
        """Return the largest peak of anonymous memory, GB."""
        sizes = self.parts["sizes_train"]["sizes"].values()
        peak, mapped = (max(one[key] for one in sizes) for key in ("anonymous_gb", "mapped_gb"))
        return Quantity(peak, f"mapped pages apart: {figure(mapped)} GB")

    def spread(self) -> Quantity:
        """Return the largest peak of anonymous memory over the smallest."""
        found, how = self._by_size("sizes_train", "anonymous_gb", "GB")
        return Quantity(max(found.values()) / min(found.values()), how)

    def growth(self, part: str) -> Quantity:
        """Seconds an image at the most images over those at the fewest."""
        found, how = self._by_size(part, "seconds", "s")
        most, fewest = max(found), min(found)
        ratio = found[most] / most / (found[fewest] / fewest)
        return Quantity(ratio, f"{how}; {self.parts[part]['note']}")

    def _by_size(self, part: str, key: str, unit: str) -> tuple[dict[int, float], str]:
        """Take a figure at each number of images, and say all of them in words."""
        found = {int(n): one[key] for n, one in self.parts[part]["sizes"].items()}
        words = (f"{n:,} images: {figure(one)} {unit}" for n, one in found.items())
        return found, ", ".join(words)


@dataclass(frozen=True)
class Row:
    """A row of the table; a side that was not measured is None."""

    title: str
    unit: str
    goal: str
    tutorial: Quantity | None
    ours: Quantity | None

    @property
    def ratio(self) -> float | None:
        """This project's figure over the tutorial way's: less is faster."""
        return self.ours.median / self.tutorial.median if self.tutorial and self.ours else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is; None where there is none or too little was measured."""
        if not self.goal or not self.ours:
            return None
        _, most, *unit = self.goal.split()
        above, _, below = most.partition("/")
        judged = self.ours.median if unit else self.ratio
        return None if judged is None else judged <= float(above) / float(below or 1)


def rows(results: Mapping[str, Any]) -> list[Row]:
    """Every row of a class of machine, in the table's order."""
    kind, sides = results["class"], (Tutorial(results), Ours(results))
    found = []
    for row in read(Path(__file__).with_name("rows.yaml")):
        goals = row.get("goals", {})
        goal = goals.get(kind) or goals.get(kind.partition("-")[0], "")
        figures = (known(side, *row["figure"]) for side in sides)
        found.append(Row(row["title"], row.get("unit", "s"), goal, *figures))
    return found


def known(side: Side, name: str, *arguments: Any) -> Quantity | None:
    """Compute a side's figure, if it has such a one and all is there that it is made of."""
    figure_of: Callable[..., Quantity] | None = getattr(side, name, None)
    with suppress(KeyError):
        return figure_of(*arguments) if figure_of else None
    return None


def rates(results: Mapping[str, Any]) -> dict[str, float]:
    """GFLOP/s of cnn5's training steps, beside the best of numpy's matrix product."""
    found, flop = {}, results["cnn5_gflop"] * results["settings"]["batch_size"]
    sides = {"the tutorial way": Tutorial(results), "this project": Ours(results)}
    for part in CNN5:
        for words, side in sides.items():
            if one := known(side, "step", part):
                found[f"`{part}`, {words}"] = flop / one.median
    best, rate = max(results["products"].items(), key=lambda one: one[1])
    return found | {f"numpy's product of float32 matrices, {best} a side": rate}
