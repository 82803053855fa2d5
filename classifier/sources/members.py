"""Members of a folder, a zip or a tar archive, read without unpacking anything by its name.

What a member is called is never used as a place on the disk: members are read into memory one at
a time, and a compressed tar is expanded into one unnamed temporary file. Members that could do
harm are left out, each with its reason; only a source that cannot be used at all is an error.
"""

import bz2
import gzip
import io
import lzma
import os
import re
import stat
import struct
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from classifier.base.errors import UserError

ALLOWED = "a folder, .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz"
PART_BYTES = 255  # what file systems allow for a name
PATH_BYTES = 1000
# What expands to less harms nobody, and a plain white picture may well shrink a thousandfold.
BOMB_BYTES = 1 << 20
CHUNK = 1 << 20
# bzip2 and LZMA expand whatever they are given in one go, bzip2 to 20,000 times its size.
SMALL_CHUNK = 1 << 12
# tarfile reads names and extended headers whole, of the length that the archive claims.
TAR_HEADER_BYTES = 1 << 17
ZIP_HEADER_BYTES = 30  # before a member, without its name

MAGIC = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x1f\x8b\x08": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
    b"\x28\xb5\x2f\xfd": "zstd",
}
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
READABLE_METHODS = frozenset(
    {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
)

# Whatever the standard library's readers raise on archives that are damaged or made to harm.
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    ArithmeticError,
    LookupError,
    RuntimeError,
    MemoryError,
)


File = IO[bytes] | io.BufferedIOBase


@dataclass(frozen=True)
class Limits:
    """data.limits of params.yaml, as far as they concern files."""

    files: int  # members at most, usable or not
    file_bytes: int  # of one member, uncompressed
    total_bytes: int  # of all members together, uncompressed
    ratio: int  # uncompressed to compressed bytes, of one member and of the archive


@dataclass(frozen=True)
class Skipped:
    """A member that was left out: its name as found, made printable, and why."""

    path: str
    reason: str


class Unreadable(Exception):  # noqa: N818 - no error of the run: it goes on
    """One member cannot be used; the message is the reason, a few words."""


@dataclass(frozen=True)
class _Entry:
    name: str  # as found; bytes that are not UTF-8 as surrogates
    size: int = 0  # as the source declares it
    open: Callable[[], File] = io.BytesIO
    chunk: int = CHUNK
    packed: int | None = None  # compressed bytes, where the member is compressed by itself
    folder: bool = False
    refusal: str = ""


class Members:
    """What a source holds: safe relative POSIX paths (NFC), sorted, and their bytes.

    `paths` are without the folder that wraps all of them, if one does; `skipped` tells what was
    left out, sorted, under names as found. `lost` has the same by paths like those of `paths`
    (beginning with ../ outside of the wrapping folder), for what may have been a class: files and
    links with the reason, and folders, which end with a slash and have no reason.
    """

    def __init__(
        self, source: str, entries: Iterable[_Entry], limits: Limits, packed: int | None = None
    ) -> None:
        self._source = source
        self._limits = limits
        self._packed = packed
        self._read: dict[str, int] = {}
        self._total = 0
        self._skipped: dict[Skipped, None] = {}
        self.lost: dict[str, str] = {}
        usable = self._without_case_collisions(self._usable(entries))
        top = _wrapping(usable)
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
        self._check_total(sum(entry.size for entry in self._entries.values()))

    def read(self, path: str) -> bytes:
        """The content of one of `paths`.

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
            raise Unreadable(_reason(error)) from error
        if size != entry.size:
            raise Unreadable(f"damaged: {size:,} bytes, where {entry.size:,} were declared")
        content = b"".join(chunks)
        if kind := _archive_kind(content[:512]):
            raise Unreadable(f"an archive ({kind}) inside the source")
        return content

    def _usable(self, entries: Iterable[_Entry]) -> dict[str, _Entry]:
        usable: dict[str, _Entry] = {}
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

    def _refusal(self, path: str, entry: _Entry) -> str:
        if entry.refusal or entry.folder:
            return entry.refusal
        if not path:
            return "its name is empty"
        if PurePosixPath(path).suffix.lower() in ARCHIVE_SUFFIXES:
            return "an archive inside the source"
        if entry.size > self._limits.file_bytes:
            return self._too_large(entry.size)
        if (
            entry.packed is not None
            and entry.size > BOMB_BYTES
            and entry.size > entry.packed * self._limits.ratio
        ):
            return (
                f"{entry.packed:,} bytes that expand to {entry.size:,}: more than "
                f"data.limits.ratio allows ({self._limits.ratio:,})"
            )
        return ""

    def _without_case_collisions(self, usable: dict[str, _Entry]) -> dict[str, _Entry]:
        # The first in sorted order stays, so that the order of packing has no part in it.
        kept: dict[str, str] = {}
        for path in sorted(usable):
            first = kept.setdefault(path.casefold(), path)
            if first != path:
                self._skip(usable[path].name, f"its name differs from {first} only in case")
        return {path: usable[path] for path in kept.values()}

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
            self._check_total(self._total)
            _check_ratio(self._source, self._total, self._packed, self._limits)

    def _check_total(self, total: int) -> None:
        if total > self._limits.total_bytes:
            raise UserError(_over_total(self._source, self._limits))


@contextmanager
def open_members(source: Path, limits: Limits, spool_folder: Path) -> Iterator[Members]:
    """Open a folder or an archive; which kind of archive it is, its content says, not its name.

    A compressed tar is expanded once into an unnamed file in `spool_folder`, which is made where
    it is missing; nothing else is written.

    Raises:
        UserError: the source is missing, no archive, damaged as a whole, holds no usable file, or
            is over data.limits.files, total_bytes or ratio.
    """
    if source.is_dir():
        yield Members(str(source), _folder_entries(source), limits)
        return
    if not source.exists():
        raise UserError(f"{source} does not exist; data.source is a catalogue file, {ALLOWED}")
    if not source.is_file():
        raise UserError(f"{source} is neither a file nor a folder; allowed is {ALLOWED}")
    with ExitStack() as stack:
        file = stack.enter_context(source.open("rb"))
        yield _archive_members(str(source), file, limits, spool_folder, stack)


def _archive_members(
    source: str, file: IO[bytes], limits: Limits, spool_folder: Path, stack: ExitStack
) -> Members:
    size = os.fstat(file.fileno()).st_size
    expanders: dict[str, Callable[[IO[bytes]], File]] = {
        "gzip": lambda packed: gzip.GzipFile(fileobj=packed),
        "bzip2": bz2.BZ2File,
        "xz": lzma.LZMAFile,
    }
    kind = _source_kind(source, file)
    if kind == "zip":
        return Members(source, _or_user_error(source, _zip_entries(file, stack)), limits, size)
    if kind in expanders:
        expanded = expanders[kind](file)
        stack.callback(expanded.close)
        file = stack.enter_context(_spool(source, expanded, size, limits, spool_folder))
        if _source_kind(source, file) != "tar":
            raise UserError(f"{source} is compressed, but holds no tar; allowed is {ALLOWED}")
    elif kind != "tar":
        raise UserError(f"{source} is a {kind} archive; allowed is {ALLOWED}")
    return Members(source, _or_user_error(source, _tar_entries(file)), limits)


def _source_kind(source: str, file: IO[bytes]) -> str:
    file.seek(0)
    head = file.read(tarfile.BLOCKSIZE)
    file.seek(0)
    if kind := _archive_kind(head):
        return kind
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
        return "tar"
    except DAMAGE as error:
        if zipfile.is_zipfile(file):  # behind a program that unpacks it, say
            return "zip"
        words = "is empty" if not head else "is no archive, or damaged from its start"
        raise UserError(f"{source} {words}; allowed is {ALLOWED}") from error


def _or_user_error(source: str, entries: Iterator[_Entry]) -> Iterator[_Entry]:
    """Pass entries on; damage that ends the list of members is the source's, not a member's."""
    try:
        yield from entries
    except UnicodeDecodeError as error:
        raise UserError(f"{source} is damaged: a name marked as UTF-8 is not") from error
    except DAMAGE as error:
        raise UserError(f"{source} is damaged or cut short: {_words(error)}") from error


def _spool(source: str, expanded: File, packed: int, limits: Limits, folder: Path) -> IO[bytes]:
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
            if written > limits.total_bytes:
                raise UserError(_over_total(source, limits))
            _check_ratio(source, written, packed, limits)
            try:
                spool.write(chunk)
                spool.flush()
            except OSError as error:
                raise UserError(
                    f"{folder}: {error.strerror}, while {source} was expanded into it"
                ) from error
        stack.pop_all()
        return spool


def _zip_entries(file: IO[bytes], stack: ExitStack) -> Iterator[_Entry]:
    archive = stack.enter_context(zipfile.ZipFile(file))
    overlapping = _overlapping(archive)
    for info in archive.infolist():
        name = _zip_name(info)
        if name.endswith(("/", "\\")):
            yield _Entry(name, folder=True)
            continue
        refusal = _special(info.external_attr >> 16)
        if info.flag_bits & 0x41:
            refusal = "encrypted"
        elif info.compress_type not in READABLE_METHODS:
            refusal = f"compressed by an unsupported method ({info.compress_type})"
        elif info.header_offset in overlapping:
            refusal = "overlaps another member"
        yield _Entry(
            name,
            info.file_size,
            partial(archive.open, info),
            SMALL_CHUNK if info.compress_type in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA) else CHUNK,
            info.compress_size,
            refusal=refusal,
        )


def _zip_name(info: zipfile.ZipInfo) -> str:
    """The name's bytes as UTF-8: Macs and Info-ZIP write it without setting the flag for it."""
    if info.flag_bits & 0x800:
        return info.orig_filename
    return info.orig_filename.encode("cp437").decode("utf-8", "surrogateescape")


def _overlapping(archive: zipfile.ZipFile) -> set[int]:
    """Offsets of members whose bytes reach into the next one's: how small zips become huge."""
    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    ends = [*(info.header_offset for info in infos), archive.start_dir][1:]
    return {
        info.header_offset
        for info, end in zip(infos, ends, strict=True)
        if info.header_offset + ZIP_HEADER_BYTES + info.compress_size > end
    }


class _BoundedReads(io.BufferedIOBase):
    """A file that refuses to read as much at once as no tar header needs."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= TAR_HEADER_BYTES:
            raise tarfile.ReadError("a header of unreasonable size")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _tar_entries(file: IO[bytes]) -> Iterator[_Entry]:
    file.seek(0)
    archive = tarfile.open(  # noqa: SIM115 - there is nothing to close but the file beneath
        fileobj=_BoundedReads(file), mode="r:", encoding="utf-8", errors="surrogateescape"
    )
    last = -1
    while (info := archive.next()) is not None:
        # A thousand bytes each that nobody asks for again; typeshed does not know the attribute.
        archive.members = []  # type: ignore[attr-defined]
        # Sizes below zero would send tarfile round in circles.
        if info.size < 0 or info.offset <= last:
            raise tarfile.ReadError("a member of negative size")
        last = info.offset
        yield _Entry(
            info.name,
            info.size,
            partial(_Window, file, info.offset_data, info.size),
            folder=info.isdir(),
            refusal=_tar_refusal(info),
        )
    # tarfile takes a damaged header in the middle for the end of the archive.
    file.seek(archive.offset)
    if any(file.read(tarfile.BLOCKSIZE)):
        raise tarfile.ReadError(f"no header at byte {archive.offset:,}")


def _tar_refusal(info: tarfile.TarInfo) -> str:
    if info.isreg():
        return "a sparse file" if info.issparse() else ""
    kinds = {
        tarfile.SYMTYPE: stat.S_IFLNK,
        tarfile.CHRTYPE: stat.S_IFCHR,
        tarfile.BLKTYPE: stat.S_IFBLK,
        tarfile.FIFOTYPE: stat.S_IFIFO,
        tarfile.DIRTYPE: stat.S_IFDIR,
    }
    if info.islnk():
        return "a hard link"
    return _special(kinds[info.type]) if info.type in kinds else "of an unknown kind"


class _Window(io.BufferedIOBase):
    """`size` bytes of a file from `start` on; closing it leaves the file open."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file = file
        self._at = start
        self._end = start + size

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        left = self._end - self._at
        self._file.seek(self._at)
        content = self._file.read(left if size is None or size < 0 else min(size, left))
        self._at += len(content)
        return content


def _folder_entries(top: Path) -> Iterator[_Entry]:
    """Depth first in sorted order, links never followed, hidden folders never entered."""
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        try:
            with os.scandir(top / prefix) as listing:
                found = sorted(listing, key=lambda one: one.name)
        except OSError as error:
            yield _Entry(prefix or ".", folder=True, refusal=_reason(error))
            continue
        deeper = []
        for one in found:
            name = prefix + one.name
            try:
                status = one.stat(follow_symlinks=False)
            except OSError as error:
                yield _Entry(name, refusal=_reason(error))
                continue
            if stat.S_ISDIR(status.st_mode):
                yield _Entry(f"{name}/", folder=True)
                if _enterable(name):
                    deeper.append(f"{name}/")
                continue
            yield _Entry(
                name,
                status.st_size,
                partial(_open, one.path),
                refusal=_special(status.st_mode),
            )
        waiting += reversed(deeper)


def _open(path: str) -> IO[bytes]:
    return Path(path).open("rb")


def _enterable(name: str) -> bool:
    try:
        path = safe_path(name)
    except Unreadable:
        return False
    return not _housekeeping(path) and not _hidden(path)


def safe_path(name: str) -> str:
    """A member's name as a relative POSIX path in NFC, empty for the source's top.

    Backslashes count as slashes, as archives made on Windows mean them.

    Raises:
        Unreadable: the path is absolute, leaves the source, is too long, or cannot be printed.
    """
    if not name.isascii() and any("\ud800" <= one <= "\udfff" for one in name):
        raise Unreadable("its name is not UTF-8")
    if not name.isprintable() and any(unicodedata.category(one) in _UNPRINTED for one in name):
        raise Unreadable("its name holds control characters")
    name = unicodedata.normalize("NFC", name).replace("\\", "/")
    if name.startswith("/") or DRIVE.match(name):
        raise Unreadable("its path is absolute")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Unreadable("its path leaves the source (..)")
    path = "/".join(parts)
    if len(path.encode()) > PATH_BYTES:
        raise Unreadable(f"its path is longer than {PATH_BYTES:,} bytes")
    if any(len(part.encode()) > PART_BYTES for part in parts):
        raise Unreadable(f"its name is longer than {PART_BYTES} bytes")
    return path


# Control characters and the line ends of Unicode: they would break the lists that names go into.
_UNPRINTED = frozenset({"Cc", "Zl", "Zp"})


def printable(name: str) -> str:
    """A name with everything that cannot be printed escaped, cut to a readable length."""
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
    """The part of the path up to the first hidden folder or file, or nothing."""
    parts = path.split("/")
    for count, part in enumerate(parts, start=1):
        if part.startswith("."):
            return "/".join(parts[:count])
    return ""


def _wrapping(paths: Iterable[str]) -> str:
    """The folder that holds all paths, with its slash, or nothing."""
    tops = {"".join(path.partition("/")[:2]) for path in paths}
    top = tops.pop() if len(tops) == 1 else ""
    return top if top.endswith("/") else ""


def _archive_kind(head: bytes) -> str:
    if head[257:262] == b"ustar":
        return "tar"
    return next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), "")


def _special(mode: int) -> str:
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFCHR: "a device file",
        stat.S_IFBLK: "a device file",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "")


def _over_total(source: str, limits: Limits) -> str:
    return f"{source} holds more bytes than data.limits.total_bytes allows ({limits.total_bytes:,})"


def _check_ratio(source: str, total: int, packed: int | None, limits: Limits) -> None:
    if packed is not None and total > BOMB_BYTES and total > packed * limits.ratio:
        raise UserError(
            f"{source} expands to more than data.limits.ratio ({limits.ratio:,}) times its "
            f"{packed:,} bytes"
        )


def _reason(error: BaseException) -> str:
    """Why one member cannot be read, in words that do not depend on Python's version."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, EOFError):
        return "cut short"
    return "damaged: its checksum is wrong" if str(error).startswith("Bad CRC") else "damaged"


def _words(error: BaseException) -> str:
    return printable(" ".join(str(error).split())) or type(error).__name__
