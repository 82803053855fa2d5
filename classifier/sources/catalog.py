"""Catalogue files: where a data set or pre-trained weights are, how to check them, whose they are.

data/catalog/NAME.yaml describes one data set, data/catalog/weights.yaml all weights.
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from classifier.base.errors import UserError


def _bare_name(name: str) -> str:
    # The name becomes a path in the download cache and in a mirror, so it must stay inside both.
    if not name or name.startswith(".") or any(c in "/\\:" or ord(c) < 32 for c in name):
        raise ValueError("a file name without folders that does not start with a dot")
    return name


def _web_address(url: str) -> str:
    try:
        parts = urlsplit(url)
        addressed = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        addressed = False
    if not addressed or any(c.isspace() for c in url):
        raise ValueError("an http:// or https:// address")
    return url


Text = Annotated[str, Field(min_length=1)]
WebAddress = Annotated[str, AfterValidator(_web_address)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RemoteFile(_Entry):
    """A file to download: `urls` in the order of trial; `bytes` and sums where they are known."""

    name: Annotated[str, AfterValidator(_bare_name)]
    urls: list[WebAddress]
    bytes: Annotated[int, Field(gt=0)] | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    md5: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None


class Drawn(_Entry):
    """Pictures that this project draws itself: `per_class` of each class, `size` pixels square."""

    per_class: Annotated[int, Field(ge=1, le=100_000)]
    size: Annotated[int, Field(ge=16, le=1024)]
    seed: Annotated[int, Field(ge=0)]


class Dataset(_Entry):
    """A data set: a `file` to download or pictures to be `drawn`."""

    name: Text
    description: Text
    file: RemoteFile | None = None
    drawn: Drawn | None = None
    terms: Text
    citation: Text
    homepage: WebAddress | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.file is None) == (self.drawn is None):
            raise ValueError("one of file and drawn must be given, and not both")
        return self


class Weights(_Entry):
    """Pre-trained weights."""

    file: RemoteFile
    terms: Text
    citation: Text


_DATASET_KEYS = {
    "": list(Dataset.model_fields),
    "file": list(RemoteFile.model_fields),
    "drawn": list(Drawn.model_fields),
}
_WEIGHTS_KEYS = {"": list(Weights.model_fields), "file": list(RemoteFile.model_fields)}


def load_dataset(path: Path) -> Dataset:
    """Read a data set's catalogue file.

    Raises:
        UserError: when the file cannot be read, is no YAML or does not describe a data set; one
            line with file, key, value and what is allowed.
    """
    content = _read(path)
    try:
        return Dataset.model_validate(content)
    except ValidationError as error:
        raise UserError(_explain(path, error, _DATASET_KEYS)) from error


def load_weights(path: Path, name: str) -> Weights:
    """Read one entry of the weights' catalogue file; the whole file is checked.

    Raises:
        UserError: as `load_dataset` does, and when `path` has no entry `name`.
    """
    content = _read(path)
    try:
        entries = TypeAdapter(dict[str, Weights]).validate_python(content)
    except ValidationError as error:
        raise UserError(_explain(path, error, _WEIGHTS_KEYS)) from error
    if name not in entries:
        raise UserError(f"{path}: no weights {name!r}; {_known(name, list(entries))}")
    return entries[name]


def _read(path: Path) -> Any:
    try:
        # The parser that DVC reads params.yaml with, so that values have the same types.
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text at byte {error.start}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "no valid YAML"
        raise UserError(f"{path}{where}: {' '.join(problem.split())}") from error


def _explain(path: Path, error: ValidationError, allowed: dict[str, list[str]]) -> str:
    """The first thing wrong, in one line; `allowed`: the keys of each section."""
    errors = error.errors(include_url=False)
    # A misspelled key is also a missing one; its name is what helps.
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    keys = [str(key) for key in first["loc"]]
    where = f"{path}: {'.'.join(keys)}" if keys else str(path)
    value = _shown(first["input"])
    match first["type"]:
        case "missing":
            problem = " is missing"
        case "extra_forbidden":
            section = keys[-2] if len(keys) > 1 and keys[-2] in allowed else ""
            problem = f": unknown key; {_known(keys[-1], allowed[section])}"
        case "model_type" | "dict_type":
            problem = f" is {value}: must be a mapping of keys to values"
        case "value_error" if first["loc"]:
            problem = f" is {value}: must be {first['ctx']['error']}"
        case "value_error":
            problem = f": {first['ctx']['error']}"
        case "string_pattern_mismatch":
            problem = f" is {value}: must match {first['ctx']['pattern']}"
        case _:
            problem = f" is {value}: {first['msg'].removeprefix('Input ')}"
    return where + problem


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _known(name: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(name, allowed, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(allowed)}"
