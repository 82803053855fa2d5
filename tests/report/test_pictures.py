"""The pictures' files, and which images are put into them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifier.base.family import MODELS
from classifier.base.splits import Split
from classifier.report import gallery, pictures
from classifier.report.gallery import Line, Row, Tile, fitted, save_page, text_width
from classifier.training.augmentation import Augmentation


def split(labels: list[int], classes: tuple[str, ...] = ("cats", "dogs")) -> Split:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (len(labels), 16, 16, 3), np.uint8)
    return Split(
        images, np.array(labels), [f"test/{i:03}.jpg" for i in range(len(labels))], classes
    )


def two_class(positive: list[float]) -> np.ndarray:
    return np.stack([1 - np.array(positive), positive], axis=1)


@pytest.fixture
def pages(monkeypatch) -> list[list[Row]]:
    """The rows of the pages that are drawn, instead of files."""
    drawn: list[list[Row]] = []
    monkeypatch.setattr(pictures, "save_page", lambda path, title, rows, **_: drawn.append(rows))
    return drawn


def names(row: Row) -> list[str]:
    return [tile.caption[-1].text for tile in row.tiles]


def test_mistakes_come_surest_first_with_label_score_and_path(pages):
    test = split([0, 0, 1, 1, 1])
    scores = {
        "baseline": two_class([0.7, 0.2, 0.05, 0.4, 0.9]),
        "vgg16": two_class([0, 0, 1, 1, 1]),
    }
    pictures.mistakes(Path("x.png"), test, scores)
    ((baseline, vgg16),) = pages
    assert names(baseline) == ["002.jpg", "000.jpg", "003.jpg"]
    assert [line.text for line in baseline.tiles[0].caption] == [
        "dogs → cats",
        "95.0 %",
        "test/",
        "002.jpg",
    ]
    np.testing.assert_array_equal(baseline.tiles[0].image, test.images[2])
    assert baseline.heading.text == "baseline · 3 of 5 test pictures wrong"
    assert vgg16.heading.text == "vgg16 · 0 of 5 test pictures wrong"
    assert not vgg16.tiles


def test_disagreements_are_told_by_who_is_right(pages):
    test = split([1, 1, 1, 0])
    scores = {
        "baseline": two_class([0.9, 0.1, 0.2, 0.1]),
        "augmented": two_class([0.9, 0.8, 0.4, 0.2]),
        "vgg16": two_class([0.8, 0.9, 0.6, 0.3]),
    }
    pictures.disagreements(Path("x.png"), test, scores)
    (rows,) = pages
    found = {row.heading.text: names(row) for row in rows}
    assert found == {
        "Only baseline is wrong · 1 test picture": ["001.jpg"],
        "Only vgg16 is right · 1 test picture": ["002.jpg"],
    }


def test_models_that_are_wrong_in_different_ways_disagree(pages):
    test = split([0], ("a", "b", "c"))
    scores = {"baseline": np.array([[0.1, 0.8, 0.1]]), "vgg16": np.array([[0.1, 0.1, 0.8]])}
    pictures.disagreements(Path("x.png"), test, scores)
    assert pages[0][0].heading.text == "All wrong, not all alike · 1 test picture"


@pytest.mark.parametrize("models", [["baseline", "augmented", "vgg16"], MODELS])
def test_each_model_has_a_mistake_among_the_pictures_to_explain(models):
    test = split([0, 1] * 20)
    right = np.where(test.labels == 1, 0.9, 0.1)
    scores = {}
    for number, name in enumerate(models):
        positive = right.copy()
        positive[number] = 1 - positive[number]
        scores[name] = two_class(positive.tolist())
    rows, mistakes = pictures.to_explain(test, scores), set(range(len(models)))
    assert len(rows) == 6
    assert set(rows[-len(models) :]) == mistakes
    assert set(rows[: -len(models)]) & mistakes == set()
    assert set(test.labels[rows[: -len(models)]]) == {0, 1}


def test_a_channel_is_silent_where_it_is_zero_everywhere_not_where_it_is_negative(pages):
    output = np.zeros((2, 2, 5), np.float32)
    output[:, :, 3], output[0, 0, 4] = -1, 2
    pictures.activations(Path("x.png"), np.zeros((8, 8, 3), np.uint8), "cat", [("conv", output)])
    assert pages[0][1].heading.text.endswith("5 of 5 channels, 3 silent")


@pytest.mark.parametrize("positive", [[0.1, 0.9, 0.2], [0.9, 0.1, 0.8]])
def test_pictures_to_explain_are_found_where_all_or_none_are_right(positive):
    test = split([0, 1, 0])
    rows = pictures.to_explain(test, {"baseline": two_class(positive)})
    assert sorted(rows) == [0, 1, 2]


def test_what_speaks_for_a_prediction_is_warm_where_it_lies_in_its_own_picture(pages):
    test = split([0, 1, 0])
    test.images[:] = 100
    corners = np.zeros((2, 4, 4), np.float32)
    corners[0, 0, 3] = corners[1, 3, 0] = 1  # above right, below left
    scores = {"baseline": two_class([0.1, 0.9, 0.2])}
    pictures.grad_cam(Path("x.png"), test, scores, np.array([2, 0]), {"baseline": corners})
    ((originals, overlaid),) = pages
    assert names(originals) == ["002.jpg", "000.jpg"]
    for tile, hot, cold in zip(overlaid.tiles, ((0, 15), (15, 0)), ((15, 0), (0, 15)), strict=True):
        red, green, blue = tile.image[hot]
        assert red > 180 and green > 180 and blue < 160  # yellow
        changed = np.abs(tile.image.astype(int) - 100).max(axis=2)
        assert changed[hot] == changed.max()
        assert changed[cold] <= 1


def test_all_pictures_are_written_and_twice_the_same(tmp_path):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 30).tolist()
    test = split(labels, ("one", "two", "three " * 20))
    scores = {name: rng.dirichlet(np.ones(3), 30) for name in MODELS}
    for folder in (tmp_path / "a", tmp_path / "b"):
        pictures.samples(folder / "samples.png", test)
        options = Augmentation("both", 0.1, 0.2, False, 0.1)
        pictures.augmentation(folder / "augmentation.png", test, options)
        pictures.mistakes(folder / "mistakes.png", test, scores)
        pictures.disagreements(folder / "disagreements.png", test, scores)
        rows = pictures.to_explain(test, scores)
        heat = {name: np.ones((len(rows), 5, 5), np.float32) for name in scores}
        pictures.grad_cam(folder / "gradcam.png", test, scores, rows, heat)
        layers = [("conv1", np.ones((5, 5, 4), np.float32)), ("conv2", np.zeros((1, 1, 40), "f4"))]
        pictures.activations(folder / "activations.png", test.images[0], "one", layers)
        suspect = {"split": "test", "row": 3, "path": "x/y.jpg", "label": "one"}
        suspect |= {"suggested": "two", "confidence": 0.97}
        pictures.label_errors(folder / "label_errors.png", {"test": test}, [suspect] * 30)
        pictures.outliers(folder / "outliers.png", {"test": test}, [suspect] * 3)
        pictures.label_errors(folder / "none.png", {"test": test}, [])
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(files) == 9
    for name in files:
        content = (tmp_path / "a" / name).read_bytes()
        assert content == (tmp_path / "b" / name).read_bytes(), name
        with Image.open(tmp_path / "a" / name) as image:
            assert image.format == "PNG"
            assert "Software" not in image.info
            assert np.ptp(np.asarray(image.convert("L"))) > 100, f"{name} is empty"


def test_a_tile_is_drawn_where_and_as_it_should_be(tmp_path):
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    save_page(tmp_path / "x.png", "T", [Row(Line("R"), [Tile(red), Tile(255 - red)])], columns=2)
    pixels = np.asarray(Image.open(tmp_path / "x.png").convert("RGB"))
    scale = gallery.DPI / gallery.POINTS
    for colour, column in (((255, 0, 0), 0), ((0, 255, 255), 1)):
        ys, xs = np.nonzero((pixels == colour).all(axis=2))
        assert np.ptp(xs) == np.ptp(ys) == round(gallery.TILE * scale) - 1
        left = gallery.MARGIN + column * (gallery.TILE + gallery.GAP)
        assert abs(xs.min() - left * scale) <= 1


@pytest.mark.parametrize(
    "name", ["$x^2$_{", "a\nb\tc\x00", "日本語", "…", "", "x" * 5000, "\\alpha"]
)
# Stricter, not laxer: matplotlib only warns of a character that its font lacks.
@pytest.mark.filterwarnings("error:Glyph")
def test_any_file_name_can_be_a_caption(tmp_path, name):
    tile = Tile(np.zeros((4, 4, 3), np.uint8), [Line(name)])
    save_page(tmp_path / "x.png", name, [Row(Line(name), [tile])], note=name, columns=1)
    assert (tmp_path / "x.png").stat().st_size


def test_a_text_is_shortened_in_its_middle_until_it_fits():
    assert fitted("short", 100, 7) == "short"
    text = "a/very/long/path/to/a/picture/number/000123.jpg"
    shorter = fitted(text, 80, 7)
    assert text_width(shorter, 7) <= 80 < text_width(text, 7)
    assert shorter.startswith("a/very")
    assert shorter.endswith("123.jpg")
    assert "…" in shorter
