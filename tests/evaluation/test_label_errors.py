import numpy as np
import pytest

from classifier.evaluation.label_errors import likely_wrong


def mixture(n, d, distance, seed, classes=2):
    """Features of a network that tells the classes apart, and the true labels."""
    generator = np.random.default_rng(seed)
    true = generator.integers(0, classes, n)
    centres = generator.normal(size=(classes, d)) * distance / np.sqrt(2 * d)
    return (centres[true] + generator.normal(size=(n, d))).astype(np.float32), true


@pytest.fixture(scope="module")
def mislabelled():
    features, true = mixture(1000, 128, 8, seed=1)
    wrong = np.random.default_rng(2).choice(1000, 20, replace=False)
    labels = true.copy()
    labels[wrong] = 1 - labels[wrong]
    return features, labels, set(wrong.tolist())


def test_flipped_labels_are_found_and_few_others(mislabelled):
    features, labels, wrong = mislabelled
    found = {suspect.index for suspect in likely_wrong(features, labels)}
    assert len(found & wrong) >= 17
    assert len(found - wrong) <= 3


def test_suspects_are_ranked_and_say_what_the_model_takes_them_for(mislabelled):
    features, labels, _ = mislabelled
    suspects = likely_wrong(features, labels)
    confidences = [suspect.confidence for suspect in suspects]
    assert confidences == sorted(confidences, reverse=True)
    assert all(0.5 < confidence <= 1 for confidence in confidences)
    for suspect in suspects:
        assert suspect.given == labels[suspect.index]
        assert suspect.suggested == 1 - suspect.given


def test_a_model_is_never_asked_about_an_image_it_was_fitted_on():
    # Labels that the features say nothing about: a model that saw them would agree with most.
    generator = np.random.default_rng(3)
    features = generator.normal(size=(80, 200))
    labels = generator.integers(0, 2, 80)
    assert len(likely_wrong(features, labels)) > 5


def test_correct_labels_of_well_separated_classes_raise_no_suspicion():
    features, labels = mixture(600, 64, 12, seed=4, classes=3)
    assert likely_wrong(features, labels) == []


def test_the_list_is_the_same_every_time(mislabelled):
    features, labels, _ = mislabelled
    assert likely_wrong(features, labels) == likely_wrong(features, labels)


def test_classes_too_small_to_judge_are_left_out_and_the_others_keep_their_numbers():
    features, true = mixture(200, 32, 12, seed=5)
    labels = np.where(true == 1, 4, 2)
    labels[:2] = 0, 7  # one image each
    wrong = [10, 40, 70, 100, 130]
    labels[wrong] = 6 - labels[wrong]
    suspects = likely_wrong(features, labels)
    assert len(suspects) >= 4
    for suspect in suspects:
        assert suspect.index in wrong
        assert (suspect.given, suspect.suggested) == (labels[suspect.index], 6 - suspect.given)
    assert likely_wrong(features[:5], np.array([0, 0, 0, 0, 1])) == []
