"""Results on the disk, and the tables of benchmarks/README.md that are rendered from them."""

import json
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template

from benchmarks.processes import ROOT, Worker
from benchmarks.rows import figure, rates, rows
from classifier.base.files import write_json, write_text
from classifier.base.params import load_params
from classifier.commands.git import git

FOLDER = Path(__file__).parent
BEGIN, END = "<!-- tables -->", "<!-- end of tables -->"
TITLES = {
    "cpu-amx": "CPU with AMX",
    "cpu-avx512": "CPU with AVX-512, without AMX",
    "cpu": "Other CPU",
    "gpu": "GPU",
}
# Which parameters a part was measured with. Most parts are slices of epochs: how many there are of
# them is arithmetic.
SIZES = ("image_size", "batch_size")
DEPENDS = {
    "features": (*SIZES, "views"),
    "last_block": (*SIZES, "views"),
    "whole_run": (*SIZES, "views", "epochs", "augment_epochs", "head_epochs", "block_epochs"),
}


def this_machine(folder: Path) -> dict[str, Any]:
    """Name the class of machine, what it is, versions, the parameters that count, the commit."""
    params = load_params()
    settings = {
        "image_size": params.data.image_size,
        "batch_size": params.train.batch_size,
        "epochs": params.train.epochs,
        "augment_epochs": params.augment.epochs or params.train.epochs,
        "head_epochs": params.finetune.head_epochs,
        "block_epochs": params.finetune.epochs,
        "views": params.finetune.views,
    }
    # A plus stands where files differ from the commit.
    commit = git("describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*").strip()
    with Worker("ours", "facts", ROOT, folder / "facts.log") as worker:
        return worker.run() | {"settings": settings, "commit": commit}


def keep(results: dict[str, Any], parts: dict[str, Any], folder: Path = FOLDER) -> None:
    """Add parts to the results of a class of machine, on the disk and in the tables.

    What is there already stays, if it was measured on the same machine with the same versions and
    with the same of those parameters that it depends on; otherwise it belongs to another table.
    """
    path = folder / "results" / f"{results['class']}.json"
    old, settings = _read(path) or {}, results["settings"]
    same = all(old.get(key) == results[key] for key in ("machine", "versions"))
    before = {
        name: part
        for name, part in (old["parts"] if same else {}).items()
        if all(old["settings"][key] == settings[key] for key in DEPENDS.get(name, SIZES))
    }
    stamped = {name: {"commit": results["commit"], **one} for name, one in parts.items()}
    write_json(path, results | {"parts": before | stamped})
    render(folder)


def render(folder: Path = FOLDER) -> None:
    """Write the part of README.md between the marks anew."""
    text = (FOLDER / "tables.md.j2").read_text(encoding="utf-8")
    template = Template(text, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    classes = {title: _read(folder / f"results/{name}.json") for name, title in TITLES.items()}
    tables = template.render(classes=classes, rows=rows, rates=rates, figure=figure)
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    write_text(readme, f"{before}{BEGIN}\n\n{tables}{END}{after}")


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
