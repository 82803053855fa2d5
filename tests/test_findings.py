"""What is said of the data is true, whatever was found."""

import numpy as np
import pytest

from classifier.findings import findings, in_words
from classifier.quality import Facts, Row, near_duplicates, report

PARTS = ("train", "validation", "test")


def facts(number: int, near: int) -> Facts:
    return Facts(str(number), 300, 200, "JPEG", "RGB", 120.0, 300.0, near)


def found(*parts: tuple[str, str], rejected=(), drop_leaks=False):
    """The findings of a data set with a pair of near-duplicates in each of these two parts."""
    alone = [2**16 - 1 << 16 * k for k in range(3)]
    rows = [Row(f"{part}.jpg", "cat", part, facts(k, alone[k])) for k, part in enumerate(PARTS)]
    for number, couple in enumerate(parts):
        for part in couple:
            k = len(rows)
            rows.append(Row(f"{k}.jpg", "cat", part, facts(k, 0x5555_5555 << 8 * number)))
    hashes = np.array([row.facts.hash for row in rows], np.uint64)
    return findings(report(rows, near_duplicates(hashes), rejected), drop_leaks)


def sentence(start: str, all_found) -> str:
    (one,) = [finding.text for finding in all_found if start in finding.text]
    return one


TRAIN_TEST, TRAIN_VALIDATION, VALIDATION_TEST = (
    ("train", "test"),
    ("train", "validation"),
    ("validation", "test"),
)
CLAIMS = {
    TRAIN_TEST: "1 pair lies in training and test: a model is tested on what it has all but seen",
    TRAIN_VALIDATION: "1 pair lies in training and validation: the epoch is chosen on what a model "
    "has all but seen",
    VALIDATION_TEST: "1 pair lies in validation and test: the test is not wholly apart from what "
    "the epoch is chosen on",
}
REMEDY = "split.drop_leaks: true leaves the training pictures of these out"


@pytest.mark.parametrize("parts", CLAIMS)
def test_of_a_pair_across_splits_only_what_is_true_is_said(parts):
    text = sentence("nearly the same", found(parts))
    assert [claim for claim in CLAIMS.values() if claim in text] == [CLAIMS[parts]]
    assert (REMEDY in text) == ("train" in parts)  # it would change nothing about the others


def test_the_three_kinds_of_pairs_across_splits_are_counted_apart():
    text = sentence("nearly the same", found(TRAIN_TEST, TRAIN_TEST, VALIDATION_TEST))
    assert text.startswith("3 pairs of pictures look nearly the same; 2 pairs lie in training and")
    assert CLAIMS[VALIDATION_TEST] in text
    assert CLAIMS[TRAIN_VALIDATION] not in text


def test_with_leaks_dropped_a_pair_of_validation_and_test_stays_and_that_is_said():
    all_found = found(VALIDATION_TEST, drop_leaks=True)
    text = sentence("nearly the same", all_found)
    assert f"{CLAIMS[VALIDATION_TEST]} (split.drop_leaks leaves out training pictures only)" in text
    assert all_found[0].text == text and all_found[0].serious


def test_pairs_within_a_split_are_nothing_serious():
    (one,) = [f for f in found(("train", "train"), ("", "test")) if "nearly" in f.text]
    assert one.text == "2 pairs of pictures look nearly the same."
    assert not one.serious


def test_files_are_left_out_for_more_reasons_than_that_they_show_no_picture():
    rejected = [("list.csv", "not in the list"), ("a.jpg", "empty file"), ("b.jpg", "empty file")]
    text = sentence("left out", found(rejected=rejected))
    assert text == "3 files were left out: 2 empty file; 1 not in the list."


def test_reasons_beyond_the_eighth_are_counted():
    rejected = [(f"{k}.{n}", f"reason {k}") for k in range(11) for n in range(20 - k)]
    text = sentence("left out", found(rejected=rejected))
    assert text.startswith("165 files were left out: 20 reason 0; 19 reason 1; ")
    assert text.endswith("; 13 reason 7; and 33 for other reasons.")


def test_the_log_counts_every_pair():
    rows = [Row(f"{k}.jpg", "cat", part, facts(k, 7)) for k, part in enumerate(("", *PARTS))]
    words = in_words(report(rows, near_duplicates(np.full(4, 7, np.uint64)))).splitlines()
    assert words == [
        "train: 1 picture: 1 cat",
        "validation: 1 picture: 1 cat",
        "test: 1 picture: 1 cat",
        "in no split: 1; rejected: 0; near-duplicates: 6 pairs, 3 across splits",
    ]
