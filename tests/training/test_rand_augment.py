"""Each of RandAugment's operations, by hand, and how they are drawn."""

from collections import Counter

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.stats import chisquare

from classifier.training import rand_augment as module
from classifier.training.augmentation import Augmentation, augment
from classifier.training.rand_augment import LEVELS, PLACES, rand_augment

SIZE = 255  # its centre is a pixel, and its levels can be equalized exactly
CENTRE = SIZE // 2


def picture(*levels: int) -> np.ndarray:
    """Grey stripes of these levels: uint8 [SIZE, SIZE, 3]."""
    columns = np.resize(np.array(levels, np.uint8), SIZE)
    return np.tile(columns[np.newaxis, :, np.newaxis], (SIZE, 1, 3))


def only(monkeypatch, name: str) -> None:
    monkeypatch.setattr(module, "LEVELS", {k: v for k, v in LEVELS.items() if k == name})
    monkeypatch.setattr(module, "PLACES", {k: v for k, v in PLACES.items() if k == name})
    monkeypatch.setattr(module, "OPERATIONS_A_PICTURE", 1)


def changed(image: np.ndarray, strength: float) -> tuple[np.ndarray, ...]:
    """What becomes of it the one way and, where there is a direction, the other."""
    found = {
        rand_augment(image, strength, cv2.BORDER_CONSTANT, np.random.default_rng(seed)).tobytes()
        for seed in range(20)
    }
    return tuple(
        sorted((np.frombuffer(one, np.uint8).reshape(image.shape) for one in found), key=np.sum)
    )


@pytest.mark.parametrize(
    ("name", "strength", "before", "after"),
    [
        ("identity", 1, [3, 200], [[3, 200]]),
        ("autocontrast", 0.1, [50, 101, 152], [[0, 127, 255]]),
        ("equalize", 0.1, [10, 20, 30], [[0, 128, 255]]),
        ("posterize", 1, [0b1011_1011, 0b0111], [[0b1011_0000, 0]]),
        ("posterize", 0.5, [0b1011_1011, 0b0111], [[0b1011_1000, 0b0100]]),
        ("solarize", 0.5, [100, 127, 129, 200], [[100, 127, 126, 55]]),
        ("brightness", 0.5, [100, 200], [[55, 110], [145, 255]]),
        ("contrast", 0.5, [100, 200, 150], [[122.5, 177.5, 150], [77.5, 222.5, 150]]),
        ("color", 1, [100, 200], [[100, 200]]),  # grey has none
    ],
)
def test_levels_become_what_the_paper_says(monkeypatch, name, strength, before, after):
    only(monkeypatch, name)
    found = changed(picture(*before), strength)
    assert len(found) == len(after)
    rows = sorted((one[0, : len(before), 0].astype(float) for one in found), key=np.std)
    for row, expected in zip(rows, sorted(after, key=np.std), strict=True):
        np.testing.assert_allclose(row, expected, atol=1)


def test_colors_are_taken_away_or_doubled(monkeypatch):
    only(monkeypatch, "color")
    red = np.full((SIZE, SIZE, 3), (150, 90, 100), np.uint8)
    grey = np.array(Image.fromarray(red).convert("L"))[0, 0].astype(float)
    spreads = [(one[0, 0] - grey) / (red[0, 0] - grey) for one in changed(red, 1)]
    found = sorted(float(np.mean(one)) for one in spreads)
    assert found == pytest.approx([0.1, 1.9], abs=0.05)


def test_edges_are_blurred_or_sharpened(monkeypatch):
    only(monkeypatch, "sharpness")
    edge = picture(*[50] * CENTRE, *[150] * (SIZE - CENTRE))
    soft, sharp = sorted(changed(edge, 1), key=lambda one: np.ptp(one.astype(int)))
    assert soft[CENTRE, CENTRE, 0] < 150 < sharp[CENTRE, CENTRE, 0]
    assert (soft[:, CENTRE + 3] == 150).all()  # flat parts stay


@pytest.mark.parametrize(
    ("name", "to"),
    [
        # Of strength 1, by the signs -1 and 1: where a dot 10 right of and 4 below the centre goes.
        ("translate_x", [(10 + SIZE * 150 / 331, 4), (10 - SIZE * 150 / 331, 4)]),
        ("translate_y", [(10, 4 + SIZE * 150 / 331), (10, 4 - SIZE * 150 / 331)]),
        ("shear_x", [(10 + 0.3 * 4, 4), (10 - 0.3 * 4, 4)]),
        ("shear_y", [(10, 4 + 0.3 * 10), (10, 4 - 0.3 * 10)]),
        (
            "rotate",
            [
                (10 * np.cos(np.pi / 6) - 4 * sign, 4 * np.cos(np.pi / 6) + 10 * sign)
                for sign in (0.5, -0.5)
            ],
        ),
    ],
)
def test_places_move_as_far_as_the_paper_says_about_the_centre(name, to):
    blob = np.zeros((SIZE, SIZE, 3), np.uint8)
    blob[CENTRE + 3 : CENTRE + 6, CENTRE + 9 : CENTRE + 12] = 255
    for sign, (right, below) in zip((-1, 1), to, strict=True):
        matrix = np.array(PLACES[name](sign), float)
        moved = module._moved(blob, matrix, cv2.BORDER_CONSTANT)[:, :, 0].astype(float)
        rows, columns = np.mgrid[:SIZE, :SIZE] - CENTRE
        found = [float((where * moved).sum() / moved.sum()) for where in (columns, rows)]
        assert found == pytest.approx([right, below], abs=0.2)


def test_all_are_drawn_alike_twice_a_picture_and_either_way(monkeypatch):
    drawn: Counter[tuple[str, float]] = Counter()
    for name in LEVELS:

        def change(image, signed, name=name):
            drawn[name, signed] += 1
            return image

        monkeypatch.setitem(LEVELS, name, change)
    for name in PLACES:

        def place(signed, name=name):
            drawn[name, signed] += 1
            return [[1, 0, 0], [0, 1, 0]]

        monkeypatch.setitem(PLACES, name, place)
    rng = np.random.default_rng(0)
    for _ in range(1400):
        rand_augment(np.zeros((1, 1, 3), np.uint8), 0.3, cv2.BORDER_REFLECT, rng)
    assert drawn.total() == 2 * 1400
    assert {strength for _, strength in drawn} == {-0.3, 0.3}
    assert len(drawn) == 2 * 14
    assert chisquare(list(drawn.values())).pvalue > 0.001


def test_no_strength_leaves_all_but_stretched_levels_as_they_are(monkeypatch):
    image = np.random.default_rng(1).integers(50, 200, (SIZE, SIZE, 3), np.uint8)
    for name in (*LEVELS, *PLACES):
        only(monkeypatch, name)
        (same,) = changed(image, 0.0)
        assert (name in ("autocontrast", "equalize")) == (same != image).any()


def test_it_moves_no_other_draws():
    images = np.random.default_rng(2).integers(0, 256, (60, 32, 32, 3), np.uint8)
    options = {"crop": 0.5, "brightness": 0.2, "erasing": 0.5}
    plain, slight = (
        augment(
            images,
            Augmentation("horizontal", 0.1, 0.2, **options, rand_augment=strength),
            np.random.default_rng(3),
        )
        for strength in (0.0, 1e-9)
    )
    same = (plain == slight).all(axis=(1, 2, 3))
    assert 35 < same.sum() < 60  # but for autocontrast and equalize, which know no strength
