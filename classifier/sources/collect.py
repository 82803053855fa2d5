"""From a folder, an archive or drawn pictures to data/raw: the one form that later stages read."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from classifier.base.errors import UserError
from classifier.base.files import write_json
from classifier.base.params import DataLimits
from classifier.sources.catalog import Drawn
from classifier.sources.dataset import Labelled, write_images, write_index
from classifier.sources.layouts import detect
from classifier.sources.members import Skipped, Unreadable, open_members

NOTES_SHOWN = 10


def collect(
    source: Path,
    folder: Path,
    limits: DataLimits,
    facts: dict[str, Any],
    classes: str | None = None,
) -> None:
    """Recognise a source's labelled pictures and write images.zip, images.csv and dataset.json.

    Args:
        source: a folder or an archive.
        folder: where to write.
        limits: on what is taken from the source.
        facts: of the data set, to be recorded.
        classes: a pattern of the class folders' paths; None: the layout is recognised.

    Raises:
        UserError: the source cannot be read, no layout of labels is recognised in it, or no picture
            of a class can be read.
    """
    with open_members(source, limits, folder) as members:
        found = detect(members.paths, members.read, members.lost, classes)
        unreadable: list[Skipped] = []

        def pictures() -> Iterable[tuple[str, bytes]]:
            for one in found.pictures:
                try:
                    yield one.path, members.read(one.path)
                except Unreadable as reason:
                    unreadable.append(Skipped(one.path, str(reason)))
            # Here, so that no images.zip is left.
            _check_no_class_is_lost(source, found.pictures, unreadable)

        write_images(folder / "images.zip", pictures())
        lost = {one.path for one in unreadable}
        _record(
            folder,
            [one for one in found.pictures if one.path not in lost],
            [*members.skipped, *found.skipped, *unreadable],
            facts | {"layout": found.layout} | ({"notes": found.notes} if found.notes else {}),
        )


def _check_no_class_is_lost(
    source: Path, pictures: list[Labelled], unreadable: list[Skipped]
) -> None:
    reasons = {one.path: one.reason for one in unreadable}
    lost = {one.label for one in pictures} - {
        one.label for one in pictures if one.path not in reasons
    }
    for label in sorted(lost):
        paths = [one.path for one in pictures if one.label == label]
        raise UserError(
            f"{source}: none of the {len(paths):,} pictures of {label} can be read, such as "
            f"{paths[0]}: {reasons[paths[0]]}"
        )


def collect_drawn(drawn: Drawn, folder: Path, facts: dict[str, Any]) -> None:
    """Draw the sample data set and write the same three files."""
    # Only here: whoever brings pictures has no use for the drawing code.
    from classifier.sources.sample import pictures

    labelled: list[Labelled] = []

    def content() -> Iterable[tuple[str, bytes]]:
        for path, jpeg in pictures(drawn.per_class, drawn.size, drawn.seed):
            labelled.append(Labelled(path, path.split("/")[0], ""))
            yield path, jpeg

    write_images(folder / "images.zip", content())
    _record(folder, labelled, [], facts | {"layout": "one folder per class"})


def _record(
    folder: Path, pictures: list[Labelled], skipped: list[Skipped], facts: dict[str, Any]
) -> None:
    counts = Counter(one.label for one in pictures)
    write_index(folder / "images.csv", pictures)
    ordered = sorted(skipped, key=lambda one: (one.path, one.reason))
    write_json(
        folder / "dataset.json",
        facts
        | {
            "classes": dict(sorted(counts.items())),
            "skipped": [{"path": one.path, "reason": one.reason} for one in ordered],
        },
    )
    by_class = ", ".join(f"{count:,} {label}" for label, count in sorted(counts.items()))
    print(f"{facts['name']}: {facts['layout']}; {len(pictures):,} pictures: {by_class}")
    notes = facts.get("notes", [])
    for note in notes[:NOTES_SHOWN]:
        print(f"note: {note}")
    if len(notes) > NOTES_SHOWN:
        print(f"note: {len(notes) - NOTES_SHOWN:,} more in data/raw/dataset.json")
    if skipped:
        print(f"{len(skipped):,} left out; data/splits/rejected.csv says why")
