"""Features are computed once for the same pictures, layers, weights and precision."""

from pathlib import Path

import keras
import numpy as np
import pytest

from classifier import features
from classifier.augmentation import Augmentation
from classifier.features import COMPUTED_AT_ONCE, frozen_features
from classifier.splits import Split

SIZE = 8
TURNED = Augmentation("horizontal", 0.1, 0.2)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    yield
    keras.config.set_dtype_policy("float32")


def pictures(n=COMPUTED_AT_ONCE + 5):
    return np.random.default_rng(0).integers(0, 256, (n, SIZE, SIZE, 3), np.uint8)


def layers(policy="float32", filters=4) -> keras.Sequential:
    """The same layers, as a process that just began would make them."""
    keras.utils.clear_session()
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(filters, 3, activation="relu"),
        ]
    )


def features_of(frozen, images, **options):
    split = Split(np.ascontiguousarray(images), np.zeros(len(images), np.int64), [], ("a",))
    return frozen_features(frozen, split, **options)


def cached(folder) -> list[Path]:
    return sorted((folder / ".cache/features").iterdir())


def test_features_are_what_the_layers_make_of_each_picture():
    frozen, images = layers(), pictures()
    found = features_of(frozen, images)
    assert isinstance(found, np.memmap)
    assert found.dtype == np.float32
    assert found.shape == (len(images), 6, 6, 4)
    np.testing.assert_allclose(found, frozen.predict(images, verbose=0), rtol=1e-5, atol=1e-6)


def test_they_are_computed_once(monkeypatch):
    first = features_of(layers(), pictures())
    poisoned = layers()
    monkeypatch.setattr(poisoned, "predict_on_batch", None)
    np.testing.assert_array_equal(features_of(poisoned, pictures()), first)


@pytest.mark.parametrize("augmentation", [None, TURNED])
def test_each_picture_passes_once(monkeypatch, augmentation):
    frozen, images = layers(), pictures()
    passed = []
    predict = frozen.predict_on_batch
    monkeypatch.setattr(frozen, "predict_on_batch", lambda x: passed.append(len(x)) or predict(x))
    features_of(frozen, images, augmentation=augmentation)
    assert sum(passed) == len(images)


def test_whatever_could_change_them_is_computed_anew(tmp_path):
    images = pictures(4)
    features_of(layers(), images)
    other = images.copy()
    other[3, 0, 0, 0] ^= 1
    features_of(layers(), other)
    features_of(layers(), images[::-1])
    features_of(layers(), images[:3])
    changed = layers()
    changed.layers[-1].bias.assign(np.ones(4))
    features_of(changed, images)
    features_of(layers(filters=5), images)
    features_of(layers("mixed_bfloat16"), images)
    for augmentation in (TURNED, Augmentation("horizontal", 0.1, 0.3)):
        for seed in (1, 2):
            features_of(layers(), images, augmentation=augmentation, seed=seed)
    assert len(cached(tmp_path)) == 11


def test_augmented_copies_are_drawn_by_their_seed():
    images = pictures(4)
    plain = features_of(layers(), images)
    one, same, other = (
        np.array(features_of(layers(), images, augmentation=TURNED, seed=seed))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    assert (one != plain).any()


def test_an_interruption_leaves_nothing(tmp_path, monkeypatch):
    frozen = layers()
    calls = []

    def interrupted(batch):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return np.zeros((len(batch), 6, 6, 4))

    with monkeypatch.context() as patched:
        patched.setattr(frozen, "predict_on_batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            features_of(frozen, pictures())
    assert cached(tmp_path) == []
    assert features_of(frozen, pictures()).any()


def test_low_precision_features_are_kept_as_float32():
    found = features_of(layers("mixed_bfloat16"), pictures(3))
    assert found.dtype == np.float32
    plain = features_of(layers(), pictures(3))
    np.testing.assert_allclose(found, plain, atol=0.05)
    assert (found != plain).any()


def test_deleting_them_changes_no_result(tmp_path):
    first = np.array(features_of(layers(), pictures()))
    for path in cached(tmp_path):
        path.unlink()
    np.testing.assert_array_equal(features_of(layers(), pictures()), first)
    assert features.cache_folder("features") == tmp_path / ".cache/features"
