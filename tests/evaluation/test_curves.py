"""The rows behind the charts, by hand: no class, score or state stands in another one's place."""

import numpy as np
import pytest

from classifier.evaluation.curves import confusion_rows, reliability_rows, score_histogram


def two_columns(positive: list[float]) -> np.ndarray:
    return np.stack([1 - np.array(positive), positive], axis=1)


def test_a_confusion_row_has_the_actual_class_first_and_the_share_of_it():
    labels, scores = np.array([0, 0, 0, 1]), two_columns([0.1, 0.8, 0.9, 0.7])
    rows = confusion_rows(labels, scores, ["cat", "owl"])
    assert [tuple(row.values()) for row in rows] == [
        ("cat", "cat", 1, pytest.approx(1 / 3)),
        ("cat", "owl", 2, pytest.approx(2 / 3)),
        ("owl", "cat", 0, 0),
        ("owl", "owl", 1, 1),
    ]
    assert list(rows[0]) == ["actual", "predicted", "images", "share"]


def occupied(rows: list[dict]) -> list[tuple[float, str, int]]:
    return [(round(row["lower"], 2), row["label"], row["count"]) for row in rows if row["count"]]


def test_a_histogram_has_the_score_of_the_positive_class_under_the_true_one():
    labels, scores = np.array([0, 0, 1]), two_columns([0.12, 0.82, 0.97])
    classes = ["cat", "owl"]
    rows = score_histogram(labels, scores, classes)
    assert occupied(rows) == [(0.1, "cat", 1), (0.8, "cat", 1), (0.95, "owl", 1)]
    rows = score_histogram(labels, scores, classes, positive=0)
    assert occupied(rows) == [(0.15, "cat", 1), (0.85, "cat", 1), (0.0, "owl", 1)]


def test_a_histogram_of_many_classes_has_the_highest_score_of_the_right_and_the_wrong():
    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.28, 0.62]])
    rows = score_histogram(np.array([0, 1]), scores, ["a", "b", "c"])
    assert occupied(rows) == [(0.65, "right", 1), (0.6, "wrong", 1)]


def test_reliability_is_told_before_and_after_calibration():
    labels = np.array([1, 1, 0, 1])
    rows = reliability_rows(labels, two_columns([0.99] * 4), two_columns([0.75] * 4))
    assert [(row["scores"], row["count"], row["accuracy"]) for row in rows] == [
        ("raw", 4, 0.75),
        ("calibrated", 4, 0.75),
    ]
    assert [row["confidence"] for row in rows] == [pytest.approx(0.99), pytest.approx(0.75)]
    assert all(row["lower"] < row["confidence"] <= row["upper"] for row in rows)
    assert all(row["low"] < 0.75 < row["high"] for row in rows)
