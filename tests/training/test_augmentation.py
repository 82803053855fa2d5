"""One pass over the pixels has the distribution of Keras's four layers."""

import keras
import numpy as np
import pytest
from scipy.stats import ks_2samp, kstest

from classifier.training import augmentation as augmentation_module
from classifier.training.augmentation import Augmentation, augment, transformations

SIZE = 48
NOTHING = Augmentation(flip="none", rotation=0, zoom=0)
ALL = Augmentation("horizontal", rotation=0.1, zoom=0.2, keep_aspect=False, shift=0.1)
DRAWS = 2000
# OpenCV takes positions to a 32nd of a pixel, so that they are off by a 64th either way, where the
# picture below rises by at most 30 levels a pixel, and rounds to whole levels.
ROUNDED = 2 * 30 / 64 + 0.5 + 0.1
UNLIKELY = 1e-3  # the draws are fixed by their seeds: what passes once passes always


def rng(seed=0) -> np.random.Generator:
    return np.random.default_rng(seed)


def smooth_picture(size=SIZE):
    """A few soft blobs: uint8 [size, size, 3], like nothing that a symmetry maps onto itself."""
    y, x = np.mgrid[:size, :size] / size
    blobs = [
        (0.3, 0.4, 0.2, (200, 40, 90)),
        (0.7, 0.6, 0.15, (30, 180, 60)),
        (0.2, 0.8, 0.1, (90,) * 3),
    ]
    picture = np.full((size, size, 3), 30.0)
    for cx, cy, width, colour in blobs:
        weight = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * width**2))
        picture += weight[:, :, np.newaxis] * np.array(colour)
    return np.clip(picture, 0, 255).astype(np.uint8)


def noise(count=4, size=SIZE):
    return rng(9).integers(0, 256, (count, size, size, 3), np.uint8)


def taken_apart(matrices, size=SIZE):
    """What was drawn, told from the matrices; of flips, a horizontal one is assumed.

    Returns flips (bool), angles in turns, zooms of width and height, and shifts [n, 2] in sizes.
    """
    linear, offset = matrices[:, :, :2], matrices[:, :, 2]
    flips = np.linalg.det(linear) < 0
    unflipped = linear.copy()
    unflipped[flips, 0] *= -1
    angles = np.arctan2(unflipped[:, 1, 0], unflipped[:, 0, 0]) / (2 * np.pi)
    zoom_x = np.hypot(linear[:, 0, 0], linear[:, 1, 0])
    zoom_y = np.hypot(linear[:, 0, 1], linear[:, 1, 1])
    centre = np.full(2, (size - 1) / 2)
    shift = np.linalg.solve(linear, (centre - offset)[:, :, np.newaxis])[:, :, 0] - centre
    return flips, angles, zoom_x, zoom_y, shift / size


def uniform(values, low, high) -> bool:
    return bool(kstest(values, "uniform", args=(low, high - low)).pvalue > UNLIKELY)


# what is drawn


def test_angles_zooms_and_shifts_are_uniform_over_their_ranges():
    flips, angles, zoom_x, zoom_y, shifts = taken_apart(transformations(DRAWS, SIZE, ALL, rng()))
    assert uniform(angles, -0.1, 0.1)
    assert uniform(zoom_x, 0.8, 1.2)
    assert uniform(zoom_y, 0.8, 1.2)
    assert uniform(shifts[:, 0], -0.1, 0.1)
    assert uniform(shifts[:, 1], -0.1, 0.1)
    assert abs(flips.mean() - 0.5) < 0.05
    drawn = np.stack([flips, angles, zoom_x, zoom_y, *shifts.T])
    correlations = np.corrcoef(drawn) - np.eye(len(drawn))
    assert np.abs(correlations).max() < 0.1  # each drawn on its own


def test_keras_draws_the_same():
    _, angles, zoom_x, zoom_y, shifts = taken_apart(transformations(DRAWS, SIZE, ALL, rng()))
    images = keras.ops.zeros((DRAWS, SIZE, SIZE, 3))

    def drawn(layer, key):
        return keras.ops.convert_to_numpy(layer.get_random_transformation(images)[key])

    layers = keras.layers
    turned = drawn(layers.RandomRotation(0.1, seed=1), "angle") / 360
    assert ks_2samp(turned, angles).pvalue > UNLIKELY
    zoom = layers.RandomZoom(0.2, 0.2, seed=1)
    assert ks_2samp(drawn(zoom, "width_zoom").ravel(), zoom_x).pvalue > UNLIKELY
    assert ks_2samp(drawn(zoom, "height_zoom").ravel(), zoom_y).pvalue > UNLIKELY
    moved = drawn(layers.RandomTranslation(0.1, 0.1, seed=1), "translations") / SIZE
    assert ks_2samp(moved[:, 0], shifts[:, 0]).pvalue > UNLIKELY
    assert ks_2samp(moved[:, 1], shifts[:, 1]).pvalue > UNLIKELY


def test_a_zoom_that_keeps_the_aspect_is_one_number_a_picture_as_in_keras():
    augmentation = Augmentation("none", rotation=0.1, zoom=0.2)
    _, _, zoom_x, zoom_y, _ = taken_apart(transformations(DRAWS, SIZE, augmentation, rng()))
    np.testing.assert_allclose(zoom_x, zoom_y, rtol=1e-12)
    assert uniform(zoom_y, 0.8, 1.2)
    drawn = keras.layers.RandomZoom(0.2, seed=1).get_random_transformation(noise())
    np.testing.assert_array_equal(drawn["width_zoom"], drawn["height_zoom"])


@pytest.mark.parametrize(
    ("flip", "across", "down"),
    [("none", 0, 0), ("horizontal", 0.5, 0), ("vertical", 0, 0.5), ("both", 0.5, 0.5)],
)
def test_flips_happen_half_the_time(flip, across, down):
    matrices = transformations(DRAWS, SIZE, Augmentation(flip, 0, 0), rng())
    flipped_across, flipped_down = matrices[:, 0, 0] < 0, matrices[:, 1, 1] < 0
    assert abs(flipped_across.mean() - across) <= (0.05 if across else 0)
    assert abs(flipped_down.mean() - down) <= (0.05 if down else 0)
    if flip == "both":
        assert abs((flipped_across & flipped_down).mean() - 0.25) < 0.05


def test_one_option_changes_no_other_draws():
    flips, angles, *_ = taken_apart(transformations(50, SIZE, ALL, rng()))
    unflipped = Augmentation("none", 0.1, 0.05, keep_aspect=True, shift=0.0)
    _, others, *_ = taken_apart(transformations(50, SIZE, unflipped, rng()))
    np.testing.assert_allclose(angles, others, rtol=1e-9)
    assert flips.any()


def test_draws_keep_their_order_so_that_the_same_seed_gives_the_same_pictures():
    flips, angles, zoom_x, zoom_y, shifts = taken_apart(transformations(50, SIZE, ALL, rng(3)))
    drawn = rng(3)
    np.testing.assert_array_equal(flips, drawn.choice([-1.0, 1.0], 50) < 0)
    drawn.choice([-1.0, 1.0], 50)  # of vertical flips
    np.testing.assert_allclose(angles, 0.1 * drawn.uniform(-1, 1, 50), atol=1e-12)
    np.testing.assert_allclose(zoom_y, 1 + 0.2 * drawn.uniform(-1, 1, 50), rtol=1e-12)
    np.testing.assert_allclose(zoom_x, 1 + 0.2 * drawn.uniform(-1, 1, 50), rtol=1e-12)
    np.testing.assert_allclose(shifts, 0.1 * drawn.uniform(-1, 1, (50, 2)), atol=1e-12)


def test_shear_moves_no_other_draws():
    sheared = Augmentation("horizontal", 0.1, 0.2, False, 0.1, shear=0.3)
    plain, other = (transformations(50, SIZE, one, rng()) for one in (ALL, sheared))
    np.testing.assert_array_equal(plain[:, :, 0], other[:, :, 0])  # columns are not sheared
    assert (plain[:, :, 1] != other[:, :, 1]).all()


def test_shear_moves_rows_by_their_distance_from_the_centre():
    matrices = transformations(DRAWS, SIZE, Augmentation("none", 0, 0, shear=0.3), rng())
    assert uniform(matrices[:, 0, 1], -0.3, 0.3)
    np.testing.assert_array_equal(matrices[:, 1], [[0, 1, 0]] * DRAWS)
    centre = np.array([(SIZE - 1) / 2, (SIZE - 1) / 2, 1])
    np.testing.assert_allclose(matrices @ centre, [centre[:2]] * DRAWS)


def test_shear_is_applied_between_zoom_and_rotation():
    with_shear = Augmentation("horizontal", 0.1, 0.2, False, 0.1, shear=0.3)
    flips, angles, zoom_x, zoom_y, _ = taken_apart(transformations(50, SIZE, ALL, rng()))
    shear = transformations(50, SIZE, Augmentation("none", 0, 0, shear=0.3), rng())[:, 0, 1]
    for i, matrix in enumerate(transformations(50, SIZE, with_shear, rng())):
        cos, sin = np.cos(2 * np.pi * angles[i]), np.sin(2 * np.pi * angles[i])
        flip = np.diag([-1 if flips[i] else 1, 1])
        turn = np.array([[cos, -sin], [sin, cos]])
        expected = flip @ turn @ [[1, shear[i]], [0, 1]] @ np.diag([zoom_x[i], zoom_y[i]])
        np.testing.assert_allclose(matrix[:, :2], expected, atol=1e-9)


# what is done to the pixels


@pytest.mark.parametrize(
    ("fill", "left"), [("reflect", [40, 30, 20, 10]), ("nearest", [10] * 4), ("constant", [0] * 4)]
)
def test_beyond_the_border_lies_what_fill_says(monkeypatch, fill, left):
    columns = np.arange(10, 90, 10, dtype=np.uint8)
    image = np.tile(columns[:, np.newaxis], (1, 8, 1, 3))
    four_to_the_right = np.array([[[1.0, 0, -4], [0, 1, 0]]])
    monkeypatch.setattr(augmentation_module, "transformations", lambda *_: four_to_the_right)
    moved = augment(image, Augmentation("none", 0, 0, fill=fill), rng())
    assert moved[0, 3, :, 1].tolist() == [*left, 10, 20, 30, 40]


def test_a_channel_shift_moves_all_levels_of_a_picture_alike_and_stops_at_the_ends():
    images = np.stack([np.full((4, 4, 3), level, np.uint8) for level in (0, 128, 255)] * 200)
    shifted = augment(images, Augmentation("none", 0, 0, channel_shift=10), rng()).astype(int)
    assert (np.ptp(shifted, axis=(1, 2, 3)) == 0).all()
    black, grey, white = (shifted[i::3, 0, 0, 0] for i in range(3))
    assert (grey.min(), grey.max()) == (118, 138)
    assert (black.min(), black.max(), white.min(), white.max()) == (0, 10, 245, 255)


def ramps(count):
    """Red and green are five times the column and the row."""
    columns = np.tile(np.arange(0, 5 * SIZE, 5, dtype=np.uint8), (SIZE, 1))
    picture = np.stack([columns, columns.T, columns], axis=2)
    return np.stack([picture] * count)


def test_a_crop_is_a_box_of_the_picture_made_as_large_as_all():
    cropped = augment(ramps(300), Augmentation("none", 0, 0, crop=0.3), rng()).astype(float)
    inside = slice(1, -1)  # the outermost pixels may lie beyond the border by half of one
    positions = np.arange(SIZE)[inside] + 0.5
    # Of an output pixel the column of the input is left + position · width / SIZE - 1/2.
    lines = [
        np.polyfit(positions, levels.T / 5, 1)
        for levels in (cropped[:, SIZE // 2, inside, 0], cropped[:, inside, SIZE // 2, 1])
    ]
    sides, starts = np.array([(line[0] * SIZE, line[1] + 0.5) for line in lines]).swapaxes(0, 1)
    # Each point of a line is off by a tenth of a pixel, for the rounded level, and by a 64th; in
    # the worst of their orders the line's ends by three times that.
    np.testing.assert_allclose(sides, np.rint(sides), atol=3 * (0.1 + 1 / 64))
    np.testing.assert_allclose(starts, np.rint(starts), atol=3 * (0.1 + 1 / 64))
    sides, starts = np.rint(sides), np.rint(starts)
    assert (starts >= 0).all()
    assert (starts + sides <= SIZE).all()
    # A side is rounded by half a pixel at most.
    least, most = (sides - 0.5).prod(axis=0) / SIZE**2, (sides + 0.5).prod(axis=0) / SIZE**2
    uncut = sides.max(axis=0) < SIZE
    assert (most[uncut] >= 0.3).all()
    assert (least <= 1).all()
    wide, high = sides
    assert ((wide - 0.5) / (high + 0.5) <= 4 / 3).all()
    assert ((high - 0.5) / (wide + 0.5) <= 4 / 3).all()
    shares = sides.prod(axis=0) / SIZE**2
    assert shares.min() < 0.35
    assert shares.max() > 0.9
    assert (starts > 5).any()


@pytest.mark.parametrize("size", [SIZE // 2, SIZE * 2])
def test_another_size_shows_the_same_smaller_or_larger(size):
    (picture,) = augment(ramps(1), NOTHING, rng(), size).astype(float)
    # Positions are those of pixels' centres; the outermost may lie beyond the input's last centre.
    inside = slice(1, -1)
    positions = ((np.arange(size) + 0.5) * SIZE / size - 0.5)[inside]
    for levels in (picture[size // 2, inside, 0], picture[inside, size // 2, 1]):
        np.testing.assert_allclose(levels / 5, positions, atol=0.1 + 1 / 64)


def test_another_size_moves_no_draws():
    changes = Augmentation("both", 0.1, 0.2, crop=0.5)
    whole = augment(noise(2), changes, rng())
    np.testing.assert_array_equal(augment(noise(2), changes, rng(), SIZE), whole)
    levels = [
        augment(np.stack([smooth_picture()] * 9), changes, rng(), size).mean(axis=(1, 2))
        for size in (None, SIZE * 2)
    ]
    np.testing.assert_allclose(*levels, atol=ROUNDED)


def test_brightness_and_contrast_change_levels_as_their_factors_say():
    black_and_grey = np.zeros((400, 4, 4, 3), np.uint8)
    black_and_grey[:, :2] = 100
    bright = augment(black_and_grey, Augmentation("none", 0, 0, brightness=0.4), rng())
    assert not bright[:, 2:].any()
    assert (np.ptp(bright[:, :2], axis=(1, 2, 3)) == 0).all()
    assert (bright[:, 0, 0, 0].min(), bright[:, 0, 0, 0].max()) == (60, 140)
    contrasted = augment(
        black_and_grey + np.uint8(50), Augmentation("none", 0, 0, contrast=0.4), rng()
    ).astype(int)
    high, low = contrasted[:, 0, 0, 0], contrasted[:, 3, 0, 0]
    assert (np.abs(high + low - 2 * 100) <= 1).all()  # the mean stays, but for rounding
    assert ((high - low).min(), (high - low).max()) == (60, 140)


def test_erasing_puts_noise_in_a_box_of_so_many_of_the_pictures():
    images = np.full((400, SIZE, SIZE, 3), 7, np.uint8)
    erased = (augment(images, Augmentation("none", 0, 0, erasing=0.25), rng()) != 7).any(axis=3)
    hit = erased.any(axis=(1, 2))
    assert abs(hit.mean() - 0.25) < 0.08  # three and a half standard deviations
    for one in erased[hit]:
        rows, columns = np.flatnonzero(one.any(axis=1)), np.flatnonzero(one.any(axis=0))
        box = one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.all()
        assert 0.01 < box.size / SIZE**2 < 0.36


def test_erasing_moves_no_other_draws():
    options = {"crop": 0.5, "brightness": 0.2, "contrast": 0.2, "channel_shift": 5.0}
    plain = augment(noise(40), Augmentation("horizontal", 0.1, 0.2, **options), rng())
    other = Augmentation("horizontal", 0.1, 0.2, **options, erasing=0.5)
    same = (augment(noise(40), other, rng()) == plain).all(axis=(1, 2, 3))
    assert 0 < same.sum() < 40


def test_nothing_to_change_leaves_the_pictures_as_they_are():
    images = noise()
    augmented = augment(images, NOTHING, rng())
    np.testing.assert_array_equal(augmented, images)
    assert augmented is not images


def test_flips_are_exact():
    images = noise(16)
    augmented = augment(images, Augmentation("both", 0, 0), rng())
    ways = [images, images[:, :, ::-1], images[:, ::-1], images[:, ::-1, ::-1]]
    same = np.stack([(augmented == way).all(axis=(1, 2, 3)) for way in ways])
    assert (same.sum(axis=0) == 1).all()
    assert same.any(axis=1).all()  # each of the four happens


def test_the_pictures_given_are_not_changed_and_may_be_mapped_from_the_disk(tmp_path):
    np.save(tmp_path / "a.npy", noise())
    images = np.load(tmp_path / "a.npy", mmap_mode="r")
    augmented = augment(images, ALL, rng())
    np.testing.assert_array_equal(images, noise())
    assert augmented.dtype == np.uint8
    assert augmented.shape == images.shape


def test_the_same_draws_give_the_same_pictures():
    np.testing.assert_array_equal(augment(noise(), ALL, rng(3)), augment(noise(), ALL, rng(3)))
    assert (augment(noise(), ALL, rng(3)) != augment(noise(), ALL, rng(4))).any()


def test_the_matrices_are_applied_as_keras_applies_them():
    images = np.stack([smooth_picture()] * 8)
    augmented = augment(images, ALL, rng(5))
    matrices = transformations(8, SIZE, ALL, rng(5))
    transforms = np.concatenate([matrices.reshape(8, 6), np.zeros((8, 2))], axis=1)
    expected = keras.ops.convert_to_numpy(
        keras.ops.image.affine_transform(
            images.astype(np.float32), transforms.astype(np.float32), fill_mode="reflect"
        )
    )
    difference = np.abs(augmented - expected)
    assert difference.max() < ROUNDED
    assert difference.mean() < 0.5  # half a level is the rounding to whole numbers
    assert np.abs(augmented - images.astype(float)).mean() > 5  # and something was done


def keras_layer(kind, augmentation, matrix):
    """The layer of Keras with the very factors that this matrix was made of."""
    _, angle, zoom_x, zoom_y, shift = (one[0] for one in taken_apart(matrix[np.newaxis]))
    if kind == "rotation":
        return keras.layers.RandomRotation((angle, angle))
    if kind == "zoom":
        return keras.layers.RandomZoom((zoom_y - 1,) * 2, (zoom_x - 1,) * 2)
    return keras.layers.RandomTranslation((shift[1],) * 2, (shift[0],) * 2)


@pytest.mark.parametrize(
    ("kind", "augmentation"),
    [
        ("rotation", Augmentation("none", 0.4, 0)),
        ("zoom", Augmentation("none", 0, 0.5, keep_aspect=False)),
        ("shift", Augmentation("none", 0, 0, shift=0.3)),
    ],
)
def test_each_change_is_that_of_keras_layer_up_to_the_border(kind, augmentation):
    image = smooth_picture()[np.newaxis]
    for seed in range(3):
        matrix = transformations(1, SIZE, augmentation, rng(seed))[0]
        layer = keras_layer(kind, augmentation, matrix)
        expected = keras.ops.convert_to_numpy(layer(image.astype(np.float32), training=True))
        difference = np.abs(augment(image, augmentation, rng(seed)) - expected)
        assert difference.max() < ROUNDED
        assert np.abs(expected - image).mean() > 3


def test_the_changes_come_in_keras_order():
    image = smooth_picture()[np.newaxis]
    augmentation = Augmentation("horizontal", 0.15, 0.25, keep_aspect=False, shift=0.1)
    middle = slice(SIZE // 4, -SIZE // 4)  # the border is mirrored once here, in Keras each time
    flipped = set()
    for seed in range(6):
        matrix = transformations(1, SIZE, augmentation, rng(seed))[0]
        flip = bool(taken_apart(matrix[np.newaxis])[0][0])
        flipped.add(flip)
        expected = image[:, :, ::-1].copy() if flip else image
        for kind in ("rotation", "zoom", "shift"):
            layer = keras_layer(kind, augmentation, matrix)
            expected = layer(keras.ops.cast(expected, "float32"), training=True)
        difference = augment(image, augmentation, rng(seed)) - keras.ops.convert_to_numpy(expected)
        assert np.abs(difference[:, middle, middle]).max() < 4  # Keras resamples three times
    assert flipped == {True, False}


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_means_and_spreads_over_many_draws_are_those_of_keras_layers(shift):
    draws = 2000
    images = np.stack([smooth_picture()] * draws)
    augmentation = Augmentation("horizontal", 0.1, 0.2, shift=shift)
    ours = augment(images, augmentation, rng()).astype(float)
    layers = keras.layers
    tutorial = [
        layers.RandomFlip("horizontal", seed=1),
        layers.RandomRotation(0.1, seed=2),
        layers.RandomZoom(0.2, seed=3),
        *([layers.RandomTranslation(shift, shift, seed=4)] if shift else []),
    ]
    theirs = images.astype(np.float32)
    for layer in tutorial:
        theirs = layer(theirs, training=True)
    theirs = keras.ops.convert_to_numpy(theirs)
    # Keras mirrors at the border of each of its three or four results, this project once, at the
    # border of the picture: the outermost pixels, and only they, differ by a little more.
    inside = slice(SIZE // 8, -SIZE // 8)
    spread = theirs.std(axis=0)
    difference = np.abs(ours.mean(axis=0) - theirs.mean(axis=0))
    # The mean of n draws is off by spread / sqrt(n), so two of them by sqrt(2) times that.
    off = difference / (spread * np.sqrt(2 / draws) + 0.5)
    assert off[inside, inside].max() < 4
    assert difference.mean() < 2
    assert abs(ours.std(axis=0).mean() / spread.mean() - 1) < 0.05
    assert spread.mean() > 8
