import json
import math
import warnings

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn import metrics as sk

from classifier.evaluation.figures import details, headline, ranked_classes
from classifier.evaluation.intervals import (
    auc_interval,
    bootstrap,
    mean_of_proportions,
    proportion,
    wilson_of_spread,
)
from tests.simulate_intervals import draw, model_coverage, wilson_coverage

NAMES = ["cat", "dog", "eel", "fox", "gnu", "hen"]


def several(n=600, k=6, seed=1, digits=None):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, k, n)
    logits = generator.normal(size=(n, k))
    logits[np.arange(n), labels] += 1.5
    if digits is not None:
        logits = logits.round(digits)
    return labels, softmax(logits, axis=1)


def test_headline_has_exactly_the_six_figures_in_four_decimals():
    labels, scores = draw("normal", 0.9, 500, np.random.default_rng(1))
    figures = headline(labels, scores)
    bounds = binomtest(int((scores.argmax(1) == labels).sum()), 500).proportion_ci(method="wilson")
    assert list(figures) == ["accuracy", "accuracy_low", "accuracy_high", "loss", "roc_auc", "ece"]
    assert figures["accuracy"] == sk.accuracy_score(labels, scores.argmax(1))
    assert figures["accuracy_low"] == round(bounds.low, 4)
    assert figures["accuracy_high"] == round(bounds.high, 4)
    assert figures["loss"] == round(sk.log_loss(labels, scores), 4)
    assert figures["roc_auc"] == round(sk.roc_auc_score(labels, scores[:, 1]), 4)
    assert all(round(value, 4) == value for value in figures.values())


def test_headline_of_several_classes_ranks_each_against_the_rest():
    labels, scores = several()
    expected = sk.roc_auc_score(labels, scores, multi_class="ovr")
    assert headline(labels, scores)["roc_auc"] == round(expected, 4)


def test_two_classes_agree_with_scikit_learn():
    labels, scores = draw("logistic", 0.85, 400, np.random.default_rng(2))
    found = details(labels, scores, ["cat", "dog"], resamples=50)
    predicted = scores.argmax(1)
    close = pytest.approx
    assert found["accuracy"]["value"] == close(sk.accuracy_score(labels, predicted), abs=1e-12)
    assert found["log_loss"]["value"] == close(sk.log_loss(labels, scores), abs=1e-12)
    assert found["brier"]["value"] == close(np.mean((scores[:, 1] - labels) ** 2), abs=1e-12)
    assert found["roc_auc"]["value"] == close(sk.roc_auc_score(labels, scores[:, 1]), abs=1e-12)
    assert found["average_precision"]["value"] == close(
        sk.average_precision_score(labels, scores[:, 1]), abs=1e-12
    )
    assert found["confusion"] == sk.confusion_matrix(labels, predicted).tolist()
    assert found["top"] == {}
    assert "roc_auc" not in found["classes"]["cat"]


def test_several_classes_agree_with_scikit_learn():
    labels, scores = several()
    found = details(labels, scores, NAMES, resamples=50)
    predicted = scores.argmax(1)
    expected = {
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted),
        "log_loss": sk.log_loss(labels, scores),
        "brier": np.mean(((scores - np.eye(6)[labels]) ** 2).sum(axis=1)),
        "roc_auc": sk.roc_auc_score(labels, scores, multi_class="ovr"),
        "average_precision": sk.average_precision_score(np.eye(6)[labels], scores),
    }
    for name, value in expected.items():
        assert found[name]["value"] == pytest.approx(value, abs=1e-12), name
    macro = sk.precision_recall_fscore_support(labels, predicted, average="macro")
    for name, value in zip(("precision", "recall", "f1"), macro, strict=False):
        assert found["macro"][name]["value"] == pytest.approx(value, abs=1e-12)
    for k in (3, 5):
        value = sk.top_k_accuracy_score(labels, scores, k=k)
        assert found["top"][str(k)]["value"] == pytest.approx(value)
    per_class = sk.precision_recall_fscore_support(labels, predicted)
    for c, name in enumerate(NAMES):
        figures = found["classes"][name]
        for figure, values in zip(("precision", "recall", "f1", "images"), per_class, strict=True):
            value = figures[figure] if figure == "images" else figures[figure]["value"]
            assert value == pytest.approx(values[c], abs=1e-12)
        area = sk.roc_auc_score(labels == c, scores[:, c])
        assert figures["roc_auc"]["value"] == pytest.approx(area, abs=1e-12)


@pytest.mark.parametrize("data", ["two", "several"])
def test_every_interval_holds_its_value_and_all_is_plain_json(data):
    if data == "two":
        labels, scores = draw("normal", 0.9, 300, np.random.default_rng(3))
        names = ["cat", "dog"]
    else:
        (labels, scores), names = several(), NAMES
    found = details(labels, scores, names, resamples=400)
    assert json.loads(json.dumps(found, allow_nan=False)) == found

    def check(figures):
        if not isinstance(figures, dict):
            return 0
        if "low" in figures:
            assert 0 <= figures["low"] < figures["value"] < figures["high"], figures
            assert figures["method"]
            return 1
        return sum(check(figure) for figure in figures.values())

    assert check(found) >= 15


@pytest.mark.parametrize("digits", [None, 1, 0])
def test_each_resample_has_the_figures_that_scikit_learn_gives_it(digits):
    # Rounded scores are tied: a step of the curves, not an order.
    labels, scores = several(n=80, k=3, seed=4, digits=digits)
    samples = bootstrap(labels, scores, ranked_classes(labels, scores), seed=5, resamples=20)
    generator = np.random.default_rng(5)
    members = [np.flatnonzero(labels == c) for c in range(3)]
    drawn = [m[generator.integers(len(m), size=(20, len(m)))] for m in members]
    for row in range(20):
        rows = np.concatenate([d[row] for d in drawn])
        y, s = labels[rows], scores[rows]
        losses = -np.log(s[np.arange(80), y])
        variance = sum(losses[y == c].var() * (y == c).sum() for c in range(3)) / 80**2
        assert samples.log_loss[row] == pytest.approx([sk.log_loss(y, s), variance**0.5])
        brier = np.mean(((s - np.eye(3)[y]) ** 2).sum(axis=1))
        assert samples.brier[row, 0] == pytest.approx(brier)
        macro = sk.precision_recall_fscore_support(y, s.argmax(1), average="macro")
        assert samples.f1[row] == pytest.approx(macro[2])
        for c in range(3):
            area = sk.roc_auc_score(y == c, s[:, c])
            assert samples.roc_auc[row, c] == pytest.approx(area)
            precision = sk.average_precision_score(y == c, s[:, c])
            assert samples.average_precision[row, c] == pytest.approx(precision)


def test_resamples_vary_as_much_as_new_images_do():
    generator = np.random.default_rng(6)
    values = [headline(*draw("normal", 0.85, 300, generator))["roc_auc"] for _ in range(200)]
    labels, scores = draw("normal", 0.85, 300, generator)
    samples = bootstrap(labels, scores, ranked_classes(labels, scores), seed=1, resamples=2000)
    assert samples.roc_auc.std() == pytest.approx(np.std(values), rel=0.35)


def test_the_same_seed_gives_the_same_figures():
    labels, scores = draw("normal", 0.9, 200, np.random.default_rng(7))
    first = details(labels, scores, "ab", seed=1, resamples=100)
    assert first == details(labels, scores, "ab", seed=1, resamples=100)
    assert first != details(labels, scores, "ab", seed=2, resamples=100)


def test_a_model_without_mistakes_is_not_certain_of_anything():
    labels = np.arange(100) % 2
    positive = np.where(labels == 1, 0.9, 0.1) + np.linspace(-0.05, 0.05, 100)
    found = details(labels, np.c_[1 - positive, positive], "ab")
    for figure in (
        found["accuracy"],
        found["balanced_accuracy"],
        found["roc_auc"],
        found["average_precision"],
        found["macro"]["precision"],
        found["macro"]["f1"],
        found["classes"]["a"]["f1"],
    ):
        assert figure["value"] == 1.0 and figure["high"] == pytest.approx(1.0), figure
        assert 0.9 < figure["low"] < 0.99, figure


def test_a_model_that_is_always_wrong_has_intervals_from_zero():
    labels = np.arange(60) % 2
    positive = np.where(labels == 1, 0.1, 0.9)
    found = details(labels, np.c_[1 - positive, positive], "ab", resamples=100)
    for figure in (found["accuracy"], found["roc_auc"], found["macro"]["f1"]):
        assert figure["value"] == 0.0 and figure["low"] == pytest.approx(0.0, abs=1e-9)
        assert 0.0 < figure["high"] < 0.2, figure


def test_a_class_without_images_or_predictions_has_no_figure_and_spoils_none():
    labels, scores = several(n=90, k=3, seed=8)
    scores = np.c_[scores, np.zeros(90)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = details(labels, scores, ["a", "b", "c", "none"], resamples=50)
    without = details(labels, scores[:, :3], ["a", "b", "c"], resamples=50)
    assert found["classes"]["none"]["recall"]["value"] is None
    assert "roc_auc" not in found["classes"]["none"]
    for name in ("balanced_accuracy", "roc_auc", "average_precision", "accuracy"):
        assert found[name]["value"] == pytest.approx(without[name]["value"]), name
    assert found["macro"]["f1"]["value"] == pytest.approx(without["macro"]["f1"]["value"])


def test_a_class_that_is_never_predicted_has_no_precision_and_counts_as_zero_in_the_mean():
    labels = np.array([0, 0, 0, 1, 1, 2] * 10)
    scores = np.tile([0.5, 0.4, 0.1], (60, 1))
    scores[labels == 1] = [0.3, 0.6, 0.1]
    found = details(labels, scores, "abc", resamples=50)
    assert found["classes"]["c"]["precision"]["value"] is None
    assert found["classes"]["c"]["f1"]["value"] == 0.0
    assert found["macro"]["precision"]["value"] == pytest.approx((0.75 + 1 + 0) / 3)


@pytest.mark.parametrize(
    ("labels", "shape"), [([0, 0, 0], (3, 2)), ([0, 1], (3, 2)), ([0, 1, 0], (3, 1))]
)
def test_what_has_no_figures_is_refused(labels, shape):
    with pytest.raises(ValueError, match=r"classes|fit"):
        headline(np.array(labels), np.full(shape, 0.5))


def test_names_must_fit_the_columns():
    labels, scores = several(n=50, k=3)
    with pytest.raises(ValueError, match="2 class names for 3 columns"):
        details(labels, scores, ["a", "b"])


def test_equal_losses_leave_nothing_open():
    labels = np.arange(20) % 2
    found = details(labels, np.full((20, 2), 0.5), "ab", resamples=20)
    assert found["log_loss"]["value"] == pytest.approx(np.log(2))
    assert found["log_loss"]["low"] == pytest.approx(np.log(2))
    assert found["log_loss"]["high"] == pytest.approx(np.log(2))


def test_a_proportion_of_nothing_is_nothing():
    assert math.isnan(proportion(0, 0).value)


def test_an_auc_interval_follows_the_bootstrap_where_errors_are_many():
    samples = np.random.default_rng(9).normal(0.8, 0.02, 2000)
    figure = auc_interval(0.8, samples, 250, 250)
    assert figure.low == pytest.approx(0.8 - 1.96 * 0.02, abs=0.006)
    assert figure.high == pytest.approx(0.8 + 1.96 * 0.02, abs=0.006)


@pytest.mark.parametrize("spread", [0.02, 0.04])
def test_a_figures_interval_follows_the_bootstrap_where_errors_are_many(spread):
    samples = np.random.default_rng(9).normal(0.8, spread, 2000)
    figure = wilson_of_spread(0.8, samples, 500)  # a proportion of 500 has a spread of 0.018
    assert (figure.high - figure.low) / 2 == pytest.approx(1.96 * spread, rel=0.08)
    assert figure.low < 0.8 - 1.5 * spread < 0.8 + 1.5 * spread < figure.high


@pytest.mark.parametrize("images", [7, 100, 1000])
def test_an_interval_of_all_or_of_nothing_ends_there_exactly(images):
    assert wilson_of_spread(1.0, np.ones(9), images).high == 1.0
    assert wilson_of_spread(0.0, np.zeros(9), images).low == 0.0


def test_ranked_and_macro_figures_have_intervals_as_wide_as_their_own_resamples_spread():
    # Far from what a proportion of as many images would have: a third of the macro figures hangs on
    # 15 images.
    generator = np.random.default_rng(10)
    labels = np.repeat([0, 1, 2], [800, 800, 15])
    scores = softmax(generator.normal(size=(1615, 3)) + 1.5 * np.eye(3)[labels], axis=1)
    found = details(labels, scores, "abc", seed=3, resamples=1000)
    samples = bootstrap(labels, scores, ranked_classes(labels, scores), seed=3, resamples=1000)
    for figure, own in (
        (found["average_precision"], samples.average_precision.mean(axis=1)),
        (found["classes"]["a"]["average_precision"], samples.average_precision[:, 0]),
        (found["macro"]["f1"], samples.f1),
    ):
        width = figure["high"] - figure["low"]
        assert width == pytest.approx(2 * 1.96 * own.std(), rel=0.1), figure


@pytest.mark.parametrize(
    ("given", "recall"),
    [
        ([10] * 2, [0.9] * 2),
        ([50] * 10, [0.98] * 10),  # 87 of 100 by Wilson's intervals, squared and added
        ([20] * 50, [0.9] * 50),
        ([490, 10], [0.96, 0.96]),  # 31 by the variance of a proportion of all 500
        ([475, 25], [0.98, 0.8]),
        ([100, 50, 20, 10, 5], [0.95, 0.9, 0.9, 0.8, 0.7]),
    ],
)
def test_balanced_accuracy_holds_its_true_value_however_the_classes_are_sized(given, recall):
    generator = np.random.default_rng(12)
    held = []
    for _ in range(1000):
        found = mean_of_proportions(generator.binomial(given, recall), np.array(given))
        held.append(found.low <= np.mean(recall) <= found.high)
    assert 0.92 < np.mean(held) < 0.98


def test_a_mean_of_one_proportion_has_wilsons_interval():
    for hits in (0, 1, 488, 500):
        mean, one = mean_of_proportions(np.array([hits]), np.array([500])), proportion(hits, 500)
        assert (mean.value, mean.low, mean.high) == pytest.approx((one.value, one.low, one.high))


def test_a_mean_of_proportions_reaches_as_far_as_its_smallest_class_is_unknown():
    found = mean_of_proportions(np.array([490, 10]), np.array([490, 10]))
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx((1 + proportion(10, 10).low) / 2)
    none = mean_of_proportions(np.array([0, 0]), np.array([490, 10]))
    assert (none.value, none.low, none.high) == (0, 0, pytest.approx(1 - found.low))


@pytest.mark.filterwarnings("error")  # stricter: numpy only warns of a root of less than nothing
def test_a_mean_of_proportions_has_an_interval_where_all_is_right_however_many_there_are():
    for n in range(1, 2000):
        found = mean_of_proportions(np.array([n, n]), np.array([n, n]))
        assert 0 < found.low < found.high == 1


def test_a_class_that_is_never_called_has_a_precision_of_zero_without_doubt():
    found = mean_of_proportions(np.array([8, 0]), np.array([10, 0]))
    one = proportion(8, 10)
    assert (found.value, found.low, found.high) == pytest.approx(
        (one.value / 2, one.low / 2, one.high / 2)
    )


# Slices of `python -m tests.simulate_intervals`, which prints the full table.
@pytest.mark.parametrize("accuracy", [0.7, 0.9, 0.98])
@pytest.mark.parametrize("n", [500, 2000])
def test_wilson_holds_the_true_accuracy(n, accuracy):
    (case,) = wilson_coverage([n], [accuracy], repeats=20_000, seed=1)
    assert 0.93 <= case.coverage <= 0.97, case


# Of the figures whose bootstrap can't be wholly trusted this near 1; without it they would be 2.6
# and 4.7 (normal), 1.8 and 2.4 (logistic).
WIDEST = {
    "normal": {"ROC AUC": 2.1, "average precision": 3.3},
    "logistic": {"ROC AUC": 1.6, "average precision": 1.9},
}


@pytest.mark.parametrize("shape", WIDEST)
def test_the_intervals_hold_the_true_values_near_one_and_are_not_wider_for_nothing(shape):
    cases = list(model_coverage([500], [0.98], [shape], repeats=100, seed=2, resamples=200))
    assert len(cases) == 10
    for case in cases:
        assert case.coverage >= 0.87, case  # 0.93 less what 100 repeats leave open
        assert case.width is not None
        assert 0.8 < case.width < WIDEST[shape].get(case.what, 1.3), (case, case.width)
