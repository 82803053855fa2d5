"""Processes that are timed: each side has its own, with its own environment."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from classifier.base.errors import UserError

SIDES = ("tutorial", "ours")
ROOT = Path(__file__).parents[1]
Measured = dict[str, Any]


def environment(side: str) -> dict[str, str]:
    """The variables that a side's processes get.

    classifier/__init__.py sets TF_ENABLE_ONEDNN_OPTS in whatever imports it, this process too. The
    tutorial way has TensorFlow's default.
    """
    variables = {
        key: value
        for key, value in os.environ.items()
        if key != "TF_ENABLE_ONEDNN_OPTS" and not key.startswith("DVC_")
    }
    variables["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), variables["PATH"]])
    # They run in a copy of the checkout, which has no benchmarks: its own code comes first.
    paths = [str(Path(__file__).parents[1]), variables.get("PYTHONPATH", "")]
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    # Both sides' processes are alive at the same time: neither may take a GPU's memory whole.
    variables |= {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if side == "ours" and "DATA_MIRROR" in variables and "://" not in variables["DATA_MIRROR"]:
        variables["DATA_MIRROR"] = str(Path(variables["DATA_MIRROR"]).resolve())
    return variables


class Worker:
    """One part of one side; see benchmarks/worker.py. `with` waits until it is ready, and ends it.

    Attributes:
        first: what it said first: that it is ready, or all that it has to say.
        startup: seconds from its start until it was ready for its first command.
        ending: seconds from its last measurement to its end, where it ends by itself.
    """

    def __init__(self, side: str, part: str, folder: Path, log: Path, **arguments: Any) -> None:
        """Start it.

        Args:
            side: tutorial or ours.
            part: a key of the side's PARTS.
            folder: that it runs in, a copy of the checkout.
            log: where all that it prints goes.
            arguments: of the part.
        """
        self.name = f"{part} of {side}"
        self.log = log
        self.ending = 0.0
        self.started = time.perf_counter()
        with log.open("w") as printed:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.worker", side, part, json.dumps(arguments)],
                cwd=folder,
                env=environment(side),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=printed,
                text=True,
            )

    def run(self, **command: Any) -> Measured:
        """Have it do something; it is idle again, or has ended, when this returns."""
        assert self.process.stdin
        print(json.dumps(command), file=self.process.stdin, flush=True)
        measured = self._next()
        if measured is None:
            raise UserError(f"{self.name} ended early; the last that it printed: {self._tail()}")
        start = time.perf_counter()
        if self._next() is None:
            self.ending = time.perf_counter() - start
        return measured

    def _next(self) -> Measured | None:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if line:
            found: Measured = json.loads(line)
            return found
        if self.process.wait():
            raise UserError(f"{self.name} failed; the last that it printed: {self._tail()}")
        return None

    def _tail(self) -> str:
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return " / ".join(text.strip().splitlines()[-5:])

    def __enter__(self) -> Self:
        self.first = self._next()
        self.startup = time.perf_counter() - self.started
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def seconds_of(command: list[str], folder: Path) -> tuple[float, str]:
    """Run one of this project's commands; seconds, and what it printed.

    Raises:
        UserError: it failed.
    """
    start = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment("ours"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        last = " / ".join(done.stdout.strip().splitlines()[-5:])
        raise UserError(f"{' '.join(command[1:])} failed; the last that it printed: {last}")
    return seconds, done.stdout
