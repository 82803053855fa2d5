import contextlib
import io
import itertools
import logging
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, ImageOps
from PIL.ExifTags import Base
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngInfo

from classifier.images import decode as decoding
from classifier.images.decode import Picture, Undecodable, decode
from tests.fuzz_images import fuzz

RED, GREEN, BLUE, GREY = (220, 30, 40), (20, 180, 60), (30, 50, 200), (120, 120, 120)
LIMIT = 1_000_000


def quarters(width=64, height=48):
    """Red, green over blue, grey: every turn and mirror image of it is different."""
    picture = Image.new("RGB", (width, height))
    x, y = width // 2, height // 2
    picture.paste(RED, (0, 0, x, y))
    picture.paste(GREEN, (x, 0, width, y))
    picture.paste(BLUE, (0, y, x, height))
    picture.paste(GREY, (x, y, width, height))
    return picture


def saved(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def shown(data, size=32, resize="squash", max_pixels=LIMIT):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = decode(data, size, resize, max_pixels)
    assert isinstance(picture, Picture)
    assert picture.pixels.shape == (size, size, 3)
    assert picture.pixels.dtype == np.uint8
    return picture


def centres(pixels):
    """The colours in the middle of the four quarters, row by row."""
    size = len(pixels)
    near, far = size // 4, size - size // 4 - 1
    return [tuple(int(v) for v in pixels[y, x]) for y in (near, far) for x in (near, far)]


def close(colours, expected, tolerance=6):
    return np.abs(np.subtract(colours, expected)).max() <= tolerance


def reason(data, **options):
    with pytest.raises(Undecodable) as caught:
        shown(data, **options)
    message = str(caught.value)
    assert message and "\n" not in message and len(message) <= 120
    return message


def png(width, height, depth, colour_type, rows, *chunks):
    """A PNG from raw rows, for kinds that Pillow cannot write."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    extra = b"".join(chunk(name, content) for name, content in chunks)
    return b"\x89PNG\r\n\x1a\n" + head + extra + body + chunk(b"IEND", b"")


def ycck():
    """A JPEG of Y, Cb, Cr, K with Adobe's marker, as Photoshop writes it.

    Pillow can only write CMYK, inverted as Adobe does: it is given the inverse of Y, Cb, Cr of the
    inks and no black, and the marker's transform is then set to 2. (libjpeg's jdcolor.c: C, M, Y
    = 255 - RGB of Y, Cb, Cr; Adobe's inks are inverted on top.)
    """
    luma, blue, red = ImageOps.invert(quarters()).convert("YCbCr").split()
    none = Image.new("L", luma.size, 255)
    inverted = [band.point(lambda v: 255 - v) for band in (luma, blue, red, none)]
    data = saved(Image.merge("CMYK", inverted), "JPEG", quality=95)
    at = data.index(b"Adobe") + 11
    assert data[at] == 0
    return data[:at] + b"\2" + data[at + 1 :]


def without_jfif():
    data = saved(quarters(), "JPEG", quality=95)
    assert data[2:4] == b"\xff\xe0"
    return data[:2] + data[4 + struct.unpack(">H", data[4:6])[0] :]


def two_frames():
    return [quarters(), Image.new("RGB", (64, 48), (255, 255, 0))]


def animated(kind, **options):
    first, second = two_frames()
    return saved(first, kind, save_all=True, append_images=[second], **options)


def palette():
    return quarters().quantize(8)


def grey_ramp(low, high):
    """Dark left half and light right half, uint16 [48, 64]."""
    values = np.full((48, 64), low, np.uint16)
    values[:, 32:] = high
    return values


COLOURED = {
    "JPEG": (saved(quarters(), "JPEG", quality=95), "JPEG", "RGB"),
    "JPEG, 4:4:4": (saved(quarters(), "JPEG", quality=95, subsampling=0), "JPEG", "RGB"),
    "JPEG, progressive": (saved(quarters(), "JPEG", quality=95, progressive=True), "JPEG", "RGB"),
    "JPEG without JFIF": (without_jfif(), "JPEG", "RGB"),
    "JPEG with a comment": (saved(quarters(), "JPEG", quality=95, comment=b"hi"), "JPEG", "RGB"),
    "JPEG with rubbish behind": (
        saved(quarters(), "JPEG", quality=95) + b"\0rubbish" * 9,
        "JPEG",
        "RGB",
    ),
    "JPEG, YCCK": (ycck(), "JPEG", "CMYK"),
    "JPEG, CMYK": (saved(quarters().convert("CMYK"), "JPEG", quality=95), "JPEG", "CMYK"),
    "MPO": (animated("MPO", quality=95), "JPEG", "RGB"),
    "PNG": (saved(quarters(), "PNG"), "PNG", "RGB"),
    "PNG, palette": (saved(palette(), "PNG"), "PNG", "P"),
    "PNG, opaque alpha": (saved(quarters().convert("RGBA"), "PNG"), "PNG", "RGBA"),
    "PNG, 16 bits a colour": (
        png(
            64,
            48,
            16,
            2,
            [row.astype(">u2").tobytes() for row in np.asarray(quarters()).astype(np.uint16) * 257],
        ),
        "PNG",
        "RGB",
    ),
    "APNG": (animated("PNG"), "PNG", "RGB"),
    "GIF": (saved(quarters(), "GIF"), "GIF", "P"),
    "GIF, animated": (animated("GIF"), "GIF", "P"),
    "GIF, interlaced": (saved(quarters(), "GIF", interlace=1), "GIF", "P"),
    "BMP": (saved(quarters(), "BMP"), "BMP", "RGB"),
    "BMP, palette": (saved(palette(), "BMP"), "BMP", "P"),
    "WebP": (saved(quarters(), "WEBP", quality=95), "WEBP", "RGB"),
    "WebP, lossless": (saved(quarters(), "WEBP", lossless=True), "WEBP", "RGB"),
    "WebP, animated": (animated("WEBP", lossless=True), "WEBP", "RGB"),
    "AVIF": (saved(quarters(), "AVIF", quality=95), "AVIF", "RGB"),
    "AVIF, 4:4:4": (saved(quarters(), "AVIF", quality=95, subsampling="4:4:4"), "AVIF", "RGB"),
    "AVIF, animated": (animated("AVIF", quality=95), "AVIF", "RGB"),
    "AVIF of brand mif1": (
        saved(quarters(), "AVIF", quality=95).replace(b"ftypavif", b"ftypmif1", 1),
        "AVIF",
        "RGB",
    ),
    "JPEG 2000": (saved(quarters(), "JPEG2000"), "JPEG2000", "RGB"),
    "JPEG 2000, lossy": (
        saved(quarters(), "JPEG2000", irreversible=True, quality_layers=[10]),
        "JPEG2000",
        "RGB",
    ),
    "JPEG 2000, codestream": (saved(quarters(), "JPEG2000", no_jp2=True), "JPEG2000", "RGB"),
    "TIFF": (saved(quarters(), "TIFF"), "TIFF", "RGB"),
    "TIFF, LZW": (saved(quarters(), "TIFF", compression="tiff_lzw"), "TIFF", "RGB"),
    "TIFF, JPEG": (saved(quarters(), "TIFF", compression="jpeg", quality=95), "TIFF", "RGB"),
    "TIFF, CMYK": (saved(quarters().convert("CMYK"), "TIFF"), "TIFF", "CMYK"),
    "TIFF, two pages": (animated("TIFF"), "TIFF", "RGB"),
    "TIFF, big": (saved(quarters(), "TIFF", big_tiff=True), "TIFF", "RGB"),
    "PPM": (saved(quarters(), "PPM"), "PPM", "RGB"),
    "PPM, as text": (
        b"P3 64 48 255\n" + b" ".join(b"%d" % v for v in np.asarray(quarters()).ravel()),
        "PPM",
        "RGB",
    ),
}


@pytest.mark.parametrize("name", COLOURED)
def test_a_picture_is_shown_in_its_colours(name):
    data, kind, mode = COLOURED[name]
    picture = shown(data)
    assert close(centres(picture.pixels), [RED, GREEN, BLUE, GREY], 12)
    assert (picture.width, picture.height) == (64, 48)
    assert (picture.format, picture.mode) == (kind, mode)


LEVELS = {
    "JPEG, grey": (saved(quarters().convert("L"), "JPEG", quality=95), "L"),
    "PNG, grey": (saved(quarters().convert("L"), "PNG"), "L"),
    "PNG, grey with alpha": (saved(quarters().convert("LA"), "PNG"), "LA"),
    "PGM": (saved(quarters().convert("L"), "PPM"), "L"),
    "BMP, grey": (saved(quarters().convert("L"), "BMP"), "L"),
    "GIF, grey": (saved(quarters().convert("L"), "GIF"), "P"),
    "AVIF, grey": (saved(quarters().convert("L"), "AVIF", quality=95), "L"),
    "JPEG 2000, grey": (saved(quarters().convert("L"), "JPEG2000"), "L"),
    "TIFF, grey": (saved(quarters().convert("L"), "TIFF"), "L"),
}


@pytest.mark.parametrize("name", LEVELS)
def test_a_grey_picture_is_shown_in_three_equal_channels(name):
    data, mode = LEVELS[name]
    picture = shown(data)
    assert picture.mode == mode
    grey = [(v,) * 3 for v in (quarters().convert("L").getpixel(p) for p in POINTS)]
    assert close(centres(picture.pixels), grey)
    assert (picture.pixels == picture.pixels[:, :, :1]).all()


POINTS = [(16, 12), (48, 12), (16, 36), (48, 36)]


def tiff(values, *tags, order=">", big=False):
    """An uncompressed TIFF of [48, 64, bands] or [48, 64], for kinds that Pillow cannot write."""
    bands = values.shape[2] if values.ndim == 3 else 1
    rows = np.ascontiguousarray(values.astype(values.dtype.newbyteorder(order))).tobytes()
    start, word = (16, "Q") if big else (8, "I")
    head = struct.pack(f"{order}HHHQ", 43, 8, 0, start + len(rows)) if big else b""
    head = head or struct.pack(f"{order}HI", 42, start + len(rows))
    every = {256: 64, 257: 48, 258: values.itemsize * 8, 259: 1, 262: 1, 273: start, 277: bands}
    every |= {278: 48, 279: len(rows), **dict(tags)}
    directory = b"".join(
        struct.pack(f"{order}HH{word}I", tag, 4, 1, value).ljust(20 if big else 12, b"\0")
        for tag, value in sorted(every.items())
    )
    number = struct.pack(f"{order}{'Q' if big else 'H'}", len(every))
    return (b"MM" if order == ">" else b"II") + head + rows + number + directory + b"\0" * 8


DEEP = {
    "PNG": lambda values: saved(Image.fromarray(values), "PNG"),
    "TIFF": lambda values: saved(Image.fromarray(values), "TIFF"),
    "TIFF, big-endian": tiff,
    "PGM": lambda values: b"P5 64 48 65535\n" + values.astype(">u2").tobytes(),
}


@pytest.mark.parametrize("name", DEEP)
def test_16_bit_grey_is_scaled_and_not_clipped(name):
    pixels = shown(DEEP[name](grey_ramp(2570, 200 * 257))).pixels
    assert close(centres(pixels), [(10,) * 3, (200,) * 3] * 2, 0)
    pixels = shown(DEEP[name](grey_ramp(0, 65535))).pixels
    assert close(centres(pixels), [(0,) * 3, (255,) * 3] * 2, 0)


def test_16_bit_grey_whose_white_is_zero_is_no_negative():
    data = tiff(grey_ramp(2570, 200 * 257), (262, 0), order="<")
    assert close(centres(shown(data).pixels), [(245,) * 3, (55,) * 3] * 2, 0)
    assert shown(data).brightest == 200 * 257


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("levels", [(0, 1023), (0, 4095), (0, 16_383), (7000, 8500)])
def test_16_bit_grey_is_scaled_from_the_range_of_the_set(name, levels):
    black, white = levels
    middle = (black + white) // 2
    picture = decode(DEEP[name](grey_ramp(middle, white)), 32, "squash", LIMIT, levels)
    assert picture.brightest == white
    assert close(centres(picture.pixels), [(127,) * 3, (255,) * 3] * 2, 1)
    beyond = decode(DEEP[name](grey_ramp(max(0, black - 9), white + 9)), 32, "pad", LIMIT, levels)
    assert set(np.unique(beyond.pixels)) >= {0, 255}


def test_16_bit_grey_of_an_unknown_range_is_refused_and_no_other_picture_is():
    with pytest.raises(Undecodable, match="16-bit grey"):
        decode(DEEP["PNG"](grey_ramp(0, 9)), 32, "squash", LIMIT, None)
    assert decode(COLOURED["PNG"][0], 32, "squash", LIMIT, None).brightest is None


def test_a_pgm_that_states_its_white_is_scaled_from_it():
    data = b"P5 64 48 4095\n" + grey_ramp(0, 4095).astype(">u2").tobytes()
    assert close(centres(shown(data).pixels), [(0,) * 3, (255,) * 3] * 2, 0)


def left_transparent(picture):
    """The left half of the picture transparent, the right opaque."""
    alpha = Image.new("L", picture.size, 255)
    alpha.paste(0, (0, 0, picture.width // 2, picture.height))
    layered = picture.convert("LA" if picture.mode == "L" else "RGBA")
    layered.putalpha(alpha)
    return layered


def palette_with_alphas():
    picture = palette()
    index = picture.getpixel((0, 0)), picture.getpixel((0, 40))
    return saved(picture, "PNG", transparency=bytes(0 if i in index else 255 for i in range(8)))


def grey_with_a_transparent_level():
    rows = [b"\x0a" * 32 + b"\x78" * 32] * 48
    return png(64, 48, 8, 0, rows, (b"tRNS", b"\0\x0a"))


def bmp32(alpha, header=108):
    """A 32-bit BMP of `quarters` with a V4 or V5 header and bit fields for all four channels."""
    layers = np.asarray(quarters().convert("RGBA")).copy()
    layers[:, :, 3] = alpha
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    fields = struct.pack("<IiiHHIIiiII", header, 64, 48, 1, 32, 3, 64 * 48 * 4, 0, 0, 0, 0)
    fields = (fields + struct.pack("<4I", *masks)).ljust(header, b"\0")
    start = 14 + header
    pixels = layers[::-1, :, [2, 1, 0, 3]].tobytes()
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + fields + pixels


@pytest.mark.parametrize("header", [108, 124])
def test_a_bmp_whose_alpha_is_all_zero_is_opaque(header):
    assert close(centres(shown(bmp32(0, header)).pixels), [RED, GREEN, BLUE, GREY])
    assert close(centres(shown(bmp32(255, header)).pixels), [RED, GREEN, BLUE, GREY])


def test_a_bmp_with_transparent_parts_shows_them_white():
    alpha = np.zeros((48, 64), np.uint8)
    alpha[:, 32:] = 255
    assert close(centres(shown(bmp32(alpha)).pixels), [WHITE, GREEN, WHITE, GREY])


WHITE = (255, 255, 255)
TRANSPARENT = {
    "PNG": (saved(left_transparent(quarters()), "PNG"), [WHITE, GREEN, WHITE, GREY]),
    "PNG, palette": (palette_with_alphas(), [WHITE, GREEN, WHITE, GREY]),
    "PNG, one transparent colour": (
        saved(quarters(), "PNG", transparency=BLUE),
        [RED, GREEN, WHITE, GREY],
    ),
    "PNG, one transparent grey": (grey_with_a_transparent_level(), [WHITE, GREY] * 2),
    "PNG, grey with alpha": (
        saved(left_transparent(Image.new("L", (64, 48), 120)), "PNG"),
        [WHITE, GREY] * 2,
    ),
    "WebP": (
        saved(left_transparent(quarters()), "WEBP", lossless=True),
        [WHITE, GREEN, WHITE, GREY],
    ),
    "TIFF": (saved(left_transparent(quarters()), "TIFF"), [WHITE, GREEN, WHITE, GREY]),
    "GIF": (saved(left_transparent(quarters()), "GIF"), [WHITE, GREEN, WHITE, GREY]),
    "JPEG 2000": (saved(left_transparent(quarters()), "JPEG2000"), [WHITE, GREEN, WHITE, GREY]),
}


@pytest.mark.parametrize("name", TRANSPARENT)
def test_transparent_parts_are_white(name):
    data, colours = TRANSPARENT[name]
    assert close(centres(shown(data).pixels), colours)


def test_half_transparent_colours_are_mixed_with_white():
    picture = quarters().convert("RGBA")
    picture.putalpha(128)
    mixed = [tuple(round(v * 128 / 255 + 127) for v in colour) for colour in (RED, GREEN)]
    assert close(centres(shown(saved(picture, "PNG")).pixels)[:2], mixed, 1)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM", "GIF"])
def test_a_1_bit_picture_is_black_and_white(kind):
    picture = Image.new("1", (64, 48), 0)
    picture.paste(1, (32, 0, 64, 48))
    pixels = shown(saved(picture, kind)).pixels
    assert centres(pixels) == [(0, 0, 0), (255, 255, 255)] * 2


def test_a_fax_tiff_is_black_on_white():
    picture = Image.new("1", (64, 48), 1)
    picture.paste(0, (0, 0, 32, 48))
    data = saved(picture, "TIFF", compression="group4")
    assert centres(shown(data).pixels) == [(0, 0, 0), (255, 255, 255)] * 2


def turned(orientation):
    """The stored picture that a viewer turns back, by the definition of EXIF's tag 274."""
    pixels = np.asarray(quarters())
    stored = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, 1),
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(pixels, -1),
    }[orientation]
    return Image.fromarray(np.ascontiguousarray(stored))


def exif(orientation):
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    return exif.tobytes()


def test_a_png_may_say_behind_its_pixels_how_it_is_turned():
    data = saved(turned(6), "PNG", exif=exif(6))
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    late = data[:start] + data[end:-12] + data[start:end] + data[-12:]
    assert late.index(b"eXIf") > late.index(b"IDAT")
    assert (shown(late).pixels == shown(saved(quarters(), "PNG")).pixels).all()
    assert shown(late).width == 64


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_all_eight_orientations_show_identical_pixels(kind, resize, orientation):
    stored = turned(orientation)
    if kind == "TIFF":
        data = saved(stored, kind, tiffinfo={274: orientation})
    else:
        options = {"lossless": True} if kind == "WEBP" else {}
        data = saved(stored, kind, exif=exif(orientation), **options)
    picture = shown(data, resize=resize)
    upright = shown(saved(quarters(), "PNG"), resize=resize)
    assert (picture.pixels == upright.pixels).all()
    assert (picture.width, picture.height) == (64, 48)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "AVIF"])
def test_all_eight_orientations_of_a_lossy_format_are_upright(kind, orientation):
    data = saved(turned(orientation), kind, quality=95, exif=exif(orientation))
    picture = shown(data)
    assert close(centres(picture.pixels), [RED, GREEN, BLUE, GREY], 12)
    assert (picture.width, picture.height) == (64, 48)


@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0",
        b"Exif\0\0MM\0*" + b"\xff" * 60,
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 500,
        # The directory that follows itself, and one that is its own EXIF part.
        b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x8769, 4, 1, 8) + b"\x08\0\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI4s", 274, 2, 4, b"six\0") + b"\0" * 4,
        exif(9),
        exif(0),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_leaves_the_picture_as_it_is(kind, block, capfd):
    picture = shown(saved(quarters(), kind, exif=block, quality=95))
    assert close(centres(picture.pixels), [RED, GREEN, BLUE, GREY], 12)
    assert capfd.readouterr() == ("", "")


def test_a_colour_profile_is_ignored():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for block in (profile, b"rubbish"):
        data = saved(quarters(), "PNG", icc_profile=block)
        assert (shown(data).pixels == shown(saved(quarters(), "PNG")).pixels).all()


def test_a_png_may_hold_megabytes_of_text_and_profile():
    text = PngInfo()
    text.add_text("plain", "x" * 3_000_000)
    text.add_text("zipped", "y" * 5_000_000, zip=True)
    text.add_itxt("other", "z" * 3_000_000, zip=True)
    data = saved(quarters(), "PNG", pnginfo=text, icc_profile=bytes(20_000_000))
    assert (shown(data).pixels == shown(saved(quarters(), "PNG")).pixels).all()


def test_crop_shows_the_centre_and_pad_shows_everything():
    wide = Image.new("RGB", (120, 40), RED)
    wide.paste(GREEN, (40, 0, 80, 40))
    wide.paste(BLUE, (80, 0, 120, 40))
    for picture in (wide, wide.transpose(Image.Transpose.ROTATE_270)):
        data = saved(picture, "PNG")
        # Bilinear resizing blends across the boundary over one pixel at most.
        assert (shown(data, 40, "crop").pixels == GREEN).all()
        padded = shown(data, 60, "pad").pixels
        tall = padded if picture is wide else np.rot90(padded)
        assert (tall[:20] == 0).all() and (tall[40:] == 0).all()
        assert tuple(tall[30, 10]) == RED and tuple(tall[30, 50]) == BLUE
        squashed = shown(data, 60, "squash").pixels
        squashed = squashed if picture is wide else np.rot90(squashed)
        assert tuple(squashed[5, 10]) == RED and tuple(squashed[55, 50]) == BLUE


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 2)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_tiny_and_thin_pictures_are_shown(kind, size, resize):
    picture = shown(saved(Image.new("RGB", size, GREY), kind, quality=95), resize=resize)
    assert (picture.width, picture.height) == size
    assert close(picture.pixels[15, 15], GREY, 2)


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_a_large_jpeg_is_shrunk_while_decoding_with_little_difference(resize, monkeypatch):
    small = np.random.default_rng(3).integers(0, 256, (12, 16, 3), np.uint8)
    smooth = Image.fromarray(small).resize((1600, 1200), Image.Resampling.BICUBIC)
    data = saved(smooth, "JPEG", quality=95)
    draft = JpegImageFile.draft
    sizes: list[tuple[int, int]] = []

    def recorded(self, mode, size):
        draft(self, mode, size)
        sizes.append(self.size)
        assert self.size[0] >= size[0] and self.size[1] >= size[1]

    monkeypatch.setattr(JpegImageFile, "draft", recorded)
    drafted = shown(data, 170, resize, 10**7).pixels.astype(int)
    # The padded picture is 170 x 128 pixels, the others need both sides to be 170 at least.
    assert sizes == [(200, 150) if resize == "pad" else (400, 300)]
    monkeypatch.setattr(JpegImageFile, "draft", lambda *_: None)
    full = shown(data, 170, resize, 10**7).pixels.astype(int)
    assert 0 < np.abs(drafted - full).mean() < 2.5


@pytest.mark.parametrize("size", [(75, 61), (131, 97), (266, 201), (523, 389)])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}])
@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_a_plain_jpeg_is_shown_as_pillow_shows_it(size, options, resize, monkeypatch):
    """Decoded whole and at 1/2, 1/4 and 1/8."""
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    data = saved(Image.fromarray(noise), "JPEG", **options)
    found = []

    def recorded(data, picture):
        found.append(of_plain_jpeg(data, picture))
        return found[-1]

    of_plain_jpeg = decoding._of_plain_jpeg
    monkeypatch.setattr(decoding, "_of_plain_jpeg", recorded)
    quick = shown(data, resize=resize)
    assert found[0] is not None
    monkeypatch.setattr(decoding, "_of_plain_jpeg", lambda *args: None)
    plain = shown(data, resize=resize)
    assert (quick.pixels == plain.pixels).all()
    assert (quick.width, quick.height, quick.mode) == (plain.width, plain.height, plain.mode)


def test_a_jpeg_that_is_odd_in_the_least_is_left_to_pillow():
    """Some bytes lost inside: a warning to libjpeg, a picture to everybody."""
    data = saved(quarters(640, 480), "JPEG")
    odd = data[:-60] + data[-2:]
    assert decoding._of_plain_jpeg(data, JpegImageFile(io.BytesIO(data))) is not None
    assert decoding._of_plain_jpeg(odd, JpegImageFile(io.BytesIO(odd))) is None
    assert centres(shown(odd).pixels) == centres(shown(data).pixels)


def test_the_same_bytes_give_the_same_pixels():
    data = COLOURED["JPEG"][0]
    assert (shown(data).pixels == shown(data).pixels).all()


def test_an_unknown_way_of_resizing_is_a_bug_and_not_a_broken_file():
    with pytest.raises(ValueError, match="stretch"):
        decode(COLOURED["PNG"][0], 32, "stretch", LIMIT)


HTML = b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>"
NO_PICTURE = {
    "empty": (b"", "empty file"),
    "zeros": (b"\0" * 5000, "not a picture: only zero bytes"),
    "HTML": (HTML, "not a picture: looks like HTML"),
    "HTML after spaces": (b"\xef\xbb\xbf\n  " + HTML, "not a picture: looks like HTML"),
    "XHTML": (b'<?xml version="1.0"?>\n<html></html>', "not a picture: looks like HTML"),
    "XML": (b'<?xml version="1.0"?><annotation/>', "not a picture: looks like XML"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing, which is not read"),
    "SVG after XML": (b'<?xml version="1.0"?><svg/>', "an SVG drawing, which is not read"),
    "text": (b"cat, 12\ndog, 13\n", "not a picture: looks like text"),
    "text in UTF-8": ("chaton à l'ombre".encode(), "not a picture: looks like text"),
    "text in UTF-16": ("katze".encode("utf-16"), "not a picture: looks like text"),
    "zip": (b"PK\x03\x04\x14\0\0\0", "not a picture: looks like a zip archive"),
    "gzip": (b"\x1f\x8b\x08\0\0\0", "not a picture: looks like compressed data"),
    "PDF": (b"%PDF-1.7\n", "not a picture: looks like PDF"),
    "PostScript": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        "not a picture: looks like PostScript",
    ),
    "program": (b"\x7fELF\x02\x01", "not a picture: looks like a program"),
    "video": (b"\0\0\0\x18ftypmp42\0\0", "not a picture: looks like a video"),
    "HEIC": (
        b"\0\0\0\x1cftypheic\0\0\0\0mif1heic",
        "a HEIC picture, which is not read: convert it to JPEG",
    ),
    "HEIC of brand mif1": (
        b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic\0\0\1\0meta",
        "a HEIC picture, which is not read: convert it to JPEG",
    ),
    "DICOM": (
        b"\0" * 128 + b"DICM\2",
        "a DICOM file, which is not read: convert it to PNG or TIFF",
    ),
    "raw photograph": (
        tiff(np.zeros((48, 64), np.uint8), (254, 1)),
        "a thumbnail comes first, as in a raw photograph: save it as JPEG",
    ),
    "JPEG XL": (b"\xff\x0a\xfa\x1f", "a JPEG XL picture, which is not read"),
    "Photoshop": (b"8BPS\0\x01", "a Photoshop file, which is not read"),
    "icon": (saved(quarters(), "ICO"), "an icon, which is not read"),
    "macOS attributes": (
        b"\0\x05\x16\x07\0\x02\0\0Mac OS X",
        "not a picture: looks like macOS file attributes",
    ),
    "Thumbs.db": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "not a picture: looks like a Windows thumbnail cache",
    ),
    "LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "not a picture: looks like a Git LFS pointer",
    ),
    "array": (b"\x93NUMPY\x01\0", "not a picture: looks like an array file"),
    "rubbish": (
        bytes(range(1, 200)),
        "not a picture: unknown contents, starting 01 02 03 04",
    ),
}


@pytest.mark.parametrize("name", NO_PICTURE)
def test_what_is_no_picture_is_called_by_its_name(name):
    data, message = NO_PICTURE[name]
    assert reason(data) == message


WHOLE = {
    "JPEG": saved(quarters(), "JPEG"),
    "JPEG, progressive": saved(quarters(), "JPEG", progressive=True),
    "PNG": saved(quarters(), "PNG", compress_level=0),
    "GIF": saved(quarters(), "GIF"),
    "WEBP": saved(quarters(), "WEBP", lossless=True),
    "AVIF": saved(quarters(), "AVIF"),
    "JPEG2000": saved(quarters(), "JPEG2000"),
    "TIFF": saved(quarters(), "TIFF"),
    "TIFF, LZW": saved(quarters(), "TIFF", compression="tiff_lzw"),
    "BMP": saved(quarters(), "BMP"),
    "PPM": saved(quarters(), "PPM"),
    "PPM, as text": COLOURED["PPM, as text"][0],
}


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("name", WHOLE)
def test_a_truncated_picture_is_refused(name, share):
    data = WHOLE[name]
    message = reason(data[: int(len(data) * share)])
    kind = name.split(",")[0]
    assert message.startswith((f"truncated {kind}", f"damaged {kind}"))


def test_a_truncated_jpeg_and_png_say_so():
    assert reason(WHOLE["JPEG"][:-100]) == "truncated JPEG"
    assert reason(WHOLE["PNG"][:-3000]) == "truncated PNG"


@pytest.mark.parametrize("kind, length", [("PNG", 8), ("PNG", 33), ("BMP", 16), ("GIF", 7)])
def test_a_file_that_ends_within_its_header_is_truncated(kind, length):
    assert reason(WHOLE[kind][:length]) == f"truncated {kind}"


SIGNATURES = {
    "JPEG": b"\xff\xd8\xff",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "GIF": b"GIF89a",
    "AVIF": b"\0\0\0\x1cftypavif\0\0\0\0",
    "JPEG2000": b"\0\0\0\x0cjP  \r\n\x87\n",
    "WEBP": b"RIFF\0\0\0\0WEBP",
    "TIFF": b"II*\0",
    "BMP": b"BM\0\0\0\0\0\0\0\0",
    "PPM": b"P6\n",
}


@pytest.mark.parametrize("kind", SIGNATURES)
@pytest.mark.parametrize("rest", [b"", b"\0" * 100, b"\xff" * 100])
def test_a_picture_of_a_signature_alone_is_refused(kind, rest):
    assert kind in reason(SIGNATURES[kind] + rest) or b"\0" in rest


def test_damaged_tiffs_print_nothing(capfd):
    for name in ("TIFF, LZW", "TIFF, JPEG", "TIFF, fax"):
        picture = quarters().convert("1" if "fax" in name else "RGB")
        compression = {"LZW": "tiff_lzw", "JPEG": "jpeg", "fax": "group4"}[name.split()[1]]
        data = bytearray(saved(picture, "TIFF", compression=compression))
        data[8:40] = b"\xff\xd8" * 16
        with contextlib.suppress(Undecodable):
            shown(bytes(data))
    assert capfd.readouterr() == ("", "")
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"


def test_a_damaged_png_is_refused():
    data = bytearray(WHOLE["PNG"])
    data[len(data) // 2] ^= 0xFF
    assert reason(bytes(data)).startswith("damaged PNG")


def test_a_12_bit_jpeg_is_refused():
    data = bytearray(WHOLE["JPEG"])
    data[data.index(b"\xff\xc0") + 4] = 12
    assert reason(bytes(data)).startswith("damaged JPEG")


def test_32_bit_grey_has_no_agreed_black_and_white():
    words = "32-bit or signed grey, whose black and white are not defined: save it as 8 or 16 bits"
    for mode in ("F", "I"):
        assert reason(saved(Image.new(mode, (8, 8)), "TIFF")) == words
    assert reason(tiff(np.zeros((48, 64), np.int16), (339, 2))) == words


BANDS = {
    "13 bands of 16-bit values": ((13, np.uint16), {}),
    "13 bands of 8-bit values": ((13, np.uint8), {"order": "<"}),
    "10 bands of 16-bit values": ((10, np.uint16), {"big": True, "order": "<"}),
    "2 bands of 8-bit values": ((2, np.uint8), {}),
}


@pytest.mark.parametrize("words", BANDS)
def test_a_tiff_of_many_bands_is_called_so_with_what_to_do(words):
    (bands, kind), options = BANDS[words]
    message = reason(tiff(np.zeros((48, 64, bands), kind), **options))
    assert message == f"{words}, not read: save 1 or 3 bands of 8 bits"


def test_a_colour_tiff_of_floating_point_values_is_called_so():
    message = reason(tiff(np.zeros((48, 64, 3), np.float32), (339, 3), (262, 2)))
    assert message.startswith("3 bands of 32-bit floating-point values, not read: save")
    assert "1 band of 64-bit floating-point" in reason(tiff(np.zeros((48, 64)), (339, 3)))


def test_a_tiff_of_rubbish_in_its_tags_is_damaged():
    data = tiff(np.zeros((48, 64, 13), np.uint16)).replace(struct.pack(">HHII", 258, 4, 1, 16), b"")
    assert reason(data).startswith(("damaged TIFF", "truncated TIFF", "13 bands"))


def bombs():
    """Headers of enormous pictures, with a few bytes behind them."""
    side = 30_000
    jpeg = bytearray(WHOLE["JPEG"])
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", side, side)
    gif = bytearray(WHOLE["GIF"])
    gif[6:10] = struct.pack("<HH", side, side)
    frame = bytearray(saved(Image.new("P", (8, 8)), "GIF"))
    at = frame.rindex(b",", 0, 40 + 768)
    frame[at + 5 : at + 9] = struct.pack("<HH", side, side)
    bmp = bytearray(WHOLE["BMP"])
    bmp[18:26] = struct.pack("<II", side, side)
    # VP8X: the canvas's width and height less one, 24 bits each.
    size = struct.pack("<I", 16_000)[:3]
    webp = saved(left_transparent(quarters()), "WEBP", lossless=True, exif=exif(1))
    at = webp.index(b"VP8X") + 12
    avif, jpeg2000 = WHOLE["AVIF"], WHOLE["JPEG2000"]
    area = struct.pack(">4sIII", b"ispe", 0, 64, 48)
    boxed, stream = struct.pack(">II", 48, 64), struct.pack(">HII", 0, 64, 48)
    sides = struct.pack(">II", side, side)
    assert area in avif and boxed in jpeg2000 and stream in jpeg2000
    assert at > 12
    return {
        "JPEG": bytes(jpeg),
        "PNG": png(side, side, 8, 2, [b"\0\0\0"]),
        "GIF": bytes(gif),
        "GIF's frame": bytes(frame),
        "BMP": bytes(bmp),
        "WEBP": webp[:at] + size + size + webp[at + 6 :],
        "AVIF": avif.replace(area, area[:8] + struct.pack(">II", 16_000, 16_000)),
        "JPEG2000": jpeg2000.replace(boxed, sides).replace(stream, b"\0\0" + sides),
        "TIFF": tiff(np.zeros((48, 64), np.uint8), (256, side), (257, side)),
        "PPM": b"P6 30000 30000 255\n\0\0\0",
    }


@pytest.mark.parametrize("name", bombs())
def test_a_decompression_bomb_is_refused_before_a_pixel_is_decoded(name, monkeypatch):
    def load(*args, **options):
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    monkeypatch.setattr(decoding.simplejpeg, "decode_jpeg", load)
    message = reason(bombs()[name], max_pixels=100_000_000)
    assert message.startswith("too large: ")


def test_the_limit_on_pixels_is_the_callers():
    data = saved(quarters(), "PNG")
    assert shown(data, max_pixels=64 * 48).width == 64
    assert reason(data, max_pixels=64 * 48 - 1) == (
        "too large: 64 x 48 pixels, more than data.limits.pixels allows (3,071)"
    )


def test_pillows_own_limit_does_not_count(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for data in WHOLE.values():
        assert shown(data).width == 64
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize(
    "error",
    [
        OSError("x"),
        SyntaxError("x"),
        ValueError("x"),
        struct.error("x"),
        MemoryError(),
        RecursionError("x"),
        KeyError(3),
        zlib.error("x"),
        EOFError(),
        OverflowError("x"),
        AssertionError(),
    ],
)
def test_whatever_the_decoder_raises_is_a_reason(error, monkeypatch):
    def load(self):
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert "PNG" in reason(WHOLE["PNG"])


def test_a_reason_holds_no_address(monkeypatch):
    def load(self):
        raise OSError(f"cannot read {object()!r}")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert reason(WHOLE["PNG"]) == "damaged PNG: cannot read <object object>"


def test_warnings_and_logging_are_as_before():
    before = list(warnings.filters), logging.getLogger("PIL").level
    for data, cut in itertools.product(WHOLE.values(), (None, 90)):
        with contextlib.suppress(Undecodable):
            decode(data[:cut], 32, "squash", LIMIT)
    assert (list(warnings.filters), logging.getLogger("PIL").level) == before


def test_mutated_files_give_a_picture_or_a_reason():
    figures = fuzz(seconds=3, seed=1)
    assert figures["executions"] > 100
    assert figures["pictures"] > 0 and figures["refused"] > 0
