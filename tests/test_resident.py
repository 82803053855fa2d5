"""Pictures on the device: the same pictures, changed alike, and the same training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from classifier import from_scratch, resident
from classifier.augmentation import Augmentation, augment, transformations
from classifier.networks import plain_block
from classifier.precision import Precision
from classifier.resident import Pictures, pays_off, warp
from classifier.splits import read_split
from classifier.training import Recipe
from tests.test_training import anew, assert_same, fresh_process, interrupted, made_splits

__all__ = ["fresh_process"]  # a fixture of this module too

AUGMENTATION = Augmentation("both", rotation=0.1, zoom=0.3, keep_aspect=False, shift=0.2)
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 33, 33, 3), np.uint8)


def warped(matrices):
    return ops.convert_to_numpy(warp(IMAGES.reshape(12, -1, 3), matrices.astype(np.float32), 33))


# pictures


def test_pictures_are_changed_as_on_a_cpu():
    rng = np.random.default_rng(5)
    found = warped(transformations(12, 33, AUGMENTATION, rng))
    expected = augment(IMAGES, AUGMENTATION, np.random.default_rng(5))
    # Of noise, where neighbours differ most: by rounding alone.
    difference = np.abs(found.astype(int) - expected)
    assert found.dtype == np.uint8
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.001


def test_the_identity_leaves_every_pixel():
    assert (warped(np.tile(np.eye(2, 3), (12, 1, 1))) == IMAGES).all()


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_precision_does_not_move_pixels(policy):
    keras.config.set_dtype_policy(policy)
    matrices = transformations(12, 33, AUGMENTATION, np.random.default_rng(1)).astype(np.float32)
    rows = np.arange(12, dtype=np.int32)[::-1].copy()
    found = Pictures(IMAGES)([rows, matrices])
    assert (ops.convert_to_numpy(found)[::-1] == warped(matrices[::-1])).all()
    assert (ops.convert_to_numpy(Pictures(IMAGES)(rows))[::-1] == IMAGES).all()


def test_the_step_can_be_compiled():
    matrices = transformations(12, 33, AUGMENTATION, np.random.default_rng(1)).astype(np.float32)
    compiled = tf.function(lambda pixels, m: warp(pixels, m, 33), jit_compile=True)
    found = compiled(IMAGES.reshape(12, -1, 3), matrices).numpy()
    difference = np.abs(found.astype(int) - warped(matrices))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.001


# training


def trained(monkeypatch, device, augmentation, policy="float32"):
    """The learning curve and the weights, fed as such a device is, computed on the CPU."""

    def start(seed, precision):
        keras.config.set_dtype_policy(policy)
        keras.utils.set_random_seed(seed)
        return Precision(policy, "", device)

    anew()
    monkeypatch.setattr(from_scratch, "start", start)
    monkeypatch.setattr(from_scratch, "pooled_block", plain_block)
    from_scratch.train_from_scratch(
        "m",
        "cnn5",
        Recipe("sgd", 0.01, epochs=3, class_weight="balanced"),
        batch_size=7,  # of 24 pictures: neither a batch nor a call of several steps is full
        seed=3,
        precision="auto",
        dropout=0.5,
        augmentation=augmentation,
    )
    curve = np.genfromtxt("plots/curves/m.tsv", names=True)
    return curve, keras.saving.load_model("data/models/m.keras").get_weights()


@pytest.mark.parametrize("augmentation", [None, AUGMENTATION])
def test_a_training_is_the_same_wherever_its_pictures_lie(tmp_path, monkeypatch, augmentation):
    made_splits(tmp_path, 78)
    monkeypatch.setattr(resident, "STEPS_PER_EXECUTION", 3)  # of four: a whole call and a part
    expected, weights = trained(monkeypatch, "cpu", augmentation)
    fed = []
    monkeypatch.setattr(
        from_scratch,
        "fit_resident",
        lambda *a, **k: fed.append(a) or resident.fit_resident(*a, **k),
    )
    found, others = trained(monkeypatch, "gpu", augmentation)
    assert len(fed) == 1
    for column in ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy"):
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-4)
    for one, other in zip(weights, others, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_it_trains_in_a_gpus_own_precision(tmp_path, monkeypatch, policy):
    made_splits(tmp_path, 78)
    curve, _ = trained(monkeypatch, "gpu", AUGMENTATION, policy)
    expected, _ = trained(monkeypatch, "gpu", AUGMENTATION)
    np.testing.assert_allclose(curve["train_loss"], expected["train_loss"], rtol=0.05)


def test_an_interrupted_one_goes_on(tmp_path, monkeypatch, capsys):
    made_splits(tmp_path, 78)
    _, weights = trained(monkeypatch, "gpu", AUGMENTATION)
    # Keras counts the steps of a call that is not full as if it were.
    last = resident.STEPS_PER_EXECUTION - 1
    interrupted(monkeypatch, lambda: trained(monkeypatch, "gpu", AUGMENTATION), epoch=1, batch=last)
    _, others = trained(monkeypatch, "gpu", AUGMENTATION)
    assert "going on after epoch 1" in capsys.readouterr().out
    assert_same(weights, others)


def test_what_does_not_fit_is_fed_from_the_disk(tmp_path, monkeypatch):
    made_splits(tmp_path, 78)
    train, validation = read_split("train"), read_split("validation")
    assert pays_off("gpu", train, validation)
    assert not pays_off("cpu", train, validation)
    monkeypatch.setattr(resident, "LARGEST", train.images.nbytes + validation.images.nbytes - 1)
    assert not pays_off("gpu", train, validation)
    monkeypatch.setattr(from_scratch, "fit_resident", None)
    trained(monkeypatch, "gpu", None)
