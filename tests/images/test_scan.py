"""Every picture is read and decoded once, in other processes, in order."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from classifier.base.errors import UserError
from classifier.images.decode import Picture, decode
from classifier.images.scan import (
    AT_ONCE,
    Rejected,
    _results,
    _start_worker,
    cores,
    scan,
    write_rejected,
)
from tests.noise import png
from tests.projects import ROOT

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


def fails_slowly(data: bytes, picture: Picture) -> Seen:
    Path(f"{time.monotonic_ns()}.failed").touch()
    time.sleep(0.1)
    return fails(data, picture)


def unlinks(data: bytes, picture: Picture) -> str:
    """Take the archive's name away, so that nobody can open it again."""
    Path("images.zip").unlink(missing_ok=True)
    return "seen"


def waits_for_another(data: bytes, picture: Picture) -> int:
    """The process, once two of them have shown up."""
    Path(f"{os.getpid()}.working").touch()
    until = time.monotonic() + 20
    while len(list(Path().glob("*.working"))) < 2:
        assert time.monotonic() < until, "this process works alone"
        time.sleep(0.01)
    return os.getpid()


def dies(data: bytes, picture: Picture) -> None:
    """As a crash in a decoder written in C, or the system where memory runs out, ends a process."""
    if data == Path("deadly").read_bytes():
        os.kill(os.getpid(), signal.SIGKILL)
    if data == Path("slow").read_bytes():
        time.sleep(600)  # until the pool is ended


def takes_long(data: bytes, picture: Picture) -> None:
    Path(f"{os.getpid()}.working").touch()
    time.sleep(0.5)


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


def with_cores(monkeypatch, number):
    """Let a scan see so many cores."""
    cpus = set(range(number))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: cpus, raising=False)


def test_all_processes_work(tmp_path, members, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with_cores(monkeypatch, 2)
    archive = archive_of(Path("images.zip"), members)
    found = scan(archive, list(members), Path("all.npy"), waits_for_another, **OPTIONS)
    processes = {one for one in found if isinstance(one, int)}
    assert len(processes) == 2
    assert os.getpid() not in processes


@pytest.mark.parametrize(
    ("number", "slow", "deadly", "words"),
    [
        (1, "none", "0.png", "0.png to 31.png"),
        (1, "none", "50.png", "32.png to 63.png"),
        (1, "none", "70.png", "64.png to 70.png"),
        # One process sits in the first lot while the other has done the second.
        (2, "0.png", "70.png", "0.png to 70.png"),
    ],
)
def test_a_process_that_dies_is_told_in_one_line_with_what_was_in_work(
    tmp_path, members, monkeypatch, number, slow, deadly, words
):
    monkeypatch.chdir(tmp_path)
    with_cores(monkeypatch, number)
    Path("slow").write_bytes(members.get(slow, b""))
    Path("deadly").write_bytes(members[deadly])
    archive = archive_of(Path("images.zip"), members)
    with pytest.raises(UserError, match=f"decoded one of {words}: too little memory") as caught:
        scan(archive, list(members), Path("all.npy"), dies, **OPTIONS)
    assert "damaged" in str(caught.value)
    assert "data.limits.pixels" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_same_pictures_give_the_same_array(tmp_path, members):
    archive = archive_of(tmp_path / "images.zip", members)
    for name in ("1.npy", "2.npy"):
        scan(archive, list(members), tmp_path / name, seen, **OPTIONS)
    assert (tmp_path / "1.npy").read_bytes() == (tmp_path / "2.npy").read_bytes()


def test_a_bug_is_not_taken_for_a_bad_picture(tmp_path, members):
    archive = archive_of(tmp_path / "images.zip", members)
    with pytest.raises(ArithmeticError, match="a bug"):
        scan(archive, ["0.png"], tmp_path / "all.npy", fails, **OPTIONS)


def test_what_has_not_begun_when_a_bug_shows_up_is_not_done(tmp_path, members, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with_cores(monkeypatch, 1)
    archive = archive_of(Path("images.zip"), members)
    with pytest.raises(ArithmeticError, match="a bug"):
        scan(archive, 30 * AT_ONCE * ["0.png"], Path("all.npy"), fails_slowly, **OPTIONS)
    assert len(list(Path().glob("*.failed"))) < 10  # of 30 lots


def test_a_worker_opens_the_archive_once(tmp_path, members, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with_cores(monkeypatch, 1)
    archive = archive_of(Path("images.zip"), members)
    paths = [path for path in members if path not in ("3.png", "40.png", "41.png")]
    assert len(paths) > 2 * AT_ONCE  # so that the one worker takes several lots
    assert set(scan(archive, paths, tmp_path / "all.npy", unlinks, **OPTIONS)) == {"seen"}


def test_a_full_disk_is_told_before_anything_is_decoded(tmp_path, members, monkeypatch):
    def full(handle, start, length):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    archive = archive_of(tmp_path / "images.zip", members)
    with pytest.raises(OSError, match=r"No space left on device: .*all\.npy"):
        scan(archive, list(members), tmp_path / "all.npy", fails, **OPTIONS)


def test_where_the_system_does_not_say_which_cores_are_ours_all_are(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cores() == os.cpu_count()
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


SLOW_SCAN = """
import os
import sys
from pathlib import Path
from classifier.base.errors import one_line_errors
from classifier.images.scan import scan
from tests.images.test_scan import OPTIONS, takes_long
if __name__ == "__main__":
    os.sched_getaffinity = lambda process: {0, 1}  # two workers
    with one_line_errors():
        paths = [f"{i}.png" for i in range(3)] + [f"{i}.png" for i in range(42, 71)]
        lots = int(sys.argv[1])
        scan(Path("images.zip"), lots * paths, Path("all.npy"), takes_long, **OPTIONS)
"""


def slow_scan(folder, members, lots):
    """A long scan in another process, the head of a group, and its two workers."""
    archive_of(folder / "images.zip", members)
    started = subprocess.Popen(
        [sys.executable, "-c", SLOW_SCAN, str(lots)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A shell's background job ignores Ctrl-C, and so would all that it starts. No threads run
        # here that PLW1509 warns of.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    until = time.monotonic() + 120
    while not any(folder.glob("*.working")):
        assert started.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    return started, psutil.Process(started.pid).children()


def still_there(processes, seconds):
    """The processes that have not ended after so many seconds."""
    until = time.monotonic() + seconds
    left = processes
    while left and time.monotonic() < until:
        time.sleep(0.05)
        # Where process 1 collects no dead orphans, they stay listed as zombies.
        left = [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    return left


@pytest.mark.parametrize("lots", [1, 20])  # with one lot, one worker waits
def test_ctrl_c_ends_a_scan_at_once_and_without_a_trace(tmp_path, members, lots):
    started, workers = slow_scan(tmp_path, members, lots)
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does
    assert started.communicate(timeout=60)[0] == "interrupted\n"
    assert started.returncode == 130
    assert not still_there(workers, 20)


def short_work(lot):
    time.sleep(0.02)
    return [lot]


def test_a_worker_that_dies_while_a_scan_is_given_up_makes_no_trace(monkeypatch):
    traces = []
    monkeypatch.setattr(threading, "excepthook", traces.append)
    cancel = Future.cancel
    with ProcessPoolExecutor(2, initializer=_start_worker) as pool:

        def kill_all_after(future):
            cancelled = cancel(future)
            for worker in list(pool._processes.values()) if cancelled else ():
                worker.kill()
                worker.join()
            return cancelled

        results = _results(pool, short_work, [[(0, "a.png")]] * 100)
        next(results)
        monkeypatch.setattr(Future, "cancel", kill_all_after)
        results.close()
        time.sleep(0.1)
    assert not traces


def test_workers_do_not_outlive_a_scan_that_was_killed(tmp_path, members):
    started, workers = slow_scan(tmp_path, members, 20)
    started.kill()
    started.wait()
    left = still_there(workers, 20)
    for worker in left:
        worker.kill()
    started.communicate()
    assert not left


def test_what_is_left_out_is_listed_in_order(tmp_path):
    write_rejected(tmp_path / "rejected.csv", [("b.jpg", "empty file"), ("a.jpg", "no, not one")])
    content = (tmp_path / "rejected.csv").read_text(encoding="utf-8")
    assert content == 'path,reason\na.jpg,"no, not one"\nb.jpg,empty file\n'
