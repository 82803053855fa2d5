"""A search for better parameters: Optuna asks, `dvc exp run` answers, validation loss decides.

Nothing is kept but the trials, which are experiments: the search goes on from those that are there.
Each question depends on its number and the answers before it alone, so that a search that was
interrupted asks what it would have asked, and an interrupted training goes on.
"""

import json
import re
from argparse import Namespace
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from classifier.base.cache import cache_folder
from classifier.base.checked import check, read
from classifier.base.errors import UserError
from classifier.base.family import MODELS
from classifier.base.files import whole
from classifier.base.params import Params, leaves
from classifier.commands.git import checked_name, edited, experiment_ref, git, params_of, unrun
from classifier.commands.recipe import changed, stage_of, stages_for
from classifier.commands.repro import run_dvc, written

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study

PICTURES = Path("plots")
PARAMS = Path("params.yaml")
RANGE = re.compile(r"([\w.]+)=(log|float|int|choice)\(([^()]+)\)")
ANOTHER_NAME = "take another --name"
FORM = "KEY=log(1e-4,1e-2), KEY=float(0,0.5), KEY=int(1,5) or KEY=choice(adam,sgd)"


def run(options: Namespace) -> None:
    """Run the trials that are missing, each as experiment NAME-1, NAME-2, ...; draw what was found.

    Raises:
        UserError: Optuna is missing, a range is wrong, files are not as committed, or a stage
            failed otherwise than by a training that diverged.
    """
    if not find_spec("optuna"):
        raise UserError("Optuna is missing: pip install -r requirements-tune.txt")
    name = checked_name(options.name)
    if options.model not in MODELS:
        raise UserError(f"--model is {options.model!r}, allowed: {', '.join(MODELS)}")
    space: dict[str, BaseDistribution] = {}
    for key, range_ in map(parsed, options.over):
        if key in space:
            raise UserError(f"--over: {key} has more than one range")
        space[key] = range_
    check_values(space, options.model)
    check_committed()
    study = search(name, options.trials, options.model, space)
    if not any(trial.value is not None for trial in study.trials):
        raise UserError(
            "every trial diverged or was refused: lower the learning rates, or change the ranges"
        )
    best = study.best_trial
    picture = PICTURES / f"tune_{name}.png"
    draw(study, picture)
    print(f"lowest: {best.value:.4f}, {said(best.params)}; all: {picture}")
    print(f"dvc exp apply {best.user_attrs['name']} puts it into the workspace")


def search(name: str, trials: int, model: str, space: Mapping[str, "BaseDistribution"]) -> "Study":
    """Run the trials that are missing; return all."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    for number in range(1, trials + 1):
        one = f"{name}-{number}"
        done = finished(one, model, space)
        if not done:
            study.sampler = optuna.samplers.TPESampler(seed=number)
            asked = study.ask(dict(space))
            print(f"{one}: {said(asked.params)}", flush=True)
            conflict = refused(asked.params)
            if not conflict and ran(one, model, asked.params):
                done = finished(one, model, space)
            # Told either way: else it would count as one that still runs.
            study.tell(asked, state=optuna.trial.TrialState.FAIL)
        if not done:
            print(f"{one} {conflict or 'diverged'}", flush=True)
            continue
        try:
            told = {"params": done[0], "value": done[1], "user_attrs": {"name": one}}
            study.add_trial(optuna.trial.create_trial(**told, distributions=dict(space)))
        except ValueError as error:
            raise UserError(
                f"experiment {one} is of another search ({error}): {ANOTHER_NAME}"
            ) from error
        print(f"{one}: validation loss {done[1]:.4f}", flush=True)
    return study


def refused(values: Mapping[str, Any]) -> str:
    """Say why params.yaml allows no such values together, each of which it allows alone."""
    try:
        check(changed(read(PARAMS), dict(values)), Params, PARAMS)
    except UserError as error:
        return f"is refused: {error}"
    return ""


def ran(name: str, model: str, values: Mapping[str, Any]) -> bool:
    """Train in a copy of the checkout; False where the training diverged."""
    options = [part for key, value in values.items() for part in ("-S", f"{key}={written(value)}")]
    arguments = ["exp", "run", "--temp", "-n", name, *options, stage_of(model)]
    try:
        run_dvc(arguments, Path(), cache_folder("logs") / "tune.log")
    except UserError as error:
        if "the training diverged" in str(error):
            return False
        raise
    return True


def finished(
    name: str, model: str, space: Mapping[str, "BaseDistribution"]
) -> tuple[dict[str, Any], float] | None:
    """Read parameters and validation loss of the experiment that started from this commit.

    Raises:
        UserError: it is of another search.
    """
    reference = experiment_ref(git("rev-parse", "HEAD").strip(), name)
    revision = git("for-each-ref", "--format=%(objectname)", reference).strip()
    if not revision:
        return None
    here, params = (dict(leaves(params_of(commit))) for commit in ("HEAD", revision))
    other = [key for key in params if key not in space and params[key] != here.get(key)]
    if reason := other[0] if other else unrun(revision, stages_for(model)):
        raise UserError(f"experiment {name} is of another search ({reason}): {ANOTHER_NAME}")
    figures = json.loads(git("show", f"{revision}:metrics/{model}.json"))
    return {key: params[key] for key in space}, figures["validation_loss"]


def parsed(text: str) -> tuple[str, "BaseDistribution"]:
    """Read one --over.

    Examples:
        >>> parsed("train.learning_rate=log(1e-4,1e-2)")[0]
        'train.learning_rate'

    Raises:
        UserError: it is none.
    """
    from optuna import distributions

    match, yaml = RANGE.fullmatch(text), YAML(typ="safe", pure=True)
    try:
        if not match:
            raise ValueError
        key, kind, inside = match.groups()
        parts = [part.strip() for part in inside.split(",")]
        if kind == "choice":
            return key, distributions.CategoricalDistribution(list(map(yaml.load, parts)))
        low, high = map(int if kind == "int" else float, parts)
        if kind == "int":
            return key, distributions.IntDistribution(low, high)
        return key, distributions.FloatDistribution(low, high, log=kind == "log")
    except (ValueError, YAMLError) as error:
        why = f" ({' '.join(str(error).split())})" if match and str(error) else ""
        raise UserError(f"--over is {text!r}{why}, allowed: {FORM}") from error


def check_values(space: Mapping[str, "BaseDistribution"], model: str) -> None:
    """Check the ends of every range, and each choice, as values of params.yaml.

    Raises:
        UserError: a key is unknown, changes nothing in the model, or a value is not allowed.
    """
    known = dict(leaves(read(PARAMS)))
    stages = read(Path("dvc.yaml"))["stages"]
    reads = [one for name in ("split", stage_of(model)) for one in stages[name]["params"]]
    for key, range_ in space.items():
        if key not in known:
            raise UserError(f"--over: {PARAMS} has no {key}")
        if not any(f"{key}.".startswith(f"{one}.") for one in reads):
            raise UserError(f"--over: {key} changes nothing in {model}; --model names another")
        for value in getattr(range_, "choices", None) or (range_.low, range_.high):
            check(changed(read(PARAMS), {key: value}), Params, PARAMS)


def check_committed() -> None:
    """Refuse to go on under an edit: the trials would not be of one code and one params.yaml."""
    if files := edited():
        raise UserError(f"a search is of one commit, and {files[0]} differs from it: commit it")


def said(values: Mapping[str, Any]) -> str:
    """Say parameters: `train.learning_rate 0.00042, train.ema 0.999`."""
    return ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in values.items()
    )


def draw(study: "Study", path: Path) -> None:
    """Draw the validation loss of every trial over each parameter, the best in red."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    trials = [trial for trial in study.trials if trial.value is not None]
    best = study.best_trial
    keys = list(best.params)
    figure, axes = plt.subplots(
        1, len(keys), figsize=(4 * len(keys), 3.5), sharey=True, squeeze=False, layout="constrained"
    )
    for key, axis in zip(keys, axes[0], strict=True):
        values = [trial.params[key] for trial in trials]
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
        axis.scatter(
            values if numbers else [str(value) for value in values],
            [trial.value for trial in trials],
            c=["#e45756" if trial.number == best.number else "#4c78a8" for trial in trials],
        )
        if getattr(trials[0].distributions[key], "log", False):
            axis.set_xscale("log")
        axis.set_xlabel(key)
    axes[0][0].set_ylabel("validation loss")
    with whole(path) as beside:
        figure.savefig(beside, dpi=120)
    plt.close(figure)
