"""data/raw depends on the pictures alone, however they came."""

import json
import shutil
import tarfile
import tracemalloc
import zipfile

import pytest

from classifier.base.errors import UserError
from classifier.base.params import DataLimits
from classifier.sources.catalog import Drawn
from classifier.sources.collect import collect, collect_drawn
from classifier.sources.dataset import Labelled, read_index, write_images, write_index
from tests.noise import png

LIMITS = DataLimits(files=1000, file_bytes=10**6, total_bytes=10**7, ratio=200, pixels=10**8)
OUTPUTS = ("images.zip", "images.csv", "dataset.json")
FACTS = {"name": "mine", "source": "mine.zip"}


PICTURES = {
    "train/cats/b.png": png(1),
    "train/cats/a.png": png(2),
    "train/dogs/ä b,c.png": png(3),
    "validation/cats/1.png": png(4),
    "validation/dogs/1.png": png(5),
}


def folder_of(path, pictures):
    for name, content in pictures.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def outputs(folder) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in OUTPUTS}


def collected(source, folder, limits=LIMITS, facts=FACTS) -> dict[str, bytes]:
    folder.mkdir()
    collect(source, folder, limits, facts)
    return outputs(folder)


def test_images_zip_holds_the_pictures_as_they_are(tmp_path):
    write_images(tmp_path / "images.zip", [("a/1.jpg", b"x" * 500), ("a/ü.jpg", b"")])
    with zipfile.ZipFile(tmp_path / "images.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a/1.jpg", "a/ü.jpg"]
        assert archive.read("a/1.jpg") == b"x" * 500
        for member in archive.infolist():
            assert member.compress_type == zipfile.ZIP_STORED
            assert member.date_time == (1980, 1, 1, 0, 0, 0)


def test_the_index_is_sorted_and_comes_back(tmp_path):
    rows = [
        Labelled("b/1.jpg", "b", "train"),
        Labelled('a/"quoted", with commas\nand lines.jpg', "a", ""),
        Labelled("ä/1.jpg", "ä", "test"),
    ]
    write_index(tmp_path / "images.csv", rows)
    assert read_index(tmp_path / "images.csv") == sorted(rows, key=lambda row: row.path)
    text = (tmp_path / "images.csv").read_bytes()
    assert text.startswith(b"path,label,part\n")
    assert b"\r" not in text


def test_groups_are_a_fourth_column_only_where_there_are_some(tmp_path):
    rows = [Labelled("a/1.jpg", "a", "", "patient 7"), Labelled("b/1.jpg", "b", "")]
    write_index(tmp_path / "images.csv", rows)
    assert read_index(tmp_path / "images.csv") == rows
    text = (tmp_path / "images.csv").read_text(encoding="utf-8")
    assert text == "path,label,part,group\na/1.jpg,a,,patient 7\nb/1.jpg,b,,\n"


def test_an_interrupted_archive_leaves_nothing(tmp_path):
    def pictures():
        yield "a.jpg", b"x"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_images(tmp_path / "images.zip", pictures())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_becomes_an_archive_and_a_list(tmp_path, capsys):
    source = folder_of(tmp_path / "mine", PICTURES)
    collected(source, tmp_path / "raw")
    rows = read_index(tmp_path / "raw" / "images.csv")
    assert [(row.path, row.label, row.part) for row in rows] == [
        ("train/cats/a.png", "cats", "train"),
        ("train/cats/b.png", "cats", "train"),
        ("train/dogs/ä b,c.png", "dogs", "train"),
        ("validation/cats/1.png", "cats", "validation"),
        ("validation/dogs/1.png", "dogs", "validation"),
    ]
    with zipfile.ZipFile(tmp_path / "raw" / "images.zip") as archive:
        assert archive.namelist() == [row.path for row in rows]
        assert {name: archive.read(name) for name in archive.namelist()} == PICTURES
    facts = json.loads((tmp_path / "raw" / "dataset.json").read_text(encoding="utf-8"))
    assert facts["name"] == "mine"
    assert facts["classes"] == {"cats": 3, "dogs": 2}
    assert facts["skipped"] == []
    assert "5 pictures: 3 cats, 2 dogs" in capsys.readouterr().out


def test_the_same_pictures_give_the_same_bytes_however_they_are_packed(tmp_path):
    first = collected(folder_of(tmp_path / "mine", PICTURES), tmp_path / "of-folder")
    with zipfile.ZipFile(tmp_path / "mine.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(PICTURES, reverse=True):
            archive.writestr(zipfile.ZipInfo(f"top/{name}", (2020, 2, 2, 2, 2, 2)), PICTURES[name])
    with tarfile.open(tmp_path / "mine.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "mine", "another top")
    assert collected(tmp_path / "mine.zip", tmp_path / "of-zip") == first
    assert collected(tmp_path / "mine.tar.gz", tmp_path / "of-tar") == first
    shutil.rmtree(tmp_path / "mine")
    again = folder_of(tmp_path / "mine", dict(reversed(PICTURES.items())))
    assert collected(again, tmp_path / "again") == first


@pytest.mark.parametrize(
    "changed",
    [
        PICTURES | {"train/dogs/new.png": png(9)},
        PICTURES | {"train/cats/a.png": png(9)},
        {name: content for name, content in PICTURES.items() if name != "train/cats/a.png"},
    ],
    ids=["added", "replaced", "removed"],
)
def test_a_changed_picture_changes_the_archive(tmp_path, changed):
    before = collected(folder_of(tmp_path / "a", PICTURES), tmp_path / "raw-a")
    after = collected(folder_of(tmp_path / "b", changed), tmp_path / "raw-b")
    assert before["images.zip"] != after["images.zip"]


def test_what_is_left_out_is_listed_with_its_reason(tmp_path, capsys):
    large = PICTURES | {"train/cats/large.png": b"\x89PNG" + bytes(2000)}
    source = folder_of(tmp_path / "mine", large | {"notes.txt": b"hello"})
    (source / "train/cats/link.png").symlink_to(source / "notes.txt")
    limits = LIMITS.model_copy(update={"file_bytes": 1000})
    collected(source, tmp_path / "raw", limits)
    facts = json.loads((tmp_path / "raw" / "dataset.json").read_text(encoding="utf-8"))
    reasons = {one["path"]: one["reason"] for one in facts["skipped"]}
    assert set(reasons) == {"notes.txt", "train/cats/large.png", "train/cats/link.png"}
    assert all(reasons.values())
    assert list(reasons) == sorted(reasons)
    paths = [row.path for row in read_index(tmp_path / "raw" / "images.csv")]
    assert paths == sorted(PICTURES)
    assert facts["classes"] == {"cats": 3, "dogs": 2}
    out = capsys.readouterr().out
    assert "3 left out; data/splits/rejected.csv says why" in out


def test_a_picture_found_damaged_while_it_is_read_is_in_neither_file(tmp_path):
    path = tmp_path / "mine.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in PICTURES.items():
            archive.writestr(name, content)
    content = bytearray(path.read_bytes())
    content[content.index(PICTURES["train/cats/b.png"]) + 40] ^= 0xFF  # its checksum fails
    path.write_bytes(content)
    collected(path, tmp_path / "raw")
    left = sorted(set(PICTURES) - {"train/cats/b.png"})
    assert [row.path for row in read_index(tmp_path / "raw" / "images.csv")] == left
    with zipfile.ZipFile(tmp_path / "raw" / "images.zip") as archive:
        assert archive.namelist() == left
    facts = json.loads((tmp_path / "raw" / "dataset.json").read_text(encoding="utf-8"))
    assert [one["path"] for one in facts["skipped"]] == ["train/cats/b.png"]
    assert facts["classes"] == {"cats": 2, "dogs": 2}


def test_a_source_without_a_layout_leaves_nothing(tmp_path):
    source = folder_of(tmp_path / "mine", {"a.png": png(1), "b.png": png(2)})
    (tmp_path / "raw").mkdir()
    with pytest.raises(UserError, match="no layout recognised"):
        collect(source, tmp_path / "raw", LIMITS, FACTS)
    assert list((tmp_path / "raw").iterdir()) == []


def test_too_much_altogether_leaves_nothing(tmp_path):
    source = folder_of(tmp_path / "mine", PICTURES)
    (tmp_path / "raw").mkdir()
    with pytest.raises(UserError):
        collect(source, tmp_path / "raw", LIMITS.model_copy(update={"total_bytes": 300}), FACTS)
    assert list((tmp_path / "raw").iterdir()) == []


def test_the_drawn_data_set_has_the_same_form_and_the_same_bytes_again(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        collect_drawn(Drawn(per_class=3, size=16, seed=1), tmp_path / name, FACTS)
    (tmp_path / "c").mkdir()
    collect_drawn(Drawn(per_class=3, size=16, seed=2), tmp_path / "c", FACTS)
    assert outputs(tmp_path / "a") == outputs(tmp_path / "b")
    assert outputs(tmp_path / "a")["images.zip"] != outputs(tmp_path / "c")["images.zip"]
    rows = read_index(tmp_path / "a" / "images.csv")
    with zipfile.ZipFile(tmp_path / "a" / "images.zip") as archive:
        assert archive.namelist() == [row.path for row in rows]
    facts = json.loads((tmp_path / "a" / "dataset.json").read_text(encoding="utf-8"))
    assert sorted(facts["classes"].values()) == [3, 3]
    assert {row.label for row in rows} == set(facts["classes"])


def test_drawn_pictures_are_written_as_they_are_drawn(tmp_path, monkeypatch):
    def large(per_class, size, seed):
        for number in range(per_class):
            yield f"cats/{number:04d}.jpg", bytes(10**6)

    monkeypatch.setattr("classifier.sources.sample.pictures", large)
    tracemalloc.start()
    try:
        collect_drawn(Drawn(per_class=50, size=16, seed=1), tmp_path, FACTS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tmp_path / "images.zip").stat().st_size > 50 * 10**6
    assert peak < 10 * 10**6


def test_classes_that_a_folder_lost_are_named_in_the_output_and_recorded(tmp_path, capsys):
    source = folder_of(tmp_path / "mine", {f"{a}/{n}.png": png(n) for a in "ab" for n in (1, 2)})
    (source / "empty").mkdir()
    (source / "linked").symlink_to(source / "a")
    (source / "c.zip").write_bytes(b"PK\x03\x04")
    facts = json.loads(collected(source, tmp_path / "raw")["dataset.json"])
    notes = [
        "c.zip was left out: an archive inside the source",
        "linked was left out: a symbolic link",
        "empty/ is empty",
    ]
    assert facts["notes"] == notes
    out = capsys.readouterr().out
    assert all(f"note: {note}\n" in out for note in notes)


def test_a_source_with_many_empty_folders_fills_no_screen(tmp_path, capsys):
    source = folder_of(tmp_path / "mine", {f"{label}/1.png": png(1) for label in "ab"})
    for number in range(30):
        (source / f"empty_{number}").mkdir()
    collected(source, tmp_path / "raw")
    assert "note: 20 more in data/raw/dataset.json" in capsys.readouterr().out


def test_an_archive_beside_a_readme_in_an_archive_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        archive.writestr("readme.txt", "see images.zip")
        archive.writestr("images.zip", b"PK\x03\x04")
    with pytest.raises(UserError, match=r"left out: images\.zip \(an archive inside the source\)"):
        collected(tmp_path / "mine.zip", tmp_path / "raw")
