"""The drawn data set: the same bytes every time, two classes that differ, pictures that vary."""

import hashlib
import io
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from classifier.sources.sample import CLASSES, picture, pictures


def decoded(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


@pytest.fixture(scope="module")
def few() -> dict[str, bytes]:
    return dict(pictures(per_class=12, size=64, seed=1))


def test_paths_are_sorted_and_numbered_within_their_class(few):
    assert list(few) == [f"{label}/{n:04d}.jpg" for label in CLASSES for n in range(1, 13)]
    assert list(few) == sorted(few)


@pytest.mark.parametrize(
    ("per_class", "first"),
    [(9_999, "cats/0001.jpg"), (10_000, "cats/00001.jpg"), (100_000, "cats/000001.jpg")],
)
def test_numbers_are_as_long_as_the_last_of_them_and_so_sorted(per_class, first):
    assert next(pictures(per_class, size=24, seed=1))[0] == first


def test_a_second_drawing_gives_the_same_bytes(few):
    assert dict(pictures(per_class=12, size=64, seed=1)) == few


def test_numpys_global_random_state_has_no_part_in_it(few):
    state = np.random.get_state()
    np.random.seed(5)
    try:
        assert next(pictures(per_class=1, size=64, seed=1))[1] == few["cats/0001.jpg"]
    finally:
        np.random.set_state(state)


def test_a_picture_does_not_depend_on_how_many_are_drawn(few):
    fewer = dict(pictures(per_class=3, size=64, seed=1))
    assert len(fewer) == 6
    assert fewer.items() <= few.items()


def test_another_seed_draws_other_pictures(few):
    other = dict(pictures(per_class=12, size=64, seed=2))
    assert list(other) == list(few)
    assert not set(other.values()) & set(few.values())


def test_no_two_pictures_are_the_same(few):
    assert len({hashlib.sha256(content).digest() for content in few.values()}) == len(few)


def test_a_cat_and_an_owl_of_one_number_do_not_share_a_background(few):
    corners = [np.asarray(decoded(few[f"{label}/0001.jpg"]))[:6, :6] for label in CLASSES]
    assert np.abs(corners[0].astype(int) - corners[1]).mean() > 5


@pytest.mark.parametrize("size", [24, 80, 128])
def test_pictures_are_rgb_of_the_size_asked_for(size):
    for _, content in pictures(per_class=2, size=size, seed=3):
        image = decoded(content)
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (size, size))


def test_size_changes_the_resolution_and_not_the_scene():
    for (_, small), (_, large) in zip(
        pictures(per_class=3, size=64, seed=4), pictures(per_class=3, size=128, seed=4), strict=True
    ):
        one = np.asarray(decoded(small).resize((16, 16), Image.Resampling.BOX), float)
        other = np.asarray(decoded(large).resize((16, 16), Image.Resampling.BOX), float)
        assert np.abs(one - other).mean() < 6


def test_pictures_are_drawn_as_they_are_asked_for():
    endless = pictures(per_class=100_000, size=24, seed=1)
    assert [path for path, _ in islice(endless, 2)] == ["cats/000001.jpg", "cats/000002.jpg"]


def test_light_and_colour_alone_do_not_tell_the_classes_apart():
    means = np.array(
        [
            [np.asarray(decoded(content), float).mean((0, 1))]
            for _, content in pictures(per_class=60, size=24, seed=6)
        ]
    ).reshape(2, 60, 3)
    spread = means.std(axis=1).mean(axis=0)
    assert (spread > 15).all()
    assert (np.abs(means[0].mean(axis=0) - means[1].mean(axis=0)) < 0.6 * spread).all()


@pytest.mark.parametrize("seed", range(5))
def test_one_scene_holds_either_animal_and_nothing_else_changes(seed):
    cat, owl = (
        np.asarray(picture(label, 128, np.random.default_rng(seed)), int) for label in CLASSES
    )
    changed = (cat != owl).any(axis=2)
    assert 0.03 < changed.mean() < 0.6
    assert np.abs(cat - owl)[changed].mean() > 15
    assert changed[32:96, 32:96].mean() > changed.mean()  # an animal sits near the middle
