"""Numbers in words for people; what is short of certain never reads as certain."""


def points(share: float) -> str:
    """Format a share from 0 to 1 in percent: `97.2`; `>99.9` and `<0.1` at the ends."""
    text = f"{100 * share:.1f}"
    if text == "100.0" and share < 1:
        return ">99.9"
    if text == "0.0" and share > 0:
        return "<0.1"
    return text


def percent(share: float) -> str:
    """Format the same with its sign: `97.2 %`."""
    return f"{points(share)} %"


def decimals(figure: float, digits: int = 3) -> str:
    """Format a figure that is never negative: `0.972`; `>0.999` and `<0.001` by 1 and 0."""
    text = f"{figure:.{digits}f}"
    step = 10**-digits
    if figure < 1 and float(text) == 1:
        return f">{1 - step:.{digits}f}"
    if figure > 0 and float(text) == 0:
        return f"<{step:.{digits}f}"
    return text


def counted(number: int, noun: str) -> str:
    """`1 epoch`, `1,200 epochs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
