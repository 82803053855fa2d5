"""Parts of a data set are told by the words of a name."""

import pytest

from classifier.sources.naming import is_unlabelled, part_of


@pytest.mark.parametrize(
    ("name", "part", "rest"),
    [
        ("train", "train", ()),
        ("Training_Set", "train", ()),
        ("seg_train", "train", ("seg",)),
        ("testData", "test", ()),
        ("testset", "test", ()),
        ("test1", "test", ()),
        ("x-testing-02", "test", ("x",)),
        ("Val", "validation", ()),
        ("valid images", "validation", ()),
        ("dev", "validation", ()),
        ("eval", "validation", ()),
        ("trainLabels", "train", ("labels",)),
        ("train_val", "", ()),
        ("contest", "", ("contest",)),
        ("trained", "", ("trained",)),
        ("invalid", "", ("invalid",)),
        ("0", "", ()),
    ],
)
def test_a_part_is_told_by_whole_words(name, part, rest):
    assert part_of(name) == (part, rest)


@pytest.mark.parametrize("name", ["seg_pred", "Unlabeled", "unlabelled2", "single_prediction"])
def test_pictures_without_labels_are_told_by_their_names(name):
    assert is_unlabelled(name)
    assert not is_unlabelled("predator")
