"""One side of a row in a process of its own: `python -m benchmarks.worker SIDE PART ARGUMENTS`.

It is ready, hears a command, does it, says what it measured, and is ready again. Between commands
it does nothing, so that the other side has the machine to itself.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any


class Channel:
    """Lines of JSON: commands on standard input, measurements on standard output."""

    def __init__(self) -> None:
        # Libraries print there as well; they shall not be taken for measurements.
        self._replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def say(self, content: dict[str, Any]) -> None:
        """Write a measurement, or that the worker is ready, as a line."""
        print(json.dumps(content), file=self._replies, flush=True)

    def hear(self) -> dict[str, Any] | None:
        """Wait for the next command; None when there are no more."""
        self.say({"ready": True})
        line = sys.stdin.readline()
        return json.loads(line) if line else None

    def time(self, work: Callable[..., object]) -> None:
        """Do the work as often as it is commanded, with the command's arguments."""
        while (command := self.hear()) is not None:
            start = time.perf_counter()
            work(**command)
            self.say({"seconds": time.perf_counter() - start})

    def repeat(self, work: Callable[[], object]) -> None:
        """Do the same work so many times at each command."""

        def repeated(count: int) -> None:
            for _ in range(count):
                work()

        self.time(repeated)


def evenly(count: int, wanted: int) -> list[int]:
    """So many positions of a list of `count`, evenly spaced: the classes stay in proportion."""
    return [i * count // wanted for i in range(wanted)]


def main() -> None:
    """Do the part that the command line names, with its arguments in JSON."""
    side, part, arguments = sys.argv[1:]
    channel = Channel()
    parts = importlib.import_module(f"benchmarks.{side}").PARTS
    parts[part](channel, **json.loads(arguments))


if __name__ == "__main__":
    main()
