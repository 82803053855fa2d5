import numpy as np
import pytest
from scipy.special import expit, softmax
from scipy.stats import norm
from sklearn.metrics import log_loss

from classifier.evaluation.calibration import (
    TEMPERATURES,
    apply_temperature,
    calibration_error,
    ece_if_calibrated,
    expected_calibration_error,
    fit_temperature,
    reliability,
)


def calibrated(n, k, seed, spread=2.0):
    """Labels drawn from the very scores."""
    generator = np.random.default_rng(seed)
    scores = softmax(generator.normal(0, spread, (n, k)), axis=1)
    labels = (generator.random((n, 1)) > scores.cumsum(axis=1)).sum(axis=1)
    return np.minimum(labels, k - 1), scores


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_spoiled_calibrated_scores_is_found(k, temperature):
    labels, honest = calibrated(20_000, k, seed=1)
    spoiled = apply_temperature(honest, 1 / temperature)
    fitted = fit_temperature(labels, spoiled)
    assert fitted == pytest.approx(temperature, rel=0.05)
    np.testing.assert_allclose(apply_temperature(spoiled, temperature), honest, atol=1e-9)


def test_the_fitted_temperature_has_the_least_log_loss_and_distance_from_one():
    labels, honest = calibrated(500, 3, seed=2)
    scores = apply_temperature(honest, 0.5)

    def cost(temperature):
        loss = log_loss(labels, apply_temperature(scores, temperature), normalize=False)
        return loss + (1 / temperature - 1) ** 2 / 2

    fitted = fit_temperature(labels, scores)
    for other in (0.5, 0.999 * fitted, 1.001 * fitted, 1.0, 5.0):
        assert cost(other) > cost(fitted)


def test_scaling_keeps_which_class_leads_and_makes_probabilities():
    _, scores = calibrated(100, 4, seed=3)
    for temperature in (0.1, 1.0, 10.0):
        scaled = apply_temperature(scores, temperature)
        assert (scaled.argmax(axis=1) == scores.argmax(axis=1)).all()
        np.testing.assert_allclose(scaled.sum(axis=1), 1)


def test_a_perfect_small_validation_split_leaves_the_scores_nearly_as_they_are():
    sure = np.tile([[0.95, 0.05], [0.1, 0.9]], (10, 1))
    temperature = fit_temperature(np.array([0, 1] * 10), sure)
    np.testing.assert_allclose(apply_temperature(sure, temperature)[:2], sure[:2], atol=0.1)
    assert 0.6 < apply_temperature(np.array([[0.6, 0.4]]), temperature)[0, 0] < 0.7


def honest_model(n, generator):
    """Labels, half of each class, and scores that are the true probabilities: 98.2 % are right."""
    labels = np.arange(n) % 2
    apart = 2 * norm.ppf(0.982)
    odds = (labels - 0.5) * apart**2 + apart * generator.normal(size=n)
    return labels, np.stack([expit(-odds), expit(odds)], axis=1)


def mean_loss_after_scaling(pictures, repeats, seed):
    """The test log loss of that model, scaled as so many validation pictures say, and unscaled."""
    generator = np.random.default_rng(seed)
    labels, scores = honest_model(20_000, generator)
    fitted = [fit_temperature(*honest_model(pictures, generator)) for _ in range(repeats)]
    losses = [log_loss(labels, apply_temperature(scores, temperature)) for temperature in fitted]
    return np.mean(losses), log_loss(labels, scores)


@pytest.mark.parametrize("pictures", [20, 80])
def test_few_validation_pictures_do_little_harm_to_an_honest_model(pictures):
    scaled, unscaled = mean_loss_after_scaling(pictures, repeats=40, seed=1)
    assert unscaled < scaled < 1.25 * unscaled


def test_scores_that_are_equal_or_certain_say_nothing_of_the_temperature():
    # The log loss is the same at each.
    assert fit_temperature(np.array([0, 1]), np.full((2, 2), 0.5)) == pytest.approx(1)
    assert fit_temperature(np.array([0, 1]), np.eye(2)) == pytest.approx(1)


def test_twenty_thousand_pictures_reach_the_last_temperatures_and_twenty_do_not():
    scores = np.tile([0.51, 0.49], (20_000, 1))
    right, wrong = np.zeros(20_000, int), np.ones(20_000, int)
    lowest, highest = TEMPERATURES
    assert fit_temperature(right, scores) == lowest < fit_temperature(right[:20], scores[:20])
    assert fit_temperature(wrong, scores) == highest > fit_temperature(wrong[:20], scores[:20])


def test_scores_of_exactly_zero_and_one_stay_finite():
    labels = np.array([0, 1, 1, 0])
    scores = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.8, 0.2]])
    scaled = apply_temperature(scores, fit_temperature(labels, scores))
    assert np.isfinite(scaled).all()


def test_calibration_error_of_a_hand_made_case():
    # (0.6, 0.667]: two images, confidence 0.65, one right; (0.867, 0.933]: two of 0.9, both right.
    scores = np.array([[0.65, 0.35], [0.35, 0.65], [0.9, 0.1], [0.1, 0.9]])
    labels = np.array([0, 0, 0, 1])
    assert expected_calibration_error(labels, scores) == pytest.approx(0.5 * 0.15 + 0.5 * 0.1)
    assert expected_calibration_error(labels, scores, bins=1) == pytest.approx(0.025)


def test_a_calibrated_model_shows_the_error_that_the_simulation_says():
    mean, high = ece_if_calibrated(calibrated(400, 3, seed=4)[1])
    errors = []
    for seed in range(300):
        generator = np.random.default_rng(1000 + seed)
        scores = calibrated(400, 3, seed=4)[1]
        labels = (generator.random((400, 1)) > scores.cumsum(axis=1)).sum(axis=1)
        errors.append(expected_calibration_error(np.minimum(labels, 2), scores))
    assert np.mean(errors) == pytest.approx(mean, rel=0.05)
    assert 0.02 < np.mean(np.array(errors) > high) < 0.09


def test_an_overconfident_model_shows_more_than_a_calibrated_one_would():
    labels, honest = calibrated(2000, 2, seed=5)
    spoiled = apply_temperature(honest, 0.4)
    assert expected_calibration_error(labels, spoiled) > ece_if_calibrated(spoiled)[1]
    assert expected_calibration_error(labels, honest) < ece_if_calibrated(honest)[1]


def test_more_images_show_a_calibrated_model_a_smaller_error():
    few, many = calibrated(200, 2, seed=6)[1], calibrated(20_000, 2, seed=6)[1]
    assert ece_if_calibrated(many, draws=50)[0] < ece_if_calibrated(few, draws=50)[0] / 3


def test_the_simulation_is_the_same_for_the_same_seed():
    scores = calibrated(300, 2, seed=7)[1]
    assert ece_if_calibrated(scores, seed=1) == ece_if_calibrated(scores, seed=1)
    assert ece_if_calibrated(scores, seed=1) != ece_if_calibrated(scores, seed=2)


def test_the_error_stands_beside_what_chance_alone_would_show():
    labels, scores = calibrated(300, 2, seed=7)
    found = calibration_error(labels, scores, seed=3)
    assert found["value"] == expected_calibration_error(labels, scores)
    assert (found["if_calibrated"], found["if_calibrated_95"]) == ece_if_calibrated(scores, seed=3)
    assert found["bins"] == len(reliability(labels, scores))


def test_the_reliability_table_adds_up_to_the_calibration_error():
    labels, scores = calibrated(1000, 3, seed=8)
    table = reliability(labels, scores)
    assert len(table) == 15
    assert sum(row.count for row in table) == 1000
    gaps = 0.0
    for row in table:
        if not row.count:
            assert row.accuracy is None and row.confidence is None and row.low is None
            continue
        assert row.accuracy is not None and row.confidence is not None
        assert row.low is not None and row.high is not None
        assert row.lower < row.confidence <= row.upper
        assert row.low <= row.accuracy <= row.high
        gaps += row.count * abs(row.accuracy - row.confidence)
    assert gaps / 1000 == pytest.approx(expected_calibration_error(labels, scores))


def test_full_confidence_lies_in_the_last_bin():
    table = reliability(np.array([0]), np.array([[1.0, 0.0]]), bins=10)
    assert [row.count for row in table] == [0] * 9 + [1]
    assert table[-1].lower == pytest.approx(0.9)


def test_two_classes_scale_as_their_log_odds_do():
    positive = np.array([0.2, 0.5, 0.99])
    scaled = apply_temperature(np.c_[1 - positive, positive], 2.0)[:, 1]
    np.testing.assert_allclose(scaled, expit(np.log(positive / (1 - positive)) / 2))


def test_a_confidence_on_an_edge_lies_in_the_bin_below():
    table = reliability(np.array([0]), np.array([[0.75, 0.25]]), bins=4)
    assert [row.count for row in table] == [0, 0, 1, 0]
