"""Features are computed once for the same pictures, layers, weights and precision."""

import os
import shutil
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from classifier.base.cache import locked
from classifier.base.splits import Split
from classifier.training.augmentation import Augmentation
from classifier.transfer import features
from classifier.transfer.backbone import cut
from classifier.transfer.features import COMPUTED_AT_ONCE, frozen_features
from tests.rounding import UNIT, assert_same_but_for_rounding, rounding

pytestmark = pytest.mark.numeric
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


def kept(folder) -> list[str]:
    """The files of the only features that were asked for."""
    (only,) = cached(folder)
    return sorted(path.name for path in only.iterdir() if path.name != features.LOCK)


def test_features_are_what_the_layers_make_of_each_picture():
    frozen, images = layers(), pictures()
    found = features_of(frozen, images)
    assert isinstance(found, np.memmap)
    assert found.dtype == np.float32
    assert found.shape == (len(images), 6, 6, 4)
    expected = frozen.predict(images, verbose=0)
    assert_same_but_for_rounding(found, expected, rounding(9 * 3))


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


@pytest.mark.bfloat16
def test_whatever_could_change_them_is_computed_anew(tmp_path, monkeypatch):
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
    code = tmp_path / "other.py"
    code.touch()
    for module in (features.augmentation_module, features.rand_augment, features.winograd):
        with monkeypatch.context() as other_code:
            other_code.setattr(module, "__file__", str(code))
            features_of(layers(), images)
    monkeypatch.setattr(features, "environment", lambda: "other libraries on another machine")
    features_of(layers(), images)
    assert len(cached(tmp_path)) == 15


@pytest.mark.parametrize(
    "policy", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.bfloat16)]
)
def test_what_is_kept_on_the_way_changes_nothing_and_is_not_computed_again(tmp_path, policy):
    expected = np.array(features_of(layers(policy), pictures()))
    shutil.rmtree(tmp_path / ".cache/features")
    frozen = layers(policy)
    middle = frozen.layers[0].name
    np.testing.assert_array_equal(features_of(frozen, pictures(), through=middle), expected)
    lower, _ = cut(frozen, middle)
    lower.predict_on_batch = None
    assert features_of(lower, pictures()).shape == (len(pictures()), SIZE, SIZE, 3)
    assert len(cached(tmp_path)) == 2


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


@pytest.mark.parametrize("augmentation", [None, TURNED])
def test_an_interrupted_run_goes_on_where_it_was_saved(tmp_path, monkeypatch, capsys, augmentation):
    monkeypatch.setattr(features, "SAVED_EVERY", 2)
    images = pictures(5 * COMPUTED_AT_ONCE + 3)
    expected = np.array(features_of(layers(), images, augmentation=augmentation))
    shutil.rmtree(tmp_path / ".cache/features")

    frozen, calls = layers(), []

    def interrupted(batch):
        calls.append(len(batch))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return predict(batch)

    predict = frozen.predict_on_batch
    with monkeypatch.context() as patched:
        patched.setattr(frozen, "predict_on_batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            features_of(frozen, images, augmentation=augmentation)
    assert kept(tmp_path) == ["done", "partial.npy"]
    np.testing.assert_array_equal(
        features_of(layers(), images, augmentation=augmentation), expected
    )
    assert "going on with the features of 64 of 163 pictures" in capsys.readouterr().out
    assert kept(tmp_path) == ["features.npy"]


def test_what_is_unfinished_is_not_taken_for_features(tmp_path, monkeypatch):
    def interrupted(batch):
        raise KeyboardInterrupt

    frozen = layers()
    with monkeypatch.context() as patched:
        patched.setattr(frozen, "predict_on_batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            features_of(frozen, pictures())
    assert kept(tmp_path) == ["partial.npy"]
    assert features_of(frozen, pictures()).any()
    assert kept(tmp_path) == ["features.npy"]


def test_a_second_run_waits_for_what_the_first_one_computes(tmp_path, monkeypatch, capsys):
    images = pictures()
    first, second = layers(), layers()
    monkeypatch.setattr(second, "predict_on_batch", None)
    predict, runs, late = first.predict_on_batch, [], []

    def meanwhile(batch):
        if not runs:
            runs.append(threading.Thread(target=lambda: late.append(features_of(second, images))))
            runs[0].start()
        time.sleep(0.2)
        return predict(batch)

    monkeypatch.setattr(first, "predict_on_batch", meanwhile)
    found = features_of(first, images)
    runs[0].join()
    np.testing.assert_array_equal(late[0], found)
    assert "waiting for another run" in capsys.readouterr().err


@pytest.mark.bfloat16
def test_low_precision_features_are_kept_as_float32():
    found = features_of(layers("mixed_bfloat16"), pictures(3))
    assert found.dtype == np.float32
    plain = features_of(layers(), pictures(3))
    # Pictures, weights and results are rounded to bfloat16, and sums of products at worst.
    assert_same_but_for_rounding(found, plain, 4 * UNIT["bfloat16"])
    assert (found != plain).any()


def test_deleting_them_changes_no_result(tmp_path):
    first = np.array(features_of(layers(), pictures()))
    shutil.rmtree(tmp_path / ".cache/features")
    np.testing.assert_array_equal(features_of(layers(), pictures()), first)
    assert features.cache_folder("features") == tmp_path / ".cache/features"


class Copies:
    """Features of augmented copies of the same pictures, by the seed."""

    def __init__(self, folder):
        self.folder = folder
        self.frozen = layers()
        self.files = []

    def ask(self, seed):
        features_of(self.frozen, pictures(), augmentation=TURNED, seed=seed)
        new = {one / features.WHOLE for one in cached(self.folder)} - set(self.files)
        self.files += new

    def of_earlier_runs(self, count):
        """So many, each asked for a minute after the one before."""
        for seed in range(count):
            self.ask(seed)
            os.utime(self.files[seed].parent, (1e9 + 60 * seed,) * 2)
        return self

    @property
    def kept(self):
        return [seed for seed, file in enumerate(self.files) if file.exists()]


def test_the_longest_unused_make_room(tmp_path, monkeypatch, capsys):
    copies = Copies(tmp_path).of_earlier_runs(4)
    monkeypatch.setattr(features, "KEPT", 3 * copies.files[0].stat().st_size)
    copies.ask(0)
    assert copies.kept == [0, 1, 2, 3]  # nothing was added
    copies.ask(4)
    assert copies.kept == [0, 3, 4]
    assert capsys.readouterr().out.count("deleting") == 2
    copies.ask(1)
    assert copies.kept == [0, 1, 4]


def test_what_this_run_asked_for_or_another_one_holds_makes_no_room(tmp_path, monkeypatch):
    copies = Copies(tmp_path).of_earlier_runs(3)
    monkeypatch.setattr(features, "KEPT", 0)
    copies.ask(1)
    with locked(copies.files[0].parent / features.LOCK, "never"):
        copies.ask(3)
    assert copies.kept == [0, 1, 3]


def test_a_run_that_is_killed_while_it_makes_room_leaves_nothing_that_misleads(
    tmp_path, monkeypatch
):
    copies = Copies(tmp_path)
    images = pictures(COMPUTED_AT_ONCE * (features.SAVED_EVERY + 1))
    predict, seen = copies.frozen.predict_on_batch, []

    def interrupted_after_saving(batch):
        seen.append(batch)
        if len(seen) > features.SAVED_EVERY:
            raise KeyboardInterrupt
        return predict(batch)

    with monkeypatch.context() as patched:
        patched.setattr(copies.frozen, "predict_on_batch", interrupted_after_saving)
        with pytest.raises(KeyboardInterrupt):
            features_of(copies.frozen, images)
    (left,) = cached(tmp_path)
    assert {features.PARTIAL, features.PROGRESS} <= {path.name for path in left.iterdir()}
    os.utime(left, (1e9, 1e9))
    monkeypatch.setattr(features, "KEPT", 0)
    unlink, deleted = Path.unlink, []

    def killed_after_the_first(path, *, missing_ok=False):
        if path.parent == left:
            if deleted:
                raise KeyboardInterrupt
            deleted.append(path)
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed_after_the_first)
        with pytest.raises(KeyboardInterrupt):
            copies.ask(0)
    assert features_of(copies.frozen, images).any()
