"""What commands ask of git in the checkout."""

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from classifier.base.errors import UserError
from classifier.base.params import leaves


def git(*arguments: str) -> str:
    """Run git; return what it prints.

    Raises:
        UserError: it failed; its own last line.
    """
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"git {arguments[0]}: {(done.stderr.strip() or 'failed').splitlines()[-1]}")
    return done.stdout


def params_of(revision: str, path: Path = Path("params.yaml")) -> dict[str, Any]:
    """Read a commit's params.yaml."""
    return _yaml(revision, path)


def unrun(revision: str, stages: Iterable[str] | None = None, folder: Path = Path()) -> str:
    """Say which stage of a commit did not run with its params.yaml; nothing where all did.

    An experiment of some stages has the files of the others, figures among them, from the commit
    that it started from. dvc.lock has the parameters that each ran with.

    Args:
        revision: the commit.
        stages: to look at; without, all of its dvc.yaml.
        folder: of the pipeline.
    """
    params = dict(leaves(params_of(revision, folder / "params.yaml")))
    lock = folder / "dvc.lock"
    is_there = git("ls-tree", "--name-only", revision, str(lock))
    ran = _yaml(revision, lock)["stages"] if is_there else {}
    for stage in stages or _yaml(revision, folder / "dvc.yaml")["stages"]:
        read = ran.get(stage, {}).get("params", {}).get("params.yaml", {})
        if stage not in ran or any(params.get(key) != value for key, value in leaves(read)):
            return f"{stage} did not run with these parameters"
    return ""


def _yaml(revision: str, path: Path) -> dict[str, Any]:
    content: dict[str, Any] = YAML(typ="safe", pure=True).load(git("show", f"{revision}:{path}"))
    return content


def checked_name(name: str) -> str:
    """Check the --name of experiments NAME-1, NAME-2, ...: files and folders are called by it.

    Raises:
        UserError: it could lead out of a folder, or git allows it in no reference.
    """
    if not re.fullmatch(r"[A-Za-z0-9](?!.*\.\.)[A-Za-z0-9._-]*", name):
        raise UserError(
            f"--name is {name!r}, allowed: letters, digits and -_., no two dots in a row, "
            "beginning with a letter or digit"
        )
    return name


def experiment_ref(commit: str, name: str) -> str:
    """Name git's reference to the experiment of that name that started from a commit."""
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"


def machine_of(name: str, revision: str, root: Path = Path()) -> str:
    """Name the class of machine that a sweep ran an experiment on; nothing of one that ran here."""
    message = git("-C", str(root), "log", "-1", "--format=%B", revision)
    return message.strip().partition(f"{name}, on ")[2]


def is_ancestor(commit: str, of: str) -> bool:
    """Whether a commit comes before another; not where this clone lacks one."""
    try:
        git("merge-base", "--is-ancestor", commit, of)
    except UserError:
        return False
    return True


def edited(*paths: str, untracked: bool = False) -> list[str]:
    """List the files, of those at `paths` or of all, that differ from the last commit."""
    option = "-unormal" if untracked else "-uno"
    listed = git("status", "--porcelain", option, "--", *paths)
    return [line[3:] for line in listed.splitlines()]
