"""How a source's files are laid out, and which label and part each picture has by that.

A table of labels (tables.py) goes before all else. Without one, LAYOUTS are tried in turn: at the
top and, where only one folder holds pictures, inside that folder. A layout is a function of a
folder: it returns what it reads there, or None where it does not fit. Folders that are no classes
would fit a folder per class all too well; REFUSALS are what is known of them.

A part that stands alone is no split: its pictures have no part. Pictures are not opened here;
whatever lies in a class folder counts as one, and the split stage rejects what cannot be decoded.
"""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import filterfalse
from pathlib import PurePosixPath

from classifier.base.errors import UserError
from classifier.sources import tables
from classifier.sources.dataset import Labelled, Source
from classifier.sources.members import Skipped
from classifier.sources.naming import (
    FILLERS,
    PARTS,
    is_unlabelled,
    joined,
    named_as_picture,
    part_of,
    some,
    words,
)

ALLOWED = (
    "one folder per class, train/validation/test folders of those, files named label.N.jpg or "
    "label_N.jpg, or a CSV at the top with path and label columns; two classes or more"
)
# Folders that projects keep beside their data: no data where two other folders hold pictures, or
# one holds folders of classes.
BESIDE = frozenset({"example", "examples", "sample", "samples", "doc", "docs", "assets"})
# A folder of pictures beside which others are never classes, ...
WHOLES = frozenset({"images", "image", "imgs", "img", "jpegimages"})
# ... those that are none beside whatever, ...
ANNOTATIONS = frozenset(
    {"annotation", "annotations", "trimap", "trimaps", "segmentation", "segmentations"}
    | {"ground_truth", "groundtruth", "gt", "bounding_boxes", "bboxes"}
)
# ... and those that are none beside one of these. Masks alone are worn, too.
MASKS = frozenset({"mask", "masks"})
MASKED = frozenset({"photos", "photo", "pictures", "originals", "original", "input", "inputs"})
# Words of names that count the pieces in which a data set is stored.
PIECES = frozenset(
    {"part", "batch", "chunk", "shard", "fold", "folder", "volume", "vol", "disk"}
    | {"patient", "subject", "sub", "case"}
)
# A mask beside its picture: benign (1)_mask.png, benign (1)_mask_1.png.
MASK = re.compile(r"(?P<picture>.+)[_-](mask|masks|seg|segmentation|gt)([_-]?\d+)?", re.IGNORECASE)
# What cameras, telephones and programs write before a picture's number.
CAMERAS = frozenset(
    {"img", "image", "dsc", "dscn", "dscf", "dcim", "pict", "pic", "pxl", "mvimg", "p", "photo"}
    | {"picture", "scan", "screenshot", "frame", "snapshot", "unnamed", "download", "file", "vid"}
)
# Not of a date or a time of day: 2024.05.17.jpg, Screenshot 2024-05-17 at 12.03.01.png.
NUMBERED = re.compile(r"(?P<label>.*[^\W\d_].*)(?<!\d\.\d\d)\.\d+\.[A-Za-z0-9]+")
COUNTED = re.compile(r"(?P<label>.*[^\W\d_].*?)[_ -]\(?\d+\)?\.[A-Za-z0-9]+")


@dataclass(frozen=True)
class Folder:
    """A folder of the source."""

    root: str  # its path in the source with a slash, empty for the top
    paths: list[str]  # of all files below it, relative to it
    is_picture: Callable[[str], bool]  # of a file's path in the source, by its name

    @cached_property
    def files(self) -> list[str]:
        """Pictures directly in it."""
        return [path for path in self.paths if "/" not in path and self.is_picture(path)]

    @cached_property
    def folders(self) -> dict[str, "Folder"]:
        """Folders in it that hold pictures, however deep, by name."""
        inside: dict[str, list[str]] = {}
        for path in self.paths:
            top, slash, rest = path.partition("/")
            if slash:
                inside.setdefault(top, []).append(rest)
        return {
            top: Folder(f"{self.root}{top}/", paths, self.is_picture)
            for top, paths in inside.items()
            if any(self.is_picture(f"{self.root}{top}/{path}") for path in paths)
        }

    def without(self, names: Iterable[str]) -> "Folder":
        """Copy the folder without the folders of these names in it."""
        prefixes = tuple(f"{name}/" for name in names)
        return replace(self, paths=[path for path in self.paths if not path.startswith(prefixes)])

    def pictures(self, label: str, part: str = "") -> list[Labelled]:
        """All files below it, as pictures of one class."""
        return [Labelled(self.root + path, label, part) for path in self.paths]


@dataclass(frozen=True)
class Found:
    """What a layout reads."""

    words: str
    pictures: list[Labelled]
    roots: list[str] = field(default_factory=list)  # folders whose folders are the classes
    notes: list[str] = field(default_factory=list)
    aside: dict[str, str] = field(default_factory=dict)  # folders that are no data, and why


def detect(
    paths: Sequence[str],
    read: Callable[[str], bytes],
    lost: Mapping[str, str] | None = None,
    pattern: str | None = None,
) -> Source:
    """Recognise the layout of a source.

    Args:
        paths: of its files, relative, POSIX.
        read: is asked for tables, and for files without an ending whose folder has no pictures.
        lost: what the source holds besides, as in `Members`.
        pattern: data.classes; without one the layout is recognised.

    Raises:
        UserError: no layout fits, there are fewer than two classes, classes differ only in case,
            folders are no classes, or a table does not fit or contradicts itself.
    """
    paths, lost = sorted(paths), lost or {}
    top = Folder("", paths, _picture_test(paths, read))
    found = _by_pattern(top, pattern) if pattern else _by_table_or_names(top, read)
    if found is None:
        raise UserError(f"no layout recognised: found {_found(paths, lost)}; allowed: {ALLOWED}")
    if isinstance(found, Found):
        every = sorted(found.pictures, key=lambda picture: picture.path)
        masks = _mask_files(picture.path for picture in every)
        pictures = [picture for picture in every if picture.path not in masks]
        notes = [f"{path} {why}" for path, why in found.aside.items()]
        notes += [*found.notes, *_lost_classes(found, paths, lost), *_unused_tables(paths)]
        if masks:
            notes.append(f"{some(sorted(masks), 1)} count as masks of the pictures beside them")
        skipped = _strays(paths, pictures, found.aside | masks)
        found = Source(found.words, pictures, skipped, notes)
    _check_classes(found, lost)
    if len({picture.part for picture in found.pictures}) > 1:
        return found
    return replace(found, pictures=[replace(picture, part="") for picture in found.pictures])


def _by_table_or_names(top: Folder, read: Callable[[str], bytes]) -> Source | Found | None:
    listed, misfit = tables.find(top.paths, _whole_folders(top), read)
    if listed:
        return listed
    found = None
    try:
        found = _by_names(top)
    except UserError:
        if not misfit:
            raise
    if not found and misfit:
        raise UserError(misfit)
    return found


def _whole_folders(folder: Folder) -> Iterable[str]:
    """Yield the folders that tables may lie in: the top, and each that holds the set whole."""
    while True:
        yield folder.root
        if len(folder.folders) != 1:
            return
        (folder,) = folder.folders.values()


def _picture_test(paths: Sequence[str], read: Callable[[str], bytes]) -> Callable[[str], bool]:
    """Whether a path counts as a picture's, by its ending if any in the source has one."""
    if not any(map(named_as_picture, paths)):
        return lambda path: True
    with_pictures = {str(PurePosixPath(path).parent) for path in paths if named_as_picture(path)}
    bare: dict[str, list[str]] = {}
    for path in paths:
        parent = str(PurePosixPath(path).parent)
        if parent != "." and parent not in with_pictures and not PurePosixPath(path).suffix:
            bare.setdefault(parent, []).append(path)
    seen = {parent for parent, files in bare.items() if _any_is_picture(files[:3], read)}
    return lambda path: named_as_picture(path) or str(PurePosixPath(path).parent) in seen


def _any_is_picture(paths: list[str], read: Callable[[str], bytes]) -> bool:
    from PIL import Image

    for path in paths:
        try:
            content = read(path)
            with Image.open(io.BytesIO(content)):
                return True
        except Exception:  # on damaged files Pillow raises nearly everything
            continue
    return False


def _by_names(folder: Folder) -> Found | None:
    aside: dict[str, str] = {}
    while True:
        beside = _beside(folder)
        aside |= {f"{folder.root}{top}/": reason for top, reason in beside.items()}
        folder = folder.without(beside)
        for layout in LAYOUTS:
            if found := layout(folder):
                return replace(found, aside=aside)
        if len(folder.folders) != 1:
            return None
        (folder,) = folder.folders.values()


def _beside(folder: Folder) -> dict[str, str]:
    """Folders that are no data, with the reason."""
    unlabelled = [top for top in folder.folders if is_unlabelled(top)]
    labelled = [top for top in folder.folders if top not in unlabelled]
    found = dict.fromkeys(unlabelled, "counts as unlabelled: rename it if it is a class")
    if not labelled:
        return {}
    beside = [top for top in labelled if top.casefold() in BESIDE]
    data = [top for top in labelled if top not in beside]
    if len(data) > 1:
        masks = [f"{top}/{name}" for top in data for name in _masks(folder.folders[top])]
        found |= dict.fromkeys(masks, "counts as masks of the pictures beside it")
    # One folder of classes beside Examples/, not a class beside a class named Samples.
    if len(data) > 1 or (len(data) == 1 and len(folder.folders[data[0]].folders) > 1):
        found |= dict.fromkeys(beside, "counts as beside the data: rename it if it is a class")
    return found


def _masks(folder: Folder) -> list[str]:
    """Folders of masks beside those of the pictures, in a class folder or a part."""
    names = {name.casefold() for name in folder.folders}
    if len(names) < 2 or not names <= WHOLES | MASKED | ANNOTATIONS | MASKS:
        return []
    masks = [name for name in folder.folders if name.casefold() in ANNOTATIONS | MASKS]
    return masks if len(masks) < len(names) else []


def _mask_files(paths: Iterable[str]) -> dict[str, str]:
    """Files named after a picture beside them, with the reason to leave them out."""
    stems = {path: str(PurePosixPath(path).with_suffix("")) for path in paths}
    there = set(stems.values())
    return {
        path: "counts as the mask of a picture beside it"
        for path, stem in stems.items()
        if (match := MASK.fullmatch(stem)) and match["picture"] in there
    }


def _unused_tables(paths: Iterable[str]) -> list[str]:
    return [f"{path} was not used for labels" for path in paths if tables.claims_labels(path)]


def _by_pattern(top: Folder, pattern: str) -> Found:
    wanted = pattern.strip("/").split("/")
    pictures, roots = [], set()
    for path in top.paths:
        parts = path.split("/")
        # A name may hold brackets, which are a pattern's.
        pairs = zip(parts, wanted, strict=False)
        fits = (name == one or fnmatchcase(name, one) for name, one in pairs)
        if len(parts) > len(wanted) and all(fits):
            *above, label = parts[: len(wanted)]
            part = next((part for part, _ in map(part_of, reversed(above)) if part), "")
            pictures.append(Labelled(path, label, part))
            roots.add("/".join([*above, ""]))
    if not pictures:
        raise UserError(f"data.classes is {pattern!r}: no such folder; {_found(top.paths, {})}")
    return Found(f"folders {pattern} as classes", pictures, sorted(roots))


def _parts_of_classes(folder: Folder) -> Found | None:
    """train/cats/, train/dogs/, test/cats/, test/dogs/."""
    parts = _part_folders(folder)
    trees = {top: _unwrapped(folder.folders[top]) for top in parts}
    of_classes = [top for top, tree in trees.items() if tree.folders]
    others = [top for top in folder.folders if top not in parts]
    # A class may be named train; two parts that hold folders are no classes.
    if not of_classes or (others and len(of_classes) < 2 and len(trees[of_classes[0]].folders) < 2):
        return None
    for top in of_classes:
        _refuse_no_classes(trees[top])
    # test/unknown/ is how Keras is given pictures without labels.
    labelled = {top: {*filterfalse(is_unlabelled, trees[top].folders)} for top in of_classes}
    several = [labels for labels in labelled.values() if len(labels) > 1]
    known = {label.casefold() for labels in several for label in labels}
    of_classes = [
        top for top in of_classes if not known or known & {*map(str.casefold, labelled[top])}
    ]
    classes = {label for top in of_classes for label in labelled[top]}
    return Found(
        f"{joined(of_classes)} folders of one folder per class",
        [
            Labelled(trees[top].root + path, path.partition("/")[0], parts[top])
            for top in of_classes
            for path in trees[top].paths
            if "/" in path and path.partition("/")[0] in classes
        ],
        [folder.root, *(trees[top].root for top in of_classes)],
        [
            f"{folder.root}{top}/ counts as unlabelled: it has no folder per class"
            for top in parts
            if top not in of_classes
        ]
        + _no_parts(folder, others),
    )


def _no_parts(folder: Folder, others: Iterable[str]) -> list[str]:
    return [f"{folder.root}{top}/ counts as no part of the data" for top in others]


def _part_folders(folder: Folder) -> dict[str, str]:
    """Find the folders named as parts of one whole, in the order of PARTS, and their parts."""
    groups = [group for group in _named_as_parts(folder) if len(set(group.values())) > 1]
    return groups[0] if len(groups) == 1 else {}


def _named_as_parts(folder: Folder) -> list[dict[str, str]]:
    """Folders named as parts, with the part: those together whose names say the same besides."""
    order = list(PARTS.values())
    groups: dict[tuple[str, ...], dict[str, str]] = {}
    named = [(order.index(part_of(top)[0]), top) for top in folder.folders if part_of(top)[0]]
    for _, top in sorted(named):
        part, rest = part_of(top)
        groups.setdefault(rest, {})[top] = part
    return list(groups.values())


def _unwrapped(folder: Folder) -> Folder:
    """Into train/train/ and train/images/, as deep as they go."""
    while not folder.files and len(folder.folders) == 1:
        ((name, inner),) = folder.folders.items()
        if not part_of(name)[0] and not FILLERS.issuperset(words(name) or ["?"]):
            break
        folder = inner
    return folder


def _parts_of_named(folder: Folder) -> Found | None:
    """train/cat.1.jpg, train/dog.1.jpg, test/cat.2.jpg, test/dog.2.jpg."""
    groups = _named_as_parts(folder)
    parts = {top: part for group in groups for top, part in group.items()}
    others = [top for top in folder.folders if top not in parts]
    trees = {top: _unwrapped(folder.folders[top]) for top in parts}
    found = _by_file_names({top: tree for top, tree in trees.items() if not tree.folders}, parts)
    # Classes may be named valid/ and invalid/, or test positive/ and test negative/.
    if not found or (len({p.part for p in found.pictures}) < 2 and (others or len(groups) > 1)):
        return None
    return replace(found, notes=_no_parts(folder, others))


def _classes_of_parts(folder: Folder) -> Found | None:
    """cats/train/, cats/test/, dogs/train/, dogs/test/."""
    kinds = set()
    for inside in folder.folders.values():
        parts = [part_of(name) for name in inside.folders]
        deeper = any(part.folders for part in inside.folders.values())
        if inside.files or deeper or any(rest or not part for part, rest in parts):
            return None
        kinds |= {part for part, _ in parts}
    if len(folder.folders) < 2 or len(kinds) < 2:
        return None
    if _images_and_annotations(folder) or _pieces(folder):
        return None
    return Found(
        f"one folder per class of {joined(sorted(kinds, key=list(PARTS.values()).index))} folders",
        [
            picture
            for label, inside in folder.folders.items()
            for name, part in inside.folders.items()
            for picture in part.pictures(label, part_of(name)[0])
        ],
        [folder.root],
    )


def _classes(folder: Folder) -> Found | None:
    """cats/, dogs/, however deep their files lie."""
    if len(folder.folders) < 2:
        return None
    _refuse_no_classes(folder)
    pictures = [
        picture for top, inside in folder.folders.items() for picture in inside.pictures(top)
    ]
    notes = []
    if all(len(inside.folders) > 1 and not inside.files for inside in folder.folders.values()):
        notes = [
            f"each class holds folders; are they the classes? data.classes: '{folder.root}*/*'"
        ]
    return Found("one folder per class", pictures, [folder.root], notes)


def _named(folder: Folder) -> Found | None:
    """cat.1.jpg, dog.1.jpg, or Abyssinian_1.jpg, beagle_1.jpg."""
    return _by_file_names({"": folder}, {"": ""})


def _by_file_names(trees: Mapping[str, Folder], parts: Mapping[str, str]) -> Found | None:
    for named, how in ((_by_dot, "label.N"), (_by_count, "label_N")):
        found = {top: named(tree, parts[top]) for top, tree in trees.items()}
        pictures = [picture for one in found.values() for picture in one]
        if len({picture.label for picture in pictures}) > 1:
            tops = [top for top, one in found.items() if top and one]
            where = f"{joined(tops)} folders of " if tops else ""
            return Found(f"{where}files named {how}", pictures)
    return None


def _by_dot(folder: Folder, part: str) -> list[Labelled]:
    matches = [(path, NUMBERED.fullmatch(path)) for path in folder.files]
    return [Labelled(folder.root + path, m["label"], part) for path, m in matches if m]


def _by_count(folder: Folder, part: str) -> list[Labelled]:
    # One name that does not fit, or a camera's, and the others tell no label either.
    matches = [(path, COUNTED.fullmatch(path)) for path in folder.files]
    labels = [m["label"] if m else "" for _, m in matches]
    if any(CAMERAS.issuperset(words(label)) for label in labels):
        return []
    return [
        Labelled(folder.root + path, label, part)
        for (path, _), label in zip(matches, labels, strict=True)
    ]


LAYOUTS = (_parts_of_classes, _parts_of_named, _classes_of_parts, _classes, _named)


def _refuse_no_classes(folder: Folder) -> None:
    for refusal in REFUSALS:
        if why := refusal(folder):
            raise UserError(
                f"{why}; to take each folder of {folder.root or 'the source'} for a class, set "
                f"data.classes to '{folder.root}*'"
            )


def _parts_without_classes(folder: Folder) -> str:
    """train/1.jpg, test/2.jpg; or train/cats/, train/dogs/ beside more/3.jpg."""
    groups = [group for group in _named_as_parts(folder) if len(set(group.values())) > 1]
    tops = [top for group in groups for top in group]
    if tops and not any(_unwrapped(folder.folders[top]).folders for top in tops):
        return (
            f"{_paths(folder, tops)} are named as parts, but hold neither class folders nor "
            "labels: sort their pictures into folders by class, or put a labels.csv with path and "
            "label columns beside them"
        )
    whole = [top for top, inside in folder.folders.items() if len(_unwrapped(inside).folders) > 1]
    others = [top for top in folder.folders if top not in whole]
    if len(whole) == 1 and part_of(whole[0]) != ("", ()) and not part_of(whole[0])[1]:
        return (
            f"{_paths(folder, whole)} holds class folders, but not {_paths(folder, others)} beside "
            f"it: let data.source name {whole[0]}/ alone"
        )
    return ""


def _images_and_annotations(folder: Folder) -> str:
    """images/ beside annotations/trimaps/ or masks/."""
    names = {top.casefold() for top in folder.folders}
    if not (names & WHOLES or names & ANNOTATIONS or (names & MASKS and names & MASKED)):
        return ""
    return (
        f"{_paths(folder, list(folder.folders))} are no classes by their names: let data.source "
        "name the folder of pictures alone"
    )


def _classes_twice(folder: Folder) -> str:
    """yes/, no/ beside set/yes/, set/no/."""
    tops = {top.casefold() for top in folder.folders}
    for top, inside in folder.folders.items():
        again = [name for name in inside.folders if name.casefold() in tops - {top.casefold()}]
        if len(again) > 1:
            return (
                f"{folder.root}{top}/ holds {some(again)}, as the folders beside it are called: "
                f"let data.source name {top}/ alone, or move it away"
            )
    return ""


def _parts_inside(folder: Folder) -> str:
    """small/train/, small/test/ beside large/."""
    for top, tree in folder.folders.items():
        inside = _down(tree)
        parts = [name for name in inside.folders if part_of(name)[0]]
        if len({part_of(name)[0] for name in parts}) > 1:
            return (
                f"{folder.root}{top}/ holds {some(parts)}, which are parts: let data.source name "
                f"{inside.root} alone"
            )
    return ""


def _down(folder: Folder) -> Folder:
    """Into the only folder, as deep as it goes."""
    while not folder.files and len(folder.folders) == 1:
        (folder,) = folder.folders.values()
    return folder


def _same_in_each(folder: Folder) -> str:
    """color/a/, color/b/, grayscale/a/, grayscale/b/."""
    trees = {top: _down(tree) for top, tree in folder.folders.items()}
    inner = {top: {name.casefold() for name in one.folders} for top, one in trees.items()}
    counts = Counter(name for names in inner.values() for name in names)
    repeated = {name for name, count in counts.items() if count > 1}
    tops = [top for top, names in inner.items() if len(names & repeated) > max(1, len(names) // 2)]
    if len(tops) < 2:
        return ""
    return (
        f"{_paths(folder, tops)} hold folders of the same names, {some(sorted(repeated), 3)}: if "
        f"those are the classes, set data.classes to '{trees[tops[0]].root}*', or to "
        f"'{'*/' * trees[tops[0]].root.count('/')}*' for all of them together"
    )


def _pieces(folder: Folder) -> str:
    """images_part_1/, images_part_2/."""
    stems: dict[str, list[str]] = {}
    for top in folder.folders:
        stem = re.sub(r"[\W_]*\d+$", "", top)
        if stem != top and {*words(stem)} & (PIECES | FILLERS | {*PARTS}):
            stems.setdefault(stem.casefold(), []).append(top)
    tops = next((tops for tops in stems.values() if len(tops) > 1), [])
    if not tops:
        return ""
    return (
        f"{_paths(folder, tops)} are named as pieces of one whole: put a labels.csv with path and "
        f"label columns beside them, or set data.classes to '{folder.root}*/*' if they hold the "
        "class folders"
    )


REFUSALS = (
    _parts_without_classes,
    _images_and_annotations,
    _classes_twice,
    _parts_inside,
    _same_in_each,
    _pieces,
)


def _paths(folder: Folder, tops: list[str]) -> str:
    return some([f"{folder.root}{top}/" for top in tops])


def _strays(
    paths: Iterable[str], pictures: list[Labelled], aside: Mapping[str, str]
) -> list[Skipped]:
    taken = {picture.path for picture in pictures}

    def reason(path: str) -> str:
        beside = (f"{top} {why}" for top, why in aside.items() if path.startswith(top))
        return next(beside, "outside of the layout")

    return [Skipped(path, reason(path)) for path in paths if path not in taken]


def _lost_classes(found: Found, paths: Sequence[str], lost: Mapping[str, str]) -> list[str]:
    """Name in a line what stands beside the class folders and gives no picture."""
    taken = {picture.path for picture in found.pictures}
    told = {*found.aside, *(f"{note.partition('/ ')[0]}/" for note in found.notes)}
    notes = []
    for root in found.roots:
        folders: dict[str, list[str]] = {}
        for path in [*paths, *sorted(lost)]:
            if path.startswith(root):
                top, slash, _ = path.removeprefix(root).partition("/")
                if slash:
                    folders.setdefault(f"{root}{top}/", []).append(path)
                elif top and path in lost:
                    notes.append(f"{path} was left out: {lost[path]}")
        for folder, inside in folders.items():
            files = [path for path in inside if not path.endswith("/")]
            if folder not in (*told, "../") and taken.isdisjoint(files):
                why = lost.get(files[0], "no file of it has a picture's ending") if files else ""
                notes.append(f"{folder} {f'gives no picture: {why}' if why else 'is empty'}")
    return notes


def _check_classes(source: Source, lost: Mapping[str, str]) -> None:
    labels = sorted({picture.label for picture in source.pictures})
    if len(labels) < 2:
        found = f"one class, {labels[0]}" if labels else "no picture with a label"
        # A line of the table says more than a picture that is in none.
        skipped = sorted(source.skipped, key=lambda one: ", line " not in one.path)
        why = "".join(f" ({one.path}: {one.reason})" for one in skipped[:1])
        raise UserError(
            f"{source.layout}: found {found}{'' if labels else why}{_left_out(lost)}; "
            f"allowed: {ALLOWED}"
        )
    folded: dict[str, str] = {}
    for label in labels:
        first = folded.setdefault(label.casefold(), label)
        if first != label:
            raise UserError(
                f"the classes {first} and {label} differ only in case: "
                "merge them if they are one, rename one if they are two"
            )


def _found(paths: Sequence[str], lost: Mapping[str, str]) -> str:
    folders = Counter(path.rpartition("/")[0] for path in paths if "/" in path)
    files = [path for path in paths if "/" not in path]
    found = [f"{folder}/ ({count:,} files)" for folder, count in list(folders.items())[:5]]
    if files:
        found.append(f"{len(files):,} files at the top, such as {', '.join(files[:3])}")
    return (", ".join(found) or "nothing") + _left_out(lost)


def _left_out(lost: Mapping[str, str]) -> str:
    files = [f"{path} ({reason})" for path, reason in lost.items() if reason]
    return f"; left out: {some(files, 3)}" if files else ""
