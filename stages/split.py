"""Decode every picture once and put it into training, validation or test."""

import csv
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from classifier import quality, splits
from classifier.dataset import Labelled, read_index
from classifier.errors import UserError, one_line_errors
from classifier.files import whole, write_json
from classifier.findings import in_words
from classifier.params import Params, load_params
from classifier.scanning import Rejected, scan

RAW = Path("data/raw")
FOLDER = Path("data/splits")


def main() -> None:
    params = load_params()

    # matplotlib takes longer to import than a wrong parameter should take to be told.
    from classifier.quality_picture import draw, wanted

    listed = read_index(RAW / "images.csv")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix=".") as folder:
        array = Path(folder) / "all.npy"
        found = scan(
            RAW / "images.zip",
            [picture.path for picture in listed],
            array,
            quality.facts,
            size=params.data.image_size,
            resize=params.data.resize,
            max_pixels=params.data.limits.pixels,
        )
        rejected = reject(listed, found)
        rows = [i for i, one in enumerate(found) if isinstance(one, quality.Facts)]
        facts = [one for one in found if isinstance(one, quality.Facts)]
        if not rows:
            raise UserError(f"none of the {len(listed):,} files of the data set is a picture")
        pictures = [listed[i] for i in rows]
        hashes = np.array([one.hash for one in facts], np.uint64)
        pairs = quality.near_duplicates(hashes)
        near = quality.groups(hashes, pairs)
        chosen = choose(pictures, facts, near, params)

        pixels = np.load(array, mmap_mode="r")
        for name in splits.SPLITS:
            members = [k for k, split in enumerate(chosen) if split == name]
            table = [(pictures[k].path, pictures[k].label, facts[k].sha256) for k in members]
            splits.write_split(FOLDER, name, pixels, [rows[k] for k in members], table)

        report = quality.report(
            [
                quality.Row(picture.path, picture.label, split, one)
                for picture, split, one in zip(pictures, chosen, facts, strict=True)
            ],
            pairs,
            rejected,
        )
        write_json(FOLDER / "report.json", report)
        row_of = {picture.path: row for picture, row in zip(pictures, rows, strict=True)}
        with whole(Path("plots/data_quality.png")) as beside:
            draw(report, {path: pixels[row_of[path]] for path in wanted(report)}, beside)
    print(in_words(report))


def choose(
    pictures: Sequence[Labelled],
    facts: Sequence[quality.Facts],
    near: np.ndarray,
    params: Params,
) -> list[str]:
    """The split of each picture, as params.yaml wants it; empty for one that is in none."""
    split = params.split
    labels = [picture.label for picture in pictures]
    tied = quality.tied(near, labels, [one.sha256 for one in facts]).tolist()
    match split.method:
        case "predefined":
            parts = [picture.part for picture in pictures]
            chosen = splits.predefined(parts, labels, tied, split.seed)
        case "random":
            # The test split is filled first: changing the other sizes then leaves it as it is.
            sizes = {
                "test": split.random.test,
                "validation": split.random.validation,
                "train": split.random.train,
            }
            chosen = splits.random(labels, tied, sizes, split.seed)
        case "numbered":
            ranges = {
                "train": split.numbered.train,
                "validation": split.numbered.validation,
                "test": split.numbered.test,
            }
            chosen = splits.numbered([picture.path for picture in pictures], ranges)
    if split.drop_leaks:
        chosen = splits.without_leaks(chosen, near.tolist())
    splits.check_complete(chosen, labels)
    return chosen


def reject(
    listed: Sequence[Labelled], found: Sequence[quality.Facts | Rejected]
) -> list[tuple[str, str]]:
    """Write rejected.csv: what shows no picture, and what download left out of the source."""
    skipped = json.loads((RAW / "dataset.json").read_text(encoding="utf-8"))["skipped"]
    rejected = [(one["path"], one["reason"]) for one in skipped]
    rejected += [
        (picture.path, one.reason)
        for picture, one in zip(listed, found, strict=True)
        if isinstance(one, Rejected)
    ]
    rejected.sort()
    with (
        whole(FOLDER / "rejected.csv") as beside,
        beside.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "reason"])
        writer.writerows(rejected)
    return rejected


if __name__ == "__main__":
    with one_line_errors():
        main()
