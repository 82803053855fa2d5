"""Decode mutated pictures: only a Picture or Undecodable may come out.

    python -m tests.fuzz_images --seconds 60 [--seed 1]

prints the number of executions and what came of them. A file that brings anything else out is
kept beside the program's working directory as fuzz-<sha256>.bin, and the program ends with it.
"""

import argparse
import hashlib
import io
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ExifTags import Base

from classifier.images.decode import Picture, Undecodable, decode

# Values at which counts, sizes and offsets go wrong.
_EDGES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
_WORDS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"\1\0\0\0")
_MAX_PIXELS = 1_000_000


def seeds() -> dict[str, bytes]:
    """Small valid files of every format, mode and compression that the decoder reads."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8))
    colour = noise.resize((45, 33), Image.Resampling.BICUBIC)
    grey, layered = colour.convert("L"), colour.convert("RGBA")
    layered.putalpha(grey)
    exif = Image.Exif()
    exif.update({Base.Orientation: 6, Base.Make: "m"})
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    second = colour.transpose(Image.Transpose.ROTATE_180)
    made: list[tuple[str, Image.Image, str, dict[str, object]]] = [
        ("jpeg", colour, "JPEG", {"exif": exif}),
        ("jpeg-progressive", colour, "JPEG", {"progressive": True, "comment": b"c"}),
        ("jpeg-grey", grey, "JPEG", {"restart_marker_blocks": 2}),
        ("jpeg-cmyk", colour.convert("CMYK"), "JPEG", {}),
        ("mpo", colour, "MPO", {"save_all": True, "append_images": [second]}),
        ("png", colour, "PNG", {"exif": exif}),
        ("png-rgba", layered, "PNG", {}),
        ("png-palette", colour.quantize(16), "PNG", {"transparency": bytes(range(16))}),
        ("png-16", deep, "PNG", {}),
        ("png-1", colour.convert("1"), "PNG", {}),
        ("apng", colour, "PNG", {"save_all": True, "append_images": [second]}),
        ("gif", colour, "GIF", {}),
        ("gif-animated", layered, "GIF", {"save_all": True, "append_images": [second]}),
        ("webp", colour, "WEBP", {"exif": exif}),
        ("webp-lossless", layered, "WEBP", {"lossless": True}),
        ("webp-animated", colour, "WEBP", {"save_all": True, "append_images": [second]}),
        ("avif", colour, "AVIF", {"exif": exif, "speed": 10}),
        ("avif-rgba", layered, "AVIF", {"speed": 10}),
        ("jpeg2000", colour, "JPEG2000", {}),
        ("jpeg2000-stream", layered, "JPEG2000", {"no_jp2": True, "irreversible": True}),
        ("jpeg2000-16", deep, "JPEG2000", {}),
        ("bmp", colour, "BMP", {}),
        ("bmp-palette", colour.quantize(16), "BMP", {}),
        ("bmp-1", colour.convert("1"), "BMP", {}),
        ("tiff", colour, "TIFF", {"tiffinfo": {274: 6}}),
        ("tiff-16", deep, "TIFF", {}),
        ("tiff-cmyk", colour.convert("CMYK"), "TIFF", {}),
        ("tiff-fax", colour.convert("1"), "TIFF", {"compression": "group4"}),
        ("tiff-big", colour, "TIFF", {"big_tiff": True}),
        ("tiff-lzw", colour, "TIFF", {"compression": "tiff_lzw"}),
        ("tiff-deflate", colour, "TIFF", {"compression": "tiff_deflate"}),
        ("tiff-packbits", colour, "TIFF", {"compression": "packbits"}),
        ("tiff-jpeg", colour, "TIFF", {"compression": "jpeg"}),
        ("ppm", colour, "PPM", {}),
        ("pgm-16", deep, "PPM", {}),
        ("pbm", colour.convert("1"), "PPM", {}),
    ]
    files = {}
    for name, picture, kind, options in made:
        file = io.BytesIO()
        picture.save(file, kind, **options)
        files[name] = file.getvalue()
    numbers = " ".join(str(v) for v in np.asarray(grey).ravel())
    files["pgm-text"] = f"P2\n# text\n45 33\n255\n{numbers}\n".encode()
    return files


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The file with a few bytes changed, cut out, repeated, or put where a size may stand.

    Half of the changes fall into the first 200 bytes, where headers are.
    """
    new = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        if not new:
            break
        at = rng.randrange(min(len(new), 200) if rng.random() < 0.5 else len(new))
        match rng.randrange(7):
            case 0:
                new[at] ^= 1 << rng.randrange(8)
            case 1:
                new[at] = rng.choice(_EDGES)
            case 2:
                word = rng.choice(_WORDS)[: rng.choice((2, 4))]
                new[at : at + len(word)] = word
            case 3:
                del new[at : at + rng.randrange(1, 40)]
            case 4:
                piece = new[at : at + rng.randrange(1, 40)]
                new[at:at] = piece * rng.choice((1, 2, 50))
            case 5:
                new[at : at + 8] = rng.randbytes(8)
            case _:
                del new[at:]
    return bytes(new)


def cases(seed: int) -> Iterator[tuple[str, bytes]]:
    files = seeds()
    names, rng = sorted(files), random.Random(seed)
    while True:
        name = rng.choice(names)
        data = mutated(files[name], rng)
        if rng.random() < 0.02:
            other = files[rng.choice(names)]
            data = data[: len(data) // 2] + other[len(other) // 2 :]
        yield name, data


def fuzz(seconds: float, seed: int) -> dict[str, float]:
    """Decode mutated files for so long; the number of executions by outcome, and the slowest."""
    counts: dict[str, float] = {"executions": 0, "pictures": 0, "refused": 0, "slowest_ms": 0}
    end = time.monotonic() + seconds
    for number, (name, data) in enumerate(cases(seed)):
        started = time.monotonic()
        if started > end:
            break
        try:
            picture = decode(data, 24, ("squash", "crop", "pad")[number % 3], _MAX_PIXELS)
            assert isinstance(picture, Picture)
            assert picture.pixels.shape == (24, 24, 3) and picture.pixels.dtype == np.uint8
            assert picture.width * picture.height <= _MAX_PIXELS
            counts["pictures"] += 1
        except Undecodable as error:
            assert 0 < len(str(error)) <= 120, name
            assert "\n" not in str(error) and " at 0x" not in str(error), name
            counts["refused"] += 1
        except BaseException:
            Path(f"fuzz-{hashlib.sha256(data).hexdigest()[:16]}.bin").write_bytes(data)
            raise
        counts["executions"] += 1
        counts["slowest_ms"] = max(counts["slowest_ms"], (time.monotonic() - started) * 1e3)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description="Decode mutated pictures.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(json.dumps(fuzz(arguments.seconds, arguments.seed)))


if __name__ == "__main__":
    main()
