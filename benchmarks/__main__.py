"""`python -m benchmarks`: this project and the tutorial way on this machine."""

import argparse
import os
import subprocess
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from benchmarks.machine import this_machine
from benchmarks.measure import Benchmark, measured
from benchmarks.processes import ROOT
from benchmarks.report import keep, render
from benchmarks.rows import NEEDS
from benchmarks.whole import run_whole
from benchmarks.workplace import Workplace
from classifier.base.errors import UserError, one_line_errors


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", type=_rows, help=f"some of {','.join(NEEDS)}")
    parser.add_argument("--whole", action="store_true", help="run dvc repro whole, and no row")
    parser.add_argument("--render", action="store_true", help="write the tables anew, measure none")
    asked = parser.parse_args()
    os.chdir(ROOT)
    if asked.render:
        render()
    elif asked.whole:
        check_committed()
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            results = this_machine(Path(folder))
            keep(results, {"whole_run": run_whole(Path(folder))})
    else:
        measure_rows(asked.rows or list(NEEDS))


def check_committed() -> None:
    """A fresh clone has what is committed, and the figures would be said to be the checkout's."""
    command = ["git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if changed := done.stdout.split()[1::2]:
        raise UserError(f"--whole runs what is committed; not committed: {', '.join(changed)}")


def _rows(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(NEEDS):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not of {','.join(NEEDS)}")
    return names


def measure_rows(names: Iterable[str]) -> None:
    """Measure what some rows need, and put it into the results and the tables as it comes."""
    wanted = {part for name in names for part in NEEDS[name]}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        results = this_machine(Path(folder))
        place = Workplace(Path(folder))
        print("pictures ...", flush=True)
        keep(results, {"pictures": place.fill()})
        measured(Benchmark(place), wanted, partial(keep, results))


if __name__ == "__main__":
    with one_line_errors():
        main()
