"""Decode every picture once and put it into training, validation or test."""

import json
from pathlib import Path

import numpy as np

from classifier.base.errors import one_line_errors
from classifier.base.files import whole, write_json
from classifier.base.params import load_params
from classifier.images.duplicates import near_duplicates
from classifier.images.overview import draw, wanted
from classifier.images.quality import Row, in_words, report
from classifier.images.scan import write_rejected
from classifier.images.splitting import (
    check_classes_kept,
    choose,
    decode_all,
    grouped,
    sort_out,
    working_folder,
    write_splits,
)
from classifier.sources.dataset import read_index

RAW = Path("data/raw")
FOLDER = Path("data/splits")


def main() -> None:
    """Write the arrays and tables of the splits, the report on the data and its picture."""
    params = load_params()
    listed = grouped(read_index(RAW / "images.csv"), params.split.group)
    skipped = json.loads((RAW / "dataset.json").read_text(encoding="utf-8"))["skipped"]
    with working_folder(FOLDER) as work:
        paths = [picture.path for picture in listed]
        found, levels = decode_all(RAW / "images.zip", paths, work / "all.npy", params.data)
        decoded, rejected = sort_out(listed, found, skipped)
        write_rejected(FOLDER / "rejected.csv", rejected)
        check_classes_kept(listed, found)

        pairs = near_duplicates(np.array([one.facts.hash for one in decoded], np.uint64))
        chosen = choose(decoded, pairs, params.split)
        pixels = np.load(work / "all.npy", mmap_mode="r")
        done = work / "done"
        write_splits(done, pixels, decoded, chosen)
        rows = [
            Row(one.picture.path, one.picture.label, split, one.facts, one.picture.group)
            for one, split in zip(decoded, chosen, strict=True)
        ]
        facts = report(rows, pairs, rejected, levels=levels)
        write_json(done / "report.json", facts)
        shown = set(wanted(facts))
        looks = {one.picture.path: pixels[one.row] for one in decoded if one.picture.path in shown}
        with whole(Path("plots/data_quality.png")) as beside:
            draw(facts, looks, beside)
        # All at once, when nothing is left that could fail.
        for path in done.iterdir():
            path.replace(FOLDER / path.name)
    print(in_words(facts))


if __name__ == "__main__":
    with one_line_errors():
        main()
