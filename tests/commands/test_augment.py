"""Augmented pictures as files and on one sheet."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifier.__main__ import main
from classifier.base.errors import UserError
from classifier.base.params import load_params
from classifier.commands import augment as command
from classifier.images.decode import decode
from classifier.training.augmentation import Augmentation, augment
from tests.commands.test_predict import change, jpeg
from tests.projects import ROOT


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    change("image_size", "80")
    for folder, level in (("a", 60), ("b", 200)):
        Path(folder).mkdir()
        Path(folder, "same.jpg").write_bytes(jpeg(level))


def contents(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def test_each_copy_is_a_file_and_all_are_on_one_sheet(capsys):
    main(["augment", "a", "b/same.jpg", "--count", "3", "--out", "new/copies"])
    expected = {f"{n}-same-{k}.png" for n in (1, 2) for k in (1, 2, 3)}
    assert contents("new/copies").keys() == expected | {"sheet.png"}
    assert "3 of each of 2 pictures" in capsys.readouterr().out


def test_the_longest_name_has_copies_too():
    for name in ("a" * 240, "ü" * 120):
        Path("a", f"{name}.jpg").write_bytes(jpeg(9))
    main(["augment", "a", "--count", "2", "--out", "copies"])
    assert len(contents("copies")) == 3 * 2 + 1


def test_the_copies_are_what_the_training_makes_of_the_decoded_picture():
    change("rotation", "0.25")
    main(["augment", "a/same.jpg", "--count", "4", "--out", "copies"])
    params = load_params()
    pixels = decode(jpeg(60), 80, "squash", 10**8).pixels
    expected = augment(
        np.stack([pixels] * 4),
        Augmentation.of(params.augment),
        np.random.default_rng(params.seed),
    )
    for number, copy in enumerate(expected, 1):
        np.testing.assert_array_equal(np.asarray(Image.open(f"copies/1-same-{number}.png")), copy)


def test_the_same_seed_makes_the_same_files_and_another_one_others():
    for out in ("first", "second"):
        main(["augment", "a", "b", "--count", "2", "--out", out])
    assert contents("first") == contents("second")
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("seed: 1 ", "seed: 2 ", 1), encoding="utf-8")
    main(["augment", "a", "b", "--count", "2", "--out", "third"])
    assert contents("third") != contents("first")


def test_no_picture_is_told():
    with pytest.raises(UserError, match="no picture among the files given"):
        main(["augment", "missing.jpg", "--out", "copies"])
    assert not Path("copies").exists()


def test_a_sheet_holds_what_can_be_drawn_however_many_pictures_there_are(monkeypatch):
    monkeypatch.setattr(command, "ON_SHEET", 1)
    sizes = []
    for out, pictures in (("one", ["a"]), ("two", ["a", "b"])):
        main(["augment", *pictures, "--count", "20", "--out", out])
        sizes.append(Image.open(f"{out}/sheet.png").size)
    assert sizes[0] == sizes[1]
    assert len(contents("two")) == 41
