"""`make repro` and `make demo`: DVC's run as a line a stage; all else goes into a log file."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TextIO

from classifier.base.cache import cache_folder
from classifier.base.errors import UserError
from classifier.base.wording import percent
from classifier.commands import check

METRICS, REPORT = Path("metrics/evaluate.json"), Path("plots/report.html")
# DVC's own words on standard output, and Keras's of each epoch. Libraries' warnings go to standard
# error. Of stages that is all but what they have found.
UNSAID = re.compile(
    r"> |Updating lock|Generating lock|To (track|enable|apply)|Use `dvc|Ran experiment"
    r"|Experiment results|\tgit add|\tdvc (config|exp apply)"
    r"|WARNING: 'data/weights/\w+' is empty|\d+/\d+ - |an epoch takes .* about 0 min|\s*$"
)
# Without quotes.
PLAIN = re.compile(r"(?!(?i:null|true|false|nan|inf)$)[A-Za-z/][\w./-]*", re.ASCII)
STARTS = re.compile(r"Running stage '(\w+)'")
UNCHANGED = re.compile(r"Stage '(\w+)' (didn't change|is cached)")
EPOCH = re.compile(r"Epoch \d+/\d+$")


def run(options: Namespace) -> None:
    """Check params.yaml, run `dvc repro`, print what came of it.

    Raises:
        UserError: a parameter is wrong, or a stage failed.
    """
    check.run(options)
    run_dvc(["repro"], Path(), cache_folder("logs") / "repro.log")
    print(results(Path()))


def written(value: Any) -> str:
    """Write a value for `-S`, so that neither Hydra's grammar nor YAML takes it for another.

    Examples:
        >>> print(written("Vögel"), written("seed-1"), written(None))
        "Vögel" seed-1 null
    """
    if not isinstance(value, str):
        return json.dumps(value)
    if PLAIN.fullmatch(value):
        return value
    # Hydra unescapes quotes, and backslashes only before a quote.
    return '"' + re.sub(r'(\\*)("|$)', lambda m: 2 * m[1] + (m[2] and r"\""), value) + '"'


def run_dvc(arguments: Sequence[str], root: Path, log: Path) -> None:
    """Run DVC with a line a stage; `log` holds every word that it and the stages print.

    Args:
        arguments: of `dvc`.
        root: where to run it.
        log: written anew.

    Raises:
        UserError: it failed; the first error that it told, a stage's own, and where the log is.
    """
    # dvc.yaml says `python`: the one that runs this, also where its environment is not activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w", encoding="utf-8", buffering=1) as file,
        subprocess.Popen(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=root,
            env=os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as dvc,
    ):
        assert dvc.stdout and dvc.stderr
        noise = threading.Thread(target=file.writelines, args=(dvc.stderr,))
        noise.start()
        try:
            _show(dvc.stdout, file, sys.stdout)
        except KeyboardInterrupt:
            dvc.wait()  # Ctrl-C has reached it as well
            raise
        noise.join()
    if dvc.returncode:
        said = log.read_text(encoding="utf-8").splitlines()
        errors = [line.partition(" ")[2] for line in said if line.lower().startswith("error: ")]
        raise UserError(f"{errors[0] if errors else 'DVC failed'}; all that was printed: {log}")


def _show(source: IO[str], log: TextIO, terminal: TextIO) -> None:
    """Print what a reader wants to know of DVC's and the stages' standard output."""
    stage, started = "", time.monotonic()

    def tell(text: str, end: str = "\n") -> None:
        # A line that is to be followed by another is overwritten, where that can be seen.
        if end or terminal.isatty():
            erased = "\r\033[K" if terminal.isatty() else ""
            # Whoever read the output may have seen enough; the run goes on.
            with suppress(BrokenPipeError):
                print(f"{erased}{stage:<20}{text}", end=end, flush=True, file=terminal)

    def end_stage() -> None:
        if stage:
            tell(f"done in {time.monotonic() - started:.0f} s")

    for line in source:
        log.write(line)
        text = line.rstrip()
        if found := STARTS.match(text):
            end_stage()
            stage, started = found[1], time.monotonic()
            tell("...", end="")
        elif found := UNCHANGED.match(text):
            end_stage()
            stage = found[1]
            tell("as before")
            stage = ""
        elif EPOCH.match(text):
            tell(text.lower().replace("/", " of "), end="")
        elif stage and not UNSAID.match(text):
            tell(text)
    end_stage()


def results(root: Path) -> str:
    """Lay out the models' test accuracies, a line each, and say where the report is."""
    figures = json.loads((root / METRICS).read_text(encoding="utf-8"))
    lines = ["", "Test accuracy with 95 % intervals:", ""]
    for name, one in figures.items():
        told = json.loads((root / "data/models" / f"{name}.json").read_text(encoding="utf-8"))
        note = f"  ({told['note']})" if told["note"] else ""
        interval = f"{percent(one['accuracy_low'])} to {percent(one['accuracy_high'])}"
        lines.append(f"  {name:10s} {percent(one['accuracy']):>7}   {interval}{note}")
    return "\n".join([*lines, "", f"The report: {root / REPORT}"])
