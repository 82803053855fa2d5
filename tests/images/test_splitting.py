"""Which picture goes where, and what a run of the stage leaves behind."""

import errno
import io
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from classifier.base.errors import UserError
from classifier.base.params import load_params
from classifier.base.splits import read_split
from classifier.commands.demo import change_params
from classifier.images.decode import decode
from classifier.images.duplicates import near_duplicates, tied
from classifier.images.facts import Facts
from classifier.images.scan import Rejected
from classifier.images.splitting import (
    PREFIX,
    Decoded,
    check_classes_kept,
    choose,
    grouped,
    sort_out,
    without_leaks,
    working_folder,
)
from classifier.sources.dataset import Labelled, write_images, write_index
from stages import split
from tests.projects import ROOT

FAR = 0xFFFF_0000_FFFF_0000


def left(parts, hashes, labels=None):
    """What without_leaks makes of pictures of one class, unless told of several."""
    numbers = np.array(hashes, np.uint64)
    return without_leaks(parts, labels or ["cat"] * len(parts), hashes, near_duplicates(numbers))


def test_what_has_a_near_duplicate_in_validation_or_test_is_left_out_of_training():
    hashes = [0, 0, 1, FAR, FAR, FAR ^ 2**40, 0xAAAA]
    parts = ["train", "test", "train", "validation", "", "train", "train"]
    assert left(parts, hashes) == ["", "test", "", "validation", "", "", "train"]


def test_the_end_of_a_chain_stays_in_training():
    a, b, c = 0b0, 0b1_1111, 0b11_1111_1111  # a and b differ in five bits, a and c in ten
    assert left(["train", "train", "test"], [a, b, c]) == ["train", "", "test"]


def test_a_studio_background_keeps_the_training_pictures_that_are_unlike_those_held_out():
    chain = [2**k - 1 for k in range(0, 60, 3)]  # each near the next two, one group in all
    parts = ["train"] * 19 + ["test"]
    assert left(parts, chain) == ["train"] * 17 + ["", ""] + ["test"]


@pytest.mark.parametrize("seed", range(4))
def test_no_leak_is_left_and_nothing_is_left_out_without_one(seed):
    rng = np.random.default_rng(seed)
    hashes = [int(rng.choice([0, FAR, 2**50 - 1])) ^ 1 << int(rng.integers(64)) for _ in range(80)]
    hashes = [one ^ 7 << int(rng.integers(60)) for one in hashes] + [0x5A5A_5A5A_5A5A_5A5A]
    parts = [*rng.choice(["train", "train", "validation", "test", ""], 80).tolist(), "train"]
    after = left(parts, hashes)
    for i, part in enumerate(parts):
        leaks = part == "train" and any(
            (hashes[i] ^ hashes[j]).bit_count() <= 6
            for j, other in enumerate(parts)
            if other in ("validation", "test")
        )
        assert after[i] == ("" if leaks else part)


def test_a_class_that_would_lose_all_is_named_with_the_parameter():
    with pytest.raises(UserError, match=r"split\.drop_leaks leaves no picture of class dog"):
        left(["train", "train", "test"], [0, FAR, FAR], ["cat", "dog", "dog"])


def picture(path, label, part, hashed):
    facts = Facts(path, 90, 90, "PNG", "RGB", brightness=99.0, sharpness=99.0, hash=hashed)
    return Decoded(Labelled(path, label, part), 0, facts)


@pytest.mark.parametrize("drop", [False, True])
def test_leaks_are_dropped_when_params_say_so(tmp_path, drop):
    parts = 2 * ["train", "train", "validation", "test"]
    hashes = np.random.default_rng(0).integers(0, 2**63, len(parts), np.uint64)
    hashes[0] = hashes[7] ^ np.uint64(1)
    pictures = [
        picture(f"{k}.png", "cat" if k < 4 else "dog", part, int(hashes[k]))
        for k, part in enumerate(parts)
    ]
    shutil.copy(ROOT / "params.yaml", tmp_path)
    change_params(tmp_path / "params.yaml", {"split": {"method": "predefined", "drop_leaks": drop}})
    chosen = choose(pictures, near_duplicates(hashes), load_params(tmp_path / "params.yaml").split)
    assert chosen == (["", *parts[1:]] if drop else parts)


def test_what_is_left_out_keeps_its_reason_and_pictures_keep_their_rows():
    listed = [Labelled(f"{k}.jpg", "cat", "") for k in range(3)]
    facts = picture("x", "cat", "", 0).facts
    pictures, rejected = sort_out(
        listed, [facts, Rejected("empty file"), facts], [{"path": "z.txt", "reason": "a list"}]
    )
    assert [(one.picture.path, one.row) for one in pictures] == [("0.jpg", 0), ("2.jpg", 2)]
    assert rejected == [("z.txt", "a list"), ("1.jpg", "empty file")]


def test_the_folder_of_a_killed_run_is_deleted_and_nothing_else_is(tmp_path):
    killed = tmp_path / f"{PREFIX}killed"
    (killed / "done").mkdir(parents=True)
    (killed / "all.npy").write_bytes(b"pictures")
    others = [tmp_path / name for name in ("train.npy", ".mine", f"{PREFIX}file")]
    for one in others:
        one.write_bytes(b"")
    with working_folder(tmp_path) as ours:
        assert not killed.exists()
        assert ours.parent == tmp_path
        (ours / "all.npy").write_bytes(b"pictures")
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_a_run_leaves_the_folder_of_another_one_alone(tmp_path):
    with working_folder(tmp_path) as first, working_folder(tmp_path) as second:
        assert first.exists()
        assert second != first
    assert list(tmp_path.iterdir()) == []


def png(number):
    file = io.BytesIO()
    noise = np.random.default_rng(number).integers(0, 256, (12, 12, 3), np.uint8)
    Image.fromarray(noise).resize((90, 90)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with two classes of 12 pictures and one broken file, as download leaves them."""
    content = {
        f"{label}/{k:02}.png": png([len(label), k]) for label in ("cat", "horse") for k in range(12)
    }
    content["cat/broken.png"] = b""
    raw = tmp_path / "data/raw"
    write_images(raw / "images.zip", sorted(content.items()))
    write_index(raw / "images.csv", [Labelled(path, path.split("/")[0], "") for path in content])
    (raw / "dataset.json").write_text(json.dumps({"skipped": []}), encoding="utf-8")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    sizes = {"validation": 4, "test": 4, "train": None}
    change_params(
        tmp_path / "params.yaml",
        {"data": {"image_size": 78}, "split": {"method": "random", "random": sizes}},
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


RESULTS = [f"{name}.{kind}" for name in ("test", "train", "validation") for kind in ("csv", "npy")]


def splits_of(folder):
    return sorted(path.name for path in (folder / "data/splits").glob("*"))


def test_the_stage_writes_its_results_and_nothing_beside_them(project, capsys):
    split.main()
    assert splits_of(project) == sorted([*RESULTS, "report.json", "rejected.csv"])
    assert (project / "data/splits/train.npy").stat().st_mode & 0o777 == 0o644
    assert "in no split: 0; rejected: 1; near-duplicates: 0 pairs" in capsys.readouterr().out


def grey16(seed, brightest):
    """A PNG of 16-bit grey, dark and bright, whose brightest level is as given."""
    values = np.random.default_rng(seed).integers(0, brightest, (90, 90))
    values[40:50, 40:50] = brightest
    file = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(file, "PNG")
    return file.getvalue()


def replace_pictures(project, content):
    """Put other pictures in the place of the project's; each is labelled by its folder."""
    raw = project / "data/raw"
    write_images(raw / "images.zip", sorted(content.items()))
    write_index(raw / "images.csv", [Labelled(path, path.split("/")[0], "") for path in content])


def all_pixels(folder):
    """The array of each picture by its path."""
    found = {}
    for name in ("train", "validation", "test"):
        one = read_split(name, folder / "data/splits")
        found |= dict(zip(one.paths, one.images, strict=True))
    return found


@pytest.mark.parametrize(
    ("setting", "brightest", "white"),
    [
        ("auto", 4095, 4095),
        ("auto", 3000, 4095),
        ("auto", 16_383, 16_383),
        ("auto", 40_000, 65_535),
        ("auto", 200, 255),
        ("0-4095", 16_383, 4095),
        ("100-2000", 4095, 2000),
    ],
)
def test_16_bit_grey_is_scaled_by_the_range_of_the_whole_set(project, setting, brightest, white):
    content = {f"{k % 2}/{k:02}.png": grey16(k, brightest if k == 3 else 180) for k in range(12)}
    content["0/colour.png"] = png([1])
    replace_pictures(project, content)
    change_params(project / "params.yaml", {"data": {"grey16": setting}})
    split.main()
    black = 100 if setting == "100-2000" else 0
    report = json.loads((project / "data/splits/report.json").read_text())
    assert report["grey16"] == {"images": 12, "black": black, "white": white}
    pixels = all_pixels(project)
    for path, data in content.items():
        shown = decode(data, 78, "squash", 10**6, (black, white))
        np.testing.assert_array_equal(pixels[path], shown.pixels)
    means = [shown.mean() for shown in pixels.values()]
    assert report["brightness"]["mean"] == pytest.approx(np.mean(means), abs=0.5)
    assert pixels["1/03.png"].max() == min(255, round(255 * (brightest - black) / (white - black)))


def test_a_set_without_16_bit_grey_has_no_range(project):
    split.main()
    assert "grey16" not in json.loads((project / "data/splits/report.json").read_text())


def test_a_class_that_loses_every_picture_is_named_with_the_count_and_the_reason(project):
    heic = b"\0\0\0\x1cftypheic\0\0\0\0mif1heic"
    content = {f"{label}/{k}.png": png([k]) for label in "ab" for k in range(6)}
    content |= {f"bird/{k}.heic": heic for k in range(5)} | {"bird/x.jpg": b""}
    replace_pictures(project, content)
    with pytest.raises(UserError) as error:
        split.main()
    message = str(error.value)
    assert message.startswith(
        "class bird has none of its 6 pictures left, 5 for this reason: a HEIC picture, which is "
        "not read: convert it to JPEG; mend them"
    )
    assert "\n" not in message
    rejected = (project / "data/splits/rejected.csv").read_text()
    assert rejected.count("bird/") == 6


def test_a_class_that_keeps_one_picture_is_not_lost():
    facts = picture("x", "a", "", 0).facts
    listed = [Labelled("a/1", "a", ""), Labelled("a/2", "a", ""), Labelled("b/1", "b", "")]
    check_classes_kept(listed, [Rejected("empty file"), facts, facts])
    with pytest.raises(UserError, match="class b has none of its 1 picture left, 1 for"):
        check_classes_kept(listed, [Rejected("empty file"), facts, Rejected("empty file")])


def test_three_pictures_a_class_are_answered_with_sizes_that_do(project):
    replace_pictures(project, {f"{label}/{k}.png": png([k]) for label in "ab" for k in range(3)})
    sizes = {"validation": 0.15, "test": 0.25, "train": None}
    change_params(project / "params.yaml", {"split": {"random": sizes}})
    with pytest.raises(UserError, match="set validation: 2, test: 2 or more"):
        split.main()
    change_params(project / "params.yaml", {"split": {"random": {"validation": 2, "test": 2}}})
    split.main()


PATIENTS = {f"{label}/p{k // 4}_{k}.png": png([len(label), k]) for label in "ab" for k in range(40)}


def sides(folder, group_of):
    """In which splits each group's pictures are."""
    found: dict[str, set[str]] = {}
    for name in ("train", "validation", "test"):
        for path in read_split(name, folder / "data/splits").paths:
            found.setdefault(group_of(path), set()).add(name)
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("given", ["column", "pattern"])
def test_pictures_of_a_group_are_in_one_split(project, given, seed):
    """A patient has pictures in both classes here."""
    replace_pictures(project, PATIENTS)
    random = {"validation": 0.2, "test": 0.2}
    changes = {"seed": seed, "random": random}
    if given == "column":
        index = [Labelled(path, path[0], "", path[3]) for path in PATIENTS]
        write_index(project / "data/raw/images.csv", index)
    else:
        changes["group"] = r"/p(\d+)_"
    change_params(project / "params.yaml", {"split": changes})
    split.main()
    found = sides(project, lambda path: path[3])
    assert len(found) == 10
    assert all(len(one) == 1 for one in found.values())
    assert set().union(*found.values()) == {"train", "validation", "test"}
    report = json.loads((project / "data/splits/report.json").read_text())
    assert report["groups"] == {"groups": 10, "without": 0, "groups_across_splits": 0}


def test_without_groups_the_same_pictures_are_spread(project):
    replace_pictures(project, PATIENTS)
    split.main()
    assert any(len(one) > 1 for one in sides(project, lambda path: path[3]).values())


def test_a_pattern_that_is_found_nowhere_is_refused_and_pictures_without_it_are_alone():
    pictures = [Labelled(path, "a", "", "t") for path in ("a/s1_x.png", "a/s1_y.png", "a/z.png")]
    assert [one.group for one in grouped(pictures, r"(s\d+)")] == ["s1", "s1", ""]
    assert [one.group for one in grouped(pictures, "s1(_q)?")] == ["", "", ""]
    assert [one.group for one in grouped(pictures, None)] == ["t", "t", "t"]
    with pytest.raises(
        UserError, match=r"split.group is '\(qq\)', which is found in no path, such"
    ):
        grouped(pictures, "(qq)")


def test_a_near_duplicate_joins_two_groups_and_a_group_is_never_too_large_to_be_tied():
    labels, shas = ["a"] * 8, [str(k) for k in range(8)]
    near = np.array([0, 1, 2, 0, 3, 4, 5, 6])  # pictures 0 and 3 look alike
    given = ["p", "p", "", "q", "q", "", "", ""]
    assert tied(near, labels, shas, given).tolist() == [0, 0, 1, 0, 0, 2, 3, 4]
    assert tied(np.arange(8), labels, shas, ["p"] * 8).tolist() == [0] * 8


def filled_after(monkeypatch, arrays):
    """Make the disk full after so many arrays have taken their space."""
    number = itertools.count()

    def take(handle, start, length):
        if next(number) >= arrays:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", take, raising=False)


@pytest.mark.parametrize("arrays", range(4))  # that of all pictures, then those of the splits
def test_a_disk_that_gets_full_leaves_no_result_of_the_stage(project, monkeypatch, arrays):
    filled_after(monkeypatch, arrays)
    with pytest.raises(OSError, match=r"No space left on device: .*\.npy"):
        split.main()
    assert splits_of(project) == (["rejected.csv"] if arrays else [])


def test_a_disk_that_gets_full_leaves_the_results_of_another_run_together(project, monkeypatch):
    split.main()
    folder = project / "data/splits"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    change_params(project / "params.yaml", {"split": {"seed": 7}})
    filled_after(monkeypatch, arrays=2)
    with pytest.raises(OSError, match="No space left on device"):
        split.main()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def run_stage(**options):
    return subprocess.Popen(
        [sys.executable, "-m", "stages.split"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_no_room_for_the_pictures_ends_in_one_line(project):
    def no_large_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    started = run_stage(preexec_fn=no_large_files)
    errors = started.communicate(timeout=120)[1]
    assert started.returncode == 1
    assert errors.startswith("error: File too large")
    assert len(errors.splitlines()) == 1
    assert splits_of(project) == []


def test_what_a_killed_run_leaves_the_next_one_deletes(project):
    started = run_stage()
    until = time.monotonic() + 120
    while not any(name.startswith(PREFIX) for name in splits_of(project)):
        assert started.poll() is None and time.monotonic() < until
        time.sleep(0.001)
    started.send_signal(signal.SIGSTOP)
    assert any(name.startswith(PREFIX) for name in splits_of(project))
    started.kill()
    started.communicate(timeout=60)
    assert any(name.startswith(PREFIX) for name in splits_of(project))
    split.main()
    assert splits_of(project) == sorted([*RESULTS, "report.json", "rejected.csv"])
