"""A recipe: what a tutorial trains, as a DVC experiment. The format of recipes/NAME.yaml."""

import shlex
from argparse import Namespace
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from classifier.base.cache import cache_folder
from classifier.base.checked import Section, check, load, nearest, read
from classifier.base.errors import UserError
from classifier.base.family import MODELS
from classifier.base.params import Count, Name, Params
from classifier.commands.git import edited
from classifier.commands.repro import run_dvc, written

FOLDER = Path("recipes")


def _model(name: str) -> str:
    if name not in MODELS:
        raise ValueError(" or ".join(map(repr, MODELS)))
    return name


class Figure(Section):
    """An accuracy to measure."""

    split: Literal["train", "validation", "test"]  # of the pictures it is measured on
    # After which; None: with the weights that are kept, those of lowest validation loss.
    epoch: Count | None = None
    published: Name | None = None  # what the source says of it, in words where it is vague

    @property
    def after(self) -> str:
        """The epoch, or `kept`."""
        return str(self.epoch or "kept")

    @model_validator(mode="after")
    def _weights_are_there(self) -> Self:
        if (self.split == "test") != (self.epoch is None) and self.split != "validation":
            raise ValueError("test is measured with the weights that are kept, train at an epoch")
        return self


class Recipe(Section):
    """A published training."""

    title: Name  # what it is
    source: Name  # who published it
    note: Name | None = None  # in what it differs from its source
    model: Annotated[str, AfterValidator(_model)] | None = None  # that this pipeline makes; or
    # The folder of another, which leaves `accuracy` and `examples` in metrics.json.
    pipeline: Name | None = None
    params: dict[str, Any]  # what differs from params.yaml, by dotted key
    accuracy: Annotated[list[Figure], Field(min_length=1)]  # what is measured

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.model is None) == (self.pipeline is None):
            raise ValueError("one of model and pipeline must be given, and not both")
        return self

    @property
    def params_file(self) -> Path:
        """The params.yaml that it differs from."""
        return Path(self.pipeline or "") / "params.yaml"

    @property
    def where(self) -> list[str]:
        """What `dvc` is told of the folder it runs in."""
        return ["--cd", self.pipeline] if self.pipeline else []


def names() -> list[str]:
    """All recipes, in order."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_recipe(name: str) -> Recipe:
    """Read recipes/NAME.yaml; check it, and params.yaml with its changes.

    Raises:
        UserError: there is none, or something is wrong in it; one line.
    """
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"{path} is missing; {nearest(name, names())}")
    recipe = load(path, Recipe)
    try:
        params = changed(read(recipe.params_file), recipe.params)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if recipe.model:
        check(params, Params, path)
    return recipe


def changed(params: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Set values by their dotted keys, in place; raise UserError where one goes too deep."""
    for key, value in changes.items():
        *above, last = key.split(".")
        section = params
        for one in above:
            section = section.setdefault(one, {})
            if not isinstance(section, dict):
                raise UserError(f"{key}: {one} holds a value, and no {last}")
        section[last] = value
    return params


def command(name: str, recipe: Recipe, where: str, changes: dict[str, Any]) -> list[str]:
    """Write the arguments of `dvc` that run a recipe: the stage that makes its model, no other.

    Args:
        name: of the experiment.
        recipe: what to run.
        where: --temp or --queue: in a copy of the checkout, whose params.yaml stays as it is.
        changes: of parameters beyond the recipe's, by dotted key.
    """
    values = (f"{key}={written(value)}" for key, value in (recipe.params | changes).items())
    options = [part for one in values for part in ("-S", one)]
    target = [stage_of(recipe.model)] if recipe.model else []
    return [*recipe.where, "exp", "run", where, "-n", name, *options, *target]


def stage_of(model: str) -> str:
    """Find the stage of dvc.yaml that makes a model."""
    stages = read(Path("dvc.yaml"))["stages"]
    made = f"data/models/{model}.keras"
    return next(name for name, stage in stages.items() if made in stage.get("outs", ()))


def stages_for(model: str) -> list[str]:
    """List the stages that a training needs, itself the last."""
    return ["download", "split", stage_of(model)]


def run(options: Namespace) -> None:
    """Check a recipe, print the experiments that it stands for, and run or queue them.

    Raises:
        UserError: it is wrong, params.yaml is not as committed, or a stage failed.
    """
    name = options.name
    recipe = load_recipe(name)
    for text in (f"{recipe.title}. Source: {recipe.source}.", recipe.note):
        if text:
            print(fill(text, 100))
    if options.seeds:
        seeds = range(1, options.seeds + 1)
        runs = [command(f"{name}-{one}", recipe, "--queue", {"seed": one}) for one in seeds]
    else:
        runs = [command(name, recipe, "--temp", {})]
    print("", *(shlex.join(["dvc", *one]) for one in runs), "", sep="\n", flush=True)
    if options.print:
        return
    # The copy takes an edit along: what came of it would not be the recipe's.
    if edited(str(recipe.params_file)):
        raise UserError(
            f"{recipe.params_file} differs from the last commit, and a recipe differs from the "
            f"committed one: git checkout {recipe.params_file}, or commit it"
        )
    for one in runs:
        run_dvc(one, Path(), cache_folder("logs") / "recipe.log")
    if options.seeds:
        print(f"{shlex.join(['dvc', *recipe.where, 'queue', 'start'])} runs them")
    print("python -m classifier recipes shows the figures")
