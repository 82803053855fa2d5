"""What stops DVC in a folder of pictures is named before DVC meets it."""

import os
import shutil
from pathlib import Path

import pytest

from classifier.__main__ import main
from classifier.base.errors import UserError
from classifier.sources.hashable import check_hashable
from tests.projects import ROOT


@pytest.fixture
def pictures(tmp_path) -> Path:
    (tmp_path / "mine/cats").mkdir(parents=True)
    (tmp_path / "mine/cats/1.jpg").write_bytes(b"x")
    return tmp_path / "mine"


def undecodable(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.jpg")).write_bytes(b"x")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (lambda cats: (cats / "2.jpg").symlink_to("nowhere"), "cats/2.jpg is a link to nothing"),
        (undecodable, r"cats/\xff.jpg has a name that is not UTF-8"),
        (lambda cats: os.mkfifo(cats / "p.jpg"), "cats/p.jpg is no file, but a pipe or a device"),
    ],
    ids=["link", "name", "pipe"],
)
def test_what_dvc_cannot_hash_is_named_with_a_way_on(pictures, place, words):
    place(pictures / "cats")
    with pytest.raises(UserError) as error:
        check_hashable(pictures)
    assert words in str(error.value)
    assert "delete or rename it, or pack the pictures into an archive" in str(error.value)


def test_the_first_of_several_is_named_and_the_others_are_counted(pictures):
    for name in ("b.jpg", "a.jpg", "c.jpg"):
        (pictures / "cats" / name).symlink_to("nowhere")
    with pytest.raises(UserError, match=r"cats/a\.jpg is a link to nothing \(2 more such files\)"):
        check_hashable(pictures)


def test_links_that_lead_somewhere_and_other_sources_pass(pictures):
    (pictures / "cats/2.jpg").symlink_to("1.jpg")
    (pictures / "dogs").symlink_to("cats")
    check_hashable(pictures)
    check_hashable(pictures / "cats/1.jpg")
    check_hashable(pictures / "missing")


def test_check_looks_through_the_source(pictures, monkeypatch, capsys):
    monkeypatch.chdir(pictures.parent)
    Path(".git").mkdir()
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(
        text.replace("data/catalog/cats_and_dogs_filtered.yaml", "mine"), encoding="utf-8"
    )
    main(["check"])
    (pictures / "cats/2.jpg").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"mine/cats/2\.jpg is a link to nothing"):
        main(["check"])
