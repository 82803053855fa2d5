"""What the report's charts draw, read back from their paths."""

import re

import numpy as np
import pytest

from classifier.report import charts
from classifier.report.charts import BOTTOM, LEFT, RADIUS, RIGHT, TOP

HALF_A_DIGIT = 0.05 + 1e-9  # paths have one decimal


def drawn(path):
    """The points of each piece of a path, in units of the viewBox: float64 [points, 2] each."""
    pieces = path.removeprefix("M").replace("Z", "").split("M")
    return [
        np.array([[float(number) for number in pair.split(" ")] for pair in piece.split("L")])
        for piece in pieces
    ]


def centres(path):
    """Where a path of dots has them, likewise; a dot starts at its left edge."""
    starts = re.findall(rf"M([\d.-]+) ([\d.-]+)a{RADIUS} {RADIUS} 0 1 0", path)
    return np.array([(float(x) + RADIUS, float(y)) for x, y in starts]).reshape(-1, 2)


def placed(points, x, y):
    """Where points of these ranges belong: the first range from left to right, the other upward."""
    across, up = np.array(points, float).T
    return np.stack(
        [
            np.interp(across, x, (LEFT, RIGHT)),
            np.interp(up, y, (BOTTOM, TOP)),
        ],
        axis=1,
    )


def assert_drawn(found, points, x=(0, 1), y=(0, 1)):
    np.testing.assert_allclose(found, placed(points, x, y), atol=HALF_A_DIGIT, rtol=0)


def of(chart, model, style):
    """The path of a model in a style."""
    (path,) = [shape.path for shape in chart.shapes if (shape.model, shape.style) == (model, style)]
    return path


def rows(names, *values):
    return [dict(zip(names.split(), row, strict=True)) for row in values]


ROC = rows("false_positive_rate true_positive_rate", (0, 0), (0, 0.5), (0.25, 0.75), (1, 1))


def test_roc_curves_go_through_their_points_over_the_line_of_guessing():
    other = rows("false_positive_rate true_positive_rate", ("0", "0"), ("0.1", "0.9"), ("1", "1"))
    chart = charts.roc({"a": ROC, "b": other}, [0.75, 0.9])
    (line,) = drawn(of(chart, None, "reference"))
    assert_drawn(line, [(0, 0), (1, 1)])
    (line,) = drawn(of(chart, 0, "line"))
    assert_drawn(line, [(0, 0), (0, 0.5), (0.25, 0.75), (1, 1)])
    (line,) = drawn(of(chart, 1, "line"))
    assert_drawn(line, [(0, 0), (0.1, 0.9), (1, 1)])
    assert (chart.x_label, chart.y_label) == ("false positive rate", "true positive rate")


def test_precision_holds_to_the_left_of_each_recall():
    table = rows("recall precision", (0.2, 1), (0.6, 0.75), (1, 0.5))
    chart = charts.precision_recall({"a": table}, [0.7])
    (line,) = drawn(of(chart, 0, "line"))
    assert_drawn(line, [(0, 1), (0.2, 1), (0.2, 0.75), (0.6, 0.75), (0.6, 0.5), (1, 0.5)])
    assert (chart.x_label, chart.y_label) == ("recall", "precision")


RELIABILITY = rows(
    "scores confidence accuracy low high",
    ("raw", 0.75, 0.5, 0.4, 0.6),
    ("raw", 0.95, 0.9, 0.8, 0.95),
    ("calibrated", 0.6, 0.7, 0.55, 0.85),
)


@pytest.mark.parametrize(("classes", "lowest"), [(2, 0.5), (3, 0.0)])
def test_reliability_has_a_dot_at_each_accuracy_and_a_whisker_along_its_interval(classes, lowest):
    chart = charts.reliability("a", 1, RELIABILITY, classes)
    x = (lowest, 1)
    (line,) = drawn(of(chart, None, "reference"))
    assert_drawn(line, [(lowest, lowest), (1, 1)], x)
    assert_drawn(centres(of(chart, None, "dot before")), [(0.75, 0.5), (0.95, 0.9)], x)
    assert_drawn(centres(of(chart, 1, "dot after")), [(0.6, 0.7)], x)
    first, second = drawn(of(chart, None, "whisker before"))
    assert_drawn(first, [(0.75, 0.4), (0.75, 0.6)], x)
    assert_drawn(second, [(0.95, 0.8), (0.95, 0.95)], x)
    (only,) = drawn(of(chart, 1, "whisker after"))
    assert_drawn(only, [(0.6, 0.55), (0.6, 0.85)], x)
    assert "accuracy by confidence: 0.70 at 0.60." in chart.description


def test_descriptions_call_nothing_certain_that_is_not():
    curve = rows("epoch train_loss validation_loss", (1, 0.5, 0.0002), (2, 0.4, 0.3))
    table = rows("scores confidence accuracy low high", ("calibrated", 0.997, 0.996, 0.9, 1.0))
    for chart, said in (
        (charts.roc({"a": ROC, "b": ROC}, [0.9997, 1.0]), "under them: a >0.999, b 1.000."),
        (charts.precision_recall({"a": []}, [0.9996]), "average precision: a >0.999."),
        (charts.reliability("a", 0, table, 2), "by confidence: >0.99 at >0.99."),
        (charts.learning({"a": curve}, {"a": 1}, "loss"), "was kept: a <0.001 in epoch 1."),
    ):
        assert chart.description.endswith(said)


def test_a_histogram_has_a_bar_as_high_as_each_count_and_none_for_nothing():
    table = rows(
        "lower upper label count",
        (0.0, 0.5, "cats", 30),
        (0.5, 1.0, "cats", 10),
        (0.0, 0.5, "dogs", 0),
        (0.5, 1.0, "dogs", 40),
    )
    chart = charts.histogram("a", 2, table, ["cats", "dogs"], "score of dogs")
    first, second = drawn(of(chart, None, "bar plain"))
    assert_drawn(first, [(0, 0), (0, 30), (0.5, 30), (0.5, 0)], y=(0, 40))
    assert_drawn(second, [(0.5, 0), (0.5, 10), (1, 10), (1, 0)], y=(0, 40))
    (only,) = drawn(of(chart, 2, "bar"))
    assert_drawn(only, [(0.5, 0), (0.5, 40), (1, 40), (1, 0)], y=(0, 40))
    assert "gives the test pictures: 40 cats, 40 dogs." in chart.description
    assert (chart.x_label, chart.y_label) == ("score of dogs", "pictures")


def test_a_histogram_of_confidences_begins_where_they_do():
    table = rows("lower upper label count", (0.4, 0.7, "right", 1), (0.7, 1.0, "right", 2))
    chart = charts.histogram("a", 0, table, ["right"], "confidence")
    first, second = drawn(of(chart, None, "bar plain"))
    assert_drawn(first, [(0.4, 0), (0.4, 1), (0.7, 1), (0.7, 0)], (0.4, 1), (0, 2))
    assert_drawn(second, [(0.7, 0), (0.7, 2), (1, 2), (1, 0)], (0.4, 1), (0, 2))


CURVE = rows(
    "epoch train_accuracy validation_accuracy train_loss validation_loss",
    (1, 0.6, 0.55, 0.7, 0.8),
    (2, 0.7, 0.75, 0.5, 0.4),
    (3, 0.9, 0.72, 0.2, 0.6),
)


@pytest.mark.parametrize(
    ("measure", "y", "kept"), [("accuracy", (0.5, 1), 0.75), ("loss", (0, 0.8), 0.4)]
)
def test_learning_curves_have_a_dot_at_the_epoch_that_was_kept(measure, y, kept):
    chart = charts.learning({"a": CURVE[:1], "b": CURVE}, {"b": 2}, measure)
    x = (1, 3)
    for column, style in (("train", "line dashed"), ("validation", "line")):
        (line,) = drawn(of(chart, 1, style))
        assert_drawn(line, [(row["epoch"], row[f"{column}_{measure}"]) for row in CURVE], x, y)
    dots = [shape for shape in chart.shapes if shape.style == "dot"]
    assert [dot.model for dot in dots] == [1]
    assert_drawn(centres(dots[0].path), [(2, kept)], x, y)
    assert chart.description.endswith(f"was kept: b {kept:.3f} in epoch 2.")
    assert (chart.x_label, chart.y_label) == ("epoch", measure)


def test_an_accuracy_below_one_half_is_not_cut_off():
    table = rows("epoch train_accuracy validation_accuracy", (1, 0.31, 0.24), (5, 0.6, 0.5))
    chart = charts.learning({"a": table}, {"a": 5}, "accuracy")
    (line,) = drawn(of(chart, 0, "line"))
    assert_drawn(line, [(1, 0.24), (5, 0.5)], (1, 5), (0.2, 1))


def test_a_gap_in_a_curve_is_left_out():
    table = rows("epoch train_loss validation_loss", (1, "", 0.5), (2, 0.3, "nan"), (3, 0.2, 0.4))
    chart = charts.learning({"a": table}, {}, "loss")
    (line,) = drawn(of(chart, 0, "line"))
    assert_drawn(line, [(1, 0.5), (3, 0.4)], (1, 3), (0, 0.5))


@pytest.mark.parametrize(
    ("chart", "x", "y", "least"),
    [
        (charts.roc({"a": ROC}, [0.75]), (0, 1), (0, 1), (6, 6)),
        (charts.precision_recall({}, []), (0, 1), (0, 1), (6, 6)),
        (charts.reliability("a", 0, RELIABILITY, 2), (0.5, 1), (0, 1), (6, 6)),
        (
            charts.histogram(
                "a", 0, rows("lower upper label count", (0.0, 1.0, "x", 1234)), ["x"], "s"
            ),
            (0, 1),
            (0, 1234),
            (6, 3),
        ),
        (charts.learning({"a": CURVE}, {}, "accuracy"), (1, 3), (0.5, 1), (3, 6)),
    ],
    ids=lambda value: getattr(value, "title", None),
)
def test_ticks_lie_where_their_values_do(chart, x, y, least):
    for ticks, values, ends, enough in (
        (chart.x_ticks, x, (LEFT, RIGHT), least[0]),
        (chart.y_ticks, y, (BOTTOM, TOP), least[1]),
    ):
        assert len(ticks) >= enough
        for tick in ticks:
            assert values[0] <= float(tick.text) <= values[1]
            assert tick.at == pytest.approx(np.interp(float(tick.text), values, ends), abs=0.051)


def test_epochs_are_whole():
    chart = charts.learning({"a": CURVE[:2]}, {}, "accuracy")
    assert [tick.text for tick in chart.x_ticks] == ["1", "2"]
