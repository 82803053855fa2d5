"""Two recipes, each trained with several seeds: groups of DVC experiments compared by name prefix.

The group `a` is every experiment called `a`, or `a` and a number, as DVC's queue names them: in the
order of the values, not after the seeds.
"""

import json
import re
import subprocess
import sys
import warnings
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from scipy.stats import ttest_ind
from statsmodels.stats.multitest import multipletests

from classifier.base.errors import UserError
from classifier.base.params import leaves
from classifier.base.wording import counted
from classifier.commands.git import machine_of

METRICS = "metrics/evaluate.json"
LEVEL = 0.05
GAPS = 20  # more numbers than these are missing where they are dates, or seeds of one's own


@dataclass(frozen=True)
class Run:
    """An experiment that ended well: parameters by dotted key, metrics by model and name.

    machine: the class that a sweep ran it on, from its commit's message; empty where not known.
    """

    name: str
    parameters: dict[str, Any]
    metrics: dict[str, dict[str, float]]
    machine: str = ""


@dataclass(frozen=True)
class Summary:
    """A metric over the runs of a group; one run has no deviation."""

    n: int
    mean: float
    deviation: float | None


@dataclass(frozen=True)
class Row:
    """One model's metric in both groups; difference: mean of `b` − mean of `a`.

    low, high: its 95 % interval; p_value: Welch's t-test; p_holm: after Holm's correction over the
    models. All are None where `note` says why no test is possible.
    """

    model: str
    metric: str
    a: Summary
    b: Summary
    difference: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_holm: float | None = None
    note: str = ""


def gather(prefix: str, *, root: Path = Path(), commits: int = 1) -> list[Run]:
    """Return the finished experiments of a group, in the order of their names.

    commits: how many of the last commits to look for experiments on, as in `dvc exp show -n`. Of
    runs with the same parameters the first counts alone: the same seed makes the same model, and
    counting it twice would make the interval narrower than it is. Raises UserError where there are
    none; running, queued and failed experiments don't count.
    """
    found = list(_finished(root, commits))
    group: list[Run] = []
    for run in sorted(found, key=lambda run: _natural(run.name)):
        anew = all(run.parameters != other.parameters for other in group)
        if is_member(run.name, prefix) and anew:
            group.append(run)
    if not group:
        names = ", ".join(sorted((run.name for run in found), key=_natural)) or "none"
        raise UserError(
            f"no finished experiment is called {prefix!r} and a number; there are: {names}"
        )
    return group


def unfinished(prefix: str, *, root: Path = Path(), commits: int = 1) -> list[str]:
    """Name the experiments of a group that do not count, each with what DVC says of it.

    An experiment that was killed may have left nothing but a gap in the numbers: `no a-2`, where
    these gaps are few.
    """
    listed = [one for one in _listed(root, commits) if is_member(one["name"], prefix)]
    waiting = {one["name"]: _state(one) for one in listed}
    for run in _finished(root, commits):
        waiting.pop(run.name, None)
    numbered = re.compile(rf"{re.escape(prefix)}-(\d+)")
    numbers = {int(found[1]) for one in listed if (found := numbered.fullmatch(one["name"]))}
    highest = max(numbers, default=0)
    few = highest - len(numbers) <= GAPS
    gone = set(range(1, highest)) - numbers if few else set()
    told = [f"{name} ({state})" for name, state in waiting.items()]
    return sorted([*told, *(f"no {prefix}-{number}" for number in gone)], key=_natural)


def is_member(name: str, prefix: str) -> bool:
    """Whether an experiment is of a group: its name is the prefix, or that and a number."""
    # `aug-long-1` is none of `aug`, and `net50` none of `net5`.
    separator = "[-_.]" if prefix[-1:].isdigit() else "[-_.]?"
    return bool(re.fullmatch(rf"{re.escape(prefix)}({separator}(seed[-_.]?)?\d+)?", name))


def summarise(values: list[float]) -> Summary:
    """Return mean and standard deviation (n − 1)."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Summary(len(values), float(np.mean(values)), deviation)


def compare(a: list[Run], b: list[Run], metric: str = "accuracy") -> list[Row]:
    """Test group `b` against group `a`, one row for each model that both have.

    Welch's t-test (scipy): the groups may differ in spread and size. It speaks of the recipe on
    this split of the data; how far the test images themselves vary is in each run's own interval.
    A model that the change does not reach is the same one in both groups, for each seed that both
    have: it is not tested, and so does not make the correction of the others harder. Raises
    UserError where no model has the metric in both groups.
    """
    models = sorted({model for run in a for model in run.metrics})
    trained = {model: (_trained(a, model, metric), _trained(b, model, metric)) for model in models}
    trained = {model: pair for model, pair in trained.items() if pair[0] and pair[1]}
    if not trained:
        known = sorted({name for run in a for figures in run.metrics.values() for name in figures})
        raise UserError(
            f"no model has {metric!r} in both groups; there are: {', '.join(known) or 'none'}"
        )
    rows = []
    for model, pair in trained.items():
        of_a, of_b = ([figures[metric] for figures in group] for group in pair)
        difference = float(np.mean(of_b) - np.mean(of_a))
        row = Row(model, metric, summarise(of_a), summarise(of_b), difference)
        shared = sum(one in pair[1] for one in pair[0])
        if 2 * shared > min(map(len, pair)):  # not all: a run may be missing in either group
            note = "the same models in both groups: the change does not reach it"
            rows.append(replace(row, note=note))
        else:
            rows.append(_welch(row, of_a, of_b))
    p_values = [row.p_value for row in rows if row.p_value is not None]
    corrected = iter(multipletests(p_values, method="holm")[1] if p_values else [])
    return [
        row if row.p_value is None else replace(row, p_holm=float(next(corrected))) for row in rows
    ]


def differing(runs: list[Run]) -> dict[str, list[Any]]:
    """Return the parameters that are not the same in all runs, with their values in order."""
    keys = sorted({key for run in runs for key in run.parameters})
    values = {key: [run.parameters.get(key) for run in runs] for key in keys}
    return {key: found for key, found in values.items() if any(v != found[0] for v in found)}


def table(
    names: tuple[str, str],
    groups: tuple[list[Run], list[Run]],
    rows: list[Row],
    missing: Sequence[Sequence[str]] = ((), ()),
) -> str:
    """Return the comparison as text for a terminal, its lists wrapped at 100 columns."""
    lines = []
    for name, runs, others in zip(names, groups, missing, strict=True):
        varied = f" that differ in {', '.join(differing(runs)) or 'nothing'}"
        lines.append(f"{name}: {counted(len(runs), 'run')}{varied if len(runs) > 1 else ''}")
        if others:
            lines += wrap(f"not counted: {', '.join(others)}", 100, subsequent_indent="  ")
    within = differing(groups[0]).keys() | differing(groups[1]).keys()
    between = {k: v for k, v in differing([*groups[0], *groups[1]]).items() if k not in within}
    changes = ", ".join(f"{key} {values[0]} → {values[-1]}" for key, values in between.items())
    changes = f"{names[1]} against {names[0]}: {changes or 'the same parameters'}"
    lines += [*wrap(changes, width=100, subsequent_indent="  "), ""]

    if warning := _machines(names, groups):
        lines[-1:] = [*wrap(warning, 100, subsequent_indent="  "), ""]

    cells = [["", *names, "difference", "95 % interval", "p (Holm)"]]
    for row in rows:
        interval = "–" if row.low is None else f"{row.low:+.4f} to {row.high:+.4f}"
        p_value = "–" if row.p_holm is None else f"{row.p_holm:.3f}"
        if row.p_holm is not None and row.p_holm < 0.001:
            p_value = "< 0.001"
        cells.append(
            [row.model, _cell(row.a), _cell(row.b), f"{row.difference:+.4f}", interval, p_value]
        )
    sentences = [_sentence(names, row) for row in rows]
    metric, shown = rows[0].metric, {row.model for row in rows}
    for name, runs in zip(names, groups, strict=True):
        has = {model for run in runs for model in run.metrics if metric in run.metrics[model]}
        if alone := ", ".join(sorted(has - shown)):
            sentences += wrap(f"{metric} only in {name}: {alone}", 100, subsequent_indent="  ")
    return "\n".join([*lines, aligned(cells), "", *sentences])


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _finished(root: Path, commits: int) -> Iterator[Run]:
    """Yield each finished experiment once."""
    for experiment in _listed(root, commits):
        data = experiment["revs"][0]["data"] if experiment["revs"] else None
        measured = figures_of(data) if data else None
        if data and measured and _state(experiment) == "success":
            parameters = dict(leaves(data["params"]["params.yaml"]["data"]))
            machine = machine_of(experiment["name"], experiment["revs"][0]["rev"], root)
            yield Run(experiment["name"], parameters, measured, machine)


def figures_of(data: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Collect each model's figures: of its training, and of evaluation if it judged this model.

    An experiment that ran one training alone has evaluate.json from the commit it started from.
    """
    files = {path: one.get("data") or {} for path, one in data["metrics"].items()}
    found = {}
    for model, figures in files.get(METRICS, {}).items():
        trained = files.get(f"metrics/{model}.json", {})
        found[model] = {k: v for k, v in trained.items() if isinstance(v, int | float)}
        path = f"data/models/{model}.keras"
        judged, made = (data[kind].get(path, {}).get("hash") for kind in ("deps", "outs"))
        if judged == made:
            found[model] |= figures
    return found


def _state(experiment: dict[str, Any]) -> str:
    """Return what DVC says of an experiment, in small letters."""
    return ((experiment["executor"] or {}).get("state") or "success").lower()


@cache
def _listed(root: Path, commits: int) -> list[dict[str, Any]]:
    """List the named experiments, each once.

    From `dvc exp show --json`, which keeps the files apart: `dvc.api.exp_show` merges the columns
    of all metrics and parameters, and shows a running experiment with the metrics of its parent.
    """
    command = [sys.executable, "-m", "dvc", "exp", "show", "--json", "-n", str(commits)]
    shown = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if shown.returncode:
        reason = shown.stderr.strip().splitlines() or [f"it ended with {shown.returncode}"]
        raise UserError(f"dvc exp show failed: {reason[-1]}")
    experiments: dict[str, dict[str, Any]] = {}
    for commit in json.loads(shown.stdout):
        for experiment in commit["experiments"] or []:
            if experiment["name"]:
                experiments.setdefault(experiment["name"], experiment)
    return list(experiments.values())


def _trained(runs: list[Run], model: str, metric: str) -> list[dict[str, float]]:
    """Return the figures of each model of this name that was trained and has the metric.

    What a parameter that varies within the group does not reach is the same model in several runs.
    All of its figures agree then, and it counts once.
    """
    found: list[dict[str, float]] = []
    for run in runs:
        figures = run.metrics.get(model, {})
        if metric in figures and figures not in found:
            found.append(figures)
    return found


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort a-2 before a-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _welch(row: Row, a: list[float], b: list[float]) -> Row:
    if min(len(a), len(b)) < 2:
        return replace(row, note="a test needs at least two runs in each group")
    if np.ptp(a) == 0 and np.ptp(b) == 0:
        note = "the runs of each group agree to the last digit: nothing to test"
        return replace(row, note=note)
    with warnings.catch_warnings():
        # A group whose runs agree has no spread, and that is exact: scipy fears for its digits.
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        result = ttest_ind(b, a, equal_var=False)
    low, high = map(float, result.confidence_interval(0.95))
    return replace(row, low=low, high=high, p_value=float(result.pvalue))


def _machines(names: tuple[str, str], groups: tuple[list[Run], list[Run]]) -> str:
    """Say on which kinds of machine each group ran; nothing where their shares are the same."""
    a, b = ([run.machine or "an unknown machine" for run in runs] for runs in groups)
    if sorted(a * len(b)) == sorted(b * len(a)):
        return ""
    kinds = []
    for name, group in zip(names, (a, b), strict=True):
        shares = (f"{kind} ({counted(n, 'run')})" for kind, n in sorted(Counter(group).items()))
        kinds.append(f"{name} on {', '.join(shares)}")
    perhaps = "perhaps " if "an unknown machine" in [*a, *b] else ""
    return (
        f"{perhaps}different kinds of machine, which may explain a difference: {'; '.join(kinds)}"
    )


def _cell(summary: Summary) -> str:
    spread = "" if summary.deviation is None else f" ± {summary.deviation:.4f}"
    return f"{summary.mean:.4f}{spread} (n = {summary.n})"


def _sentence(names: tuple[str, str], row: Row) -> str:
    if row.p_holm is None:
        return f"{row.model}: {row.note}"
    if row.p_holm > LEVEL:
        return f"{row.model}: no difference in {row.metric} can be told from these runs"
    way = "higher" if row.difference > 0 else "lower"
    return f"{row.model}: {row.metric} is {way} with {names[1]} than with {names[0]}"


def run(options: Namespace) -> None:
    """Print the comparison of two groups, and which of their runs do not count."""
    prefixes = options.prefix_a, options.prefix_b
    a, b = (gather(prefix, commits=options.commits) for prefix in prefixes)
    missing = tuple(unfinished(prefix, commits=options.commits) for prefix in prefixes)
    print(table(prefixes, (a, b), compare(a, b, options.metric), missing))
