import hashlib
import io
import itertools
import json
import random
import tracemalloc
from typing import Any

import imagehash
import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from classifier.images import quality
from classifier.images.decode import decode
from classifier.images.duplicates import (
    NEAR_DUPLICATE_DISTANCE,
    exact_duplicates,
    groups,
    large_groups,
    near_duplicates,
    tied,
)
from classifier.images.facts import Facts, facts
from classifier.images.overview import draw, wanted
from classifier.images.quality import Row, report

EDITS = {
    "encoded again": lambda picture: picture,
    "half the size": lambda picture: picture.resize((150, 110), Image.Resampling.BICUBIC),
    "double the size": lambda picture: picture.resize((600, 440), Image.Resampling.BICUBIC),
    "cropped by 2 %": lambda picture: picture.crop((3, 2, 297, 218)),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.15),
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.8),
    "grey": lambda picture: picture.convert("L"),
    "more contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(1.2),
    "a little blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(1)),
}


def scene(seed):
    """A picture with structure at all scales, as photographs have, 300 x 220."""
    rng = np.random.default_rng(seed)
    total = np.zeros((220, 300, 3))
    for cells in (3, 6, 12, 24):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells + 1, 3), np.uint8))
        total += np.asarray(noise.resize((300, 220), Image.Resampling.BICUBIC)) / cells
    total = 40 + 160 * (total - total.min()) / np.ptp(total)
    return Image.fromarray(total.astype(np.uint8))


def encoded(picture, quality=90):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def facts_of(picture, **options):
    data = encoded(picture, **options)
    return facts(data, decode(data, 96, "squash", 10**7))


def bits(a, b):
    return (a.hash ^ b.hash).bit_count()


def made(**changes):
    values: dict[str, Any] = {
        "sha256": "0",
        "width": 300,
        "height": 200,
        "format": "JPEG",
        "mode": "RGB",
        "brightness": 120.0,
        "sharpness": 300.0,
        "hash": 0,
    }
    return Facts(**(values | changes))


def test_facts_are_those_of_the_file_and_of_the_shown_picture():
    picture = scene(1)
    data = encoded(picture.convert("L"))
    shown = decode(data, 96, "squash", 10**7)
    found = facts(data, shown)
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert (found.width, found.height, found.format, found.mode) == (300, 220, "JPEG", "L")
    assert found.brightness == pytest.approx(shown.pixels.mean(), abs=0.01)
    assert 0 <= found.hash < 2**64
    assert isinstance(found.hash, int)
    assert found == facts(data, shown)


def test_the_hash_is_imagehashs_but_for_a_few_bits():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        detail = Image.fromarray(rng.integers(0, 256, (60, 60, 3), np.uint8))
        data = encoded(Image.blend(scene(seed), detail.resize((300, 220)), 0.4))
        shown = decode(data, 180, "squash", 10**7)
        hashed = str(imagehash.phash(Image.fromarray(shown.pixels)))
        assert (facts(data, shown).hash ^ int(hashed, 16)).bit_count() <= 4


def test_brightness_runs_from_black_to_white():
    levels = [facts_of(Image.new("RGB", (50, 50), (v, v, v))).brightness for v in (0, 90, 255)]
    assert levels == pytest.approx([0, 90, 255], abs=0.5)


def test_sharpness_is_the_variance_of_the_laplacian():
    board = (np.indices((96, 96)).sum(0) % 2 * 100).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(board).save(file, "PNG")
    found = facts(file.getvalue(), decode(file.getvalue(), 96, "squash", 10**7))
    # Every inner pixel differs from its four neighbours by 100: the Laplacian is +400 or -400.
    assert found.sharpness == pytest.approx(400**2)
    sharp = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96), np.uint8))
    blurred = [facts_of(sharp.filter(ImageFilter.GaussianBlur(r))).sharpness for r in (0, 1, 4)]
    assert blurred[0] > blurred[1] > blurred[2]
    assert facts_of(Image.new("RGB", (9, 9))).sharpness == 0


@pytest.mark.parametrize("size", [1, 2, 8, 180])
def test_facts_of_arrays_of_any_size(size):
    data = encoded(scene(1))
    assert facts(data, decode(data, size, "squash", 10**7)).width == 300


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_picture_is_a_near_duplicate(name):
    for seed in range(4):
        original, edited = scene(seed), EDITS[name](scene(seed))
        assert bits(facts_of(original), facts_of(edited, quality=60)) <= NEAR_DUPLICATE_DISTANCE


def test_different_pictures_are_no_near_duplicates():
    found = [facts_of(scene(seed)) for seed in range(30)]
    assert min(itertools.starmap(bits, itertools.combinations(found, 2))) > NEAR_DUPLICATE_DISTANCE


def test_exact_duplicates_are_grouped_in_order():
    assert exact_duplicates(["b", "a", "c", "a", "b", "a"]) == [[0, 4], [1, 3, 5]]
    assert exact_duplicates([]) == []


def brute(hashes, distance):
    numbers = [int(h) for h in hashes]
    return [
        (i, j)
        for i, j in itertools.combinations(range(len(numbers)), 2)
        if (numbers[i] ^ numbers[j]).bit_count() <= distance
    ]


def clustered(n, seed):
    """Distinct hashes of which many differ in a few bits, in random order."""
    rng = random.Random(seed)
    found: set[int] = set()
    while len(found) < n:
        word = rng.getrandbits(64)
        found.add(word)
        for _ in range(rng.randrange(4)):
            for _ in range(rng.randrange(1, 6)):
                word ^= 1 << rng.randrange(64)
            found.add(word)
    mixed = sorted(found)[:n]
    rng.shuffle(mixed)
    return np.array(mixed, np.uint64)


@pytest.mark.parametrize("distance", [0, 1, 6, 10])
@pytest.mark.parametrize("n", [0, 1, 2, 15, 16, 17, 33, 700])
def test_near_duplicates_are_those_of_comparing_all(n, distance):
    hashes = clustered(n, n)
    pairs = near_duplicates(hashes, distance)
    assert pairs.shape == (len(pairs), 2)
    hashes.sort()
    everything = [[hashes[i], hashes[j]] for i, j in brute(hashes, distance)]
    assert pairs.tolist() == everything


def test_near_duplicates_across_blocks_are_found():
    hashes = np.random.default_rng(0).integers(0, 2**63, 20_000, dtype=np.uint64)
    hashes[19_990] = hashes[3] ^ np.uint64(0b11_1111 << 58)  # just at the distance
    hashes[9_000] = hashes[19_999] ^ np.uint64(1 << 63)
    pairs = near_duplicates(hashes)
    near = {tuple(sorted(hashes[[i, j]].tolist())) for i, j in ((3, 19_990), (9_000, 19_999))}
    assert near <= {tuple(pair) for pair in pairs.tolist()}
    assert all(0 < (a ^ b).bit_count() <= 6 for a, b in pairs.tolist())


def components(pairs, n):
    """Of each of n numbers the smallest that a chain of pairs leads to."""
    least = list(range(n))
    changed = True
    while changed:
        changed = False
        for i, j in pairs:
            low = min(least[i], least[j])
            changed |= least[i] != low or least[j] != low
            least[i] = least[j] = low
    return least


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_those_of_all_pairs_with_equal_hashes_among_them(seed):
    hashes = np.random.default_rng(seed).choice(clustered(40, seed), 200)
    found = groups(hashes, near_duplicates(hashes))
    expected = components(brute(hashes, NEAR_DUPLICATE_DISTANCE), 200)
    assert found.tolist() == [sorted(set(expected)).index(one) for one in expected]


def test_equal_hashes_need_no_pairs():
    hashes = np.zeros(5000, np.uint64)
    assert len(near_duplicates(hashes)) == 0
    assert set(groups(hashes, near_duplicates(hashes)).tolist()) == {0}


def joined(pairs, n):
    """The groups of n pictures, of which these pairs are near each other."""
    return groups(np.arange(n, dtype=np.uint64), np.array(pairs, np.uint64).reshape(-1, 2))


def test_groups_are_chains_of_pairs_numbered_by_their_first_members():
    assert joined([(1, 4), (1, 3), (0, 5)], 7).tolist() == [0, 1, 2, 1, 1, 0, 3]
    assert joined([], 3).tolist() == [0, 1, 2]
    assert joined([], 0).tolist() == []


def test_a_large_group_is_not_tied_but_its_equal_files_are():
    labels = ["cat"] * 100 + ["dog"] * 100
    sha256s = [str(i) for i in range(200)]
    sha256s[7] = sha256s[2] = "same"
    group = joined([(i, i + 1) for i in range(7)] + [(150, 151), (20, 120)], 200)
    assert large_groups(group, labels) == [group[0]]
    bound = tied(group, labels, sha256s)
    together = [np.flatnonzero(bound == number).tolist() for number in np.unique(bound)]
    assert [members for members in together if len(members) > 1] == [[2, 7], [20, 120], [150, 151]]
    assert bound.tolist()[:4] == [0, 1, 2, 3]


def test_five_per_cent_of_a_class_are_still_tied():
    labels = ["cat"] * 100 + ["dog"] * 1000
    five = joined([(0, 1), (1, 2), (2, 3), (3, 4)], 1100)
    six = joined([(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)], 1100)
    assert large_groups(five, labels) == []
    assert large_groups(six, labels) == [0]
    # Six of 1,000 dogs are few.
    assert large_groups(joined([(100 + i, 101 + i) for i in range(5)], 1100), labels) == []


def test_a_pair_is_tied_even_in_a_tiny_class():
    assert large_groups(joined([(0, 1)], 6), ["cat"] * 3 + ["dog"] * 3) == []


def small_set():
    far = [0x0, 0x1, 0xFFFF_0000_FFFF_0000, 0xFFFF_0000_FFFF_0003, 0xAAAA_AAAA_AAAA_AAAA, 0x1 << 40]
    rows = [
        Row("cats/a.jpg", "cat", "train", made(sha256="1", hash=far[0])),
        Row("cats/b.jpg", "cat", "test", made(sha256="2", hash=far[1], brightness=3.0)),
        Row("cats/c.png", "cat", "train", made(sha256="3", hash=far[2], format="PNG", mode="P")),
        Row("dogs/d.jpg", "dog", "train", made(sha256="4", hash=far[3], sharpness=2.0)),
        Row("dogs/e.jpg", "dog", "test", made(sha256="5", hash=far[4], width=600, height=30)),
        Row("cats/f.jpg", "cat", "", made(sha256="1", hash=far[0], brightness=250.0)),
    ]
    rejected = [("dogs/z.jpg", "empty file"), ("cats/y.jpg", "truncated JPEG"), ("a", "empty file")]
    return rows, near_duplicates(np.array([row.facts.hash for row in rows], np.uint64)), rejected


def test_the_report_says_what_is_in_a_data_set():
    rows, pairs, rejected = small_set()
    found = report(rows, pairs, rejected)
    assert found["images"] == 6
    assert found["classes"] == {
        "cat": {"images": 4, "train": 2, "test": 1, "left_out": 1},
        "dog": {"images": 2, "train": 1, "test": 1, "left_out": 0},
    }
    assert found["class_imbalance"] == 2.0
    assert found["rejected"] == {
        "images": 3,
        "reasons": [
            {"reason": "empty file", "images": 2, "paths": ["a", "dogs/z.jpg"]},
            {"reason": "truncated JPEG", "images": 1, "paths": ["cats/y.jpg"]},
        ],
    }
    assert found["formats"] == {"JPEG": 5, "PNG": 1}
    assert found["modes"] == {"RGB": 5, "P": 1}
    assert found["dark"] == {"below": 35.0, "images": 1, "paths": ["cats/b.jpg"]}
    assert found["bright"] == {"above": 215.0, "images": 1, "paths": ["cats/f.jpg"]}
    assert found["blurred"] == {"below": 35.0, "images": 1, "paths": ["dogs/d.jpg"]}
    assert found["tiny"] == {"below": 64, "images": 1, "paths": ["dogs/e.jpg"]}
    assert found["width"]["max"] == 600 and found["width"]["50%"] == 300
    assert found["aspect_ratio"]["max"] == 20
    assert sum(map(sum, found["brightness"]["counts"].values())) == 6
    assert found["exact_duplicates"] == {
        "groups": 1,
        "images": 2,
        "groups_across_splits": 0,
        "groups_with_different_labels": 0,
        "listed": [
            {
                "images": 2,
                "paths": ["cats/a.jpg", "cats/f.jpg"],
                "labels": ["cat", "cat"],
                "parts": ["train", ""],
            }
        ],
    }


def test_the_report_shows_near_duplicates_across_splits_first():
    rows, pairs, rejected = small_set()
    near = report(rows, pairs, rejected)["near_duplicates"]
    listed = [(pair["paths"], pair["distance"], pair["same_bytes"]) for pair in near["listed"]]
    assert listed == [
        (["cats/a.jpg", "cats/b.jpg"], 1, False),
        (["cats/c.png", "dogs/d.jpg"], 2, False),
        (["cats/a.jpg", "cats/f.jpg"], 0, True),
        (["cats/b.jpg", "cats/f.jpg"], 1, False),
    ]
    del near["listed"]
    assert near == {
        "distance": 6,
        "pairs": 4,
        "pairs_across_splits": 1,
        "pairs_between": {"train-validation": 0, "train-test": 1, "validation-test": 0},
        "pairs_with_different_labels": 1,
        "groups": 2,
        "images": 5,
        "groups_across_splits": 1,
        "groups_with_different_labels": 1,
        "large_groups": [
            {
                "classes": {"cat": {"images": 3, "share": 0.75}},
                "images": 3,
                "paths": ["cats/a.jpg", "cats/b.jpg", "cats/f.jpg"],
            }
        ],
    }


def test_the_report_is_the_same_in_any_order():
    rows, _, rejected = small_set()
    texts = set()
    for seed in range(6):
        mixed, refused = list(rows), list(rejected)
        random.Random(seed).shuffle(mixed)
        random.Random(seed).shuffle(refused)
        pairs = near_duplicates(np.array([row.facts.hash for row in mixed], np.uint64))
        texts.add(json.dumps(report(mixed, pairs[::-1], refused)))
    assert len(texts) == 1


def test_of_three_equal_hashes_every_pair_counts_not_only_those_of_the_first():
    parts = {"a.jpg": "", "b.jpg": "test", "c.jpg": "train"}
    rows = [Row(path, path[0], part, made(sha256=path)) for path, part in parts.items()]
    near = report(rows, near_duplicates(np.zeros(3, np.uint64)))["near_duplicates"]
    assert near["pairs"] == near["pairs_with_different_labels"] == 3
    assert near["pairs_across_splits"] == near["pairs_between"]["train-test"] == 1
    assert near["listed"][0]["paths"] == ["b.jpg", "c.jpg"]


def dirty_set(seed, n=150):
    """Rows of few hashes, many of them equal, in all parts, and their paths in order."""
    rng = random.Random(seed)
    hashes = clustered(25, seed).tolist()
    return [
        Row(
            f"{i:03}.jpg",
            rng.choice("xyz"),
            rng.choice(["train", "train", "validation", "test", ""]),
            made(sha256=str(i), hash=rng.choice(hashes)),
        )
        for i in range(n)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_counts_and_the_list_are_those_of_going_through_all_pairs(seed):
    rows = dirty_set(seed, n=12 if seed % 2 else 150)  # with few pairs the list has them all
    hashes = np.array([row.facts.hash for row in rows], np.uint64)
    near = report(rows, near_duplicates(hashes))["near_duplicates"]

    couples = [(rows[i], rows[j]) for i, j in brute(hashes, NEAR_DUPLICATE_DISTANCE)]
    across = [(a, b) for a, b in couples if a.part and b.part and a.part != b.part]
    unlike = [(a, b) for a, b in couples if a.label != b.label]
    assert near["pairs"] == len(couples)
    assert near["pairs_across_splits"] == len(across)
    assert near["pairs_with_different_labels"] == len(unlike)
    for names, count in near["pairs_between"].items():
        assert count == sum({a.part, b.part} == set(names.split("-")) for a, b in across)
    # Of those across splits the classes do not matter.
    rank = [0 if one in across else 1 if one in unlike else 2 for one in couples]
    worst = [couples[k] for k in sorted(range(len(couples)), key=lambda k: rank[k])]
    assert [one["paths"] for one in near["listed"]] == [[a.path, b.path] for a, b in worst[:50]]


def test_a_large_lump_of_equal_hashes_takes_little_memory():
    rows = [
        Row(f"{i:05}.jpg", str(i % 7), ("train", "test", "")[i % 3], made(hash=i % 2 * 255))
        for i in range(6000)
    ]
    hashes = np.array([row.facts.hash for row in rows], np.uint64)
    report(rows[:9], near_duplicates(hashes[:9]))  # what is imported on the way does not count
    tracemalloc.start()
    near = report(rows, near_duplicates(hashes))["near_duplicates"]
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert near["pairs"] == 2 * (3000 * 2999 // 2)
    assert near["pairs_across_splits"] == 2 * 1000 * 1000
    assert most < 5e6  # the pairs themselves would take more than a hundred million bytes


def test_long_lists_end_and_say_how_many_there_are():
    rows = [
        Row(f"cats/{i:03}.jpg", "cat", "train", made(sha256=str(i), hash=7, brightness=i / 10))
        for i in range(120)
    ]
    rejected = [(f"cats/bad{i:03}", "empty file") for i in range(80)]
    found = report(rows, near_duplicates(np.full(120, 7, np.uint64)), rejected)
    assert found["dark"]["images"] == 120 and len(found["dark"]["paths"]) == 50
    assert found["dark"]["paths"][0] == "cats/000.jpg"
    assert found["near_duplicates"]["pairs"] == 120 * 119 // 2
    assert len(found["near_duplicates"]["listed"]) == 50
    assert len(found["rejected"]["reasons"][0]["paths"]) == 50
    assert found["rejected"]["images"] == 80
    assert len(json.dumps(found)) < 60_000


def test_the_thresholds_are_stated_in_the_report():
    found = report(*small_set())
    assert found["near_duplicates"]["distance"] == NEAR_DUPLICATE_DISTANCE
    assert {found["dark"]["below"], found["blurred"]["below"]} == {quality.DARK, quality.BLURRED}


def test_the_picture_of_a_report_is_the_same_every_time(tmp_path):
    found = report(*small_set())
    pixels = {path: np.full((32, 32, 3), 90, np.uint8) for path in wanted(found)}
    draw(found, pixels, tmp_path / "one.png")
    draw(json.loads(json.dumps(found)), pixels, tmp_path / "two.png")
    data = (tmp_path / "one.png").read_bytes()
    assert data == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.width >= 1000
        assert not {"Software", "Creation Time"} & set(picture.info)


def test_the_picture_of_a_report_does_not_depend_on_the_users_settings(tmp_path):
    found = report(*small_set())
    draw(found, {}, tmp_path / "plain.png")
    changes = {"font.size": 17, "axes.facecolor": "black", "savefig.bbox": "tight"}
    with matplotlib.rc_context(changes):
        draw(found, {}, tmp_path / "changed.png")
        assert matplotlib.rcParams["font.size"] == 17  # and leaves them as they are
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "changed.png").read_bytes()


def test_the_picture_shows_pairs_of_near_duplicates(tmp_path):
    found = report(*small_set())
    assert wanted(found)[:2] == ["cats/a.jpg", "cats/b.jpg"]
    pink = np.full((32, 32, 3), (255, 0, 200), np.uint8)
    draw(found, {"cats/a.jpg": pink}, tmp_path / "pink.png")
    with Image.open(tmp_path / "pink.png") as picture:
        shown = np.asarray(picture.convert("RGB"))
    # Twice: in the pair with b.jpg and in the pair with f.jpg.
    assert 10_000 < (shown == (255, 0, 200)).all(axis=2).sum() < 40_000


# Stricter, not laxer: matplotlib only warns of a character that its font lacks.
@pytest.mark.filterwarnings("error:Glyph")
def test_a_report_of_odd_names_can_be_drawn(tmp_path):
    rows = [
        Row(f"{name}/{i}.jpg", name, "train", made(sha256=str(i), hash=i % 2))
        for i in range(40)
        for name in ("$x^", "Katze_ü", "0猫", "a" * 90, *map(str, range(20)))
    ]
    pairs = near_duplicates(np.array([row.facts.hash for row in rows], np.uint64))
    rejected = [(f"{i}.jpg", f"damaged $PNG: {'x_' * 40} {i}") for i in range(9)]
    draw(report(rows, pairs, rejected), {}, tmp_path / "odd.png")
    assert (tmp_path / "odd.png").stat().st_size > 10_000
