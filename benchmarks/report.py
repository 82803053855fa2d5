"""Results on the disk, and the tables of benchmarks/README.md that are rendered from them."""

import json
from pathlib import Path
from typing import Any

from benchmarks.rows import GOALS, Quantity, Row, figure, rates, rows
from classifier.base.files import write_json, write_text

FOLDER = Path(__file__).parent
BEGIN, END = "<!-- tables -->", "<!-- end of tables -->"
TITLES = {
    "cpu-amx": "CPU with AMX",
    "cpu-avx512": "CPU with AVX-512, without AMX",
    "cpu": "Other CPU",
    "gpu": "GPU",
}
NOT_MEASURED = "not measured"
HEADER = (
    "| row | tutorial way | this project | ratio | goal | met |",
    "|---|---|---|---|---|---|",
)

# Which parameters a part was measured with. Most parts are slices of epochs: how many there are of
# them is arithmetic.
SIZES = ("image_size", "batch_size")
EPOCHS = ("epochs", "augment_epochs", "head_epochs", "block_epochs")
DEPENDS = {
    "features": (*SIZES, "views"),
    "last_block": (*SIZES, "views"),
    "whole_run": (*SIZES, *EPOCHS, "views"),
}
Results = dict[str, Any]


def keep(results: Results, parts: dict[str, Any], folder: Path = FOLDER) -> None:
    """Add parts to the results of a class of machine, on the disk and in the tables.

    What is there already stays, if it was measured on the same machine with the same versions and
    with the same of those parameters that it depends on; otherwise it belongs to another table, and
    is dropped.

    Args:
        results: of this run: what `this_machine` found.
        parts: what was measured, by name.
        folder: with README.md and results/.
    """
    path = folder / "results" / f"{results['class']}.json"
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    alike = all(old.get(key) == results[key] for key in ("machine", "versions"))
    before = {
        name: part
        for name, part in (old["parts"] if alike else {}).items()
        if all(old["settings"][key] == results["settings"][key] for key in DEPENDS.get(name, SIZES))
    }
    stamped = {name: {"commit": results["commit"], **one} for name, one in parts.items()}
    write_json(path, results | {"parts": before | stamped})
    render(folder)


def render(folder: Path = FOLDER) -> None:
    """Write the part of README.md between the marks anew."""
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    sections = [_section(name, folder / "results" / f"{name}.json") for name in GOALS]
    write_text(readme, f"{before}{BEGIN}\n\n" + "\n".join(sections) + f"\n{END}{after}")


def _section(name: str, path: Path) -> str:
    lines = [f"## {TITLES[name]}", ""]
    if not path.exists():
        return "\n".join([*lines, f"{NOT_MEASURED}", ""])
    results: Results = json.loads(path.read_text(encoding="utf-8"))
    lines += [*_machine(results), "", *HEADER]
    found = rows(results)
    lines += [_line(row) for row in found]
    lines += ["", "How it was computed:", ""]
    lines += [line for row in found for line in _arithmetic(row)]
    lines += ["", "What a training step computes, GFLOP/s:", "", "| | GFLOP/s |", "|---|---|"]
    lines += [f"| {what} | {figure(rate)} |" for what, rate in rates(results)]
    return "\n".join([*lines, ""])


def _machine(results: Results) -> list[str]:
    machine = results["machine"]
    versions = ", ".join(f"{name} {one}" for name, one in results["versions"].items())
    commits = sorted({one["commit"] for one in results["parts"].values()})
    return [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB. "
        f"Precision: {machine['precision']}.",
        "",
        f"{versions}. Commit {', '.join(commits)}; + stands for changes beside it.",
    ]


def _line(row: Row) -> str:
    ratio = ""
    if row.ratio is not None:
        ratio = f"{figure(row.ratio)} ({figure(1 / row.ratio)} times as fast)"
    goal = row.goal.text if row.goal else ""
    met = "" if row.met is None else "yes" if row.met else "**no**"
    cells = [row.title, _cell(row.tutorial, row.unit), _cell(row.ours, row.unit), ratio, goal, met]
    return f"| {' | '.join(cells)} |"


def _cell(quantity: Quantity | None, unit: str) -> str:
    if quantity is None:
        return NOT_MEASURED
    spread = ""
    if len(quantity.values) > 1:
        spread = f" ({figure(min(quantity.values))}–{figure(max(quantity.values))})"
    return f"{figure(quantity.median)} {unit}{spread}"


def _arithmetic(row: Row) -> list[str]:
    sides = (("tutorial way", row.tutorial), ("this project", row.ours))
    return [f"- {row.title}, {side}: {one.how}" for side, one in sides if one and one.how]
