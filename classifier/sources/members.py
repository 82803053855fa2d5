"""Members of a folder, a zip or a tar archive, read without unpacking anything by its name.

What a member is called is never used as a place on the disk: members are read into memory one at
a time, and a compressed tar is expanded into one unnamed temporary file. Members that could do
harm are left out, each with its reason; only a source that cannot be used at all is an error.
"""

import bz2
import gzip
import lzma
import os
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from classifier.base.errors import UserError
from classifier.base.params import DataLimits
from classifier.sources.containers import (
    ALLOWED,
    CHUNK,
    DAMAGE,
    Entry,
    File,
    folder_entries,
    kind_of,
    magic,
    reason_of,
    tar_entries,
    zip_entries,
)

PATH_BYTES = 1000
# What expands to less harms nobody, and a plain white picture may well shrink a thousandfold.
BOMB_BYTES = 1 << 20

ARCHIVE_SUFFIXES = frozenset(
    {".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz", ".tbz2", ".xz", ".txz"}
    | {".lzma", ".zst", ".7z", ".rar", ".jar", ".cab", ".iso"}
)
# Left by systems, file managers and programs: no word about them, they are nobody's data.
HOUSEKEEPING = frozenset(
    {"__macosx", ".ds_store", "thumbs.db", "desktop.ini", "@eadir", "#recycle", "$recycle.bin"}
    | {"lost+found", "system volume information", "__pycache__", ".ipynb_checkpoints"}
)
DRIVE = re.compile("[A-Za-z]:")


@dataclass(frozen=True)
class Skipped:
    """A member that was left out: its name as found, made printable, and why."""

    path: str
    reason: str


class Unreadable(Exception):  # noqa: N818 - no error of the run: it goes on
    """One member cannot be used; the message is the reason, a few words."""


class Members:
    """What a source holds: safe relative POSIX paths (NFC), sorted, and their bytes.

    `paths` are without `top`, the folder that wraps all of them, if one does; `skipped` tells what
    was left out, sorted, under names as found. `lost` has the same by paths like those of `paths`
    (beginning with ../ outside of the wrapping folder), for what may have been a class: files and
    links with the reason, and folders, which end with a slash and have no reason.
    """

    def __init__(
        self, source: str, entries: Iterable[Entry], limits: DataLimits, packed: int | None = None
    ) -> None:
        self._source = source
        self._limits = limits
        self._packed = packed
        self._read: dict[str, int] = {}
        self._total = 0
        self._skipped: dict[Skipped, None] = {}
        self.lost: dict[str, str] = {}
        usable = self._usable(entries)
        self.top = top = _wrapping(usable)
        self._entries = {path.removeprefix(top): entry for path, entry in usable.items()}
        self.lost = {
            path.removeprefix(top) if path.startswith(top) else f"../{path}": reason
            for path, reason in self.lost.items()
        }
        self.paths = sorted(self._entries)
        self.skipped = sorted(self._skipped, key=lambda one: (one.path, one.reason))
        if not self.paths:
            first = "".join(f", such as {one.path}: {one.reason}" for one in self.skipped[:1])
            raise UserError(f"{source} holds no usable file ({len(self.skipped):,} skipped{first})")
        _check_total(source, sum(entry.size for entry in self._entries.values()), None, limits)

    def read(self, path: str) -> bytes:
        """Read one of `paths`.

        Raises:
            Unreadable: it is damaged, cut short, too large, or itself an archive.
            UserError: all that was read together is more than the limits allow.
        """
        entry = self._entries[path]
        chunks: list[bytes] = []
        size = 0
        try:
            with entry.open() as file:
                while chunk := file.read(entry.chunk):
                    chunks.append(chunk)
                    size += len(chunk)
                    self._count(path, size)
                    if size > self._limits.file_bytes:
                        raise Unreadable(self._too_large(size))
        except DAMAGE as error:
            raise Unreadable(reason_of(error)) from error
        if size != entry.size:
            raise Unreadable(f"damaged: {size:,} bytes, where {entry.size:,} were declared")
        content = b"".join(chunks)
        if kind := magic(content[:512]):
            raise Unreadable(f"an archive ({kind}) inside the source")
        return content

    def _usable(self, entries: Iterable[Entry]) -> dict[str, Entry]:
        usable: dict[str, Entry] = {}
        for count, entry in enumerate(entries, start=1):
            if count > self._limits.files:
                raise UserError(
                    f"{self._source} holds more files and folders than data.limits.files allows "
                    f"({self._limits.files:,})"
                )
            try:
                path = safe_path(entry.name)
            except Unreadable as error:
                self._skip(entry.name, str(error))
                self.lost[printable(entry.name)] = str(error)
                continue
            if _housekeeping(path):
                continue
            if hidden := _hidden(path):
                self._skip(hidden, "hidden")
            elif reason := self._refusal(path, entry):
                self._skip(entry.name, reason)
                self.lost[path] = reason
            elif path in usable:
                self._skip(entry.name, "a second of this name")
            elif entry.folder:
                self.lost[f"{path}/"] = ""
            else:
                usable[path] = entry
        return usable

    def _refusal(self, path: str, entry: Entry) -> str:
        if entry.refusal or entry.folder:
            return entry.refusal
        if not path:
            return "its name is empty"
        if PurePosixPath(path).suffix.lower() in ARCHIVE_SUFFIXES:
            return "an archive inside the source"
        if entry.size > self._limits.file_bytes:
            return self._too_large(entry.size)
        ratio = self._limits.ratio
        if entry.packed is not None and entry.size > max(BOMB_BYTES, entry.packed * ratio):
            return (
                f"{entry.packed:,} bytes that expand to {entry.size:,}: more than "
                f"data.limits.ratio allows ({ratio:,})"
            )
        return ""

    def _skip(self, name: str, reason: str) -> None:
        self._skipped[Skipped(printable(name), reason)] = None

    def _too_large(self, size: int) -> str:
        return (
            f"{size:,} bytes or more, more than data.limits.file_bytes allows "
            f"({self._limits.file_bytes:,})"
        )

    def _count(self, path: str, size: int) -> None:
        # By path: a file that is read twice counts once.
        before = self._read.get(path, 0)
        if size > before:
            self._read[path] = size
            self._total += size - before
            _check_total(self._source, self._total, self._packed, self._limits)


@contextmanager
def open_members(source: Path, limits: DataLimits, spool_folder: Path) -> Iterator[Members]:
    """Open a folder or an archive; which kind of archive it is, its content says, not its name.

    A compressed tar is expanded once into an unnamed file in `spool_folder`, which is made where
    it is missing; nothing else is written.

    Raises:
        UserError: the source is missing, no archive, damaged as a whole, holds no usable file, or
            is over data.limits.files, total_bytes or ratio.
    """
    if source.is_dir():
        yield Members(str(source), folder_entries(source, _enterable), limits)
        return
    if not source.exists():
        raise UserError(f"{source} does not exist; data.source is a catalogue file, {ALLOWED}")
    if not source.is_file():
        raise UserError(f"{source} is neither a file nor a folder; allowed is {ALLOWED}")
    with ExitStack() as stack:
        file = stack.enter_context(source.open("rb"))
        yield _archive_members(str(source), file, limits, spool_folder, stack)


def _archive_members(
    source: str, file: IO[bytes], limits: DataLimits, spool_folder: Path, stack: ExitStack
) -> Members:
    size = os.fstat(file.fileno()).st_size
    expanders: dict[str, Callable[[IO[bytes]], File]] = {
        "gzip": lambda packed: gzip.GzipFile(fileobj=packed),
        "bzip2": bz2.BZ2File,
        "xz": lzma.LZMAFile,
    }
    kind = kind_of(source, file)
    if kind == "zip":
        return Members(source, _or_user_error(source, zip_entries(file, stack)), limits, size)
    if kind in expanders:
        expanded = expanders[kind](file)
        stack.callback(expanded.close)
        file = stack.enter_context(_spool(source, expanded, size, limits, spool_folder))
        if kind_of(source, file) != "tar":
            raise UserError(f"{source} is compressed, but holds no tar; allowed is {ALLOWED}")
    elif kind != "tar":
        raise UserError(f"{source} is a {kind} archive; allowed is {ALLOWED}")
    return Members(source, _or_user_error(source, tar_entries(file)), limits)


def _or_user_error(source: str, entries: Iterator[Entry]) -> Iterator[Entry]:
    """Pass entries on; damage that ends the list of members is the source's, not a member's."""
    try:
        yield from entries
    except UnicodeDecodeError as error:
        raise UserError(f"{source} is damaged: a name marked as UTF-8 is not") from error
    except DAMAGE as error:
        raise UserError(f"{source} is damaged or cut short: {_words(error)}") from error


def _spool(source: str, expanded: File, packed: int, limits: DataLimits, folder: Path) -> IO[bytes]:
    """Expand a compressed stream into an unnamed file; the file is closed where that fails."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        spool = stack.enter_context(tempfile.TemporaryFile(dir=folder))
        written = 0
        while True:
            try:
                chunk = expanded.read(CHUNK)
            except DAMAGE as error:
                raise UserError(f"{source} is damaged or cut short: {_words(error)}") from error
            if not chunk:
                break
            written += len(chunk)
            _check_total(source, written, packed, limits)
            try:
                spool.write(chunk)
                spool.flush()
            except OSError as error:
                raise UserError(
                    f"{folder}: {error.strerror}, while {source} was expanded into it"
                ) from error
        stack.pop_all()
        return spool


def _enterable(name: str) -> bool:
    try:
        path = safe_path(name)
    except Unreadable:
        return False
    return not _housekeeping(path) and not _hidden(path)


def safe_path(name: str) -> str:
    """Turn a member's name into a relative POSIX path in NFC, empty for the source's top.

    Backslashes count as slashes, as archives made on Windows mean them.

    Raises:
        Unreadable: the path leaves the source, is too long, or cannot be printed.
    """
    if not name.isascii() and any("\ud800" <= one <= "\udfff" for one in name):
        raise Unreadable("its name is not UTF-8")
    if not name.isprintable() and any(map(_breaks_lists, name)):
        raise Unreadable("its name holds control characters")
    name = unicodedata.normalize("NFC", name).replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or DRIVE.match(name) or ".." in parts:
        raise Unreadable("its path leaves the source")
    path = "/".join(parts)
    if len(path.encode()) > PATH_BYTES:
        raise Unreadable(f"its path is longer than {PATH_BYTES:,} bytes")
    return path


def _breaks_lists(character: str) -> bool:
    """Whether it is a control character, a line end of Unicode, or no character of XML."""
    return unicodedata.category(character) in ("Cc", "Zl", "Zp") or character in "\ufffe\uffff"


def printable(name: str) -> str:
    """Escape everything in a name that cannot be printed, and cut it to a readable length."""
    raw = "".join(one if one.isprintable() else _escaped(one) for one in name)
    return raw if len(raw) <= 200 else f"{raw[:150]}…{raw[-40:]}"


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return ascii(character)[1:-1]


def _housekeeping(path: str) -> bool:
    parts = path.casefold().split("/")
    return not HOUSEKEEPING.isdisjoint(parts) or parts[-1].startswith("._")


def _hidden(path: str) -> str:
    """Return the part of the path up to the first hidden folder or file, or nothing."""
    parts = path.split("/")
    for count, part in enumerate(parts, start=1):
        if part.startswith("."):
            return "/".join(parts[:count])
    return ""


def _wrapping(paths: Iterable[str]) -> str:
    """Return the folder that holds all paths, with its slash, or nothing."""
    tops = {"".join(path.partition("/")[:2]) for path in paths}
    top = tops.pop() if len(tops) == 1 else ""
    return top if top.endswith("/") else ""


def _check_total(source: str, total: int, packed: int | None, limits: DataLimits) -> None:
    """Refuse a source that holds, or expands to, more bytes than allowed; `packed`: its own."""
    if total > limits.total_bytes:
        raise UserError(
            f"{source} holds more bytes than data.limits.total_bytes allows "
            f"({limits.total_bytes:,})"
        )
    if packed is not None and total > max(BOMB_BYTES, packed * limits.ratio):
        raise UserError(
            f"{source} expands to more than data.limits.ratio ({limits.ratio:,}) times its "
            f"{packed:,} bytes"
        )


def _words(error: BaseException) -> str:
    return printable(" ".join(str(error).split())) or type(error).__name__
