"""What the report's charts draw, read back from their shapes."""

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from classifier.base.family import PALETTE
from classifier.report import charts
from classifier.report.charts import HEIGHT, WIDTH, Chart

NUMBER = r"-?[\d.]+(?:e-?\d+)?"


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(NUMBER, text)]


def marks(chart: Chart, kind: str) -> list[dict[str, Any]]:
    """The attributes of a chart's shapes of a kind, as Vega calls it, in their order."""
    tree = ElementTree.fromstring(chart.svg)
    return [dict(one.attrib) for one in tree.iter() if one.get("aria-roledescription") == kind]


def line(mark: dict[str, Any]) -> np.ndarray:
    """The points of a line, float64 [points, 2], units of the plot."""
    return np.array(numbers(mark["d"])).reshape(-1, 2)


def place(mark: dict[str, Any]) -> list[float]:
    return numbers(mark["transform"])


def placed(points: Any, x: Any = (0, 1), y: Any = (0, 1)) -> np.ndarray:
    """Where points of these ranges belong, likewise."""
    across, up = np.array(points, float).T
    return np.stack([np.interp(across, x, (0, WIDTH)), np.interp(up, y, (HEIGHT, 0))], axis=1)


def near(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, atol=0.01)


def rows(names: str, *values: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [dict(zip(names.split(), row, strict=True)) for row in values]


ROC = rows("false_positive_rate true_positive_rate", (0, 0), (0, 0.5), (0.25, 0.75), (1, 1))
RELIABILITY = rows(
    "scores confidence accuracy low high count",
    ("raw", 0.75, 0.5, 0.4, 0.6, 9),
    ("calibrated", 0.6, 0.7, 0.55, 0.85, 9),
)
CURVE = rows(
    "epoch train_accuracy validation_accuracy train_loss validation_loss",
    (1, 0.6, 0.5, 0.7, 0.8),
    (2, 0.7, 0.75, 0.5, 0.4),
    (3, 1.0, 0.72, 0.0, 0.4),
)


def test_roc_curves_go_through_their_points_over_the_line_of_guessing():
    other = rows("false_positive_rate true_positive_rate", ("0", "0"), ("0.1", "0.9"), ("1", "1"))
    guessing, first, second = marks(charts.roc({"a": ROC, "b": other}, [0.75, 0.9]), "line mark")
    near(line(guessing), placed([(0, 0), (1, 1)]))
    near(line(first), placed([(0, 0), (0, 0.5), (0.25, 0.75), (1, 1)]))
    near(line(second), placed([(0, 0), (0.1, 0.9), (1, 1)]))


@pytest.mark.parametrize("models", [1, 2, 4, 7, 12])
def test_any_number_of_models_has_a_colour_each_in_their_order(models):
    names = [f"model {number}" for number in range(models)]
    chart = charts.roc(dict.fromkeys(names, ROC), [0.5] * models)
    strokes = [mark["stroke"] for mark in marks(chart, "line mark")[1:]]
    assert strokes == [PALETTE[number % len(PALETTE)] for number in range(models)]


def test_precision_holds_to_the_left_of_each_recall():
    table = rows("recall precision", (0.2, 1), (0.6, 0.75), (1, 0.5))
    (mark,) = marks(charts.precision_recall({"a": table}, [0.7]), "line mark")
    corners = re.findall(rf"([MLHV])({NUMBER}(?:,{NUMBER})?)", mark["d"])
    x, y, found = 0.0, 0.0, []
    for letter, ends in corners:
        if letter in "ML":
            x, y = numbers(ends)
        else:
            x, y = (float(ends), y) if letter == "H" else (x, float(ends))
        found.append((x, y))
    wanted = [(0.2, 1), (0.2, 0.75), (0.6, 0.75), (0.6, 0.5), (1, 0.5)]
    near(found, placed(wanted))


def test_reliability_has_a_point_at_each_accuracy_and_a_whisker_along_its_interval():
    chart = charts.reliability("a", 1, RELIABILITY)
    whiskers, points = marks(chart, "rule mark"), marks(chart, "point")
    near([place(one) for one in points], placed([(0.75, 0.5), (0.6, 0.7)]))
    near([place(one) for one in whiskers], placed([(0.75, 0.4), (0.6, 0.55)]))
    near([-float(one["y2"]) / HEIGHT for one in whiskers], [0.2, 0.3])
    assert [one["stroke"] for one in points] == ["#999", PALETTE[1]]
    assert "accuracy by confidence: 0.70 at 0.60." in chart.svg


def test_a_histogram_has_a_bar_as_high_as_each_count():
    table = rows(
        "lower upper label count",
        (0.0, 0.5, "cats", 30),
        (0.5, 1.0, "cats", 10),
        (0.5, 1.0, "dogs", 40),
    )
    chart = charts.histogram("a", table, "score of dogs")
    bars = [numbers(mark["d"]) for mark in marks(chart, "bar")]
    near([bar[3] / HEIGHT for bar in bars], [0.75, 0.25, 1])
    near([bar[0] / WIDTH for bar in bars], [0.5 / WIDTH, 0.5, 0.5])
    assert "gives the test pictures: 40 cats, 40 dogs." in chart.svg
    assert ">score of dogs<" in chart.svg


@pytest.mark.parametrize("label", ['a 6" pipe', "animals\\bird", "clip1", "<b>"])
def test_whatever_a_class_is_called_stands_on_its_axis(label):
    table = rows("lower upper label count", (0.0, 1.0, label, 1))
    chart = charts.histogram("a", table, f"score of {label}")
    texts = ElementTree.fromstring(chart.svg).itertext()
    assert f"score of {label}".replace("\\", "⧵") in texts


def test_a_class_that_is_called_as_an_identifier_of_vega_keeps_its_name():
    table = rows("actual predicted images share", *((f"clip{n}", "clip0", 1, 1) for n in range(3)))
    texts = list(ElementTree.fromstring(charts.confusion("a", 0, table).svg).itertext())
    assert {"clip0", "clip1", "clip2"} < set(texts)


@pytest.mark.parametrize(("measure", "kept"), [("accuracy", 0.72), ("loss", 0.4)])
def test_learning_curves_have_a_point_at_the_epoch_that_was_kept(measure, kept):
    # Two epochs are equally good to the digits of the file, and training kept the later.
    chart = charts.learning({"a": CURVE}, {"a": 3}, measure)
    (point,) = marks(chart, "point")
    validation = [row[f"validation_{measure}"] for row in CURVE]
    lines = {mark["stroke-dasharray"]: line(mark) for mark in marks(chart, "line mark")}
    near(place(point), lines["1,0"][2])
    steps = np.diff([row[f"train_{measure}"] for row in CURVE]) / np.diff(validation)[0]
    near(np.diff(lines["4,3"][:, 1]) / np.diff(lines["1,0"][:, 1])[0], steps)
    assert f"was kept: a {kept:.3f} in epoch 3." in chart.svg


def test_a_curve_of_one_epoch_shows_its_two_points():
    assert len(marks(charts.learning({"a": CURVE[:1]}, {"a": 1}, "loss"), "point")) == 2


def test_many_classes_have_a_cell_where_a_picture_is_and_on_their_diagonal():
    classes = [f"{number:03}" for number in range(120)]
    table = [
        {"actual": a, "predicted": p, "images": images, "share": images / 4}
        for i, a in enumerate(classes)
        for j, p in enumerate(classes)
        for images in [4 * (i == j) or 3 * (i == (j + 7) % 120)]
    ]
    chart = charts.confusion("a", 0, table)
    cells = marks(chart, "rect mark")
    assert len(cells) == 240
    assert not marks(chart, "text mark")
    corners = {tuple(numbers(cell["d"])[:2]) for cell in cells}
    assert sum(abs(x - y) < 0.1 for x, y in corners) == 120  # both axes in the classes' order
    assert "000 as 113: 3" in chart.svg


def test_descriptions_call_nothing_certain_that_is_not():
    curve = rows("epoch train_loss validation_loss", (1, 0.5, 0.0002), (2, 0.4, 0.3))
    table = rows("scores confidence accuracy low high", ("calibrated", 0.997, 0.996, 0.9, 1.0))
    for chart, said in (
        (charts.roc({"a": ROC, "b": ROC}, [0.9997, 1.0]), "under them: a &gt;0.999, b 1.000."),
        (charts.reliability("a", 0, table), "by confidence: &gt;0.99 at &gt;0.99."),
        (charts.learning({"a": curve}, {"a": 1}, "loss"), "was kept: a &lt;0.001 in epoch 1."),
    ):
        assert said in chart.svg


def test_equal_rows_make_equal_bytes_and_no_identifier_is_there_twice():
    drawn = [charts.reliability(name, n, RELIABILITY) for n, name in enumerate("ab")]
    again = [charts.reliability(name, n, RELIABILITY) for n, name in enumerate("ab")]
    assert drawn == again
    drawn.append(charts.confusion("a", 0, rows("actual predicted images share", ("x", "x", 1, 1))))
    found = re.findall(r'\bid="([^"]+)"', "".join(chart.svg for chart in drawn))
    assert len(found) == len(set(found)) > 0
