"""What commands ask of git in the checkout."""

import re
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from classifier.base.errors import UserError


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
