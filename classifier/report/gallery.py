"""Pages of captioned tiles as PNG files: the same bytes for the same content."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from numpy.typing import NDArray
from PIL import Image

from classifier.base.files import whole
from classifier.base.fonts import drawable, families

# A user's matplotlibrc must not change what the pipeline writes.
matplotlib.rcdefaults()

DPI = 120
POINTS = 72  # an inch
MARGIN = 12.0  # lengths are in points
GAP = 8.0
TILE = 108.0
LEADING = 1.3  # line height over font size
TITLE, HEADING, CAPTION = 12.0, 9.5, 7.0  # font sizes
INK, MUTED, RIGHT, WRONG = "#1b1f24", "#57606a", "#1a7f37", "#c62828"


@dataclass(frozen=True)
class Line:
    """A line of text and its colour."""

    text: str
    colour: str = INK


@dataclass(frozen=True)
class Tile:
    """A picture, uint8 [h, w, 3], and the lines under it."""

    image: NDArray[np.uint8]
    caption: Sequence[Line] = ()
    frame: str | None = None  # colour of a frame, or none
    sharp: bool = False  # keep the pixels' edges when the picture is enlarged


@dataclass(frozen=True)
class Row:
    """Tiles under a heading; they go on in a new line after as many as the page has columns."""

    heading: Line
    tiles: Sequence[Tile] = field(default_factory=list)


def save_page(
    path: Path,
    title: str,
    rows: Sequence[Row],
    *,
    note: str = "",
    columns: int = 6,
    tile: float = TILE,
) -> None:
    """Draw a page of tiles.

    Args:
        path: ends in .png.
        title: above all.
        rows: from top to bottom.
        note: a muted line or more under the title.
        columns: tiles side by side.
        tile: side of a tile, points.
    """
    width = 2 * MARGIN + columns * tile + (columns - 1) * GAP
    notes = _wrapped(drawable(note), width - 2 * MARGIN, CAPTION + 1)
    strips = [
        (row, row.tiles[start : start + columns])
        for row in rows
        for start in range(0, max(1, len(row.tiles)), columns)
    ]
    top = MARGIN + TITLE * LEADING + len(notes) * (CAPTION + 1) * LEADING + GAP
    height = top + sum(_strip_height(row, tiles, tile) for row, tiles in strips) + MARGIN
    page = _Page(width, height)
    page.text(MARGIN, MARGIN, Line(title), TITLE, width - 2 * MARGIN, weight="bold")
    for number, text in enumerate(notes):
        below = MARGIN + TITLE * LEADING + number * (CAPTION + 1) * LEADING
        page.text(MARGIN, below, Line(text, MUTED), CAPTION + 1, width)
    for row, tiles in strips:
        _draw_strip(page, top, row, tiles, tile)
        top += _strip_height(row, tiles, tile)
    # Without the name and version of the program that drew it.
    with whole(path) as beside:
        page.figure.savefig(beside, format="png", dpi=DPI, metadata={"Software": None})


def _strip_height(row: Row, tiles: Sequence[Tile], tile: float) -> float:
    heading = (HEADING * LEADING + GAP / 2) if _starts(row, tiles) else 0.0
    if not tiles:
        return heading + GAP
    lines = max(len(tile.caption) for tile in tiles)
    caption = lines * CAPTION * LEADING + (GAP / 2 if lines else 0)
    return heading + tile + caption + GAP


def _starts(row: Row, tiles: Sequence[Tile]) -> bool:
    return not tiles or tiles[0] is row.tiles[0]


def _draw_strip(page: "_Page", top: float, row: Row, tiles: Sequence[Tile], tile: float) -> None:
    if _starts(row, tiles):
        page.text(MARGIN, top, row.heading, HEADING, page.width - 2 * MARGIN, weight="bold")
        top += HEADING * LEADING + GAP / 2
    for column, each in enumerate(tiles):
        left = MARGIN + column * (tile + GAP)
        page.image(left, top, tile, each)
        for number, line in enumerate(each.caption):
            below = top + tile + GAP / 4 + number * CAPTION * LEADING
            page.text(left, below, line, CAPTION, tile)


class _Page:
    """A figure on which things are placed by their upper left corner, in points."""

    def __init__(self, width: float, height: float) -> None:
        # Whole pixels: pictures are placed on them, not resampled by the drawing.
        self.pixels = round(width * DPI / POINTS), round(height * DPI / POINTS)
        self.width, self.height = (side * POINTS / DPI for side in self.pixels)
        self.figure = Figure(
            (self.width / POINTS, self.height / POINTS), dpi=DPI, facecolor="white"
        )

    def text(
        self, left: float, top: float, line: Line, size: float, width: float, weight: str = "normal"
    ) -> None:
        shown = fitted(line.text, width, size, weight)
        self.figure.text(
            left / self.width,
            1
            - (top + 0.95 * size) / self.height,  # of the baseline: lines align whatever is in them
            shown,
            fontfamily=families(shown),
            color=line.colour,
            fontsize=size,
            fontweight=weight,
            va="baseline",
            parse_math=False,  # a file name may hold dollar signs
        )

    def image(self, left: float, top: float, side: float, tile: Tile) -> None:
        pixels = round(side * DPI / POINTS)
        x, y = round(left * DPI / POINTS), round(top * DPI / POINTS)
        method = Image.Resampling.NEAREST if tile.sharp else Image.Resampling.BICUBIC
        small = Image.fromarray(np.asarray(tile.image)).resize((pixels, pixels), method)
        if tile.frame:
            edge = 4
            framed = Image.new("RGB", (pixels, pixels), tile.frame)
            inner = small.resize((pixels - 2 * edge, pixels - 2 * edge), Image.Resampling.BICUBIC)
            framed.paste(inner, (edge, edge))
            small = framed
        self.figure.figimage(np.asarray(small), x, self.pixels[1] - y - pixels, origin="upper")


def fitted(text: str, width: float, size: float, weight: str = "normal") -> str:
    """Shorten a text in its middle until it is at most `width` points wide in font size `size`."""
    text = drawable(text)
    if text_width(text, size, weight) <= width:
        return text
    low, high = 0, len(text)  # characters kept: low fit, high don't
    while high - low > 1:
        kept = (low + high) // 2
        fits = text_width(_elided(text, kept), size, weight) <= width
        low, high = (kept, high) if fits else (low, kept)
    return _elided(text, low)


def _elided(text: str, kept: int) -> str:
    tail = kept // 2
    return text[: kept - tail] + "…" + (text[-tail:] if tail else "")


@lru_cache(maxsize=65536)
def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Measure the width of a line, points."""
    fonts = [FontProperties(family=family, weight=weight) for family in families(text)]
    font = get_font([findfont(font) for font in fonts])
    font.set_size(size, DPI)  # letters are as wide as the pixels they are drawn with make them
    font.set_text(text)
    return float(font.get_width_height()[0] / 64 * POINTS / DPI)


def _wrapped(text: str, width: float, size: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
