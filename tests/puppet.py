"""Stands for every stage of dvc.yaml: writes each declared output from a hash of what it read.

`python puppet.py STAGE` takes a moment and knows neither pictures nor Keras: for tests of what DVC
does with dvc.yaml. Code does not count, as if no edit of it changed a result, nor do keys that are
null, as if a new one had a default that changes nothing.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

CODE = ("classifier", "stages")


def read_yaml(name: str) -> dict[str, Any]:
    content: dict[str, Any] = YAML(typ="safe").load(Path(name))
    return content


def main(stage: str) -> None:
    pipeline, params = read_yaml("dvc.yaml"), read_yaml("params.yaml")
    declared = pipeline["stages"][stage]
    read = hashlib.sha256(stage.encode())
    deps = [
        path.replace("${data.source}", params["data"]["source"])
        for path in declared.get("deps", [])
    ]
    for path in (path for path in deps if not path.startswith(CODE)):
        for file in files(Path(path)):
            read.update(file.read_bytes())
    for key in (key for key in declared.get("params", []) if isinstance(key, str)):
        read.update(json.dumps(without_nulls(value_of(params, key))).encode())

    charts = columns(pipeline["plots"])
    models = [Path(path).stem for path in deps if path.startswith("data/models/")]
    for kind in ("outs", "metrics", "plots"):
        for entry in declared.get(kind, []):
            path = Path(entry if isinstance(entry, str) else next(iter(entry)))
            number = float_of(read, path)
            if kind == "metrics":
                figures = {"accuracy": number, "loss": 1 - number}
                write(path, json.dumps(dict.fromkeys(models, figures) or figures))
            elif path.suffix not in (".tsv", ".csv", ""):
                write(path, json.dumps(number))
            else:
                inside = [file for file in charts if file == path or path in file.parents]
                for file in inside or [path if path.suffix else path / "file"]:
                    separator = "\t" if file.suffix == ".tsv" else ","
                    heads = charts.get(file, ["number"])
                    rows = [heads, *([str(number + i)] * len(heads) for i in range(2))]
                    write(file, "".join(separator.join(row) + "\n" for row in rows))


def files(path: Path) -> list[Path]:
    return sorted(one for one in (path, *path.rglob("*")) if one.is_file())


def value_of(params: dict[str, Any], key: str) -> Any:
    value: Any = params
    for name in key.split("."):
        value = value[name]
    return value


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    return value


def columns(plots: list[dict[str, Any]]) -> dict[Path, list[str]]:
    """The columns of each file that dvc.yaml draws."""
    found: dict[Path, list[str]] = {}
    for plot in plots:
        (chart,) = plot.values()
        for file, drawn in chart["y"].items():
            known = found.setdefault(Path(file), [])
            for name in [chart["x"], *([drawn] if isinstance(drawn, str) else drawn)]:
                if name not in known:
                    known.append(name)
    return found


def float_of(read: Any, path: Path) -> float:
    """A number from 0 to 1 that only this path and what was read decide."""
    own = read.copy()
    own.update(str(path).encode())
    return int.from_bytes(own.digest()[:4]) / 2**32


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
