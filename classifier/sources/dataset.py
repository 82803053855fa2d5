"""The data set as every later stage reads it: one archive of pictures and one list of labels."""

import csv
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from classifier.base.files import ZIP_TIME, whole, write_table
from classifier.sources.members import Skipped

COLUMNS = ["path", "label", "part"]
GROUP = "group"  # a fourth column, where the source has groups


@dataclass(frozen=True)
class Labelled:
    """A picture: its path in the archive, its label, its part and group in the source."""

    path: str
    label: str
    part: str  # train, validation, test, or empty where the source has no parts
    group: str = ""  # pictures of one patient or burst, say; empty: a group of its own


@dataclass(frozen=True)
class Source:
    """What was recognised: the layout in a few words, the pictures and what is left out."""

    layout: str
    pictures: list[Labelled]  # sorted by path
    skipped: list[Skipped]  # sorted by path
    notes: list[str] = field(default_factory=list)  # a line each: what may have been a class


def write_images(path: Path, pictures: Iterable[tuple[str, bytes]]) -> None:
    """Write pictures, given as name and content, sorted by name, into a zip archive.

    They are stored as they are and without times: same pictures, same bytes, however they were
    packed before.
    """
    with whole(path) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as archive:
        for name, content in pictures:
            member = zipfile.ZipInfo(name, ZIP_TIME)
            member.external_attr = 0o644 << 16
            archive.writestr(member, content)


def write_index(path: Path, pictures: Iterable[Labelled]) -> None:
    """Write path, label and part of each picture, sorted by path, as CSV; group if any has one."""
    ordered = sorted(pictures, key=lambda picture: picture.path)
    grouped = any(picture.group for picture in ordered)
    columns = [*COLUMNS, GROUP] if grouped else COLUMNS
    write_table(path, columns, ([getattr(one, name) for name in columns] for one in ordered))


def read_index(path: Path) -> list[Labelled]:
    """Read what `write_index` wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Labelled(**row) for row in csv.DictReader(file)]
