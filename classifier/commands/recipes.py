"""All recipes: what was published of each beside what was measured here, recipes/results.csv."""

import csv
import io
import json
import re
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from textwrap import wrap
from typing import Any

from pydantic import TypeAdapter
from statsmodels.stats.proportion import proportion_confint

from classifier.base.errors import UserError
from classifier.base.files import write_table, write_text
from classifier.base.params import leaves
from classifier.base.wording import percent, points
from classifier.commands.compare import aligned, is_member
from classifier.commands.git import git, is_ancestor, machine_of, params_of, unrun
from classifier.commands.recipe import (
    FOLDER,
    Figure,
    Recipe,
    changed,
    load_recipe,
    names,
    stages_for,
)
from classifier.commands.sweep_node import machine

RESULTS, PAGE = FOLDER / "results.csv", Path("docs/results.md")
BEGIN, END = "<!-- python -m classifier recipes --record writes this -->\n", "<!-- until here -->\n"
EXPERIMENT = re.compile(r"refs/exps/([0-9a-f]{2})/([0-9a-f]{38})/(\S+) ([0-9a-f]{40})")
CODE = ("*.py", "*dvc.yaml", "data/catalog")


@dataclass(frozen=True)
class Result:
    """A measured accuracy."""

    recipe: str  # its name
    seed: int  # of the training
    split: str  # of the pictures
    epoch: str  # after which; `kept` for the weights that are kept
    accuracy: float  # from 0 to 1, four decimals
    pictures: int  # of the split
    machine: str  # its class, as of a sweep's nodes
    commit: str  # that the experiment started from


@dataclass(frozen=True)
class Experiment:
    """A finished DVC experiment."""

    name: str  # as DVC has it
    start: str  # the commit that it started from
    revision: str  # its own commit
    seed: int  # of its training
    machine: str  # as its commit's message says, which a sweep writes; without, it ran here

    @property
    def commit(self) -> str:
        """The commit that it started from, as results.csv has it."""
        return self.start[:10]


def run(options: Namespace) -> None:
    """List the recipes with what was recorded; with --record, record what has finished since."""
    recipes = {name: load_recipe(name) for name in names()}
    results = recorded()
    for name, recipe in recipes.items():
        for one in finished(name, recipe):
            if not is_news(name, recipe, one, results):
                continue
            if reason := unfit(recipe, one):
                print(f"{one.name} does not count: {reason}")
                continue
            results = replaced(results, measure(name, recipe, one, test=options.record))
            print(f"{one.name}: {'recorded' if options.record else 'not recorded yet: --record'}")
    if options.record:
        write_table(RESULTS, [field.name for field in fields(Result)], map(astuple, results))
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        write_text(PAGE, f"{before}{BEGIN}\n{markdown(recipes, results)}\n{END}{after}")
    print(aligned(table(recipes, results)))


def recorded() -> list[Result]:
    """Read recipes/results.csv."""
    if not RESULTS.exists():
        return []
    with RESULTS.open(encoding="utf-8", newline="") as file:
        return TypeAdapter(list[Result]).validate_python(list(csv.DictReader(file)))


def replaced(results: Sequence[Result], new: Sequence[Result]) -> list[Result]:
    """Put results in the place of those of the same recipe, seed and class of machine; sorted."""

    def run_of(one: Result) -> tuple[str, int, str]:
        return one.recipe, one.seed, one.machine

    again = {run_of(one) for one in new}
    kept = [one for one in results if run_of(one) not in again]
    return sorted([*kept, *new], key=run_of)


def finished(name: str, recipe: Recipe) -> list[Experiment]:
    """Find the experiments NAME, NAME-1, ... on whatever commit; of those alike the newest.

    Git has a reference to each, whose name holds the commit that it started from.
    """
    form = "--format=%(refname) %(objectname)"
    listed = git("for-each-ref", "--sort=committerdate", form, "refs/exps").splitlines()
    found = {}
    for line in listed:
        match = EXPERIMENT.fullmatch(line)
        if match and is_member(match[3], name):
            seed = params_of(match[4], recipe.params_file)["seed"]
            where = machine_of(match[3], match[4]) or machine()
            found[seed, where] = Experiment(match[3], match[1] + match[2], match[4], seed, where)
    return list(found.values())


def is_news(name: str, recipe: Recipe, one: Experiment, results: Sequence[Result]) -> bool:
    """Whether an experiment has what is not recorded of its seed, class of machine and commit.

    One that started before the commit of what is recorded is no news, but left over.
    """
    before = [r for r in results if (r.recipe, r.seed, r.machine) == (name, one.seed, one.machine)]
    if any(r.commit != one.commit and is_ancestor(one.start, r.commit) for r in before):
        return False
    known = {(r.split, r.epoch) for r in before if r.commit == one.commit}
    return not known.issuperset((figure.split, figure.after) for figure in recipe.accuracy)


def unfit(recipe: Recipe, experiment: Experiment) -> str:
    """Say why an experiment is not the recipe's; nothing where it is."""
    commits = experiment.start, experiment.revision
    before, after = (params_of(commit, recipe.params_file) for commit in commits)
    wanted = dict(leaves(changed(before, recipe.params)))
    other = [key for key, value in leaves(after) if key != "seed" and wanted.get(key) != value]
    if other:
        return f"its {other[0]} is neither the recipe's nor that of the commit it started from"
    if edited := git("diff", "--name-only", *commits, "--", *CODE).split():
        return f"it ran with an edit of {edited[0]} that is in no commit"
    stages = stages_for(recipe.model) if recipe.model else None
    return unrun(experiment.revision, stages, recipe.params_file.parent)


def measure(name: str, recipe: Recipe, experiment: Experiment, *, test: bool) -> list[Result]:
    """Take what a recipe measures from an experiment's files, in Git or in DVC's cache.

    Its metrics/evaluate.json is that of the commit it started from: it ran one training alone. So
    the test split is looked at here, by the model with the weights that are kept.

    Args:
        name: of the recipe.
        recipe: what to measure.
        experiment: that is the recipe's.
        test: whether to look at the test split too, which takes a while.
    """
    accuracies = _of_pipeline if recipe.pipeline else _of_model
    wanted = [one for one in recipe.accuracy if test or recipe.pipeline or one.split != "test"]
    return [
        Result(name, experiment.seed, *found, experiment.machine, experiment.commit)
        for found in accuracies(recipe, wanted, experiment.revision)
    ]


def _of_pipeline(
    recipe: Recipe, wanted: Sequence[Figure], revision: str
) -> Iterator[tuple[str, str, float, int]]:
    """Yield split, epoch, accuracy and number of examples."""
    figures = json.loads(git("show", f"{revision}:{recipe.pipeline}/metrics.json"))
    for one in wanted:
        yield one.split, "kept", figures["accuracy"], figures["examples"]


def _of_model(
    recipe: Recipe, wanted: Sequence[Figure], revision: str
) -> Iterator[tuple[str, str, float, int]]:
    """Yield split, epoch, accuracy and number of pictures."""
    from dvc.api import DVCFileSystem

    files = DVCFileSystem(rev=revision)
    written = git("show", f"{revision}:plots/curves/{recipe.model}.tsv")
    curve = list(csv.DictReader(io.StringIO(written), delimiter="\t"))
    metrics = json.loads(git("show", f"{revision}:metrics/{recipe.model}.json"))
    for one in wanted:
        listed = files.read_text(f"data/splits/{one.split}.csv", encoding="utf-8")
        pictures = len(list(csv.DictReader(io.StringIO(listed))))
        if one.split == "test":
            flip = params_of(revision)["evaluate"].get("flip", False)
            accuracy = accuracy_on_test(files, f"data/models/{recipe.model}.keras", flip=flip)
        elif one.epoch:
            if one.epoch > len(curve):
                raise UserError(
                    f"accuracy at epoch {one.epoch} is wanted, but {recipe.model} was trained for "
                    f"{len(curve)}"
                )
            accuracy = float(curve[one.epoch - 1][f"{one.split}_accuracy"])
        else:
            accuracy = metrics[f"{one.split}_accuracy"]
        yield one.split, one.after, round(accuracy, 4), pictures


def accuracy_on_test(files: Any, model: str, *, flip: bool) -> float:
    """Pass the test split of an experiment through its model; return the accuracy.

    Args:
        files: of the experiment, as DVC's file system has them.
        model: its path.
        flip: take the mean over each picture and its mirror image.
    """
    from classifier.base.splits import read_split
    from classifier.evaluation.inference import mirrored, scores
    from classifier.training.saving import load_model

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        splits = (f"data/splits/{name}" for name in ("train.csv", "test.csv", "test.npy"))
        for path in (model, *splits):
            files.get_file(path, str(folder / Path(path).name))
        test = read_split("test", folder)
        network = load_model(folder / Path(model).name)[0]
        predicted = scores(mirrored(network) if flip else network, test.images).argmax(axis=1)
        return float((predicted == test.labels).mean())


def table(recipes: dict[str, Recipe], results: Sequence[Result]) -> list[list[str]]:
    """Lay out what was published and measured: a row for each accuracy and class of machine."""
    rows = [["recipe", "accuracy on", "published", "measured", "seeds", "machine"]]
    for name, recipe in recipes.items():
        for one in recipe.accuracy:
            of = [
                r for r in results if (r.recipe, r.split, r.epoch) == (name, one.split, one.after)
            ]
            where = f"{one.split}, epoch {one.epoch}" if one.epoch else one.split
            for place in sorted({r.machine for r in of}) or [""]:
                here = [r for r in of if r.machine == place]
                seeds = ", ".join(str(r.seed) for r in here)
                rows.append([name, where, one.published or "", measured(here), seeds, place])
    return rows


def markdown(recipes: dict[str, Recipe], results: Sequence[Result]) -> str:
    """Write the table for the page, and in what each recipe differs from its source."""
    head, *rows = (f"| {' | '.join(row)} |" for row in table(recipes, results))
    notes = [
        line
        for name, recipe in recipes.items()
        if recipe.note
        for line in wrap(f"- {name}: {recipe.note}", 100, subsequent_indent="  ")
    ]
    return "\n".join([head, "|---|---|---|---|---|---|", *rows, "", *notes, ""])


def measured(results: Sequence[Result]) -> str:
    """Write the mean over the seeds; its 95 % interval where the pictures were not trained on.

    The interval is Wilson's for that many pictures: how far other pictures would move the figure.
    How far other seeds do is the range.
    """
    if not results:
        return ""
    accuracies = [one.accuracy for one in results]
    mean = sum(accuracies) / len(accuracies)
    said = percent(mean)
    if results[0].split != "train":
        pictures = results[0].pictures
        low, high = proportion_confint(mean * pictures, pictures, method="wilson")
        said += f" ({points(low)} to {points(high)})"
    if len(accuracies) > 1:
        said += f", seeds {points(min(accuracies))} to {points(max(accuracies))}"
    return said
