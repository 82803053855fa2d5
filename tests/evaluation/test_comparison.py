import numpy as np
import pytest
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar

from classifier.evaluation.comparison import (
    compare_models,
    exact_power,
    mcnemar_p,
    paired_interval,
    sample_size,
)
from tests.simulate_intervals import PAIRS, paired_coverage, paired_rejections


def from_right(right, labels):
    """Two-class scores that are right where `right` says so."""
    predicted = np.where(right, labels, 1 - labels)
    return np.eye(2)[predicted] * 0.8 + 0.1


def models(n, **only):
    """Models that are wrong on the given rows alone."""
    labels = np.arange(n) % 2
    rows = np.arange(n)
    return labels, {name: from_right(~np.isin(rows, wrong), labels) for name, wrong in only.items()}


def needed(only_a, only_b, n, **wanted):
    images = sample_size(only_a, only_b, n, **wanted)
    assert images is not None
    return images


def test_counts_difference_and_sign():
    labels, scores = models(100, baseline=range(30), augmented=range(20, 35))
    (found,) = compare_models(labels, scores)
    assert (found.a, found.b) == ("baseline", "augmented")
    assert (found.only_a, found.only_b) == (5, 20)
    assert found.difference == pytest.approx(0.15)
    assert found.low < 0.15 < found.high
    assert found.p_value == pytest.approx(mcnemar([[65, 5], [20, 10]], exact=True).pvalue)


def test_a_seen_difference_names_the_better_model_whichever_comes_first():
    labels, scores = models(500, worse=range(100), better=range(30))
    (forward,) = compare_models(labels, scores)
    (backward,) = compare_models(labels, dict(reversed(scores.items())))
    assert forward.sentence == backward.sentence
    assert forward.sentence.startswith(
        "of these two trained models better is better than worse by 14.0 points, 95 % interval "
    )
    assert forward.sentence.endswith(", p < 0.001")
    low, high = forward.sentence.split("interval ")[1].split(", p")[0].split(" to ")
    assert 0 < float(low) < 14 < float(high)


def test_an_unseen_difference_claims_nothing_and_says_what_would_be_needed():
    labels, scores = models(500, a=range(30), b=range(10, 34))
    (found,) = compare_models(labels, scores)
    assert found.p_value > 0.05
    assert found.sentence.startswith(
        "no difference in accuracy between a and b can be told at 500 test images"
    )
    assert found.needed is not None and found.needed > 500
    written = int(found.sentence.split("about ")[1].split(" would")[0].replace(",", ""))
    assert found.needed <= written <= 1.1 * found.needed


def test_equal_models_need_no_number_of_images():
    labels, scores = models(200, a=range(10), b=range(10))
    (found,) = compare_models(labels, scores)
    assert (found.p_value, found.p_holm, found.needed) == (1.0, 1.0, None)
    assert found.sentence.endswith("both are right on equally many")
    assert found.low < 0 < found.high


def test_the_corrected_p_decides():
    # 3 against 12: p = 0.035 alone, more than 0.05 with three models to compare.
    labels, scores = models(400, a=range(12), b=range(100, 103))
    (alone,) = compare_models(labels, scores)
    assert alone.p_value == pytest.approx(0.0352, abs=1e-4)
    assert "is better than" in alone.sentence
    scores["c"] = scores["b"]
    first = compare_models(labels, scores)[0]
    assert first.p_value == alone.p_value
    assert first.p_holm > 0.05
    assert first.sentence.startswith("no difference")
    assert first.needed is not None and first.needed > 400


def test_holm_over_three_pairs_by_hand():
    labels, scores = models(600, a=range(60), b=range(40), c=range(100, 145))
    found = compare_models(labels, scores)
    assert [(pair.a, pair.b) for pair in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    expected, floor = {}, 0.0
    for place, pair in enumerate(sorted(found, key=lambda pair: pair.p_value)):
        floor = max(floor, min(1.0, pair.p_value * (3 - place)))
        expected[pair.a, pair.b] = floor
    for pair in found:
        assert pair.p_holm == pytest.approx(expected[pair.a, pair.b])
        assert pair.needed == sample_size(pair.only_a, pair.only_b, 600, alpha=0.05 / 3)
    assert "corrected for 3 pairs" in found[0].sentence


def test_one_model_has_nothing_to_be_compared_with():
    assert compare_models(*models(10, only=[])) == []


@pytest.mark.parametrize(("b", "c", "n"), [(0, 0, 50), (5, 9, 100), (0, 8, 40), (50, 0, 50)])
def test_the_interval_turns_with_the_models(b, c, n):
    low, high = paired_interval(b, c, n)
    assert -1 <= low <= (c - b) / n <= high <= 1
    assert paired_interval(c, b, n) == pytest.approx((-high, -low), abs=1e-9)


def test_the_interval_agrees_with_the_limit_where_the_models_never_differ():
    # b = c = 0 gives ±z² / (n + z²), in closed form.
    z2 = 1.959963984540054**2
    assert paired_interval(0, 0, 100) == pytest.approx((-z2 / (100 + z2), z2 / (100 + z2)))


def test_the_interval_is_the_set_of_differences_that_the_score_test_keeps():
    b, c, n = 7, 19, 300
    low, high = paired_interval(b, c, n)

    def z(difference):
        # The restricted maximum of the trinomial likelihood, found by brute force.
        rate_b = np.linspace(max(0, -difference) + 1e-9, (1 - difference) / 2 - 1e-9, 400_001)
        rate_c = rate_b + difference
        likelihood = b * np.log(rate_b) + c * np.log(rate_c)
        likelihood += (n - b - c) * np.log1p(-rate_b - rate_c)
        best = rate_b[likelihood.argmax()]
        variance = n * (2 * best + difference - difference**2)
        return (c - b - n * difference) / np.sqrt(variance)

    assert z(low) == pytest.approx(1.96, abs=1e-3)
    assert z(high) == pytest.approx(-1.96, abs=1e-3)


def test_mcnemar_is_a_binomial_test_of_the_differing_images():
    assert mcnemar_p(3, 12) == pytest.approx(binomtest(3, 15).pvalue)
    assert mcnemar_p(7, 7) == 1.0
    assert mcnemar_p(0, 0) == 1.0


def test_the_exact_power_is_what_a_simulation_shows():
    generator = np.random.default_rng(1)
    drawn = generator.multinomial(400, [0.03, 0.07, 0.9], size=4000)
    rejected = [mcnemar_p(int(b), int(c)) <= 0.05 for b, c, _ in drawn]
    assert exact_power(0.03, 0.07, 400) == pytest.approx(np.mean(rejected), abs=0.02)


def test_the_power_under_a_true_null_is_the_level_at_most():
    for n in (20, 100, 500, 2000):
        assert exact_power(0.05, 0.05, n) <= 0.05


@pytest.mark.parametrize(("only_a", "only_b", "n"), [(5, 20, 100), (30, 40, 500), (0, 6, 500)])
def test_the_sample_size_suffices_and_is_not_wasteful(only_a, only_b, n):
    images = needed(only_a, only_b, n)
    assert exact_power(only_a / n, only_b / n, images) >= 0.8
    assert exact_power(only_a / n, only_b / n, int(0.97 * images)) < 0.8
    assert needed(only_b, only_a, n) == images
    assert needed(only_a, only_b, n, alpha=0.05 / 3) > images
    assert needed(only_a, only_b, n, power=0.9) > images


def test_no_difference_seen_gives_no_sample_size():
    assert sample_size(0, 0, 100) is None
    assert sample_size(9, 9, 100) is None
    assert sample_size(900, 901, 2500) is None  # a million would not do


@pytest.mark.parametrize("pair", PAIRS[:2])
def test_intervals_hold_the_true_difference_and_the_test_holds_its_level(pair):
    # A slice of `python -m tests.simulate_intervals`.
    for case in paired_coverage([500], [pair], repeats=3000, seed=1):
        assert 0.93 <= case.coverage <= 0.975, case
    for case in paired_rejections([500], [pair[0]], repeats=3000, seed=2):
        assert case.coverage <= 0.055, case
