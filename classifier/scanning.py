"""One pass over the pictures: each is read, hashed, checked and decoded once, on all cores."""

import os
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from classifier.images import Picture, Undecodable, decode

Facts = TypeVar("Facts")

AT_ONCE = (
    32  # pictures a worker takes: often enough for the progress bar, rarely enough to be cheap
)


@dataclass(frozen=True)
class Rejected:
    """A file that shows no picture, and why."""

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

    Returns:
        Of each picture what `examine` found, or why it was rejected.
    """
    shape = (len(paths), size, size, 3)
    np.lib.format.open_memmap(into, mode="w+", dtype=np.uint8, shape=shape).flush()
    work = partial(
        _scan_some,
        archive=archive,
        into=into,
        examine=examine,
        size=size,
        resize=resize,
        max_pixels=max_pixels,
    )
    numbered = list(enumerate(paths))
    found: list[Facts | Rejected] = []
    with (
        ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool,
        tqdm(total=len(paths), unit=" pictures", desc="decoding", disable=None) as bar,
    ):
        for some in pool.map(
            work, (numbered[i : i + AT_ONCE] for i in range(0, len(numbered), AT_ONCE))
        ):
            found += some
            bar.update(len(some))
    return found


def _scan_some(
    members: Sequence[tuple[int, str]],
    *,
    archive: Path,
    into: Path,
    examine: Callable[[bytes, Picture], Facts],
    size: int,
    resize: str,
    max_pixels: int,
) -> list[Facts | Rejected]:
    # The workers write into the file itself: pictures do not travel between processes.
    pixels = np.load(into, mmap_mode="r+")
    found: list[Facts | Rejected] = []
    with zipfile.ZipFile(archive) as opened:
        for row, path in members:
            data = opened.read(path)
            try:
                picture = decode(data, size, resize, max_pixels)
            except Undecodable as reason:
                found.append(Rejected(str(reason)))
            else:
                pixels[row] = picture.pixels
                found.append(examine(data, picture))
    return found
