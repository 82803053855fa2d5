"""YAML files that a model of pydantic checks whole; the first mistake in one line."""

import difflib
import re
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from classifier.base.errors import UserError

Checked = TypeVar("Checked")


class Section(BaseModel):
    """A mapping in a file: no other keys, no conversion between types, never changed."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _know_every_key(cls, given: Any) -> Any:
        for key in given if isinstance(given, dict) else ():
            if key not in cls.model_fields:
                hint = nearest(str(key), list(cls.model_fields))
                raise PydanticCustomError("unknown", "{key}", {"key": key, "hint": hint})
        return given


def load(path: Path, kind: type[Checked]) -> Checked:
    """Read a YAML file and check it.

    Args:
        path: of the file.
        kind: a `Section`, or `dict[str, ...]` of sections.

    Raises:
        UserError: the file cannot be read or is no YAML, or a value is not as `kind` has it; with
            file, key, value and what is allowed.
    """
    return check(read(path), kind, path)


def check(content: Any, kind: type[Checked], path: Path) -> Checked:
    """Check what was read from `path`, as `load` does."""
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        raise UserError(f"{path}: {_explain(content, error.errors())}") from error


def nearest(name: str, known: list[str]) -> str:
    """Help with a name that is none of `known`, in a few words."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"


def read(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        UserError: it cannot be read, or is no YAML.
    """
    try:
        # The parser that DVC reads params.yaml with: 1e-3 is a number here as it is there.
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text at byte {error.start}") from error
    except (YAMLError, ValueError) as error:  # as 2023-02-30, which looks like a date
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from error


def _explain(content: Any, errors: list[ErrorDetails]) -> str:
    # An unknown key goes first: with it, the key it was meant to be is often missing as well.
    first = min(errors, key=lambda error: error["type"] != "unknown")
    path = _keys(content, first)
    where = ".".join(path)
    if first["type"] == "unknown":
        context = first["ctx"]
        return f"{'.'.join([*path, str(context['key'])])}: unknown key; {context['hint']}"
    if first["type"] == "missing":
        return f"{where} is missing"
    if first["type"] == "value_error" and isinstance(first["input"], dict):
        return f"{where}: {_reason(first)}" if where else _reason(first)
    # A value that may be of several types fails once for each of them.
    same = [error for error in errors if _keys(content, error) == path]
    allowed = " or ".join(dict.fromkeys(_reason(error) for error in same))
    shown = repr(first["input"])
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return f"{where or 'the whole'} is {shown}, allowed: {allowed}"


def _keys(content: Any, error: ErrorDetails) -> list[str]:
    """Find the keys that lead to a value.

    What pydantic's location has after them is the member of a union, which means nothing to users.
    """
    keys: list[str] = []
    for key in error["loc"]:
        here = key in content if isinstance(content, dict) else isinstance(key, int)
        if not here and error["type"] != "missing":
            break
        content = content[key] if here else None
        keys.append(str(key))
    return keys


def _reason(error: ErrorDetails) -> str:
    if error["type"] in ("model_type", "dict_type"):
        return "a mapping of keys to values"
    reason = re.sub("^(Value error, |Input should be |String should )", "", error["msg"])
    # As 2024_05_17, 007 and 2024-05-17 are taken.
    if error["type"] == "string_type" and isinstance(error["input"], int | float | date):
        reason += ", in quotes (after -S: ./NAME) where it looks like a number or a date"
    return reason
