"""Decoding pictures to small RGB arrays that show what a person would see, whatever the file name.

docs/data.md has the formats that are read and those that are refused.

- The format is told by the first bytes; nothing that runs another program (EPS) is read.
- EXIF orientation is applied; transparent parts are seen on white; of an animation, the first
  frame. CMYK and YCCK JPEGs are taken as inverted, as Adobe writes them and browsers show them.
- Colour profiles (ICC) are ignored, as TensorFlow and torchvision ignore them and as ImageNet's
  weights were trained; only a CMYK file looks noticeably different in a colour-managed viewer.
- A JPEG much larger than wanted is decoded at 1/2, 1/4 or 1/8 by the JPEG decoder itself, never
  below the wanted size; then averaging by a whole factor and bilinear interpolation do the rest,
  the latter as tf.image.resize does it.
"""

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import AvifImagePlugin, Image, ImageFile, PngImagePlugin
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ExifTags import Base
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import (
    PHOTOMETRIC_INTERPRETATION,
    ImageFileDirectory_v2,
    TiffImageFile,
)
from PIL.WebPImagePlugin import WebPImageFile

from classifier.base.quiet import stderr_silenced

# Pillow logs what it also raises; without a handler Python prints such lines to stderr.
logging.getLogger("PIL").addHandler(logging.NullHandler())
# Texts and profiles are not looked at: a large one makes no picture damaged. All chunks of a file
# together still end at MAX_TEXT_MEMORY, 64 MiB.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY
# One thread: the pictures are decoded in as many processes as there are cores.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
cv2.setNumThreads(1)

# The classes are called directly, not through Image.open: the error then says what is wrong with
# the file, where Image.open says only that it could not identify it.
_DECODERS: Final[tuple[tuple[re.Pattern[bytes], type[ImageFile.ImageFile]], ...]] = (
    (re.compile(rb"\xff\xd8\xff"), JpegImageFile),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImageFile),
    (re.compile(rb"GIF8[79]a"), GifImageFile),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImageFile),
    # The brand may stand among the compatible ones, behind mif1 or msf1 and a version.
    (re.compile(rb"....ftyp((mif1|msf1)....(....){0,9}?)?avi[fs]", re.DOTALL), AvifImageFile),
    (re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"), Jpeg2KImageFile),
    (re.compile(rb"II\*\0|MM\0\*|II\+\0|MM\0\+"), TiffImageFile),
    (re.compile(rb"BM.{8}", re.DOTALL), BmpImageFile),
    (re.compile(rb"P[1-6]\s"), PpmImageFile),
)

_OTHER_FILES: Final = tuple(
    (re.compile(pattern, re.DOTALL), reason)
    for pattern, reason in (
        # pillow-heif would read it; its wheels are GPL and carry 23 MB of an encoder.
        (rb"....ftyp(hei|hev|mif1|msf1)", "a HEIC picture, which is not read: convert it to JPEG"),
        (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL picture, which is not read"),
        (rb"8BPS", "a Photoshop file, which is not read"),
        (rb"\0\0[\x01\x02]\0", "an icon, which is not read"),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "not a picture: looks like PostScript"),
        (rb"%PDF", "not a picture: looks like PDF"),
        (rb"....ftyp", "not a picture: looks like a video"),
        (rb"\x1a\x45\xdf\xa3|RIFF....AVI ", "not a picture: looks like a video"),
        (rb".{128}DICM", "a DICOM file, which is not read: convert it to PNG or TIFF"),
        (rb"PK(\x03\x04|\x05\x06)", "not a picture: looks like a zip archive"),
        (
            rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd",
            "not a picture: looks like compressed data",
        ),
        (rb"\0\x05\x16\x07", "not a picture: looks like macOS file attributes"),
        (rb"\xd0\xcf\x11\xe0", "not a picture: looks like a Windows thumbnail cache"),
        (rb"\x7fELF|MZ", "not a picture: looks like a program"),
        (rb"\x89HDF|\x93NUMPY", "not a picture: looks like an array file"),
        (rb"version https://git-lfs", "not a picture: looks like a Git LFS pointer"),
        (rb"(<\?xml.{0,2000})?<svg\b", "an SVG drawing, which is not read"),
        (
            rb"(<\?xml.{0,2000})?<(!doctype html|html|head|body|script|meta)\b",
            "not a picture: looks like HTML",
        ),
        (rb"<\?xml", "not a picture: looks like XML"),
    )
)
NEW_SUBFILE_TYPE: Final = 254  # TIFF's tag; its first bit: a smaller copy of another picture
# Bytes that occur in text of any usual encoding: all but most control characters.
_NOT_IN_TEXT: Final = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]")

_ORIENTATIONS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS: Final = (5, 6, 7, 8)

Levels = tuple[int, int]
ALL_LEVELS: Final[Levels] = (0, 65535)


class Undecodable(Exception):  # noqa: N818 -- a fact about a file, not a fault of the program
    """A file that shows no picture; its message is the reason, one short line."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture and what its file said of it."""

    pixels: NDArray[np.uint8]  # uint8 [size, size, 3], RGB
    width: int  # in pixels, as a person sees it (turned as EXIF says)
    height: int  # likewise
    format: str  # JPEG, PNG, GIF, BMP, WEBP, AVIF, JPEG2000, TIFF or PPM
    mode: str  # Pillow's name of the pixels as stored (RGB, L, P, CMYK, I;16, ...)
    brightest: int | None = None  # the highest level of 16-bit grey; None for all other pictures


def decode(
    data: bytes, size: int, resize: str, max_pixels: int, levels: Levels | None = ALL_LEVELS
) -> Picture:
    """Decode the picture that the bytes of a file show.

    For processes, not for threads: warnings and Pillow's limit on pixels are globals, set for the
    time of a call.

    Args:
        data: of the file.
        size: height and width of the result, pixels.
        resize: `squash` stretches each side to `size`, as the tutorials do; `crop` keeps the
            largest centred square; `pad` keeps all of it, centred, with black bars (as Keras's
            pad_to_aspect_ratio and tf.image.resize_with_pad have them).
        max_pixels: the largest width x height that is decoded, checked against the file's header
            before any pixel is.
        levels: which 16-bit grey is black and which white; None: unknown, such a picture is
            refused.

    Raises:
        Undecodable: whatever the bytes are; nothing else is raised.

    Examples:
        >>> decode(Path("cat.jpg").read_bytes(), 180, "squash", 100_000_000).pixels.shape
        (180, 180, 3)
    """
    if resize not in ("squash", "crop", "pad"):
        raise ValueError(f"resize is {resize!r}, not squash, crop or pad")
    decoder = _decoder(data)
    with _pillow_set_to(max_pixels):
        try:
            return _decode(decoder, data, size, resize, max_pixels, levels)
        except Undecodable:
            raise
        except Image.DecompressionBombError as error:
            raise Undecodable(f"too large: more than {_allowed(max_pixels)}") from error
        # The one boundary where bytes of unknown origin meet a parser: on damaged files Pillow
        # raises nearly everything (OSError, SyntaxError, ValueError, struct.error, zlib.error,
        # KeyError, OverflowError, RecursionError, MemoryError, ...), and one bad file among
        # thousands must end in a line of rejected.csv.
        except Exception as error:
            kind = decoder.format or "picture"
            raise Undecodable(_bands(data, error) or _reason(kind, error)) from error


@contextmanager
def _pillow_set_to(max_pixels: int) -> Iterator[None]:
    """Pillow without warnings and with our limit on pixels in the place of its own.

    Whatever Pillow finds odd but readable is no news to the user, who sees the picture. Its limit,
    a global of the process, must not stand above or below ours, and stops the one allocation that
    comes before a header's size can be seen here (libwebp's canvas).
    """
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.MAX_IMAGE_PIXELS = max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _decode(
    decoder: type[ImageFile.ImageFile],
    data: bytes,
    size: int,
    resize: str,
    max_pixels: int,
    levels: Levels | None,
) -> Picture:
    picture: Image.Image = decoder(io.BytesIO(data))
    # As cameras' raw files (NEF, DNG, ARW) are, whose picture comes after it.
    if isinstance(picture, TiffImageFile) and picture.tag_v2.get(NEW_SUBFILE_TYPE, 0) & 1:
        raise Undecodable("a thumbnail comes first, as in a raw photograph: save it as JPEG")
    width, height = picture.size
    kind, mode = picture.format or "", picture.mode
    _check_pixels(width, height, max_pixels)
    if isinstance(picture, JpegImageFile):
        picture.draft(None, _least_size(width, height, size, resize))
        pixels = _of_plain_jpeg(data, picture)
        if pixels is not None:
            return Picture(_resized(pixels, size, resize), width, height, kind, mode)
    with stderr_silenced() if kind == "TIFF" else nullcontext():  # libtiff complains there
        picture.load()
    # Now, not before: a PNG may say it behind its pixels. Pillow turns a TIFF while it loads it,
    # and its header's size is already the turned one.
    orientation = 1 if kind == "TIFF" else _orientation(picture)
    # Scanners of films write such; of 8 bits Pillow inverts them, of 16 it does not.
    white_is_zero = (
        isinstance(picture, TiffImageFile) and picture.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0
    )
    if orientation in _ORIENTATIONS:
        picture = picture.transpose(_ORIENTATIONS[orientation])
    if orientation in _SIDEWAYS:
        width, height = height, width
    brightest = None
    if picture.mode.startswith("I;16") or (picture.mode == "I" and kind == "PPM"):
        deep = np.asarray(picture)
        brightest = int(deep.max())
        grey = _in_8_bits(deep, levels)
        picture = Image.fromarray(255 - grey if white_is_zero else grey)
    pixels = np.asarray(_plain(picture, kind).convert("RGB"))
    return Picture(_resized(pixels, size, resize), width, height, kind, mode, brightest)


def _of_plain_jpeg(data: bytes, picture: JpegImageFile) -> NDArray[np.uint8] | None:
    """Load what Pillow would of a colour JPEG, uint8 [h, w, 3], in two thirds of its time.

    None where the file is unusual (turned, not RGB) or damaged in the least: then it is Pillow that
    says what is wrong with it, or shows it all the same.
    """
    if picture.mode != "RGB" or _orientation(picture) != 1:
        return None
    width, height = picture.size  # after the draft: reduced by 1, 2, 4 or 8
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width)
    except ValueError:
        return None
    return pixels if pixels.shape == (height, width, 3) else None


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise Undecodable(f"no pixels: {width} x {height}")
    if width * height > max_pixels:
        raise Undecodable(f"too large: {width} x {height} pixels, more than {_allowed(max_pixels)}")


def _allowed(max_pixels: int) -> str:
    return f"data.limits.pixels allows ({max_pixels:,})"


def _least_size(width: int, height: int, size: int, resize: str) -> tuple[int, int]:
    """Return the size below which decoding would lose detail that the resized picture shows."""
    if resize != "pad":
        return size, size
    longest = max(width, height)
    return max(1, round(width * size / longest)), max(1, round(height * size / longest))


def _orientation(picture: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 where there is none or it cannot be read.

    Orientation in XMP or in PNG's text is left alone, as browsers leave it.
    """
    block = picture.info.get("exif")
    if not block:
        return 1
    exif = Image.Exif()
    try:
        exif.load(block)
        value = exif.get(Base.Orientation)
    # Damaged metadata does not make a picture unreadable: viewers show it unturned.
    except Exception:
        return 1
    return value if isinstance(value, int) else 1


def _plain(picture: Image.Image, kind: str) -> Image.Image:
    """Turn the picture into mode L or RGB, opaque."""
    if picture.mode in ("L", "RGB") and "transparency" not in picture.info:
        return picture
    if picture.mode in ("I", "F"):
        raise Undecodable(
            "32-bit or signed grey, whose black and white are not defined: save it as 8 or 16 bits"
        )
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        # Programs that know no transparency leave these bytes of a BMP at 0.
        if kind == "BMP" and not layer.getchannel("A").getbbox():
            return layer.convert("RGB")
        white = Image.new("RGB", layer.size, (255, 255, 255))
        white.paste(layer, mask=layer.getchannel("A"))
        return white
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _in_8_bits(grey: NDArray[np.integer], levels: Levels | None) -> NDArray[np.uint8]:
    """Turn 16-bit levels [h, w] into uint8, black and white where `levels` has them."""
    if levels is None:
        raise Undecodable("16-bit grey, whose range stands in data/splits/report.json: missing")
    black, white = levels
    span = white - black
    above = np.clip(grey.astype(np.int64) - black, 0, span)
    return ((above * 255 + span // 2) // span).astype(np.uint8)


def _resized(pixels: NDArray[np.uint8], size: int, resize: str) -> NDArray[np.uint8]:
    """Resize the picture [h, w, 3] to uint8 [size, size, 3]."""
    height, width, _ = pixels.shape
    if resize == "pad":
        inner = _least_size(width, height, size, resize)
        left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
        padded = np.zeros((size, size, 3), np.uint8)
        padded[top : top + inner[1], left : left + inner[0]] = _scaled(pixels, inner)
        return padded
    if resize == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    return _scaled(pixels, (size, size))


def _scaled(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale the picture [h, w, 3] to the given width and height."""
    # Bilinear interpolation sees two pixels each way: what is more than twice too large is first
    # averaged down by a whole factor, or detail between the two would turn into noise.
    factors = (max(1, pixels.shape[1] // size[0]), max(1, pixels.shape[0] // size[1]))
    if factors != (1, 1):
        pixels = np.asarray(Image.fromarray(pixels).reduce(factors))
    # A fifth of the time of Pillow's own resizing, and, unlike OpenCV's plain INTER_LINEAR, the
    # same bits whatever vector instructions the machine has.
    return cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR_EXACT)


def _decoder(data: bytes) -> type[ImageFile.ImageFile]:
    for pattern, decoder in _DECODERS:
        if pattern.match(data):
            return decoder
    raise Undecodable(_not_a_picture(data))


def _not_a_picture(data: bytes) -> str:
    if not data:
        return "empty file"
    start = data[:4096]
    if not start.strip(b"\0"):
        return "not a picture: only zero bytes"
    words = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    for pattern, reason in _OTHER_FILES:
        if pattern.match(start) or pattern.match(words.lower()):
            return reason
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or not _NOT_IN_TEXT.search(start):
        return "not a picture: looks like text"
    return f"not a picture: unknown contents, starting {start[:4].hex(' ')}"


def _bands(data: bytes, error: Exception) -> str:
    """Say what a TIFF holds that Pillow has no mode for; empty where something else is wrong."""
    if str(error) not in ("unknown pixel mode", "Invalid value for samples per pixel"):
        return ""
    file = io.BytesIO(data)
    try:
        tags = ImageFileDirectory_v2(file.read(16 if data[2] == 43 else 8))  # 43: BigTIFF
        file.seek(tags.next)
        tags.load(file)
        bands, bits = int(tags.get(277, 1)), int(tags.get(258, (1,))[0])
        kind = "floating-point " if 3 in tags.get(339, ()) else ""
    except Exception:  # the tags of a damaged file may hold anything
        return ""
    number = f"{bands} bands" if bands != 1 else "1 band"
    return f"{number} of {bits}-bit {kind}values, not read: save 1 or 3 bands of 8 bits"


def _reason(kind: str, error: Exception) -> str:
    """One short line that is the same on every run."""
    if isinstance(error, MemoryError):
        return f"{kind} too large for the memory of this machine"
    message = " ".join(str(error).split())
    # The others are what Pillow and Python's struct say where a header ends too early.
    if re.search("truncated|requires a buffer of at least|but only got", message.lower()):
        return f"truncated {kind}"
    if not isinstance(error, OSError | SyntaxError | ValueError) or not message:
        message = type(error).__name__
    # Some messages show an object with its address, which differs from run to run.
    return f"damaged {kind}: {re.sub(r' at 0x[0-9a-f]+', '', message)[:80]}"
