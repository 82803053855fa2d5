"""Sources that could do harm or are broken: each case builds one and says what must be reported.

Every case holds the two pictures of GOOD beside one bad member, so that a test can see that the
run goes on. BROKEN sources as a whole end in one error instead.
"""

import bz2
import gzip
import io
import lzma
import os
import socket
import stat
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from classifier.base.params import DataLimits

LIMITS = DataLimits(files=50, file_bytes=3_000_000, total_bytes=8_000_000, ratio=100, pixels=10**8)
GOOD = {"cats/1.jpg": b"\xff\xd8\xff a cat", "dogs/1.jpg": b"\xff\xd8\xff a dog"}
BAD = b"\xff\xd8\xff something else"

Patch = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Case:
    """`build` makes the source in a folder; `reported` is the bad member's name in the report."""

    title: str
    build: Callable[[Path], Path]
    reported: str
    reason: str

    def __str__(self) -> str:
        return self.title


@dataclass(frozen=True)
class Broken:
    """A source that cannot be used at all; `words` stand in the error."""

    title: str
    build: Callable[[Path], Path]
    words: str

    def __str__(self) -> str:
        return self.title


def zip_bytes(
    *members: tuple[str, bytes],
    mode: int = 0,
    method: int = zipfile.ZIP_STORED,
    good: bool = True,
) -> bytes:
    """A zip of GOOD and then `members`, these with the given file mode and compression."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name that comes twice is meant
        for name, content in GOOD.items() if good else ():
            archive.writestr(zipfile.ZipInfo(name), content)
        for name, content in members:
            info = zipfile.ZipInfo("placeholder")
            info.filename = info.orig_filename = name
            info.external_attr = mode << 16
            info.compress_type = method
            archive.writestr(info, content)
    return out.getvalue()


def tar_bytes(
    *members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT, good: bool = True
) -> bytes:
    """A plain tar of GOOD and then `members`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, content in GOOD.items() if good else ():
            archive.addfile(tar_info(name, len(content)), io.BytesIO(content))
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def tar_info(
    name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info


def written(name: str, content: bytes | Callable[[], bytes]) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content() if callable(content) else content)
        return path

    return build


def replaced(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content and len(old) == len(new)
    return content.replace(old, new)


def in_header(content: bytes, member: int, field: int, layout: str, value: int) -> bytes:
    """Set one field of a zip member's local and central headers; `field` is its place in the
    local one (4 version, 6 flags, 8 method, 14 CRC, 18 packed size, 22 size)."""
    changed = bytearray(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        info = archive.infolist()[member]
        central = int(archive.start_dir)
        for one in archive.infolist()[:member]:
            names = len(one.orig_filename.encode()), len(one.extra), len(one.comment)
            central += 46 + sum(names)
    struct.pack_into(layout, changed, info.header_offset + field, value)
    struct.pack_into(layout, changed, central + field + 2, value)
    return bytes(changed)


def zipped(title: str, name: str, reason: str, reported: str | None = None, mode: int = 0) -> Case:
    """A zip whose third member has a bad name or kind."""
    build = written("source.zip", lambda: zip_bytes((name, BAD), mode=mode))
    return Case(f"zip: {title}", build, name if reported is None else reported, reason)


def patched(title: str, patch: Patch, reason: str, content: bytes = BAD, method: int = 0) -> Case:
    """A zip whose third member, bad.jpg, is patched in its bytes."""
    build = written("source.zip", lambda: patch(zip_bytes(("bad.jpg", content), method=method)))
    return Case(f"zip: {title}", build, "bad.jpg", reason)


def tarred(
    title: str, name: str, reason: str, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> Case:
    size = len(BAD) if kind == tarfile.REGTYPE else 0
    build = written("source.tar", lambda: tar_bytes((tar_info(name, size, kind, link), BAD)))
    return Case(f"tar: {title}", build, name, reason)


def in_folder(title: str, place: Callable[[Path], object], reported: str, reason: str) -> Case:
    """A folder of GOOD beside something that `place` puts there."""

    def build(folder: Path) -> Path:
        top = good_folder(folder / "source")
        place(top)
        return top

    return Case(f"folder: {title}", build, reported, reason)


def good_folder(top: Path) -> Path:
    for name, content in GOOD.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)
    return top


def outside(top: Path, name: str) -> Path:
    path = top.parent / name
    path.write_bytes(BAD)
    return path


def linked_folder(top: Path) -> None:
    (top.parent / "elsewhere").mkdir()
    (top.parent / "elsewhere" / "secret.jpg").write_bytes(BAD)
    (top / "birds").symlink_to(top.parent / "elsewhere")


def socket_at(path: Path) -> None:
    # Bound by a relative name: the address of a socket is short.
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(before)


def undecodable_file(top: Path) -> None:
    Path(os.fsdecode(os.fsencode(top) + b"/cats/\xff\xfe.jpg")).write_bytes(BAD)


def sparse_tar() -> bytes:
    """A GNU sparse member that claims two megabytes of hole."""
    info = tar_info("bad.jpg", kind=tarfile.GNUTYPE_SPARSE)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"00010000000\0"
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:512]))
    return tar_bytes()[: tar_end()] + bytes(header) + bytes(1024)


def tar_end() -> int:
    """Where the two blocks of GOOD's tar end: a header and a block each."""
    return 4 * tarfile.BLOCKSIZE


def unknown_kind_tar() -> bytes:
    return tar_bytes()[: tar_end()] + tar_info("bad.jpg", kind=b"Z").tobuf() + bytes(1024)


def raw_tar(name: bytes, size: int = 0, kind: bytes = b"0") -> bytes:
    """GOOD and the header of one more member whose name and size tarfile would not write."""
    header = bytearray(tar_info("x", kind=kind).tobuf(tarfile.USTAR_FORMAT))
    header[: len(name)] = name
    if size < 0:
        header[124:136] = b"\xff" * 4 + struct.pack(">q", size)
    else:
        header[124:136] = b"%011o\0" % size
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:512]))
    return tar_bytes()[: tar_end()] + bytes(header) + bytes(1024)


def overlapping_zip() -> bytes:
    """bad.jpg claims the bytes of the member behind it as well: a quine-like bomb's building
    block."""
    content = zip_bytes(("bad.jpg", BAD), ("dogs/2.jpg", BAD))
    size = len(BAD) + 30 + len("dogs/2.jpg") + len(BAD)
    return in_header(in_header(content, 2, 18, "<I", size), 2, 22, "<I", size)


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


def damaged_stream(content: bytes) -> bytes:
    """Flip bits in the middle of bad.jpg's compressed bytes."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        info = archive.infolist()[2]
    return flipped(content, info.header_offset + 30 + len("bad.jpg") + info.compress_size // 2)


ZEROS = bytes(2_000_000)
NOISE = bytes((i * i * 2654435761 >> 13) & 0xFF for i in range(5_000))
DEFLATED, BZIP2, LZMA = zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA

CASES = [
    zipped("absolute path", "/etc/evil.jpg", "leaves the source"),
    zipped("drive letter", "C:/evil.jpg", "leaves the source"),
    zipped("network share", "\\\\host\\share\\evil.jpg", "leaves the source"),
    zipped("parent folder", "../evil.jpg", "leaves the source"),
    zipped("parent folder inside", "cats/../../evil.jpg", "leaves the source"),
    zipped("parent folder by backslashes", "..\\..\\evil.jpg", "leaves the source"),
    zipped("folder that leaves", "../../evil/", "leaves the source"),
    zipped("empty name", ".", "its name is empty"),
    zipped("symbolic link", "cats/link.jpg", "symbolic link", mode=stat.S_IFLNK | 0o777),
    zipped("device", "cats/null.jpg", "device file", mode=stat.S_IFCHR | 0o666),
    zipped("block device", "cats/sda.jpg", "device file", mode=stat.S_IFBLK | 0o666),
    zipped("named pipe", "cats/pipe.jpg", "named pipe", mode=stat.S_IFIFO | 0o666),
    zipped("socket", "cats/socket.jpg", "socket", mode=stat.S_IFSOCK | 0o666),
    zipped("name twice", "cats/1.jpg", "a second of this name"),
    zipped("name twice by a dot", "./cats//1.jpg", "a second of this name"),
    zipped("long path", f"{'deep/' * 200}1.jpg", "longer than 1,000 bytes", None),
    zipped("line feed", "cats/1\n2.jpg", "control characters", "cats/1\\n2.jpg"),
    zipped("escape sequence", "cats/\x1b[2J.jpg", "control characters", "cats/\\x1b[2J.jpg"),
    zipped("no character", "cats/\ufffe.jpg", "control characters", "cats/\\ufffe.jpg"),
    zipped("Unicode line end", "cats/\u2028.jpg", "control characters", "cats/\\u2028.jpg"),
    zipped("hidden file", "cats/.secret.jpg", "hidden"),
    zipped("hidden folder", ".git/objects/12.jpg", "hidden", ".git"),
    zipped("archive", "cats/more.ZIP", "an archive inside"),
    zipped("compressed tar", "cats/more.tar.gz", "an archive inside"),
    Case(
        "zip: NUL in the name",
        written("source.zip", lambda: replaced(zip_bytes(("cats/a?b.jpg", BAD)), b"a?b", b"a\0b")),
        "cats/a\\x00b.jpg",
        "control characters",
    ),
    Case(
        "zip: name not UTF-8",
        written("source.zip", lambda: replaced(zip_bytes(("c??.jpg", BAD)), b"??", b"\xff\xfe")),
        "c\\xff\\xfe.jpg",
        "not UTF-8",
    ),
    Case(
        "zip: one name in two Unicode forms",
        written("source.zip", lambda: zip_bytes(("é/1.jpg", BAD), ("e\u0301/1.jpg", BAD))),
        "e\u0301/1.jpg",
        "a second of this name",
    ),
    patched("encrypted", lambda raw: in_header(raw, 2, 6, "<H", 1), "encrypted"),
    patched("strongly encrypted", lambda raw: in_header(raw, 2, 6, "<H", 0x41), "encrypted"),
    patched("unsupported compression", lambda raw: in_header(raw, 2, 8, "<H", 98), "method (98)"),
    patched("patched data", lambda raw: in_header(raw, 2, 6, "<H", 0x20), "damaged"),
    patched("wrong checksum", lambda raw: replaced(raw, BAD, BAD[::-1]), "checksum is wrong"),
    patched("damaged stream", damaged_stream, "damaged", NOISE, DEFLATED),
    patched("damaged bzip2", damaged_stream, "damaged", NOISE, BZIP2),
    patched("damaged LZMA", damaged_stream, "damaged", NOISE, LZMA),
    patched(
        "larger than declared",
        lambda raw: in_header(raw, 2, 22, "<I", 1000),
        "checksum is wrong",
        ZEROS[:90_000],
        DEFLATED,
    ),
    patched(
        "smaller than declared",
        lambda raw: in_header(raw, 2, 22, "<I", 6000),
        "6,000 were declared",
        NOISE,
        DEFLATED,
    ),
    patched("too large", lambda raw: raw, "data.limits.file_bytes", NOISE * 601, DEFLATED),
    patched("deflate bomb", lambda raw: raw, "data.limits.ratio", ZEROS, DEFLATED),
    patched("bzip2 bomb", lambda raw: raw, "data.limits.ratio", ZEROS, BZIP2),
    patched("LZMA bomb", lambda raw: raw, "data.limits.ratio", ZEROS, LZMA),
    patched("zip as picture", lambda raw: raw, "an archive (zip)", zip_bytes()),
    patched("tar as picture", lambda raw: raw, "an archive (tar)", tar_bytes()),
    patched("gzip as picture", lambda raw: raw, "an archive (gzip)", gzip.compress(BAD)),
    patched("7z as picture", lambda raw: raw, "an archive (7z)", b"7z\xbc\xaf\x27\x1c" + BAD),
    patched(
        "another name in its own header",
        lambda raw: raw.replace(b"bad.jpg", b"bed.jpg", 1),
        "damaged",
    ),
    Case("zip: overlap", written("source.zip", overlapping_zip), "bad.jpg", "overlaps another"),
    tarred("absolute path", "/etc/evil.jpg", "leaves the source"),
    tarred("parent folder", "../../evil.jpg", "leaves the source"),
    tarred("symbolic link", "cats/l.jpg", "symbolic link", tarfile.SYMTYPE, "/etc/passwd"),
    tarred("link to a good one", "cats/l.jpg", "symbolic link", tarfile.SYMTYPE, "1.jpg"),
    tarred("hard link to nothing", "cats/l.jpg", "hard link", tarfile.LNKTYPE, "cats/2.jpg"),
    tarred("device", "cats/null.jpg", "device file", tarfile.CHRTYPE),
    tarred("block device", "cats/sda.jpg", "device file", tarfile.BLKTYPE),
    tarred("named pipe", "cats/pipe.jpg", "named pipe", tarfile.FIFOTYPE),
    tarred("name twice", "cats/1.jpg", "a second of this name"),
    tarred("long path", "deep/" * 250 + "1.jpg", "longer than 1,000 bytes"),
    Case("tar: sparse file", written("source.tar", sparse_tar), "bad.jpg", "sparse file"),
    Case("tar: unknown kind", written("source.tar", unknown_kind_tar), "bad.jpg", "unknown kind"),
    Case(
        "tar: name not UTF-8",
        written("source.tar", lambda: raw_tar(b"cats/\xff\xfe.jpg")),
        "cats/\\xff\\xfe.jpg",
        "not UTF-8",
    ),
    in_folder(
        "link to the outside",
        lambda top: (top / "cats/l.jpg").symlink_to(outside(top, "secret.jpg")),
        "cats/l.jpg",
        "symbolic link",
    ),
    in_folder(
        "link to the inside",
        lambda top: (top / "cats/l.jpg").symlink_to("1.jpg"),
        "cats/l.jpg",
        "symbolic link",
    ),
    in_folder(
        "link in a circle",
        lambda top: (top / "cats/l.jpg").symlink_to("l.jpg"),
        "cats/l.jpg",
        "symbolic link",
    ),
    in_folder("link to a folder", linked_folder, "birds", "symbolic link"),
    in_folder("named pipe", lambda top: os.mkfifo(top / "cats/p.jpg"), "cats/p.jpg", "named pipe"),
    in_folder("socket", lambda top: socket_at(top / "cats/s.jpg"), "cats/s.jpg", "socket"),
    in_folder("name not UTF-8", undecodable_file, "cats/\\xff\\xfe.jpg", "not UTF-8"),
    in_folder(
        "line feed",
        lambda top: (top / "cats/1\n2.jpg").write_bytes(BAD),
        "cats/1\\n2.jpg",
        "control characters",
    ),
    in_folder(
        "backslashes that leave",
        lambda top: (top / "..\\..\\evil.jpg").write_bytes(BAD),
        "..\\..\\evil.jpg",
        "leaves the source",
    ),
    in_folder(
        "hidden folder",
        lambda top: good_folder(top / ".dvc"),
        ".dvc",
        "hidden",
    ),
    in_folder(
        "archive", lambda top: (top / "all.zip").write_bytes(zip_bytes()), "all.zip", "an archive"
    ),
    in_folder(
        "archive as picture",
        lambda top: (top / "cats/2.jpg").write_bytes(zip_bytes()),
        "cats/2.jpg",
        "an archive (zip)",
    ),
    in_folder(
        "too large",
        lambda top: (top / "cats/2.jpg").write_bytes(bytes(LIMITS.file_bytes + 1)),
        "cats/2.jpg",
        "data.limits.file_bytes",
    ),
]


def many(count: int, size: int = 10) -> list[tuple[str, bytes]]:
    return [(f"cats/{number}.png", bytes(size)) for number in range(count)]


def named_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def empty_folder(folder: Path) -> Path:
    (folder / "source" / "cats").mkdir(parents=True)
    return folder / "source"


def damaged_middle() -> bytes:
    """A plain tar whose second header is overwritten: tarfile alone takes that for the end."""
    content = bytearray(tar_bytes())
    content[1024:1100] = b"?" * 76
    return bytes(content)


def kept_out_zip() -> bytes:
    return in_header(zip_bytes(("bad.jpg", BAD), good=False), 0, 6, "<H", 1)


BROKEN = [
    Broken("missing", lambda folder: folder / "none.zip", "does not exist"),
    Broken("pipe as source", named_pipe, "neither a file nor a folder"),
    Broken("empty file", written("source.zip", b""), "is empty"),
    Broken("text", written("source.zip", b"<html>404</html>" * 99), "is no archive"),
    Broken("7z", written("source.zip", b"7z\xbc\xaf\x27\x1c" + bytes(600)), "7z archive"),
    Broken("rar", written("source.zip", b"Rar!\x1a\x07\x01\x00" + bytes(600)), "rar archive"),
    Broken("empty zip", written("source.zip", zip_bytes(good=False)), "no usable file"),
    Broken("empty tar", written("source.tar", tar_bytes(good=False)), "is no archive"),
    Broken("empty folder", empty_folder, "no usable file"),
    Broken("all encrypted", written("source.zip", kept_out_zip), "bad.jpg: encrypted"),
    Broken("zip cut short", written("source.zip", lambda: zip_bytes()[:-30]), "cut short"),
    Broken(
        "name wrongly marked as UTF-8",
        written(
            "source.zip", lambda: replaced(zip_bytes(("é.jpg", BAD)), b"\xc3\xa9", b"\xff\xfe")
        ),
        "marked as UTF-8",
    ),
    Broken("tar cut short", written("source.tar", lambda: tar_bytes()[:1100]), "cut short"),
    Broken("tar damaged inside", written("source.tar", damaged_middle), "no header at byte 1,024"),
    Broken(
        "tar.gz cut short",
        written("source.tar.gz", lambda: gzip.compress(tar_bytes())[:-20]),
        "cut short",
    ),
    Broken(
        "tar.gz with a wrong checksum",
        written("source.tar.gz", lambda: flipped(gzip.compress(tar_bytes()), -6)),
        "CRC",
    ),
    Broken(
        "tar.bz2 damaged",
        written("source.tar.bz2", lambda: flipped(bz2.compress(tar_bytes()), 40)),
        "damaged",
    ),
    Broken(
        "tar.xz damaged",
        written("source.tar.xz", lambda: flipped(lzma.compress(tar_bytes()), 60)),
        "damaged",
    ),
    Broken("gzip of no tar", written("a.tar.gz", lambda: gzip.compress(b"?" * 999)), "no archive"),
    Broken(
        "gzip of a zip", written("a.tar.gz", lambda: gzip.compress(zip_bytes())), "holds no tar"
    ),
    Broken(
        "tar of negative size",
        written("source.tar", lambda: raw_tar(b"bad.jpg", -1024)),
        "negative size",
    ),
    Broken(
        "tar with a long name of negative size",
        written("source.tar", lambda: raw_tar(b"bad.jpg", -1024, b"L")),
        "cut short",
    ),
    Broken(
        "tar with an extended header of a gigabyte",
        written("source.tar", lambda: raw_tar(b"bad.jpg", 1 << 30, b"x")),
        "unreasonable size",
    ),
    Broken("too many in a zip", written("a.zip", lambda: zip_bytes(*many(49))), "limits.files"),
    Broken(
        "too many in a tar",
        written("a.tar", lambda: tar_bytes(*((tar_info(name), b"") for name, _ in many(49)))),
        "limits.files",
    ),
    Broken(
        "too many bytes in a zip",
        written("a.zip", lambda: zip_bytes(*many(4, 2_500_000))),
        "limits.total_bytes",
    ),
    Broken(
        "tar.gz bomb",
        written("a.tar.gz", lambda: gzip.compress(tar_bytes((tar_info("b", len(ZEROS)), ZEROS)))),
        "limits.ratio",
    ),
    Broken(
        "tar.xz bomb",
        written("a.tar.xz", lambda: lzma.compress(tar_bytes((tar_info("b", len(ZEROS)), ZEROS)))),
        "limits.ratio",
    ),
    Broken(
        "gzip of too many bytes",
        written("a.tar.gz", lambda: gzip.compress(NOISE * 2000, 0)),
        "limits.total_bytes",
    ),
]
