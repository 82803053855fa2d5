"""Two pictures in one have the labels of both, by their shares."""

import numpy as np
import pytest
from scipy.stats import kstest

from classifier.training.mixing import Mixing

SIZE, COUNT = 40, 8
MIXUP, CUTMIX = Mixing(0.4, 0.0), Mixing(0.0, 1.0)


def batch():
    """Grey pictures, each a class of its own: levels 20, 40, ..., and one-hot labels."""
    levels = 20 * np.arange(1, COUNT + 1, dtype=np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (COUNT, SIZE, SIZE, 3)).copy()
    return images, np.eye(COUNT, dtype=np.float32), levels


@pytest.mark.parametrize("mixing", [MIXUP, CUTMIX])
def test_labels_are_shared_as_the_pixels_are(mixing):
    images, labels, levels = batch()
    mixed, shared = mixing.mix(images, labels, np.random.default_rng(0))
    assert (mixed.dtype, shared.dtype) == (np.uint8, np.float32)
    np.testing.assert_allclose(shared.sum(axis=1), 1, rtol=1e-6)
    # A level is rounded to a whole one.
    np.testing.assert_allclose(mixed.mean(axis=(1, 2, 3)), shared @ levels, atol=0.5 + 1e-3)
    assert (np.diag(shared) < 1).any()
    np.testing.assert_array_equal(images, batch()[0])
    np.testing.assert_array_equal(labels, np.eye(COUNT))


def test_mixup_sums_whole_pictures_and_cutmix_puts_in_a_box():
    images, labels, levels = batch()
    summed, _ = MIXUP.mix(images, labels, np.random.default_rng(0))
    assert (np.ptp(summed, axis=(1, 2, 3)) == 0).all()
    boxed, shared = CUTMIX.mix(images, labels, np.random.default_rng(0))
    for k in range(COUNT):
        own = boxed[k, :, :, 0] == levels[k]
        assert len(np.unique(boxed[k])) <= 2
        assert own.mean() == pytest.approx(shared[k, k]) or shared[k, k] == 1
        rows, columns = np.flatnonzero(~own.all(axis=1)), np.flatnonzero(~own.all(axis=0))
        if len(rows):
            assert not own[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].any()


@pytest.mark.parametrize(
    ("mixing", "alpha"), [(MIXUP, 0.4), (CUTMIX, 1.0), (Mixing(0.0, 4.0), 4.0)]
)
def test_shares_are_drawn_from_the_beta_distribution(mixing, alpha):
    rng = np.random.default_rng(0)
    size = 200 if mixing.cutmix else 1  # a box has whole pixels
    images, labels = np.zeros((2, size, size, 3), np.uint8), np.eye(2, dtype=np.float32)
    draws = (mixing.mix(images, labels, rng)[1] for _ in range(2000))
    shares = [shared[0, 0] for shared in draws if shared[0, 0] < 1]  # else its own partner
    assert kstest(shares, "beta", args=(alpha, alpha)).pvalue > 1e-3


def test_of_both_ways_each_batch_takes_one():
    images, labels, _ = batch()
    rng = np.random.default_rng(0)
    flat = [
        (np.ptp(Mixing(0.4, 1.0).mix(images, labels, rng)[0], axis=(1, 2, 3)) == 0).all()
        for _ in range(100)
    ]
    assert 30 < sum(flat) < 70


def test_the_same_generator_gives_the_same_mixture():
    images, labels, _ = batch()
    first, second = (CUTMIX.mix(images, labels, np.random.default_rng(3)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_mixing_names_the_ways_that_are_on():
    told = [Mixing(*ways).in_words() for ways in ((0.2, 1), (0.2, 0), (0, 0))]
    assert told == ["mixup 0.2 or cutmix 1", "mixup 0.2", ""]
