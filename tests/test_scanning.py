"""Every picture is read and decoded once, in other processes, in order."""

import hashlib
import io
import os
import zipfile
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from classifier.images import Picture, decode
from classifier.scanning import AT_ONCE, Rejected, scan

OPTIONS = {"size": 8, "resize": "squash", "max_pixels": 10_000}


@dataclass(frozen=True)
class Seen:
    sha256: str
    size: tuple[int, int]
    process: int


def seen(data: bytes, picture: Picture) -> Seen:
    digest = hashlib.sha256(data).hexdigest()
    return Seen(digest, (picture.width, picture.height), os.getpid())


def fails(data: bytes, picture: Picture) -> Seen:
    raise ArithmeticError("a bug")


def png(number: int, width: int = 12, height: int = 9) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


def archive_of(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.fixture(scope="module")
def members():
    number = 2 * AT_ONCE + 7  # the last lot is smaller
    members = {f"{i}.png": png(i) for i in range(number)}
    members["3.png"] = b"no picture"
    members["40.png"] = png(40)[:60]
    members["41.png"] = png(41, 200, 100)
    return members


def test_pictures_are_decoded_in_order_and_the_others_named(tmp_path, members):
    archive = archive_of(tmp_path / "images.zip", members)
    # Another order than the archive's, and one member that is not asked for.
    paths = sorted(set(members) - {"5.png"}, reverse=True)
    found = scan(archive, paths, tmp_path / "all.npy", seen, **OPTIONS)
    pixels = np.load(tmp_path / "all.npy")
    assert pixels.shape == (len(paths), 8, 8, 3)
    assert pixels.dtype == np.uint8
    assert len(found) == len(paths)
    for row, (path, one) in enumerate(zip(paths, found, strict=True)):
        if path in ("3.png", "40.png", "41.png"):
            assert isinstance(one, Rejected)
            assert not pixels[row].any()
        else:
            assert isinstance(one, Seen)
            assert one.sha256 == hashlib.sha256(members[path]).hexdigest()
            assert one.size == (12, 9)
            np.testing.assert_array_equal(pixels[row], decode(members[path], **OPTIONS).pixels)
    reasons = {
        path: one.reason
        for path, one in zip(paths, found, strict=True)
        if isinstance(one, Rejected)
    }
    assert "text" in reasons["3.png"]
    assert reasons["41.png"].startswith("too large: 200 x 100 pixels")


def test_all_processes_work(tmp_path, members):
    archive = archive_of(tmp_path / "images.zip", members)
    found = scan(archive, list(members), tmp_path / "all.npy", seen, **OPTIONS)
    processes = {one.process for one in found if isinstance(one, Seen)}
    assert os.getpid() not in processes
    assert 1 <= len(processes) <= len(os.sched_getaffinity(0))


def test_the_same_pictures_give_the_same_array(tmp_path, members):
    archive = archive_of(tmp_path / "images.zip", members)
    for name in ("1.npy", "2.npy"):
        scan(archive, list(members), tmp_path / name, seen, **OPTIONS)
    assert (tmp_path / "1.npy").read_bytes() == (tmp_path / "2.npy").read_bytes()


def test_a_bug_is_not_taken_for_a_bad_picture(tmp_path, members):
    archive = archive_of(tmp_path / "images.zip", members)
    with pytest.raises(ArithmeticError, match="a bug"):
        scan(archive, ["0.png"], tmp_path / "all.npy", fails, **OPTIONS)
