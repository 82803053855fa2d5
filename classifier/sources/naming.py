"""What the names of folders and files tell: parts of a data set, pictures, labels."""

import re
from pathlib import PurePosixPath

PARTS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validate": "validation",
    "validation": "validation",
    "dev": "validation",
    "eval": "validation",
    "test": "test",
    "testing": "test",
    "evaluation": "test",
}
# Pictures without labels: neither a part nor a class.
UNLABELLED = frozenset(
    {"pred", "predict", "prediction", "predictions", "unlabeled", "unlabelled", "submission"}
)
# Words that say nothing: training_set is a part as train is, train/images/ holds its classes.
FILLERS = frozenset(
    {"set", "data", "dataset", "split", "images", "image", "imgs", "img", "pictures", "photos"}
)
# Decoded by the split stage or refused by it with a reason; neither happens to what is left out.
PICTURES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".png", ".apng", ".gif", ".bmp", ".dib", ".webp"}
    | {".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".mpo", ".avif", ".avifs"}
    | {".heic", ".heif", ".hif", ".jp2", ".j2k", ".jpx", ".jpf", ".jxl", ".psd", ".dcm"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2"}
)


def words(name: str) -> list[str]:
    """Split a name into its words in lower case: of segTrain_01, seg and train."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[\W\d_]+", spaced.casefold()) if word]


def part_of(name: str) -> tuple[str, tuple[str, ...]]:
    """Tell the part that a folder's or table's name states, and what else it says.

    Returns:
        train, validation, test, or nothing where none or several are named; and the words that
        are neither a part nor fillers.
    """
    parts: set[str] = set()
    rest = []
    for word in words(name):
        # As in trainset and testdata.
        part = PARTS.get(word) or PARTS.get(word.removesuffix("set").removesuffix("data"))
        if part:
            parts.add(part)
        elif word not in FILLERS:
            rest.append(word)
    return parts.pop() if len(parts) == 1 else "", tuple(rest)


def is_unlabelled(name: str) -> bool:
    """Whether a folder's name says that its pictures have no labels."""
    return not UNLABELLED.isdisjoint(words(name))


def named_as_picture(path: str) -> bool:
    """Whether a path ends as those of pictures do."""
    return PurePosixPath(path).suffix.lower() in PICTURES


def joined(names: list[str], word: str = "and") -> str:
    """Names as a sentence lists them."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"


def some(names: list[str], at_most: int = 5) -> str:
    """List some of many names, as a sentence does."""
    if len(names) <= at_most:
        return joined(names)
    return f"{', '.join(names[:at_most])} and {len(names) - at_most:,} more"
