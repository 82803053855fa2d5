"""A name in any script is drawn, or else spelt out."""

import pytest
from matplotlib.font_manager import findfont

from classifier.base import fonts
from classifier.report.gallery import text_width


@pytest.fixture
def only(monkeypatch):
    """Sets which fonts are installed."""

    def install(*installed):
        monkeypatch.setattr(fonts.fontManager, "ttflist", list(installed))
        fonts._family_of.cache_clear()

    yield install
    fonts._family_of.cache_clear()


def test_a_letter_that_no_font_has_is_shown_by_its_number(only):
    every = fonts.fontManager.ttflist
    only(*(font for font in every if font.name.startswith(("DejaVu", "Last Resort"))))
    assert fonts.drawable("日1/cat é.jpg") == "<U+65E5>1/cat é.jpg"
    assert fonts.families("cat é") == ["DejaVu Sans"]


def test_a_letter_is_drawn_in_an_installed_font_that_has_it(only):
    every = fonts.fontManager.ttflist
    # One that DejaVu Sans lacks, in place of another script's.
    lacking = fonts._letters(findfont("STIXGeneral")) - fonts._letters(findfont("DejaVu Sans"))
    letter = next(chr(code) for code in sorted(lacking) if chr(code).isalpha())
    only(*(font for font in every if font.name in ("DejaVu Sans", "STIXGeneral")))
    assert fonts.drawable(f"a{letter}") == f"a{letter}"
    assert fonts.families(f"a{letter}") == ["DejaVu Sans", "STIXGeneral"]
    assert text_width(f"a{letter}", 7) > text_width("a", 7)
