"""How a source's files are laid out, and which label and part each picture has by that.

Layouts, the first that fits wins:

1. a CSV at the top with path and label columns, and optionally one that names the part;
2. train, validation and test folders of class folders;
3. train, validation and test folders of files named `label.N.jpg`;
4. one folder per class, however deep its files lie;
5. files named `label.N.jpg` in one folder.

2 to 5 are looked for at the top and, where only one folder holds pictures, inside that folder. A
part that stands alone is no split: its pictures have no part. Pictures are not opened here;
whatever lies in a class folder counts as one, and the split stage rejects what cannot be decoded.
"""

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from classifier.base.errors import UserError
from classifier.sources.dataset import Labelled
from classifier.sources.members import Skipped, Unreadable, safe_path

ALLOWED = (
    "one folder per class, train/validation/test folders of those, files named label.N.jpg, "
    "or a CSV at the top with path and label columns; two classes or more"
)
PARTS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
# Folders that projects keep beside their data: no data where two other folders hold pictures, or
# one holds folders of classes.
BESIDE = frozenset({"example", "examples", "sample", "samples", "doc", "docs", "assets"})
PICTURES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".avif", ".heic"}
)
PATH_COLUMNS = (
    *("path", "filepath", "file_path", "image_path"),
    *("filename", "file_name", "image_name", "file", "image", "img"),
)
LABEL_COLUMNS = ("label", "class", "class_name", "category", "target")
PART_COLUMNS = ("part", "split", "set", "subset", "partition")
NUMBERED = re.compile(r"(?P<label>.+)\.\d+\.[A-Za-z0-9]+")


@dataclass(frozen=True)
class Source:
    """What was recognised: the layout in a few words, the pictures and what is left out."""

    layout: str
    pictures: list[Labelled]  # sorted by path
    skipped: list[Skipped]  # sorted by path


@dataclass(frozen=True)
class _Tree:
    """A folder of the source, as lists of paths relative to it."""

    files: list[str]  # directly in it
    folders: dict[str, list[str]]  # of each folder that holds pictures: all paths below it
    beside: list[str]  # folders that hold pictures too, but no data


def detect(paths: Sequence[str], read: Callable[[str], bytes]) -> Source:
    """Recognise the layout of `paths` (relative, POSIX); `read` is asked for CSV files only.

    Raises:
        UserError: no layout fits, there are fewer than two classes, classes differ only in case,
            or a CSV contradicts itself.
    """
    paths = sorted(paths)
    source = _listed(paths, read) or _by_names(paths)
    if source is None:
        raise UserError(f"no layout recognised: found {_found(paths)}; allowed: {ALLOWED}")
    _check_classes(source)
    return _without_a_lone_part(source)


def _by_names(paths: Sequence[str]) -> Source | None:
    root = ""
    beside: list[str] = []
    while True:
        tree = _tree(paths, root)
        beside += [f"{root}{top}/" for top in tree.beside]
        for layout in (_parts_of_classes, _parts_of_numbered, _classes, _numbered):
            if found := layout(tree):
                words, labelled = found
                pictures = [replace(one, path=root + one.path) for one in labelled]
                pictures.sort(key=lambda one: one.path)
                return Source(words, pictures, _strays(paths, pictures, beside))
        if len(tree.folders) != 1:
            return None
        root += f"{next(iter(tree.folders))}/"


def _tree(paths: Sequence[str], root: str) -> _Tree:
    below = [path.removeprefix(root) for path in paths if path.startswith(root)]
    # Names without a picture's ending count where nothing in the source has one.
    anything = not any(map(_named_as_picture, paths))
    folders: dict[str, list[str]] = {}
    for path in below:
        top, slash, rest = path.partition("/")
        if slash:
            folders.setdefault(top, []).append(rest)
    with_pictures = {
        top: inside
        for top, inside in folders.items()
        if anything or any(map(_named_as_picture, inside))
    }
    files = [path for path in below if "/" not in path and (anything or _named_as_picture(path))]
    data = _without_folders_beside(with_pictures)
    return _Tree(files, data, [top for top in with_pictures if top not in data])


def _without_folders_beside(folders: dict[str, list[str]]) -> dict[str, list[str]]:
    data = {top: inside for top, inside in folders.items() if top.casefold() not in BESIDE}
    if len(data) != 1:
        return data or folders
    # One folder of classes beside Examples/, not a class beside a class named Samples.
    (inside,) = data.values()
    deeper = {path.partition("/")[0] for path in inside if "/" in path}
    return data if len(deeper) > 1 else folders


def _part_folders(tree: _Tree) -> dict[str, list[str]]:
    """Those named as a part, in the order of PARTS."""
    order = list(PARTS)
    tops = [top for top in tree.folders if top.casefold() in PARTS]
    return {top: tree.folders[top] for top in sorted(tops, key=lambda t: order.index(t.casefold()))}


def _parts_of_classes(tree: _Tree) -> tuple[str, list[Labelled]] | None:
    parts = _part_folders(tree)
    of_classes = [top for top, inside in parts.items() if any("/" in path for path in inside)]
    others = len(tree.folders) - len(parts)
    # A class may be named train; two parts that hold folders are no classes.
    if len(parts) < 2 or not of_classes or (others and len(of_classes) < 2):
        return None
    return f"{_joined(of_classes)} folders of one folder per class", [
        Labelled(f"{top}/{path}", path.partition("/")[0], PARTS[top.casefold()])
        for top in of_classes
        for path in parts[top]
        if "/" in path
    ]


def _parts_of_numbered(tree: _Tree) -> tuple[str, list[Labelled]] | None:
    parts = {
        top: inside
        for top, inside in _part_folders(tree).items()
        if not any("/" in path for path in inside) and any(map(NUMBERED.fullmatch, inside))
    }
    pictures = [
        Labelled(f"{top}/{path}", match["label"], PARTS[top.casefold()])
        for top, inside in parts.items()
        for path in inside
        if (match := NUMBERED.fullmatch(path))
    ]
    if len({one.label for one in pictures}) < 2:
        return None
    return f"{_joined(list(parts))} folders of files named label.N", pictures


def _classes(tree: _Tree) -> tuple[str, list[Labelled]] | None:
    if len(tree.folders) < 2:
        return None
    return "one folder per class", [
        Labelled(f"{top}/{path}", top, "")
        for top, inside in tree.folders.items()
        for path in inside
    ]


def _numbered(tree: _Tree) -> tuple[str, list[Labelled]] | None:
    matches = [(path, NUMBERED.fullmatch(path)) for path in tree.files]
    pictures = [Labelled(path, match["label"], "") for path, match in matches if match]
    if len({one.label for one in pictures}) < 2:
        return None
    return "files named label.N", pictures


def _listed(paths: Sequence[str], read: Callable[[str], bytes]) -> Source | None:
    tables = {}
    for path in paths:
        if "/" not in path and path.lower().endswith(".csv"):
            rows = _rows(path, read)
            if rows:
                tables[path] = rows
    if len(tables) > 1:
        raise UserError(
            f"{_joined(list(tables))} all have path and label columns: leave one of them"
        )
    return next((_labelled_by(name, rows, paths) for name, rows in tables.items()), None)


@dataclass(frozen=True)
class _Row:
    line: int
    path: str
    label: str
    part: str


def _rows(name: str, read: Callable[[str], bytes]) -> list[_Row]:
    """The rows of a CSV with path and label columns; none where it is some other table."""
    try:
        text = read(name).decode("utf-8-sig", "surrogateescape")
    except Unreadable as error:
        raise UserError(f"{name} cannot be read: {error}") from error
    header = text.partition("\n")[0]
    # Spreadsheets write semicolons wherever the comma is the decimal mark.
    for delimiter in ",;\t":
        columns = [_column(cell) for cell in header.rstrip("\r").split(delimiter)]
        path, label, part = (
            next((columns.index(known) for known in wanted if known in columns), None)
            for wanted in (PATH_COLUMNS, LABEL_COLUMNS, PART_COLUMNS)
        )
        if path is not None and label is not None:
            return _cells(name, text, delimiter, (path, label, part))
    return []


def _column(cell: str) -> str:
    return cell.strip().strip('"').strip().lower().replace(" ", "_")


def _cells(
    name: str, text: str, delimiter: str, columns: tuple[int, int, int | None]
) -> list[_Row]:
    if any("\udc80" <= one <= "\udcff" for one in text):
        raise UserError(f"{name} is not UTF-8: save it as such, or move it away")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows = []
    try:
        next(reader)
        for cells in reader:
            if any(cells):
                path, label, part = (
                    "" if at is None or at >= len(cells) else cells[at].strip() for at in columns
                )
                rows.append(_Row(reader.line_num, path, label, part))
    except csv.Error as error:
        raise UserError(f"{name}, line {reader.line_num}: {error}") from error
    if not rows:
        raise UserError(f"{name} has path and label columns, but no rows")
    return rows


def _labelled_by(name: str, rows: list[_Row], paths: Sequence[str]) -> Source:
    there = set(paths)
    any_part = any(row.part for row in rows)
    pictures: dict[str, Labelled] = {}
    skipped = []
    for row in rows:
        try:
            picture = _picture(row, there, any_part)
        except Unreadable as error:
            skipped.append(Skipped(f"{name}, line {row.line}", str(error)))
            continue
        before = pictures.setdefault(picture.path, picture)
        if before != picture:
            what = "labels" if before.label != picture.label else "parts"
            raise UserError(
                f"{name}, line {row.line}: {picture.path} is listed before with another of the "
                f"two {what} {_values(before, picture, what)}; a picture has one"
            )
    reason = f"not listed in {name}"
    skipped += [Skipped(path, reason) for path in paths if path not in pictures and path != name]
    return Source(
        f"{name} with path and label columns",
        [pictures[path] for path in sorted(pictures)],
        sorted(skipped, key=lambda one: one.path),
    )


def _picture(row: _Row, there: set[str], any_part: bool) -> Labelled:
    path = safe_path(row.path)
    label = unicodedata.normalize("NFC", row.label)
    if path not in there:
        raise Unreadable(f"names {path or 'nothing'}, which is not in the source")
    if not label or not label.isprintable():
        raise Unreadable(f"{path} has no label that can be printed")
    part = PARTS.get(row.part.casefold(), "")
    if any_part and not part:
        raise Unreadable(f"{path} is of part {row.part!r}, which is not train, validation or test")
    return Labelled(path, label, part)


def _values(one: Labelled, other: Labelled, what: str) -> str:
    if what == "labels":
        return f"{one.label} and {other.label}"
    return f"{one.part} and {other.part}"


def _strays(paths: Iterable[str], pictures: list[Labelled], beside: Iterable[str]) -> list[Skipped]:
    taken = {one.path for one in pictures}

    def reason(path: str) -> str:
        folder = next((folder for folder in beside if path.startswith(folder)), "")
        if folder:
            return f"{folder} counts as beside the data: rename it if it is a class"
        return "outside of the layout"

    return [Skipped(path, reason(path)) for path in paths if path not in taken]


def _check_classes(source: Source) -> None:
    labels = sorted({one.label for one in source.pictures})
    if len(labels) < 2:
        found = f"one class, {labels[0]}" if labels else "no picture with a label"
        raise UserError(f"{source.layout}: found {found}; allowed: {ALLOWED}")
    folded: dict[str, str] = {}
    for label in labels:
        first = folded.setdefault(label.casefold(), label)
        if first != label:
            raise UserError(
                f"the classes {first} and {label} differ only in case: "
                "merge them if they are one, rename one if they are two"
            )


def _without_a_lone_part(source: Source) -> Source:
    if len({one.part for one in source.pictures}) > 1:
        return source
    return replace(source, pictures=[replace(one, part="") for one in source.pictures])


def _found(paths: Sequence[str]) -> str:
    folders = Counter(path.rpartition("/")[0] for path in paths if "/" in path)
    files = [path for path in paths if "/" not in path]
    words = [f"{folder}/ ({count:,} files)" for folder, count in list(folders.items())[:5]]
    if files:
        words.append(f"{len(files):,} files at the top, such as {', '.join(files[:3])}")
    return ", ".join(words) or "nothing"


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _named_as_picture(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in PICTURES
