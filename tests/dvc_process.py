"""DVC in a process of its own that has imported DVC already: a fork of one that does nothing else.

`python -m dvc` computes for more than a second before it begins, and the tests run it some hundred
times.
"""

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Mapping
from pathlib import Path

PROCESSES = multiprocessing.get_context("forkserver")
# What most commands import, early or late.
PROCESSES.set_forkserver_preload(
    [
        __name__,
        "dulwich.porcelain",
        "dvc.cli.parser",
        "dvc.data_cloud",
        "dvc.repo.artifacts",
        "dvc.repo.experiments",
        "dvc.repo.index",
        "dvc.repo.plots",
        "dvc.repo.reproduce",
        "dvc.repo.stage",
        "dvc.repo.status",
        "dvc.utils.strictyaml",
        "dvc_data.hashfile.status",
        "networkx",
    ]
)


def run(arguments: tuple[str, ...], root: Path, environment: Mapping[str, str], out: Path) -> int:
    """Run a DVC command in a folder; what it prints goes to the file `out`.

    Returns:
        The exit status.
    """
    process = PROCESSES.Process(target=_become, args=(arguments, root, dict(environment), out))
    # The first call starts the one that forks, which stays: not in a test's own folder.
    with contextlib.chdir(Path(__file__).parents[1]):
        process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _become(arguments: tuple[str, ...], root: Path, environment: dict[str, str], out: Path) -> None:
    os.chdir(root)
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(file, stream.fileno())
    from dvc.cli import main

    sys.exit(main(list(arguments)))
