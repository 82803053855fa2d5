"""One pass over the pictures: each is read, hashed, checked and decoded once, on all cores."""

import os
import signal
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache, partial
from itertools import zip_longest
from multiprocessing import parent_process
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from classifier.base.errors import UserError
from classifier.base.files import new_array, write_table
from classifier.images.decode import ALL_LEVELS, Levels, Picture, Undecodable, decode

Facts = TypeVar("Facts")
Found = TypeVar("Found")
Lot = Sequence[tuple[int, str]]  # rows of the array and paths

# Pictures a worker takes: few enough for the progress bar, many enough to be cheap.
AT_ONCE = 32


@dataclass(frozen=True)
class Rejected:
    """A file that is left out, and why."""

    reason: str


def scan(
    archive: Path,
    paths: Sequence[str],
    into: Path,
    examine: Callable[[bytes, Picture], Facts],
    *,
    size: int,
    resize: str,
    max_pixels: int,
    levels: Levels = ALL_LEVELS,
) -> list[Facts | Rejected]:
    """Decode every named member of an archive into one array, uint8 [n, size, size, 3].

    Args:
        archive: a zip archive.
        paths: of its members.
        into: an .npy file, which is written; a rejected picture's row stays black.
        examine: is given each picture's file and its decoded form, in another process.
        size: height and width of the decoded pictures, pixels.
        resize: squash, crop or pad.
        max_pixels: width times height of the largest picture that is decoded.
        levels: black and white of 16-bit grey.

    Returns:
        Of each picture what `examine` found, or why it was rejected.

    Raises:
        OSError: the disk has no room for the array.
        UserError: a process died, as a decoder's crash or too little memory makes one.
    """
    new_array(into, (len(paths), size, size, 3), np.uint8).flush()
    decoder = partial(decode, size=size, resize=resize, max_pixels=max_pixels, levels=levels)
    work = partial(_scan_some, archive=archive, into=into, examine=examine, decoder=decoder)
    numbered = list(enumerate(paths))
    lots = [numbered[i : i + AT_ONCE] for i in range(0, len(numbered), AT_ONCE)]
    found: list[Facts | Rejected] = []
    with (
        ProcessPoolExecutor(cores(), initializer=_start_worker) as pool,
        tqdm(total=len(paths), unit=" pictures", desc="decoding", disable=None) as bar,
    ):
        for some in _results(pool, work, lots):
            found += some
            bar.update(len(some))
    return found


def _results(
    pool: ProcessPoolExecutor, work: Callable[[Lot], list[Found]], lots: Sequence[Lot]
) -> Iterator[list[Found]]:
    """Yield what `work` makes of each lot, as pool.map does, but know which lots a death ended."""
    futures: list[Future[list[Found]]] = []
    # Ctrl-C reaches the workers too. They start with it held back, which they inherit, until
    # _start_worker has made it quiet.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        try:
            futures.extend(pool.submit(work, lot) for lot in lots)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for future in futures:
            yield future.result()
    except BrokenProcessPool as error:
        pairs = zip_longest(lots, futures)
        ended = [lot for lot, one in pairs if one is None or one.exception()]
        # Workers take lots in order: those in work were the first of these.
        in_work = [path for lot in ended[: cores()] for _, path in lot]
        raise UserError(
            f"a process died while it decoded one of {in_work[0]} to {in_work[-1]}: too little "
            "memory (lower data.limits.pixels) or a damaged file (remove it) may be the reason"
        ) from error
    finally:
        # What waits is left undone. Cancelled from here, a future would make the pool's own thread
        # stumble where it tells of a worker's death (Python 3.11).
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """Count the cores that this process may use; where the system does not say, all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start_worker() -> None:
    """Make a worker end without a word: on Ctrl-C, and when the process that it works for ends."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # Of a parent that was killed a worker hears nothing: it would wait for work for ever.
    parent = parent_process()
    assert parent
    parent.join()
    os._exit(1)


@cache
def _opened(archive: Path, into: Path) -> tuple[zipfile.ZipFile, NDArray[np.uint8]]:
    """Open the archive and the array, once in each worker, which lives for one scan.

    To open an archive takes as long as its list of members: for 25,000 of them a quarter of a
    second, too long for every lot.
    """
    return zipfile.ZipFile(archive), np.load(into, mmap_mode="r+")


def _scan_some(
    members: Lot,
    *,
    archive: Path,
    into: Path,
    examine: Callable[[bytes, Picture], Facts],
    decoder: Callable[[bytes], Picture],
) -> list[Facts | Rejected]:
    # The workers write into the file itself: pictures do not travel between processes.
    opened, pixels = _opened(archive, into)
    found: list[Facts | Rejected] = []
    for row, path in members:
        data = opened.read(path)
        try:
            picture = decoder(data)
        except Undecodable as reason:
            found.append(Rejected(str(reason)))
        else:
            pixels[row] = picture.pixels
            found.append(examine(data, picture))
    return found


def write_rejected(path: Path, rejected: Sequence[tuple[str, str]]) -> None:
    """Write path and reason of each file that was left out, sorted, as CSV."""
    write_table(path, ["path", "reason"], sorted(rejected))
