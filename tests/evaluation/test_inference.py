"""A model is tested in the precision that the machine is fast at, where that changes no call."""

import keras
import numpy as np
import pytest
from keras import layers

from classifier.base.splits import Split
from classifier.evaluation.inference import (
    CLOSEST,
    Inference,
    agreement,
    in_precision,
    mirrored,
    scores,
)
from classifier.evaluation.scores import look
from classifier.networks.cnn2 import cnn2
from classifier.transfer import features
from tests.rounding import UNIT, assert_same_but_for_rounding, rounding

pytestmark = pytest.mark.numeric
LOW = "mixed_bfloat16"
SIZE = 8


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    keras.utils.set_random_seed(1)


def pictures(n, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, SIZE, SIZE, 3), np.uint8)


def splits() -> dict[str, Split]:
    sizes = {"train": 40, "validation": 35, "test": 33}
    return {
        name: Split(pictures(n, seed), np.arange(n) % 2, [""] * n, ("a", "b"))
        for seed, (name, n) in enumerate(sizes.items())
    }


def chain() -> keras.Sequential:
    """Of two blocks, a model within it, as pre-trained networks are laid out."""
    inside = keras.Sequential([keras.Input((SIZE, SIZE, 3)), layers.Rescaling(1 / 255)])
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3), dtype="uint8"),
            inside,
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPooling2D(name="first_end"),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(1, activation="sigmoid", dtype="float32", name="output"),
        ]
    )


@pytest.mark.bfloat16
@pytest.mark.parametrize("build", [chain, lambda: cnn2(SIZE, 3)])
def test_a_copy_computes_in_its_precision_and_puts_out_float32(build):
    model = build()
    before = [weights.copy() for weights in model.get_weights()]
    copy = in_precision(model, LOW)
    found, expected = copy(pictures(5)), model(pictures(5))
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    # Pictures, weights and results of two convolutions are rounded to bfloat16.
    assert_same_but_for_rounding(found, expected, 8 * UNIT["bfloat16"])
    assert np.any(np.asarray(found) != np.asarray(expected))
    assert keras.config.dtype_policy().name == "float32"
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def with_margin(model, images, margin):
    """Scores that leave each picture in its class, so far from the other one."""
    side = np.where(scores(model, images).argmax(axis=1) == 1, margin, -margin)
    return np.stack([0.5 - side / 2, 0.5 + side / 2], axis=1)


def test_float32_is_asked_for_the_closest_calls_alone():
    model, images = chain(), pictures(400)
    margins = np.random.default_rng(0).permutation(np.linspace(0.1, 1, 400))
    found = with_margin(model, images, margins)
    assert agreement(model, LOW, images, found).policy == LOW
    order = np.argsort(margins)
    for turned, policy in ((2, LOW), (3, "float32")):  # 0.5 % of 400 are 2
        other = found.copy()
        other[order[:turned]] = other[order[:turned], ::-1]
        tested = agreement(model, LOW, images, other)
        assert tested.policy == policy
        assert f"turns {turned} of the {CLOSEST} closest calls among 400" in tested.why
    far = found.copy()
    far[order[-1]] = far[order[-1], ::-1]
    assert "turns 0" in agreement(model, LOW, images, far).why  # rounding does not turn it


def test_scores_that_are_not_finite_do_not_agree():
    model, images = chain(), pictures(40)
    found = with_margin(model, images, 0.9)
    found[7] = np.nan
    assert agreement(model, LOW, images, found).policy == "float32"


@pytest.mark.bfloat16
@pytest.mark.parametrize("agrees", [True, False])
def test_a_model_is_tested_in_the_precision_that_it_agrees_in(monkeypatch, agrees):
    model, given = chain(), splits()
    monkeypatch.setattr("classifier.evaluation.inference.ALLOWED", 1 if agrees else -1)
    seen = look({"one": model}, given, features_of="one", policy=LOW)
    used = in_precision(model, LOW if agrees else "float32")
    assert seen.tested["one"].policy == (LOW if agrees else "float32")
    for name in ("validation", "test"):
        np.testing.assert_array_equal(seen.scores[name]["one"], scores(used, given[name].images))


@pytest.mark.parametrize("policy", ["float32", pytest.param(LOW, marks=pytest.mark.bfloat16)])
def test_features_that_training_kept_are_not_computed_again(monkeypatch, policy):
    model, given = chain(), splits()
    monkeypatch.setattr("classifier.evaluation.inference.ALLOWED", 1)
    whole = look({"one": model}, given, features_of="one", policy=policy)
    computed = []
    compute = features._compute

    def counting(folder, frozen, images, *others):
        computed.append(len(images))
        compute(folder, frozen, images, *others)

    monkeypatch.setattr(features, "_compute", counting)
    for expected in ([40, 35, 33], []):
        computed.clear()
        seen = look({"one": model}, given, "one", policy, {"one": "first_end"})
        assert sorted(computed) == sorted(expected)
        assert {table.dtype for table in seen.features.values()} == {np.dtype("float32")}
        for name in ("validation", "test"):
            np.testing.assert_array_equal(seen.scores[name]["one"], whole.scores[name]["one"])


BOTH = rounding(9 * 8, sums=4)  # of two convolutions, a dense layer and the mean


@pytest.mark.parametrize("frozen_up_to", [{}, {"one": "first_end"}])
def test_scores_may_be_means_over_a_picture_and_its_mirror_image(frozen_up_to):
    model, given = chain(), splits()
    plain = look({"one": model}, given, "one")
    seen = look({"one": model}, given, "one", "float32", frozen_up_to, flip=True)
    for name in ("validation", "test"):
        images = given[name].images
        both = scores(model, images), scores(model, images[:, :, ::-1])
        assert np.abs(both[0] - both[1]).max() > 0.01
        expected = sum(both) / 2
        assert_same_but_for_rounding(seen.scores[name]["one"], expected, BOTH)
        assert_same_but_for_rounding(scores(mirrored(model), images), expected, BOTH)
        assert_same_but_for_rounding(seen.features[name], plain.features[name], BOTH)


def test_calls_of_means_are_held_against_means(monkeypatch):
    asked = []

    def agrees(model, policy, images, found):
        asked.append((scores(model, images), found))
        return Inference(policy, "")

    monkeypatch.setattr("classifier.evaluation.scores.agreement", agrees)
    look({"one": chain()}, splits(), "one", flip=True)
    assert_same_but_for_rounding(*asked[0], BOTH)
