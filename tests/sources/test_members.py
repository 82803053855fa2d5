"""Members are read safely: what could do harm is left out by name and reason, the rest is kept."""

import bz2
import gzip
import io
import lzma
import os
import random
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from classifier.base.errors import UserError
from classifier.sources.members import Members, Unreadable, open_members, printable, safe_path
from tests.fuzz_archives import fuzz
from tests.hostile import (
    BAD,
    BROKEN,
    CASES,
    GOOD,
    LIMITS,
    Broken,
    Case,
    good_folder,
    many,
    tar_bytes,
    tar_info,
    zip_bytes,
)


def tree(top: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder with its kind and size, links not followed."""
    return {
        str(path.relative_to(top)): (path.lstat().st_mode, path.lstat().st_size)
        for path in top.rglob("*")
    }


def everything(members: Members) -> tuple[dict[str, bytes], dict[str, str]]:
    """All that can be read, and the reasons for all that cannot."""
    reasons = {one.path: one.reason for one in members.skipped}
    contents = {}
    for path in members.paths:
        try:
            contents[path] = members.read(path)
        except Unreadable as error:
            reasons[path] = str(error)
    return contents, reasons


@pytest.fixture
def place(tmp_path):
    """A folder deep enough that `..` in a member's name would land inside tmp_path."""
    folder = tmp_path / "some" / "where" / "deep"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def spool(place):
    folder = place / "spool"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_bad_member_is_named_with_its_reason_and_the_others_are_kept(
    case: Case, place, spool, tmp_path
):
    source = case.build(place)
    before = tree(tmp_path)
    with open_members(source, LIMITS, spool) as members:
        contents, reasons = everything(members)
    name = printable(case.reported)
    assert list(reasons) == [name]
    assert case.reason in reasons[name]
    assert GOOD.items() <= contents.items()
    assert tree(tmp_path) == before


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_a_source_that_cannot_be_used_ends_in_one_line(broken: Broken, place, spool, tmp_path):
    source = broken.build(place)
    before = tree(tmp_path)
    with (
        pytest.raises(UserError, match=broken.words) as raised,
        open_members(source, LIMITS, spool) as members,
    ):
        everything(members)
    assert str(source) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert tree(tmp_path) == before


def test_there_are_more_than_forty_kinds():
    assert len({case.title for case in CASES}) == len(CASES) >= 60
    assert len({broken.title for broken in BROKEN}) == len(BROKEN) >= 25


PACKINGS: dict[str, Callable[[], bytes]] = {
    "a.zip": zip_bytes,
    "b.tar": tar_bytes,
    "c.tar.gz": lambda: gzip.compress(tar_bytes()),
    "d.tar.bz2": lambda: bz2.compress(tar_bytes()),
    "e.tar.xz": lambda: lzma.compress(tar_bytes()),
    # What an archive is, its content says.
    "f.jpg": lambda: gzip.compress(tar_bytes()),
    "g.tar.gz": zip_bytes,
    "h.exe": lambda: b"MZ a program that unpacks itself" * 20 + zip_bytes(),
    "i.tar.gz": lambda: gzip.compress(tar_bytes()[:1024]) + gzip.compress(tar_bytes()[1024:]),
}


@pytest.mark.parametrize("name", PACKINGS)
def test_every_packing_gives_the_same_members(name, place, spool):
    (place / name).write_bytes(PACKINGS[name]())
    with open_members(place / name, LIMITS, spool) as members:
        assert members.paths == list(GOOD)
        assert everything(members) == (GOOD, {})
        assert list(spool.iterdir()) == []  # the expanded tar has no name


def test_a_folder_gives_the_same_members(place, spool):
    with open_members(good_folder(place / "pictures"), LIMITS, spool) as members:
        assert everything(members) == (GOOD, {})


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_members_are_read_whole(method, place, spool):
    content = random.Random(1).randbytes(300_000)
    (place / "a.zip").write_bytes(zip_bytes(("cats/2.jpg", content), method=method))
    with open_members(place / "a.zip", LIMITS, spool) as members:
        assert members.read("cats/2.jpg") == content


def test_the_folder_that_wraps_all_others_is_taken_off_once(place, spool):
    wrapped = [(f"top/data/{name}", content) for name, content in GOOD.items()]
    (place / "a.zip").write_bytes(zip_bytes(*wrapped, ("__MACOSX/._top", BAD), good=False))
    with open_members(place / "a.zip", LIMITS, spool) as members:
        assert members.paths == [f"data/{name}" for name in GOOD]
        assert members.read("data/cats/1.jpg") == GOOD["cats/1.jpg"]


def test_a_file_beside_the_folder_keeps_it(place, spool):
    members = [("top/1.jpg", BAD), ("README.md", BAD)]
    (place / "a.zip").write_bytes(zip_bytes(*members, good=False))
    with open_members(place / "a.zip", LIMITS, spool) as found:
        assert found.paths == ["README.md", "top/1.jpg"]


def test_what_file_managers_leave_is_passed_over_in_silence(place, spool):
    names = ["__MACOSX/cats/._1.jpg", ".DS_Store", "cats/Thumbs.db", "cats/._1.jpg", "Desktop.ini"]
    names += ["@eaDir/cats/1.jpg", "cats/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg", "#recycle/1.jpg"]
    names += ["$RECYCLE.BIN/$R1.jpg", "cats/lost+found/1.jpg", "System Volume Information/x"]
    names += ["code/__pycache__/a.pyc", "cats/.ipynb_checkpoints/1-checkpoint.jpg"]
    (place / "a.zip").write_bytes(zip_bytes(*((name, BAD) for name in names)))
    with open_members(place / "a.zip", LIMITS, spool) as members:
        assert (members.paths, members.skipped) == (list(GOOD), [])


def test_a_hidden_folder_is_one_line(place, spool):
    (place / "a.zip").write_bytes(zip_bytes(*((f".git/{n}", BAD) for n in range(9))))
    with open_members(place / "a.zip", LIMITS, spool) as members:
        assert [(one.path, one.reason) for one in members.skipped] == [(".git", "hidden")]


@pytest.mark.parametrize("flag", [True, False])
def test_names_are_utf_8_with_and_without_the_flag(flag, place, spool):
    content = zip_bytes(("größe/1.jpg", BAD))
    if not flag:  # as Macs and Info-ZIP write it
        content = content.replace(b"\x00\x08\x00\x00", b"\x00\x00\x00\x00")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert "größe/1.jpg" not in archive.namelist()
    (place / "a.zip").write_bytes(content)
    with open_members(place / "a.zip", LIMITS, spool) as members:
        assert members.read("größe/1.jpg") == BAD


def coded(page: str, *names: str) -> bytes:
    """A zip with names in a code page, as Windows writes it: the flag for UTF-8 is not set."""
    content = zip_bytes(
        *((f"{n:03}{'x' * (len(name.encode(page)) - 3)}", BAD) for n, name in enumerate(names)),
        good=False,
    )
    for n, name in enumerate(names):
        raw = name.encode(page)
        content = content.replace(b"%03d" % n + b"x" * (len(raw) - 3), raw)
    return content


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("cp437", ["Vögel/Käuzchen 1.jpg", "Hühner/größe_2.jpg", "naïve/élan.jpg", "Öl/1.jpg"]),
        ("cp437", ["niñas/1.jpg", "niños/1.jpg"]),
        ("cp850", ["Ørsted/1.jpg", "måge/2.jpg", "Águila/3.jpg", "canção/4.jpg"]),
        ("cp932", ["犬/1.jpg", "猫/2.jpg", "ねこ_メス/3.jpg", "コーギー・赤/4.jpg"]),
        ("cp932", ["画像/表/1.jpg", "画像/ソ/2.jpg"]),  # whose second bytes are backslashes
        ("cp866", ["кошки/1.jpg", "собаки/IMG_2.jpg"]),
    ],
)
def test_names_in_a_code_page_of_windows_are_read_and_the_page_is_named(
    page, names, place, spool, capsys
):
    (place / "a.zip").write_bytes(coded(page, *names))
    with open_members(place / "a.zip", LIMITS, spool) as members:
        top = "画像/" if names[0].startswith("画像") else ""
        assert members.paths == sorted(name.removeprefix(top) for name in names)
        assert members.skipped == []
        assert all(members.read(path) == BAD for path in members.paths)
    assert capsys.readouterr().err.endswith(
        f"its names are read as {page}, a code page of Windows\n"
    )


def test_names_that_no_code_page_makes_words_of_are_left_out(place, spool):
    (place / "a.zip").write_bytes(coded("latin-1", "\xff\xfe cat/1.jpg", "dogs/1.jpg"))
    with open_members(place / "a.zip", LIMITS, spool) as members:
        assert members.paths == ["1.jpg"]
        assert [one.reason for one in members.skipped] == ["its name is not UTF-8"]


@pytest.mark.parametrize("renamed", [False, True])
def test_the_field_for_unicode_goes_before_the_code_page(renamed, place, spool, capsys):
    # As Info-ZIP and 7-Zip write it: another name beside the field's, with that name's checksum.
    raw = b"V\x94gel/1.jpg"
    checksum = zlib.crc32(b"renamed" if renamed else raw)
    field = b"\1" + struct.pack("<L", checksum) + "Vögel ≈/1.jpg".encode()
    info = zipfile.ZipInfo("V_gel/1.jpg")
    info.extra = struct.pack("<HH", 0x7075, len(field)) + field
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(info, BAD)
        archive.writestr("dogs/1.jpg", BAD)
    (place / "a.zip").write_bytes(out.getvalue().replace(b"V_gel/1.jpg", raw))
    with open_members(place / "a.zip", LIMITS, spool) as members:
        assert members.paths == ["Vögel/1.jpg" if renamed else "Vögel ≈/1.jpg", "dogs/1.jpg"]
    assert ("cp437" in capsys.readouterr().err) == renamed


def test_headers_that_differ_in_their_slashes_mean_one_member(place, spool):
    content = zip_bytes(("birds\\1.jpg", BAD), ("fish/1.jpg", BAD))
    first, last = content.index(b"birds\\"), content.rindex(b"fish/")
    content = (
        content[:first] + b"birds/" + content[first + 6 : last] + b"fish\\" + content[last + 5 :]
    )
    (place / "a.zip").write_bytes(content)
    with open_members(place / "a.zip", LIMITS, spool) as members:
        assert members.read("birds/1.jpg") == members.read("fish/1.jpg") == BAD


def test_a_macs_zip_of_over_four_gigabytes_is_read_whole(place, spool):
    # Offsets modulo 2^32, no zip64 records: two films of 2.2 GB, sparse here, between pictures.
    film = 2_200_000_000
    parts = [(b"cats/1.jpg", BAD), (b"1.mov", film), (b"cats/2.jpg", BAD), (b"2.mov", film)]
    parts += [(b"dogs/1.jpg", BAD)]
    central = b""
    with (place / "a.zip").open("wb") as file:
        for name, content in parts:
            size = film if content is film else len(BAD)
            crc = 0 if content is film else zlib.crc32(BAD)
            shared = struct.pack("<5H3L2H", 20, 0, 0, 0, 33, crc, size, size, len(name), 0)
            offset = file.tell() % 2**32
            central += b"PK\1\2" + struct.pack("<H", 20) + shared
            central += struct.pack("<HHHLL", 0, 0, 0, 0, offset) + name
            file.write(b"PK\3\4" + shared + name)
            if content is film:
                file.seek(film, os.SEEK_CUR)
            else:
                file.write(BAD)
        start = file.tell()
        file.write(central)
        file.write(b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 5, 5, len(central), start % 2**32, 0))
    with open_members(place / "a.zip", LIMITS, spool) as members:
        assert members.paths == ["cats/1.jpg", "cats/2.jpg", "dogs/1.jpg"]
        assert all(members.read(path) == BAD for path in members.paths)


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_a_hard_link_in_a_tar_has_the_content_of_what_it_links_to(format, place, spool):
    links = [
        (tar_info("birds/1.jpg", kind=tarfile.LNKTYPE, link="cats/1.jpg"), b""),
        (tar_info("birds/2.jpg", kind=tarfile.LNKTYPE, link="birds/1.jpg"), b""),
    ]
    (place / "a.tar").write_bytes(tar_bytes(*links, format=format))
    with open_members(place / "a.tar", LIMITS, spool) as members:
        assert members.read("birds/1.jpg") == members.read("birds/2.jpg") == GOOD["cats/1.jpg"]
        assert members.skipped == []


def test_many_hard_links_to_a_large_file_count_as_often(place, spool):
    large = [(tar_info("cats/0.jpg", 2_500_000), bytes(2_500_000))]
    links = [
        (tar_info(f"cats/{n}.jpg", kind=tarfile.LNKTYPE, link="cats/0.jpg"), b"")
        for n in range(2, 6)
    ]
    (place / "a.tar").write_bytes(tar_bytes(*large, *links))
    with (
        pytest.raises(UserError, match=r"data\.limits\.total_bytes"),
        open_members(place / "a.tar", LIMITS, spool),
    ):
        raise AssertionError("opened")


def test_names_that_differ_only_in_case_are_two_members(place, spool):
    (place / "a.zip").write_bytes(zip_bytes(("dogs/1.JPG", BAD)))
    with open_members(place / "a.zip", LIMITS, spool) as members:
        assert members.paths == ["cats/1.jpg", "dogs/1.JPG", "dogs/1.jpg"]


def test_backslashes_separate_folders(place, spool):
    (place / "a.zip").write_bytes(zip_bytes(("birds\\deep\\1.jpg", BAD)))
    with open_members(place / "a.zip", LIMITS, spool) as members:
        assert members.read("birds/deep/1.jpg") == BAD


def test_what_is_left_out_does_not_depend_on_the_order_of_packing(place, spool):
    bad = [("dogs/1.JPG", BAD), ("../x.jpg", BAD), ("/y.jpg", BAD)]
    found = []
    for name, members in {"a.zip": bad, "b.zip": bad[::-1]}.items():
        (place / name).write_bytes(zip_bytes(*members))
        with open_members(place / name, LIMITS, spool) as one:
            found.append((one.paths, one.skipped))
    assert found[0] == found[1]


def test_a_small_picture_may_shrink_more_than_the_ratio(place, spool):
    white = b"BM" + b"\xff" * 900_000
    content = zip_bytes(("white.bmp", white), method=zipfile.ZIP_DEFLATED)
    assert len(white) > LIMITS.ratio * len(content)
    (place / "a.zip").write_bytes(content)
    with open_members(place / "a.zip", LIMITS, spool) as members:
        assert members.read("white.bmp") == white


def test_many_small_members_together_are_a_bomb(place, spool):
    (place / "a.zip").write_bytes(zip_bytes(*many(4, 900_000), method=zipfile.ZIP_DEFLATED))
    with (
        open_members(place / "a.zip", LIMITS, spool) as members,
        pytest.raises(UserError, match=r"data\.limits\.ratio \(100\)"),
    ):
        everything(members)


@pytest.mark.parametrize("pack", [zip_bytes, lambda *files: tar_of(files)])
def test_too_many_declared_bytes_are_an_error_before_any_is_read(pack, place, spool):
    (place / "source").write_bytes(pack(*many(4, 2_500_000)))
    with (
        pytest.raises(UserError, match=r"data\.limits\.total_bytes allows \(8,000,000\)"),
        open_members(place / "source", LIMITS, spool),
    ):
        raise AssertionError("opened")


def tar_of(files: Iterable[tuple[str, bytes]]) -> bytes:
    return tar_bytes(*((tar_info(name, len(content)), content) for name, content in files))


def test_what_lies_in_a_hidden_folder_does_not_count(place, spool):
    folder = good_folder(place / "source")
    (folder / ".git").mkdir()
    for number in range(LIMITS.files):
        (folder / ".git" / str(number)).write_bytes(BAD)
    with open_members(folder, LIMITS, spool) as members:
        assert members.paths == list(GOOD)


def test_bytes_are_counted_as_they_are_read_and_once(place, spool):
    limits = LIMITS.model_copy(update={"total_bytes": 45})
    folder = good_folder(place / "source")
    with open_members(folder, limits, spool) as members:
        for _ in range(9):
            assert members.read("cats/1.jpg") == GOOD["cats/1.jpg"]
        (folder / "dogs/1.jpg").write_bytes(BAD * 9)  # grown since it was listed
        with pytest.raises(UserError, match=r"data\.limits\.total_bytes allows \(45\)"):
            members.read("dogs/1.jpg")


def test_a_file_that_grows_or_goes_while_the_run_lasts_is_unreadable(place, spool):
    folder = good_folder(place / "source")
    with open_members(folder, LIMITS, spool) as members:
        (folder / "cats/1.jpg").write_bytes(BAD)
        (folder / "dogs/1.jpg").unlink()
        _, reasons = everything(members)
    assert "were declared" in reasons["cats/1.jpg"]
    assert reasons["dogs/1.jpg"] == "No such file or directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_skipped_with_the_systems_reason(place, spool):
    folder = good_folder(place / "source")
    (folder / "birds").mkdir(mode=0)
    (folder / "cats/1.jpg").chmod(0)
    with open_members(folder, LIMITS, spool) as members:
        contents, reasons = everything(members)
    assert reasons == {"birds/": "Permission denied", "cats/1.jpg": "Permission denied"}
    assert list(contents) == ["dogs/1.jpg"]


def test_a_full_disk_is_named_with_the_folder(place, spool, monkeypatch):
    (place / "a.tar.gz").write_bytes(gzip.compress(tar_bytes()))
    full = Path("/dev/full").open("w+b")  # noqa: SIM115 - open_members closes it
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: full)
    with (
        pytest.raises(UserError, match=f"{spool}: No space left on device"),
        open_members(place / "a.tar.gz", LIMITS, spool),
    ):
        pass


def test_members_of_a_tar_are_read_in_any_order(place, spool):
    extra = [(tar_info(f"birds/{n}.jpg", 700 + n), bytes([n]) * (700 + n)) for n in range(1, 9)]
    (place / "a.tar.gz").write_bytes(gzip.compress(tar_bytes(*extra)))
    with open_members(place / "a.tar.gz", LIMITS, spool) as members:
        for n in (5, 1, 8, 5):
            assert members.read(f"birds/{n}.jpg") == bytes([n]) * (700 + n)


def test_a_safe_path_stays_as_it_is_and_is_made_only_once():
    for name in ("1.jpg", "cats/1.jpg", "größe/ß.png", "a b/(1).jpg", "…/x..y.jpg"):
        assert safe_path(name) == name
    assert safe_path("./a//b/./c.jpg") == "a/b/c.jpg"
    assert safe_path("e\u0301.jpg") == "é.jpg"
    assert safe_path(safe_path("a\\b/e\u0301.jpg")) == "a/b/é.jpg"


def test_mutated_archives_give_members_or_one_error(tmp_path):
    counts = fuzz(seconds=3, seed=1, folder=tmp_path)
    assert counts["members"] > 0 and counts["skipped"] > 0 and counts["errors"] > 0
