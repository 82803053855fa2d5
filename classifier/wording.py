"""Numbers in words for people; what is short of certain never reads as certain."""


def points(share: float) -> str:
    """A share from 0 to 1 in percent with one digit: `97.2`; `>99.9` and `<0.1` at the ends."""
    text = f"{100 * share:.1f}"
    if text == "100.0" and share < 1:
        return ">99.9"
    if text == "0.0" and share > 0:
        return "<0.1"
    return text


def percent(share: float) -> str:
    """The same with its sign: `97.2 %`."""
    return f"{points(share)} %"


def counted(number: int, noun: str) -> str:
    """`1 epoch`, `1,200 epochs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
