"""`python -m benchmarks`: this project and the tutorial way on this machine."""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.measure import BUDGET_S, NEEDS, ROWS, Parts
from benchmarks.processes import ROOT
from benchmarks.report import keep, render, this_machine
from benchmarks.repro import run_whole
from benchmarks.workplace import Workplace
from classifier.base.errors import UserError, one_line_errors
from classifier.commands.git import edited


def main() -> None:
    """Read the command line; measure, run the pipeline whole, or write the tables anew."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = ",".join([*ROWS, "whole"])
    parser.add_argument("--rows", default=names, help="some of %(default)s")
    parser.add_argument("--whole", action="store_true", help="run dvc repro whole, and no row")
    parser.add_argument("--render", action="store_true", help="write the tables anew, measure none")
    asked = parser.parse_args()
    rows = set(asked.rows.split(","))
    if unknown := rows - set(names.split(",")):
        parser.error(f"{', '.join(unknown)}: not of {names}")
    os.chdir(ROOT)
    if asked.render:
        render()
    elif asked.whole:
        check_committed()
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            results = this_machine(Path(folder))
            keep(results, {"whole_run": run_whole(Path(folder))})
    else:
        wanted = rows.union(*(NEEDS.get(row, ()) for row in rows))
        measure({row: parts for row, parts in ROWS.items() if row in wanted})


def check_committed() -> None:
    """Refuse changes: a clone lacks them, and the figures would be said to be the checkout's."""
    if changed := edited(".", ":!benchmarks"):
        raise UserError(f"--whole runs what is committed; not committed: {', '.join(changed)}")


def measure(rows: Mapping[str, Callable[[Workplace], Parts]]) -> None:
    """Measure what rows need and put it into the results and the tables as it comes.

    What is left when the budget is nearly used up is named and left out.
    """
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        results = this_machine(Path(folder))
        print("pictures ...", flush=True)
        place = Workplace(Path(folder))
        keep(results, {"pictures": place.counts | {"unpacking": place.unpacking}})
        began = time.monotonic()
        for name, parts in rows.items():
            spent = time.monotonic() - began
            if spent > 0.9 * BUDGET_S:
                print(f"{name} left out: {spent / 60:.0f} of {BUDGET_S / 60:.0f} minutes are used")
                continue
            print(f"{name} ...", flush=True)
            keep(results, parts(place))


if __name__ == "__main__":
    with one_line_errors():
        main()
