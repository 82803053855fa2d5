"""Tables that give the labels: CSV files with a column for the picture and one for its label.

They lie where the data set begins, or in its part folders. Which columns are known stands here and
in docs/data.md. A table by whose name it gives labels, and that does not fit, is an error: what the
folders are called is then no label.
"""

import csv
import io
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath

from classifier.base.errors import UserError
from classifier.base.splits import SPLITS
from classifier.sources.dataset import Labelled, Source
from classifier.sources.members import Skipped, Unreadable, safe_path
from classifier.sources.naming import is_unlabelled, joined, named_as_picture, part_of, words

PATH_COLUMNS = (
    *("path", "filepath", "file_path", "image_path", "filename", "file_name", "image_name"),
    *("file", "image", "img", "img_path", "img_name", "imagename", "image_file", "image_filename"),
)
# They may as well count classes: a table with one of these is of labels if it finds a picture.
ID_COLUMNS = ("image_id", "imageid", "img_id", "id_code", "id", "name", "photo_id", "picture")
LABEL_COLUMNS = (
    *("label", "class", "class_name", "category", "target", "labels", "classname", "label_name"),
    *("category_name", "breed", "species", "variety", "disease", "diagnosis", "dx", "emotion"),
    *("level", "grade", "classid", "class_id", "label_id", "category_id"),
)
PART_COLUMNS = ("part", "split", "set", "subset", "partition")
GROUP_COLUMNS = (
    *("group", "patient", "patient_id", "subject", "subject_id", "lesion_id", "case_id"),
)
FLAGS = ("0", "1", "0.0", "1.0")  # in a column per class
# Words in the name of a table that gives labels.
CLAIMS = frozenset({"label", "labels", "class", "classes", "annotation", "annotations", "truth"})
ENDINGS = (".csv", ".tsv")
IN_FOLDERS = frozenset({"metadata.csv", "_classes.csv"})


@dataclass(frozen=True)
class _Columns:
    path: int
    label: int | None  # None: a column per class
    part: int | None
    group: int | None
    classes: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Row:
    line: int
    path: str
    label: str
    part: str
    group: str
    flags: list[str]  # the columns per class that are 1


@dataclass(frozen=True)
class _Table:
    name: str
    header: list[str]
    lines: list[tuple[int, list[str]]]  # number and cells of each that is not empty
    fault: str = ""  # why its lines cannot be read

    @property
    def folder(self) -> str:
        return self.name[: self.name.rfind("/") + 1]

    @property
    def part(self) -> str:
        """The part that its name or folder states."""
        path = PurePosixPath(self.name)
        return part_of(path.stem)[0] or part_of(path.parent.name)[0]

    @cached_property
    def columns(self) -> _Columns | None:
        """Where it has what; None if it is no table of labels by its columns."""
        known = [_column(cell) for cell in self.header]

        def at(wanted: Iterable[str]) -> int | None:
            return next((known.index(name) for name in wanted if name in known), None)

        path, label = at((*PATH_COLUMNS, *ID_COLUMNS)), at(LABEL_COLUMNS)
        part, group = at(PART_COLUMNS), at(GROUP_COLUMNS)
        if path is None or path == label:
            return None
        if label is None:
            classes = self._classes({path, part, group})
            return _Columns(path, None, part, group, classes) if classes else None
        return _Columns(path, label, part, group)

    def _classes(self, others: set[int | None]) -> tuple[int, ...]:
        """Columns of 0 and 1, of which most rows have one 1."""
        flags = tuple(
            at
            for at in range(len(self.header))
            if at not in others and all(_cell(cells, at) in FLAGS for _, cells in self.lines)
        )
        single = sum(len(_set_flags(cells, flags)) == 1 for _, cells in self.lines)
        return flags if len(flags) > 1 and 2 * single > len(self.lines) else ()

    def rows(self) -> list[_Row]:
        if self.fault:
            raise UserError(f"{self.name}{self.fault}")
        columns = self.columns
        assert columns
        if not self.lines:
            raise UserError(f"{self.name} has path and label columns, but no rows")
        return [self._row(line, cells, columns) for line, cells in self.lines]

    def _row(self, line: int, cells: list[str], columns: _Columns) -> _Row:
        flags = [self.header[at].strip() for at in _set_flags(cells, columns.classes)]
        label = "".join(flags) if columns.label is None else _cell(cells, columns.label)
        path, part, group = columns.path, columns.part, columns.group
        return _Row(line, _cell(cells, path), label, _cell(cells, part), _cell(cells, group), flags)

    def lists_pictures(self, pictures: "_Pictures") -> bool:
        cells = {cell.strip() for _, row in self.lines[:20] for cell in row}
        # A table with a row for each class has numbers that are no pictures' names.
        if len(self.lines) <= pictures.folders:
            cells = {cell for cell in cells if not cell.isdigit()}
        return any(pictures.near(cell, self.folder) for cell in cells if cell)

    def check_no_folders(self, pictures: "_Pictures") -> None:
        """Raise UserError if it labels folders, such as those of patients, several alike.

        One that numbers, counts or groups the classes has a column that is called after them.
        """
        known = [_column(cell) for cell in self.header]
        labels = [at for at, name in enumerate(known) if name in LABEL_COLUMNS]
        if not labels or len({_cell(row, labels[0]) for _, row in self.lines}) == len(self.lines):
            return
        for at, name in enumerate(known):
            cells = [_cell(row, at) for _, row in self.lines]
            if name not in (*LABEL_COLUMNS, "name") and all(map(pictures.is_folder, cells)):
                raise UserError(
                    f"{self.name} gives labels to folders, such as {cells[0]}: list the pictures "
                    "in it, or set data.classes to the folders that are the classes"
                )

    def misfit(self) -> str:
        columns = ", ".join(name.strip() for name in self.header[:20])
        return (
            f"{self.name} has the columns {columns}; a table of labels has one of "
            f"{', '.join((*PATH_COLUMNS, *ID_COLUMNS))} and one of {', '.join(LABEL_COLUMNS)}, or "
            "a column of 0 and 1 for each class: rename its columns, or move it away if it gives "
            "no labels"
        )


class _Pictures:
    """The source's files, to be found by what a table calls them."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._there = set(paths)
        self._paths = paths

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """Paths by file name, and by that without its ending, in lower case."""
        found: dict[str, list[str]] = {}
        for path in self._paths:
            name = PurePosixPath(path.casefold())
            found.setdefault(name.name, []).append(path)
            if named_as_picture(path):
                found.setdefault(name.stem, []).append(path)
        return found

    @cached_property
    def _folders(self) -> set[str]:
        return {PurePosixPath(path.casefold()).parent.name for path in self._paths}

    @property
    def folders(self) -> int:
        """How many names of folders there are."""
        return len(self._folders)

    def near(self, given: str, folder: str) -> list[str]:
        """Find the paths that a name may mean: given whole, without an ending, or without folders.

        The name of a folder of pictures is a class, in a table that numbers or counts these.
        """
        for exact in (folder + given, given):
            if exact in self._there:
                return [exact]
        if self.is_folder(given):
            return []
        wanted = given.casefold().split("/")
        found = self._by_name.get(wanted[-1], [])
        above = wanted[-2::-1]
        return [
            path
            for path in found
            if all(a == b for a, b in zip(above, path.casefold().split("/")[-2::-1], strict=False))
        ]

    def is_folder(self, given: str) -> bool:
        """Whether a folder of pictures has the name, whatever it lies in."""
        name = given.casefold().rstrip("/").rpartition("/")[2]
        return bool(name) and name in self._folders  # the top, where pictures may lie, has no name

    def find(self, given: str, folder: str, part: str) -> str:
        """Find the one path that a name means.

        Raises:
            Unreadable: it means none, or several, none of which lies in a folder of that part.
        """
        found = self.near(given, folder)
        if len(found) > 1 and part:
            found = [path for path in found if part == _part_above(path)] or found
        elif part and part == _part_above(folder) and given not in found:
            # A part's own table speaks of its own pictures, not of others of the same name.
            found = [path for path in found if _part_above(path) in ("", part)]
        if not found:
            raise Unreadable(f"names {given or 'nothing'}, which is not in the source")
        if len(found) > 1:
            raise Unreadable(f"names {given}, which may be {found[0]} or {found[1]}")
        return found[0]


def find(
    paths: Sequence[str], roots: Iterable[str], read: Callable[[str], bytes]
) -> tuple[Source | None, str]:
    """Look for tables of labels.

    Args:
        paths: of the source's files.
        roots: folders that hold the whole data set, from the top on, each with its slash.
        read: gives a file's content.

    Returns:
        What they say of the pictures, or else why the first table that lists pictures does not fit.

    Raises:
        UserError: a table of labels cannot be read, contradicts itself, does not fit or is of
            folders, or several contradict each other.
    """
    pictures = _Pictures(paths)
    misfits = []
    for root in roots:
        for inside in (False, True):
            found = [
                table
                for path in paths
                if _is_place(path, root, inside=inside) and (table := _table(path, read))
            ]
            fitting = [table for table in found if _fits(table, pictures)]
            if fitting:
                return _labels(fitting, paths, pictures), ""
            for table in found:
                table.check_no_folders(pictures)
            misfits += [table for table in found if table.lists_pictures(pictures)]
    for table in filter(_claims, misfits):
        raise UserError(table.misfit())
    return None, misfits[0].misfit() if misfits else ""


def _is_place(path: str, root: str, *, inside: bool) -> bool:
    """Whether a table may lie there: in root, or inside of a folder of root that is a part."""
    folder, _, name = path.removeprefix(root).rpartition("/")
    if not path.startswith(root) or not path.lower().endswith(ENDINGS) or is_unlabelled(name):
        return False
    if not inside:
        return not folder
    of_folder = bool(part_of(folder)[0]) or name.casefold() in IN_FOLDERS
    return bool(folder) and "/" not in folder and of_folder


def _fits(table: _Table, pictures: _Pictures) -> bool:
    columns = table.columns
    if not columns:
        return False
    if _column(table.header[columns.path]) in PATH_COLUMNS:
        return True
    cells = (_cell(cells, columns.path) for _, cells in table.lines)
    return any(cell and pictures.near(cell, table.folder) for cell in cells)


def _claims(table: _Table) -> bool:
    part = part_of(PurePosixPath(table.name).stem)[0]
    return bool(table.folder or part or claims_labels(table.name))


def claims_labels(path: str) -> bool:
    """Whether a file is a table that gives labels, by its name."""
    stem, ending = PurePosixPath(path).stem, PurePosixPath(path).suffix
    return ending.lower() in ENDINGS and not CLAIMS.isdisjoint(words(stem))


def _table(name: str, read: Callable[[str], bytes]) -> _Table | None:
    """Read a table; None if it has no first line."""
    try:
        text = _text(read(name))
    except Unreadable as error:
        raise UserError(f"{name} cannot be read: {error}") from error
    blank = len(text) - len(text.lstrip("\n"))
    first, _, rest = text[blank:].partition("\n")
    # Excel's own way to say what parts the cells.
    stated = first.lower().removeprefix("sep=") if first.lower().startswith("sep=") else ""
    skipped = blank + bool(stated)
    text = rest if stated else text[blank:]
    # Spreadsheets write semicolons wherever the comma is the decimal mark.
    tables = [_cells(name, text, mark, skipped) for mark in (stated or ",;\t")]
    if not any(tables[0].header):
        return None
    return next(
        (table for table in tables if table.columns),
        max(tables, key=lambda table: len(table.header)),
    )


def _text(content: bytes) -> str:
    """Line ends of all systems become one; bytes that are not UTF-8, surrogates."""
    encoding = "utf-8-sig"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif b"\0" in content[:2]:
        encoding = "utf-16-be" if content[0] == 0 else "utf-16-le"
    text = content.decode(encoding, "surrogateescape" if encoding == "utf-8-sig" else "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _cells(name: str, text: str, delimiter: str, skipped: int) -> _Table:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header: list[str] = []
    lines = []
    try:
        header = next(reader, [])
        lines = [(reader.line_num + skipped, cells) for cells in reader if any(cells)]
    except csv.Error as error:
        return _Table(name, header, [], f", line {reader.line_num + skipped}: {error}")
    if any("\udc80" <= character <= "\udcff" for character in text):
        return _Table(name, header, lines, " is not UTF-8: save it as such, or move it away")
    return _Table(name, header, lines)


def _labels(fitting: list[_Table], paths: Sequence[str], pictures: _Pictures) -> Source:
    by_part: dict[str, list[_Table]] = {}
    for table in fitting:
        by_part.setdefault(table.part, []).append(table)
    others = by_part.pop("", [])
    used = [table for part in SPLITS for table in by_part.get(part, [])]
    if len(fitting) == 1:
        used, others = fitting, []
    elif len(by_part) < 2 or len(used) > len(by_part):
        names = [table.name for table in fitting]
        raise UserError(
            f"{joined(names)} all have path and label columns: leave one, or one for each part, "
            "named by it"
        )
    found: dict[str, Labelled] = {}
    skipped = []
    for table in used:
        skipped += _add(table, found, pictures, several=len(used) > 1)
    names = [table.name for table in used]
    reason = f"not listed in {joined(names, 'or')}"
    skipped += [Skipped(path, reason) for path in paths if path not in found and path not in names]
    parts = {path: _part_above(path) for path in found}
    if all(parts.values()) and not any(picture.part for picture in found.values()):
        found = {path: replace(picture, part=parts[path]) for path, picture in found.items()}
    one_hot = any(table.columns and table.columns.classes for table in used)
    columns = "a column per class" if one_hot else "path and label columns"
    return Source(
        f"{joined(names)} with {columns}",
        [found[path] for path in sorted(found)],
        sorted(skipped, key=lambda one: one.path),
        [f"{table.name} counts as no part of the data" for table in others],
    )


def _add(
    table: _Table, found: dict[str, Labelled], pictures: _Pictures, *, several: bool
) -> list[Skipped]:
    """Add a table's pictures to `found`; return the rows that cannot be used."""
    rows = table.rows()
    any_part = any(row.part for row in rows)
    skipped = []
    for row in rows:
        try:
            picture = _picture(row, table, pictures, any_part=any_part)
        except Unreadable as error:
            skipped.append(Skipped(f"{table.name}, line {row.line}", str(error)))
            continue
        if several and not any_part:
            picture = replace(picture, part=table.part)
        before = found.setdefault(picture.path, picture)
        if before != picture:
            what = next(
                name
                for name in ("label", "part", "group")
                if getattr(before, name) != getattr(picture, name)
            )
            raise UserError(
                f"{table.name}, line {row.line}: {picture.path} is listed before with another of "
                f"the two {what}s {getattr(before, what)} and {getattr(picture, what)}; a picture "
                "has one"
            )
    return skipped


def _picture(row: _Row, table: _Table, pictures: _Pictures, *, any_part: bool) -> Labelled:
    label = unicodedata.normalize("NFC", row.label)
    part = _part(row.part)
    path = pictures.find(safe_path(row.path), table.folder, part or table.part)
    flags = [name for name in row.flags if len(row.flags) > 1]
    if flags:
        raise Unreadable(f"{path} has 1 in {joined(flags)}: a picture has one label")
    if not label or not label.isprintable():
        raise Unreadable(f"{path} has no label that can be printed")
    if any_part and not part:
        raise Unreadable(f"{path} is of part {row.part!r}, which is not train, validation or test")
    return Labelled(path, label, part, row.group)


def _part(name: str) -> str:
    return part_of(name)[0]


def _part_above(path: str) -> str:
    """Tell the part that the nearest folder above states; nothing where none does."""
    return next(filter(None, map(_part, path.split("/")[-2::-1])), "")


def _column(cell: str) -> str:
    return cell.strip().strip('"').strip().lower().replace(" ", "_").replace("-", "_")


def _cell(cells: list[str], at: int | None) -> str:
    return "" if at is None or at >= len(cells) else cells[at].strip()


def _set_flags(cells: list[str], flags: Sequence[int]) -> list[int]:
    return [at for at in flags if _cell(cells, at).startswith("1")]
