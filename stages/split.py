"""Decode every picture once and put it into training, validation or test."""

import json
from pathlib import Path

import numpy as np

from classifier.base.errors import UserError, one_line_errors
from classifier.base.files import whole, write_json
from classifier.base.params import load_params
from classifier.images import quality
from classifier.images.overview import draw, wanted
from classifier.images.scan import scan, write_rejected
from classifier.images.splitting import choose, sort_out, working_folder, write_splits
from classifier.sources.dataset import read_index

RAW = Path("data/raw")
FOLDER = Path("data/splits")


def main() -> None:
    params = load_params()
    listed = read_index(RAW / "images.csv")
    skipped = json.loads((RAW / "dataset.json").read_text(encoding="utf-8"))["skipped"]
    with working_folder(FOLDER) as work:
        found = scan(
            RAW / "images.zip",
            [picture.path for picture in listed],
            work / "all.npy",
            quality.facts,
            size=params.data.image_size,
            resize=params.data.resize,
            max_pixels=params.data.limits.pixels,
        )
        decoded, rejected = sort_out(listed, found, skipped)
        write_rejected(FOLDER / "rejected.csv", rejected)
        if not decoded:
            raise UserError(f"none of the {len(listed):,} files of the data set is a picture")
        pairs = quality.near_duplicates(np.array([one.facts.hash for one in decoded], np.uint64))
        chosen = choose(decoded, pairs, params)

        pixels = np.load(work / "all.npy", mmap_mode="r")
        done = work / "done"
        write_splits(done, pixels, decoded, chosen)
        rows = [
            quality.Row(one.picture.path, one.picture.label, split, one.facts)
            for one, split in zip(decoded, chosen, strict=True)
        ]
        report = quality.report(rows, pairs, rejected)
        write_json(done / "report.json", report)
        shown = set(wanted(report))
        looks = {one.picture.path: pixels[one.row] for one in decoded if one.picture.path in shown}
        with whole(Path("plots/data_quality.png")) as beside:
            draw(report, looks, beside)
        # All at once, when nothing is left that could fail.
        for path in done.iterdir():
            path.replace(FOLDER / path.name)
    print(quality.in_words(report))


if __name__ == "__main__":
    with one_line_errors():
        main()
