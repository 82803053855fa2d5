"""Fonts for names in any script: what the machine has, and code points where it has nothing."""

from functools import cache, lru_cache

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

FAMILY = "DejaVu Sans"  # comes with matplotlib: the same on every machine


def drawable(text: str) -> str:
    """Put a letter's code point, such as <U+65E5>, where no installed font has the letter.

    What is no letter, such as a line feed, becomes �.
    """
    return "".join(
        "�" if not c.isprintable() else c if _family_of(c) else f"<U+{ord(c):04X}>" for c in text
    )


def families(text: str) -> list[str]:
    """Choose the font families of a text: for each letter the first that has it."""
    found = {_family_of(character) for character in text} - {None, FAMILY}
    return [FAMILY, *sorted(map(str, found))]


@lru_cache(maxsize=65536)
def _family_of(character: str) -> str | None:
    """Choose a font family that has a letter: `FAMILY`, else the first that is installed."""
    if ord(character) in _letters(findfont(FontProperties(family=FAMILY))):
        return FAMILY
    for font in sorted(fontManager.ttflist, key=lambda font: (font.name, font.fname)):
        # Last Resort has a box for every letter.
        if font.name.startswith("Last Resort") or font.style != "normal":
            continue
        if ord(character) in _letters(font.fname):
            return font.name
    return None


@cache
def _letters(file: str) -> frozenset[int]:
    return frozenset(get_font(file).get_charmap())
