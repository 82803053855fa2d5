"""Catalogue files: where a data set or pre-trained weights are, how to check them, whose they are.

data/catalog/NAME.yaml describes one data set, data/catalog/weights.yaml all weights.
"""

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from classifier.base.checked import Section, load, nearest
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


class RemoteFile(Section):
    """A file to download: `urls` in the order of trial; `bytes` and sums where they are known."""

    name: Annotated[str, AfterValidator(_bare_name)]
    urls: list[WebAddress]
    bytes: Annotated[int, Field(gt=0)] | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    md5: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None


class Drawn(Section):
    """Pictures that this project draws itself: `per_class` of each class, `size` pixels square."""

    per_class: Annotated[int, Field(ge=1, le=100_000)]
    size: Annotated[int, Field(ge=16, le=1024)]
    seed: Annotated[int, Field(ge=0)]


class Dataset(Section):
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


class Weights(Section):
    """Pre-trained weights."""

    file: RemoteFile
    terms: Text
    citation: Text


def load_dataset(path: Path) -> Dataset:
    """Read a data set's catalogue file.

    Raises:
        UserError: when the file cannot be read, is no YAML or does not describe a data set; one
            line with file, key, value and what is allowed.
    """
    return load(path, Dataset)


def load_weights(path: Path, name: str) -> Weights:
    """Read one entry of the weights' catalogue file; the whole file is checked.

    Raises:
        UserError: as `load_dataset` does, and when `path` has no entry `name`.
    """
    entries = load(path, dict[str, Weights])
    if name not in entries:
        raise UserError(f"{path}: no weights {name!r}; {nearest(name, list(entries))}")
    return entries[name]
