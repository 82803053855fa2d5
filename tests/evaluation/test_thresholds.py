import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_score, recall_score

from classifier.base.params import Evaluate
from classifier.evaluation.thresholds import at_threshold, choose, parse_goal


def scored(n=400, seed=1):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n)
    return labels, 1 / (1 + np.exp(-(2 * labels - 1 + generator.normal(0, 1.2, n))))


@pytest.mark.parametrize(
    ("stated", "kind", "target"),
    [
        (0.5, "fixed", 0.5),
        ("youden", "youden", 0.0),
        ("precision>=0.95", "precision", 0.95),
        ("recall>=.9", "recall", 0.9),
    ],
)
def test_what_params_yaml_may_say_is_read(stated, kind, target):
    assert Evaluate.model_validate({"threshold": stated, "positive": None, "flip": False})
    assert parse_goal(stated) == (kind, target)


@pytest.mark.parametrize("stated", ["", "f1", "precision", "precision>=", "f1>=0.5", "recall>=x"])
def test_nonsense_is_refused(stated):
    with pytest.raises(ValueError, match=r"goal|float"):
        parse_goal(stated)


def test_a_number_is_taken_as_it_is():
    labels, positive = scored()
    assert choose(labels, positive, 0.3).value == 0.3
    assert choose(labels, positive, 0.3).goal == "0.3"


def test_youden_is_the_best_of_all_thresholds():
    labels, positive = scored()

    def youden(value):
        called = positive >= value
        return called[labels == 1].mean() - called[labels == 0].mean()

    chosen = choose(labels, positive, "youden").value
    assert youden(chosen) == pytest.approx(max(youden(value) for value in positive))


@pytest.mark.parametrize("target", [0.7, 0.9, 0.95])
def test_a_precision_is_reached_with_the_highest_recall(target):
    labels, positive = scored()
    chosen = choose(labels, positive, f"precision>={target}")
    called = positive >= chosen.value
    assert chosen.reached
    assert precision_score(labels, called) >= target
    best = max(
        recall_score(labels, positive >= value)
        for value in positive
        if precision_score(labels, positive >= value) >= target
    )
    assert recall_score(labels, called) == best


@pytest.mark.parametrize("target", [0.5, 0.9, 0.95])
def test_a_recall_is_reached_with_the_highest_precision(target):
    labels, positive = scored()
    chosen = choose(labels, positive, f"recall>={target}")
    called = positive >= chosen.value
    assert chosen.reached
    assert recall_score(labels, called) >= target
    best = max(
        precision_score(labels, positive >= value)
        for value in positive
        if recall_score(labels, positive >= value) >= target
    )
    assert precision_score(labels, called) == best


def test_a_precision_that_no_threshold_reaches_is_said():
    labels = np.array([0, 0, 1, 0, 1, 0])
    positive = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    chosen = choose(labels, positive, "precision>=0.9")
    assert not chosen.reached
    assert "no threshold reaches precision>=0.9" in chosen.note
    assert "precision 0.400" in chosen.note
    assert precision_score(labels, positive >= chosen.value) == pytest.approx(0.4)


def test_the_threshold_lies_halfway_between_two_scores():
    labels, positive = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])
    assert choose(labels, positive, "youden").value == pytest.approx(0.5)
    assert choose(labels, positive, "precision>=0.95").value == pytest.approx(0.5)


def test_one_class_alone_gives_no_threshold():
    with pytest.raises(ValueError, match="one class alone"):
        choose(np.array([1, 1]), np.array([0.2, 0.9]), "youden")
    assert choose(np.array([1, 1]), np.array([0.2, 0.9]), 0.5).value == 0.5


def test_a_note_calls_nothing_certain_that_is_not():
    labels = np.repeat([0, 1], [3000, 3000])
    positive = np.where(labels == 1, 0.9, 0.1)
    positive[0] = 0.95
    note = choose(labels, positive, "recall>=0.9").note
    assert note == "precision >0.999 and recall 1.000 on 6000 images"


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.3, 0.3000000001, 0.9, 1.0])),
        min_size=2,
    ).filter(lambda rows: len({label for label, _ in rows}) == 2),
    st.sampled_from(["youden", "precision>=0.8", "recall>=0.8"]),
)
def test_the_note_tells_what_the_threshold_does_on_any_scores(rows, goal):
    labels, positive = (np.array(column) for column in zip(*rows, strict=True))
    chosen = choose(labels, positive, goal)
    called = positive >= chosen.value
    assert called.any()
    shown = f"precision {precision_score(labels, called):.3f} and recall "
    assert f"{shown}{recall_score(labels, called):.3f}" in chosen.note


def test_figures_at_the_threshold_agree_with_scikit_learn():
    labels, positive = scored(seed=2)
    figures = at_threshold(labels, positive, 0.7)
    called = positive >= 0.7
    assert figures["precision"]["value"] == pytest.approx(precision_score(labels, called))
    assert figures["recall"]["value"] == pytest.approx(recall_score(labels, called))
    assert figures["specificity"]["value"] == pytest.approx(
        recall_score(labels, called, pos_label=0)
    )
    assert figures["accuracy"]["value"] == pytest.approx((called == labels).mean())
    assert np.sum(figures["confusion"]) == len(labels)
    for name in ("accuracy", "precision", "recall", "specificity"):
        assert figures[name]["low"] < figures[name]["value"] < figures[name]["high"]


def test_a_threshold_that_nothing_passes_has_no_precision():
    labels, positive = scored()
    figures = at_threshold(labels, positive, 0.999999)
    assert figures["precision"]["value"] is None
    assert figures["recall"]["value"] == 0
