"""Every picture is in one split at most, every class in each split."""

import re
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifier.base.errors import UserError
from classifier.base.splits import SPLITS
from classifier.images.partition import (
    check_complete,
    lacking,
    least_sizes,
    numbered,
    predefined,
    random,
)


def counts(splits, labels) -> dict[tuple[str, str], int]:
    return dict(Counter(zip(splits, labels, strict=True)))


def alone(labels) -> range:
    """Groups of one picture each."""
    return range(len(labels))


def sizes(test, validation, train=None):
    return {"test": test, "validation": validation, "train": train}


def one_line(error) -> str:
    message = str(error.value)
    assert message.splitlines() == [message]
    return message


# predefined


def test_the_parts_of_the_source_are_kept():
    parts = ["train", "test", "validation", "train", ""]
    assert predefined(parts, ["a", "a", "a", "b", "b"], range(5), seed=1) == parts


def test_the_validation_part_is_halved_within_each_class_where_there_is_no_test_part():
    parts = ["train"] * 40 + ["validation"] * 40
    labels = ["cats", "dogs"] * 20 + ["cats"] * 30 + ["dogs"] * 10
    splits = predefined(parts, labels, alone(labels), seed=1)
    assert splits[:40] == parts[:40]
    assert counts(splits[40:], labels[40:]) == {
        ("validation", "cats"): 15,
        ("test", "cats"): 15,
        ("validation", "dogs"): 5,
        ("test", "dogs"): 5,
    }


def test_halving_depends_on_the_seed_alone():
    parts, labels = ["train"] * 2 + ["validation"] * 40, ["a", "b"] * 21
    first = predefined(parts, labels, alone(labels), seed=1)
    assert first == predefined(parts, labels, alone(labels), seed=1)
    assert first != predefined(parts, labels, alone(labels), seed=2)


def test_halving_draws_and_does_not_take_the_first_half():
    parts, labels = ["train"] + ["validation"] * 200, ["a"] * 201
    splits = predefined(parts, labels, alone(labels), seed=1)
    assert 30 < splits[1:101].count("test") < 70


def test_halving_keeps_groups_together():
    parts, labels = ["train"] * 2 + ["validation"] * 60, ["a", "b"] * 31
    groups = [i // 4 for i in range(62)]
    splits = predefined(parts, labels, groups, seed=1)
    for one, other in pairwise(range(2, 62)):
        assert groups[one] != groups[other] or splits[one] == splits[other]


def test_a_validation_part_is_made_where_there_is_none():
    parts, labels = ["train"] * 100 + ["test"] * 10, ["a", "b"] * 55
    splits = predefined(parts, labels, alone(labels), seed=1)
    assert splits[100:] == ["test"] * 10
    assert counts(splits[:100], labels[:100]) == {
        ("train", "a"): 40,
        ("train", "b"): 40,
        ("validation", "a"): 10,
        ("validation", "b"): 10,
    }


@pytest.mark.parametrize("each", [4, 40])
def test_a_part_that_is_made_has_something_of_each_class(each):
    """Of 30 classes of 4 pictures a fifth is less than one each; of 4 patients none fits."""
    labels = [f"{number:02}" for number in range(30) for _ in range(each)]
    parts = ["train"] * len(labels) + ["test"] * 30
    groups = [i // (each // 4) for i in range(len(labels))]
    groups += range(len(labels), len(labels) + 30)
    splits = predefined(parts, [*labels, *sorted(set(labels))], groups, seed=1)
    check_complete(splits, [*labels, *sorted(set(labels))])
    assert all(len({splits[i] for i, g in enumerate(groups) if g == one}) == 1 for one in groups)


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        (["", ""], "no parts"),
        (["train", "train"], "train"),
        (["test", "validation"], "test, validation"),
    ],
)
def test_without_the_folders_it_takes_predefined_is_refused(parts, found):
    with pytest.raises(UserError) as error:
        predefined(parts, ["a", "b"], range(2), seed=1)
    message = one_line(error)
    assert f"split.method is predefined, but the source has {found}:" in message
    assert "use split.method random or numbered" in message


# random


def test_fractions_are_of_all_pictures_and_stratified():
    labels = ["cats"] * 600 + ["dogs"] * 400
    splits = random(labels, alone(labels), sizes(0.25, 0.15), seed=1)
    assert counts(splits, labels) == {
        ("test", "cats"): 150,
        ("test", "dogs"): 100,
        ("validation", "cats"): 90,
        ("validation", "dogs"): 60,
        ("train", "cats"): 360,
        ("train", "dogs"): 240,
    }


def test_counts_are_of_pictures_and_the_rest_is_left_out():
    labels = ["cats"] * 60 + ["dogs"] * 40
    splits = random(labels, alone(labels), sizes(10, 20, 30), seed=1)
    assert Counter(splits) == {"test": 10, "validation": 20, "train": 30, "": 40}
    assert counts(splits, labels)["train", "cats"] == 18


def test_the_number_one_is_a_count_and_not_all():
    labels = ["a"] * 10
    assert Counter(random(labels, alone(labels), sizes(1, 1), seed=1))["test"] == 1


def test_random_depends_on_the_seed_alone():
    labels = ["a", "b"] * 50
    first = random(labels, alone(labels), sizes(0.2, 0.2), seed=1)
    assert first == random(labels, alone(labels), sizes(0.2, 0.2), seed=1)
    assert first != random(labels, alone(labels), sizes(0.2, 0.2), seed=2)


def test_a_larger_validation_split_leaves_the_test_split_as_it_is():
    labels = ["a", "b"] * 50
    one = random(labels, alone(labels), sizes(0.2, 0.1), seed=1)
    other = random(labels, alone(labels), sizes(0.2, 0.4), seed=1)
    assert [split == "test" for split in one] == [split == "test" for split in other]


def test_random_draws_from_everywhere():
    labels = ["a"] * 400
    splits = random(labels, alone(labels), sizes(0.5, 0.25), seed=1)
    assert 70 < splits[:200].count("test") < 130


@pytest.mark.parametrize("asked", [(60, 60, None), (0.5, 0.4, 0.3), (100, 0.5, None)])
def test_more_than_there_is_is_refused_in_one_line(asked):
    labels = ["a", "b"] * 50
    with pytest.raises(UserError) as error:
        random(labels, alone(labels), sizes(*asked), seed=1)
    assert "split.random asks for" in one_line(error)
    assert "but there are 100" in one_line(error)


@pytest.mark.parametrize("n", [6, 10, 30, 101, 2502, 25_000])
def test_fractions_that_add_up_to_one_use_every_picture(n):
    labels = [str(i % 2) for i in range(n)]
    for asked in ((0.25, 0.25, 0.5), (0.15, 0.35, 0.5), (0.25, 0.15, 0.6)):
        chosen = Counter(random(labels, alone(labels), sizes(*asked), seed=1))
        assert chosen[""] == 0
        for split, fraction in sizes(*asked).items():
            assert abs(chosen[split] - fraction * n) <= 1


@settings(deadline=None)  # a slow machine is no failure
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), min_size=20, max_size=80),
    st.integers(0, 5),
)
def test_groups_never_straddle_splits(pictures, seed):
    labels = [label for label, _ in pictures]
    groups = [group for _, group in pictures]
    splits = random(labels, groups, sizes(0.3, 0.2), seed)
    for group in set(groups):
        assert len({split for split, one in zip(splits, groups, strict=True) if one == group}) == 1
    assert set(splits) <= {*SPLITS, ""}
    assert splits.count("test") <= round(0.3 * len(labels))
    assert splits.count("validation") <= round(0.2 * len(labels))


@settings(deadline=None)  # a slow machine is no failure
@given(st.lists(st.sampled_from("abcd"), min_size=40, max_size=120), st.integers(0, 5))
def test_each_class_has_its_share_of_each_split(labels, seed):
    splits = random(labels, alone(labels), sizes(0.3, 0.2), seed)
    chosen = counts(splits, labels)
    for label, number in Counter(labels).items():
        # one is lost to the rounding of the split's size, another to that of the share
        assert abs(chosen.get(("test", label), 0) - 0.3 * number) < 2
        assert abs(chosen.get(("validation", label), 0) - 0.2 * number) < 2
        assert chosen.get(("", label), 0) == 0


# numbered


def test_the_last_number_in_the_file_name_chooses():
    ranges = {"train": "0-9", "validation": "10-14", "test": "15-24"}
    paths = {
        "cat/cat.0.jpg": "train",
        "cat/cat.9.jpg": "train",
        "cat/cat.10.jpg": "validation",
        "dog/dog.14.jpg": "validation",
        "dog/dog.15.jpg": "test",
        "dog/dog.24.jpg": "test",
        "dog/dog.25.jpg": "",
        "dog/none.jpg": "",
        "12/3.jpg": "train",
        "a/img_2020_0012.jpg": "validation",
    }
    assert dict(zip(paths, numbered(list(paths), ranges), strict=True)) == paths


def test_the_reference_ranges_hold_2500_pictures_of_each_class():
    paths = [f"{label}/{label}.{n}.jpg" for label in ("cat", "dog") for n in range(12_500)]
    ranges = {"train": "0-999", "validation": "1000-1499", "test": "1500-2499"}
    assert Counter(numbered(paths, ranges)) == {
        "train": 2000,
        "validation": 1000,
        "test": 2000,
        "": 20_000,
    }


# what concerns all methods


def test_a_class_that_a_split_lacks_is_refused_in_one_line():
    labels = ["a", "b"] * 3
    check_complete(["train", "train", "validation", "validation", "test", "test"], labels)
    with pytest.raises(UserError) as error:
        check_complete(["train", "train", "validation", "validation", "test", ""], labels)
    assert "no picture of class b is left for test" in one_line(error)


def test_where_the_sizes_are_too_small_the_advice_has_numbers_that_do():
    labels = ["a", "b"] * 3
    with pytest.raises(UserError) as error:
        check_complete(["train"] * 4 + ["test"] * 2, labels, least_sizes(labels, range(6), None, 1))
    assert "is left for validation (train 2, validation 0, test 1)" in one_line(error)
    assert one_line(error).endswith(": under split.random set validation: 2, test: 2 or more")


@pytest.mark.parametrize("counts", [(3, 3), (3, 100), (5, 40, 7), (4,) * 30, (3, 3, 3000)])
def test_the_sizes_of_the_advice_leave_no_class_out(counts):
    labels = [str(number) for number, count in enumerate(counts) for _ in range(count)]
    advice = least_sizes(labels, alone(labels), None, seed=1)
    validation, test = (
        int(number.replace(",", "")) for number in re.findall(r": ([\d,]+)", advice)
    )
    assert not lacking(random(labels, alone(labels), sizes(test, validation), 1), labels)


def test_a_class_of_two_pictures_is_too_small_for_three_splits():
    labels = ["a"] * 9 + ["b"] * 2
    assert least_sizes(labels, alone(labels), None, 1).startswith("b has 2 pictures, and each of 3")


def test_where_the_training_pictures_leave_no_room_the_advice_is_to_take_the_rest():
    labels = ["a"] * 996 + ["b"] * 4
    advice = least_sizes(labels, alone(labels), 0.8, seed=1)
    assert advice.endswith(" or more, train: null")
    assert "validation: 126, test: 126" in advice


def test_the_advice_goes_on_to_sizes_that_groups_fit_into():
    labels = [label for label in "ab" for _ in range(100)]
    patients = [i // 25 for i in range(200)]
    advice = least_sizes(labels, patients, None, seed=1)
    found = re.fullmatch(r"under split.random set validation: (\d+), test: (\d+) or more", advice)
    assert found
    n = int(found[1])
    assert not lacking(random(labels, patients, sizes(n, n), 1), labels)


def test_where_groups_leave_too_little_no_sizes_are_advised():
    labels = ["a", "b"] * 3
    assert "must stay together" in least_sizes(labels, [0] * 6, None, 1)
