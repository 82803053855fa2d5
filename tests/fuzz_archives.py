"""Fuzz the archive reader: python -m tests.fuzz_archives --seconds 60 [--seed 1]

Valid and hostile archives are mutated with a seeded generator. Whatever comes out, reading it
gives members, skips or one UserError, in bounded time, and writes nothing outside its spool.
"""

import argparse
import bz2
import gzip
import lzma
import random
import shutil
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

from classifier.base.errors import UserError
from classifier.sources.layouts import detect
from classifier.sources.members import Unreadable, open_members
from tests.hostile import CASES, GOOD, LIMITS, tar_bytes, tar_info, zip_bytes

SLOWEST = 5  # seconds for one archive of a few kilobytes
INTERESTING = [b"\x00", b"\xff", b"\x7f", b"\x80", bytes(4), b"\xff" * 4, b"../"]
INTERESTING += [b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"ustar", b"L", b"x", b"g", b"S"]


def seeds(folder: Path) -> list[bytes]:
    """Archives to start from: every packing, long names, and the hostile corpus."""
    plain = tar_bytes((tar_info("deep/" * 60 + "1.jpg", 3), b"abc"))
    found = [plain, gzip.compress(plain), bz2.compress(plain), lzma.compress(plain)]
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        found.append(zip_bytes(("birds/é.jpg", b"abc" * 400), method=method))
    table = "".join(f"{path},{path[:3]}\n" for path in GOOD)
    found.append(zip_bytes(("labels.csv", f"path,label\n{table}".encode())))
    for number, case in enumerate(CASES):
        place = folder / str(number)
        place.mkdir()
        source = case.build(place)
        if source.is_file() and source.stat().st_size < 50_000:
            found.append(source.read_bytes())
    return found


def mutate(content: bytes, rng: random.Random) -> bytes:
    """A few changes: bits, bytes that matter to the formats, pieces cut, doubled or moved."""
    raw = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(raw) + 1)
        size = min(rng.choice((1, 2, 4, 30, 512)), len(raw) - at)
        match rng.randrange(7):
            case 0 if at < len(raw):
                raw[at] ^= 1 << rng.randrange(8)
            case 1:
                piece = rng.choice(INTERESTING)
                raw[at : at + len(piece)] = piece
            case 2:
                raw[at : at + size] = rng.randbytes(size)
            case 3:
                del raw[at : at + size]
            case 4:
                raw[at:at] = raw[at : at + size]
            case 5:
                other = rng.randrange(len(raw) + 1)
                raw[at : at + size] = raw[other : other + size]
            case 6 if rng.random() < 0.2:
                del raw[at:]
    return bytes(raw)


def mended(content: bytes, rng: random.Random) -> bytes:
    """A plain tar with the checksums of its headers put right, so that changes get past them."""
    raw = bytearray(content)
    for at in range(0, len(raw) - 511, 512):
        if raw[at + 257 : at + 262] == b"ustar" and rng.random() < 0.9:
            total = sum(raw[at : at + 148]) + 256 + sum(raw[at + 156 : at + 512])
            raw[at + 148 : at + 156] = b"%06o\0 " % total
    return bytes(raw)


def fuzz(seconds: float, seed: int, folder: Path) -> Counter[str]:
    """Read mutated archives for so many seconds; counts of what came out.

    Raises:
        AssertionError: something else than members, skips or a UserError came out.
    """
    rng = random.Random(seed)
    corpus = folder / "corpus"
    corpus.mkdir()
    starts = seeds(corpus)
    place, spool = folder / "place", folder / "place" / "spool"
    spool.mkdir(parents=True)
    source = place / "source"
    counts: Counter[str] = Counter()
    before = sorted(folder.rglob("*"))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        content = mended(mutate(rng.choice(starts), rng), rng)
        if rng.random() < 0.2:  # damage below an intact compression
            content = rng.choice((gzip.compress, bz2.compress))(content)
        source.write_bytes(content)
        began = time.process_time()
        try:
            counts += read_all(source, spool)
        except Exception as error:
            kept = folder / f"failing-{seed}-{counts['runs']}"
            kept.write_bytes(content)
            raise AssertionError(f"{kept}: {error!r}") from error
        counts["runs"] += 1
        assert time.process_time() - began < SLOWEST, f"slow: {content.hex()}"
        if counts["runs"] % 100 == 0:
            assert sorted(folder.rglob("*")) == sorted([*before, source])
    assert sorted(folder.rglob("*")) == sorted([*before, source])
    return counts


def read_all(source: Path, spool: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    try:
        with open_members(source, LIMITS, spool) as members:
            counts["skipped"] += len(members.skipped)
            for path in members.paths:
                try:
                    assert len(members.read(path)) <= LIMITS.file_bytes
                    counts["members"] += 1
                except Unreadable:
                    counts["skipped"] += 1
            counts["labelled"] += len(detect(members.paths, members.read).pictures)
    except UserError as error:
        assert "\n" not in str(error)
        counts["errors"] += 1
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    counts = fuzz(options.seconds, options.seed, folder)
    shutil.rmtree(folder)  # kept where an archive failed: that archive lies in it
    print(", ".join(f"{counts[key]:,} {key}" for key in sorted(counts)))


if __name__ == "__main__":
    main()
