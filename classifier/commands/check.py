"""`python -m classifier check`: what is wrong in params.yaml, in under a second.

It also names what would be lost later and in silence.
"""

import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from classifier.base.errors import UserError
from classifier.base.params import Params, load_params, positive_class, way_back
from classifier.sources.hashable import check_hashable
from classifier.sources.weights import check_own


def run(options: Namespace) -> None:
    """Check the parameters and what they name."""
    try:
        params = load_params()
    except UserError as error:
        raise UserError(f"{error}{way_back('git checkout params.yaml')}") from error
    here = Path.cwd()
    if not any((folder / ".git").exists() for folder in (here, *here.parents)):
        raise UserError(
            "DVC needs a git repository, and this is none: clone the project, or type "
            "git init && git add . && git commit -m start"
        )
    dataset = Path("data/raw/dataset.json")
    check_own("finetune.weights", "vgg16", params.finetune.weights, dataset)
    check_own("mobilenet.weights", "mobilenet", params.mobilenet.weights, dataset)
    source = Path(params.data.source)
    check_there(source)
    check_hashable(source)
    for note in [*notes(source), *notes_on_positive(params, dataset)]:
        print(f"note: {note}", file=sys.stderr)
    print("params.yaml is good")


def check_there(source: Path) -> None:
    """Refuse a source that is nowhere, not even in DVC's cache."""
    if not source.exists() and not _is_dvcs(source):
        near = get_close_matches(str(source), map(str, source.parent.glob("*")), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"params.yaml: data.source is {source}, which is not there{hint}")


def notes(source: Path) -> Iterator[str]:
    """Yield a line for each thing that experiments in copies of this checkout would miss.

    Args:
        source: data.source.
    """
    if _git("rev-parse", "--is-shallow-repository") == "true":
        yield (
            "this clone is shallow: DVC loses the results of --temp and of the queue in it; "
            "type git fetch --unshallow"
        )
    if source.exists() and _lies_here(source) and not _is_tracked(source):
        way_on = "git add" if source.suffix in (".yaml", ".yml") else "dvc add"
        yield (
            f"{source} is tracked by neither Git nor DVC: experiments of --temp and the queue do "
            f"not see it; type {way_on} {source}"
        )


def notes_on_positive(params: Params, dataset: Path) -> Iterator[str]:
    """Yield a line where the positive class was not in the data set when it was last downloaded.

    No more than a line: the pictures may have changed since, and evaluation refuses it anyway.
    """
    if params.evaluate.positive is None or not dataset.is_file():
        return
    recorded = json.loads(dataset.read_text(encoding="utf-8"))
    if recorded["source"] == params.data.source:
        try:
            positive_class(params.evaluate.positive, list(recorded["classes"]))
        except UserError as error:
            yield f"{error}, when download last ran"


def _lies_here(source: Path) -> bool:
    top = _git("rev-parse", "--show-toplevel")
    return bool(top) and source.resolve().is_relative_to(top)


def _is_tracked(source: Path) -> bool:
    return bool(_git("ls-files", "--", str(source))) or _is_dvcs(source)


def _is_dvcs(source: Path) -> bool:
    places = (source, *source.parents[:-1])
    return any(place.with_name(f"{place.name}.dvc").is_file() for place in places)


def _git(*arguments: str) -> str:
    """Return what git prints, nothing where this is no repository."""
    try:
        command = ("git", *arguments)
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
