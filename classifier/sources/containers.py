"""Folders, zips and tars as lists of entries: what each says that it holds, and how to read it."""

import io
import lzma
import os
import re
import stat
import struct
import sys
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from classifier.base.errors import UserError

ALLOWED = "a folder, .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz"
CHUNK = 1 << 20
# bzip2 and LZMA expand whatever they are given in one go, bzip2 to 20,000 times its size.
SMALL_CHUNK = 1 << 12
# tarfile reads names and extended headers whole, of the length that the archive claims.
TAR_HEADER_BYTES = 1 << 17
ZIP_HEADER_BYTES = 30  # before a member, without its name
# A Mac counts a zip's bytes modulo this.
WRAP = 1 << 32
UNDECODED = "surrogateescape"  # of bytes that are not UTF-8, as in names of Python's own
UNICODE_PATH = 0x7075  # the extra field with a name in UTF-8
# Of Windows, where zips hold names in the code page of the place: Japan's, those of the Americas
# and Western Europe, Russia's. In each a word's letters are of these scripts.
CODE_PAGES = {
    "cp932": ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "FULLWIDTH", "IDEOGRAPHIC"),
    "cp437": ("LATIN",),
    "cp850": ("LATIN",),
    "cp866": ("CYRILLIC",),
}
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
READABLE_METHODS = frozenset(
    {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
)

TAR_REFUSALS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device file",
    tarfile.BLKTYPE: "a device file",
    tarfile.FIFOTYPE: "a named pipe",
}

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
class Entry:
    """What a source says of one member, and how to read it."""

    name: str  # as found; bytes that are not UTF-8 as surrogates
    size: int = 0  # as the source declares it
    open: Callable[[], File] = io.BytesIO
    chunk: int = CHUNK
    packed: int | None = None  # compressed bytes, where the member is compressed by itself
    folder: bool = False
    refusal: str = ""


def kind_of(source: str, file: IO[bytes]) -> str:
    """Tell a source's kind by its content: zip, tar, gzip, bzip2, xz, 7z, rar or zstd.

    Raises:
        UserError: it is empty, or of no kind that is known.
    """
    file.seek(0)
    head = file.read(tarfile.BLOCKSIZE)
    file.seek(0)
    if kind := magic(head):
        return kind
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", UNDECODED)
        return "tar"
    except DAMAGE as error:
        if zipfile.is_zipfile(file):  # behind a program that unpacks it, say
            return "zip"
        words = "is empty" if not head else "is no archive, or damaged from its start"
        raise UserError(f"{source} {words}; allowed is {ALLOWED}") from error


def zip_entries(file: IO[bytes], stack: ExitStack) -> Iterator[Entry]:
    """Yield the members of a zip archive; `stack` closes it."""
    archive = stack.enter_context(zipfile.ZipFile(file))
    infos = archive.infolist()
    _unwrap(infos)
    names = _zip_names(file.name, infos)
    overlapping = _overlapping(archive)
    for name, info in zip(names, infos, strict=True):
        if name.endswith(("/", "\\")):
            yield Entry(name, folder=True)
            continue
        refusal = _special(info.external_attr >> 16)
        if info.flag_bits & 0x41:
            refusal = "encrypted"
        elif info.compress_type not in READABLE_METHODS:
            refusal = f"compressed by an unsupported method ({info.compress_type})"
        elif info.header_offset in overlapping:
            refusal = "overlaps another member"
        yield Entry(
            name,
            info.file_size,
            partial(_open_in_zip, archive, file, info),
            SMALL_CHUNK if info.compress_type in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA) else CHUNK,
            info.compress_size,
            refusal=refusal,
        )


def _open_in_zip(archive: zipfile.ZipFile, file: IO[bytes], info: zipfile.ZipInfo) -> IO[bytes]:
    r"""Open a member, also where its two headers write / and \ for the same name."""
    file.seek(info.header_offset)
    header = file.read(ZIP_HEADER_BYTES)
    raw = file.read(int.from_bytes(header[26:28], "little"))
    name = raw.decode("utf-8" if info.flag_bits & 0x800 else "cp437")
    if name.replace("\\", "/") == info.orig_filename.replace("\\", "/"):
        info.orig_filename = name
    return archive.open(info)


def _unwrap(infos: list[zipfile.ZipInfo]) -> None:
    """Put right the offsets of a Mac's zip of over 4 GB, which begin at 0 again and again.

    zipfile takes what is missing for a program in front of the archive and adds it to all.
    """
    added = min((info.header_offset for info in infos), default=0) // WRAP * WRAP
    last = 0
    for info in infos if added else ():
        info.header_offset -= added
        while info.header_offset < last:
            info.header_offset += WRAP
        last = info.header_offset


def _zip_names(source: str, infos: list[zipfile.ZipInfo]) -> list[str]:
    """Decode members' names: by the flag or field for UTF-8, as UTF-8, or else by a code page."""
    names = [_zip_name(info) for info in infos]
    unknown = {name for name in names if isinstance(name, bytes) and not _is_utf_8(name)}
    page = next((one for one in CODE_PAGES if _reads(unknown, one)), "") if unknown else ""
    if page:
        print(f"{source}: its names are read as {page}, a code page of Windows", file=sys.stderr)

    def decoded(name: str | bytes) -> str:
        if isinstance(name, str):
            return name
        return name.decode(page) if page and name in unknown else name.decode(errors=UNDECODED)

    return list(map(decoded, names))


def _zip_name(info: zipfile.ZipInfo) -> str | bytes:
    """Read a name that is said to be UTF-8, by a flag or a field of Info-ZIP's; or its bytes."""
    if info.flag_bits & 0x800:
        return info.orig_filename
    raw, extra = info.orig_filename.encode("cp437"), info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        # A program that knows no such field may have renamed the member since: hence the checksum.
        if kind == UNICODE_PATH and field[1:5] == struct.pack("<L", zlib.crc32(raw)):
            return field[5:].decode(errors=UNDECODED)
    return raw


def _is_utf_8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _reads(names: set[bytes], page: str) -> bool:
    """Whether a code page makes words of all names: letters of its scripts alone.

    Nearly every byte is a letter or a sign in every code page; a wrong page gives box drawings
    among letters, or letters of two scripts in a word.
    """
    scripts = CODE_PAGES[page]
    for raw in names:
        try:
            name = raw.decode(page)
        except UnicodeDecodeError:
            return False
        foreign = {unicodedata.name(one, "").split(" ")[0] for one in name if not one.isascii()}
        if not foreign.issubset(scripts):
            return False
        if "LATIN" not in scripts and re.search(r"[a-zA-Z][^\0-\x7f]|[^\0-\x7f][a-zA-Z]", name):
            return False
    return True


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


def tar_entries(file: IO[bytes]) -> Iterator[Entry]:
    """Yield the members of a tar that is not compressed; a hard link is what it links to.

    Raises:
        tarfile.ReadError: a header is damaged, or larger than any needs to be.
    """
    file.seek(0)
    archive = tarfile.open(  # noqa: SIM115 - there is nothing to close but the file beneath
        fileobj=_BoundedReads(file), mode="r:", encoding="utf-8", errors=UNDECODED
    )
    last = -1
    places: dict[str, tuple[int, int]] = {}  # offset and size, of what a hard link may mean
    while (info := archive.next()) is not None:
        # A thousand bytes each that nobody asks for again; typeshed does not know the attribute.
        archive.members = []  # type: ignore[attr-defined]
        # Sizes below zero would send tarfile round in circles.
        if info.size < 0 or info.offset <= last:
            raise tarfile.ReadError("a member of negative size")
        last = info.offset
        refusal = _tar_refusal(info)
        place = info.offset_data, info.size
        if info.islnk():
            refusal = "" if info.linkname in places else "a hard link to what the archive lacks"
            place = places.get(info.linkname, (0, 0))
        if not (refusal or info.isdir()):
            places[info.name] = place
        start, size = place
        read = partial(_Window, file, start, size)
        yield Entry(info.name, size, read, folder=info.isdir(), refusal=refusal)
    # tarfile takes a damaged header in the middle for the end of the archive.
    file.seek(archive.offset)
    if any(file.read(tarfile.BLOCKSIZE)):
        raise tarfile.ReadError(f"no header at byte {archive.offset:,}")


def _tar_refusal(info: tarfile.TarInfo) -> str:
    if info.isreg():
        return "a sparse file" if info.issparse() else ""
    if info.islnk() or info.isdir():
        return ""
    return TAR_REFUSALS.get(info.type, "of an unknown kind")


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


def folder_entries(top: Path, enter: Callable[[str], bool]) -> Iterator[Entry]:
    """Depth first in sorted order, links never followed; `enter` is asked of each folder's path."""
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        try:
            with os.scandir(top / prefix) as listing:
                found = sorted(listing, key=lambda one: one.name)
        except OSError as error:
            yield Entry(prefix or ".", folder=True, refusal=reason_of(error))
            continue
        deeper = []
        for one in found:
            name = prefix + one.name
            try:
                status = one.stat(follow_symlinks=False)
            except OSError as error:
                yield Entry(name, refusal=reason_of(error))
                continue
            if stat.S_ISDIR(status.st_mode):
                yield Entry(f"{name}/", folder=True)
                if enter(name):
                    deeper.append(f"{name}/")
                continue
            opened = partial(io.FileIO, one.path)
            yield Entry(name, status.st_size, opened, refusal=_special(status.st_mode))
        waiting += reversed(deeper)


def magic(head: bytes) -> str:
    """Tell the kind of an archive by its first 262 bytes or more; empty for all else."""
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


def reason_of(error: BaseException) -> str:
    """Why one member cannot be read, in words that do not depend on Python's version."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, EOFError):
        return "cut short"
    return "damaged: its checksum is wrong" if str(error).startswith("Bad CRC") else "damaged"
