"""What is said of the data is true, whatever was found."""

from dataclasses import replace

import numpy as np
import pytest

from classifier.images.duplicates import near_duplicates
from classifier.images.facts import Facts
from classifier.images.quality import Row, in_words, report
from classifier.report.findings import findings

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


def pictures(**counts: int) -> list[Row]:
    """So many ordinary training pictures of each class, none of which looks like another."""
    labels = [label for label, count in counts.items() for _ in range(count)]
    hashes = np.random.default_rng(0).integers(2**63, size=len(labels)).tolist()
    return [
        Row(f"{label}/{k}.jpg", label, "train", facts(k, one))
        for k, (label, one) in enumerate(zip(labels, hashes, strict=True))
    ]


def changed(number: int, part="train", label="cat", **other) -> list[Row]:
    """Ten pictures, the first `number` of which differ in this."""
    rows = pictures(cat=10)
    for k in range(number):
        rows[k] = Row(rows[k].path, label, part, replace(rows[k].facts, **other))
    return rows


def twins(*labels_and_parts: tuple[str, str]) -> list[Row]:
    """Pairs of files of the same bytes: the first in training, the second with these."""
    rows = []
    for k, (label, part) in enumerate(labels_and_parts):
        same = facts(k, 0x0F0F_0F0F << 8 * k)
        rows += [Row(f"{k}/a.jpg", "cat", "train", same), Row(f"{k}/b.jpg", label, part, same)]
    return rows


SAID = {
    "as many of each class": (
        pictures(cat=1000, dog=1000),
        "All classes have the same number of training pictures.",
        False,
    ),
    "nearly as many of each class": (
        pictures(cat=1000, dog=1004),
        "The largest class has 1,004 training pictures, the smallest 1,000.",
        False,
    ),
    "more of one class": (
        pictures(cat=100, dog=299, emu=150),
        "The largest class has 299 training pictures, the smallest 100: 2.99 for each one.",
        False,
    ),
    "far more of one class": (
        pictures(cat=100, dog=300, emu=150),
        "The largest class has 300 training pictures, the smallest 100: 3.00 for each one.",
        True,
    ),
    "twins": (twins(("cat", "train")), "2 files in 1 group are the same.", False),
    "twins of two labels": (
        twins(("dog", "train"), ("cat", "train")),
        "4 files in 2 groups are the same; 1 group carries different labels, of which one must be "
        "wrong.",
        True,
    ),
    "twins in two splits": (
        twins(("cat", "test"), ("cat", "validation"), ("cat", "train")),
        "6 files in 3 groups are the same; 2 groups lie across splits.",
        True,
    ),
    "lookalikes of two labels": (
        twins(("dog", "train")),
        "1 pair of pictures looks nearly the same; 1 pair carries different labels.",
        True,
    ),
    "a large group": (
        changed(3, hash=7),
        "3 pictures look so alike that they may share a background or a placeholder rather than a "
        "subject.",
        True,
    ),
    "dark": (
        changed(1, brightness=34.9),
        "1 picture is very dark (mean brightness below 35 of 255).",
        False,
    ),
    "bright": (
        changed(2, brightness=215.1),
        "2 pictures are very bright (mean brightness above 215 of 255).",
        False,
    ),
    "blurred": (
        changed(1, sharpness=34.9),
        "1 picture is blurred or without detail (variance of the Laplacian below 35).",
        False,
    ),
    "tiny": (
        changed(2, height=63),
        "2 pictures are tiny (shorter side below 64 pixels).",
        False,
    ),
    "nothing the same": (pictures(cat=10), "No two files are the same.", False),
    "nothing alike": (pictures(cat=10), "No two pictures look nearly the same.", False),
    "nothing left out": (pictures(cat=10), "Every file shows a picture.", False),
    "sizes": (
        changed(1, width=1200, format="PNG"),
        "Files: 9 JPEG, 1 PNG; 300 to 1,200 pixels wide (median 300), 200 to 200 high (median "
        "200).",
        False,
    ),
}


@pytest.mark.parametrize("what", SAID)
def test_each_finding_is_said_in_these_words_and_is_serious_where_figures_suffer(what):
    rows, text, serious = SAID[what]
    hashes = np.array([row.facts.hash for row in rows], np.uint64)
    all_found = findings(report(rows, near_duplicates(hashes)), drop_leaks=False)
    assert (text, serious) in [(finding.text, finding.serious) for finding in all_found]
    assert [finding.serious for finding in all_found] == sorted(
        (finding.serious for finding in all_found), reverse=True
    )


def test_nothing_is_said_of_a_kind_of_picture_that_is_not_there():
    rows = pictures(cat=10)
    hashes = np.array([row.facts.hash for row in rows], np.uint64)
    assert len(findings(report(rows, near_duplicates(hashes)), drop_leaks=False)) == 5


def test_the_log_counts_every_pair():
    rows = [Row(f"{k}.jpg", "cat", part, facts(k, 7)) for k, part in enumerate(("", *PARTS))]
    words = in_words(report(rows, near_duplicates(np.full(4, 7, np.uint64)))).splitlines()
    assert words == [
        "train: 1 picture: 1 cat",
        "validation: 1 picture: 1 cat",
        "test: 1 picture: 1 cat",
        "in no split: 1; rejected: 0; near-duplicates: 6 pairs, 3 across splits",
    ]
