"""`python -m benchmarks`: this project and the tutorial way on this machine."""

import argparse
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measure import BUDGET_S, NEEDS, PARTS, Measure
from benchmarks.processes import ROOT
from benchmarks.report import keep, render, this_machine
from benchmarks.repro import run_whole
from benchmarks.workplace import Workplace
from classifier.base.errors import UserError, one_line_errors
from classifier.commands.git import edited


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", default=",".join(NEEDS), help="some of %(default)s")
    parser.add_argument("--whole", action="store_true", help="run dvc repro whole, and no row")
    parser.add_argument("--render", action="store_true", help="write the tables anew, measure none")
    asked = parser.parse_args()
    rows = asked.rows.split(",")
    if unknown := set(rows) - set(NEEDS):
        parser.error(f"{', '.join(unknown)}: not of {','.join(NEEDS)}")
    os.chdir(ROOT)
    if asked.render:
        render()
    elif asked.whole:
        check_committed()
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            results = this_machine(Path(folder))
            keep(results, {"whole_run": run_whole(Path(folder))})
    else:
        wanted = {part for row in rows for part in NEEDS[row]}
        measure({name: part for name, part in PARTS.items() if name in wanted})


def check_committed() -> None:
    """A fresh clone has what is committed, and the figures would be said to be the checkout's."""
    if changed := edited(".", ":!benchmarks"):
        raise UserError(f"--whole runs what is committed; not committed: {', '.join(changed)}")


def measure(parts: Mapping[str, Measure]) -> None:
    """Measure some parts and put each into the results and the tables when it is there.

    What is left when the budget is nearly used up is named and left out.
    """
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        results = this_machine(Path(folder))
        print("pictures ...", flush=True)
        place = Workplace(Path(folder))
        keep(results, {"pictures": place.counts | {"unpacking": place.unpacking}})
        began = time.monotonic()
        for name, part in parts.items():
            spent = time.monotonic() - began
            if spent > 0.9 * BUDGET_S:
                print(f"{name} left out: {spent / 60:.0f} of {BUDGET_S / 60:.0f} minutes are used")
                continue
            print(f"{name} ...", flush=True)
            keep(results, {name: part(place)})


if __name__ == "__main__":
    with one_line_errors():
        main()
