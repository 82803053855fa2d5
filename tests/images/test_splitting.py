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
from classifier.commands.demo import change_params
from classifier.images.duplicates import near_duplicates
from classifier.images.facts import Facts
from classifier.images.scan import Rejected
from classifier.images.splitting import (
    PREFIX,
    Decoded,
    choose,
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
