"""Processes that are timed: the workers of both sides, and this project's commands."""

import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen
from typing import Any, Self

from classifier.base.errors import UserError

ROOT = Path(__file__).parents[1]
Measured = dict[str, Any]


def environment() -> dict[str, str]:
    """Return the variables that both sides' processes get.

    classifier/__init__.py sets TF_ENABLE_ONEDNN_OPTS in whatever imports it, this process too. The
    tutorial way has TensorFlow's default.
    """
    names = (name for name in os.environ if not name.startswith("DVC_"))
    variables = {name: os.environ[name] for name in names if name != "TF_ENABLE_ONEDNN_OPTS"}
    # They run in a copy of the checkout, which has no benchmarks: its own code comes first.
    for name, first in (("PATH", Path(sys.executable).parent), ("PYTHONPATH", ROOT)):
        variables[name] = os.pathsep.join(filter(None, [str(first), variables.get(name)]))
    if "://" not in variables.get("DATA_MIRROR", "://"):
        variables["DATA_MIRROR"] = str(Path(variables["DATA_MIRROR"]).resolve())
    # Both sides' processes are alive at the same time: neither may take a GPU's memory whole.
    shared = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return variables | shared


class Worker:
    """One part of one side; see benchmarks/worker.py. `with` waits until it is ready, and ends it.

    Attributes:
        startup: seconds from its start until it was ready for its first command.
        ending: seconds from its last measurement to its end, where it ends by itself.
    """

    def __init__(self, side: str, part: str, folder: Path, log: Path, **arguments: Any) -> None:
        """Start a part of a side's PARTS in a copy of the checkout; `log` has what it prints."""
        self.name, self.log, self.ending = f"{part} of {side}", log, 0.0
        command = [sys.executable, "-m", "benchmarks.worker", side, part, json.dumps(arguments)]
        pipes: dict[str, Any] = {"stdin": PIPE, "stdout": PIPE, "text": True}
        # TensorFlow writes its generated code there, and what is killed deletes nothing.
        variables = environment() | {"TMPDIR": str(log.parent)}
        self.started = time.perf_counter()
        with log.open("w") as printed:
            self.process = Popen(command, cwd=folder, env=variables, stderr=printed, **pipes)

    def run(self, **command: Any) -> Measured:
        """Have it do something; it is idle again, or has ended, when this returns."""
        with suppress(BrokenPipeError):  # it has ended, which the next line tells
            print(json.dumps(command), file=self.process.stdin, flush=True)
        measured, start = self._awaited(), time.perf_counter()
        if not self._next():
            self.ending = time.perf_counter() - start
        return measured

    def _awaited(self) -> Measured:
        """Read what it says next, where it may not end without."""
        if said := self._next():
            return said
        raise self._ended("ended early")

    def _next(self) -> Measured:
        """Read what it says next; nothing when it has ended."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line and self.process.wait():
            raise self._ended("failed")
        return json.loads(line) if line else {}

    def _ended(self, how: str) -> UserError:
        last = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        return _failure(f"{self.name} {how}", last)

    def __enter__(self) -> Self:
        self._awaited()
        self.startup = time.perf_counter() - self.started
        return self

    def __exit__(self, *error: object) -> None:
        # Closes the pipes and waits; what an ended process never read breaks its pipe once more.
        with suppress(BrokenPipeError), self.process:
            self.process.kill()  # if it runs still, it is idle or has outlived an error


def printed(folder: Path, *command: str) -> Iterator[str]:
    """Run one of this project's commands; yield the lines that it prints, as they come."""
    last: deque[str] = deque(maxlen=5)
    pipes: dict[str, Any] = {"stdout": PIPE, "stderr": STDOUT, "text": True}
    with Popen(command, cwd=folder, env=environment(), **pipes) as process:
        assert process.stdout
        for line in process.stdout:
            last.append(line)
            yield line
    if process.returncode:
        raise _failure(f"{' '.join(command)} failed", last)


def seconds_of(folder: Path, *command: str) -> tuple[float, str]:
    """Run one of this project's commands; seconds, and what it printed."""
    start = time.perf_counter()
    text = "".join(printed(folder, *command))
    return time.perf_counter() - start, text


def _failure(what: str, last: Iterable[str]) -> UserError:
    words = " / ".join(line.strip() for line in last)
    return UserError(f"{what}; the last that it printed: {words}")
