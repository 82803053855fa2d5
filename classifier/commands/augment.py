"""What the augmentation of params.yaml makes of any pictures: a file a copy, and one sheet."""

from argparse import Namespace
from pathlib import Path

import numpy as np
from PIL import Image

from classifier.base.errors import UserError
from classifier.base.files import whole
from classifier.base.params import load_params
from classifier.base.wording import counted
from classifier.commands.predict import complain_to_stderr, decoded
from classifier.report.pictures import COPIES, augmented, copies
from classifier.training.augmentation import Augmentation

SHEET = "sheet.png"
ON_SHEET = 50  # pictures; beyond, a sheet has more pixels than it can be drawn with


def run(options: Namespace) -> None:
    """Write augmented copies of each picture, the same ones for the same seed.

    The sheet shows the first copies of the first pictures.

    Raises:
        UserError: there is no picture.
    """
    params = load_params()
    changes = Augmentation.of(params.augment)
    rng = np.random.default_rng(params.seed)
    shown, number = [], 0
    pictures = decoded(options.pictures, params, complain_to_stderr)
    for number, (path, pixels) in enumerate(pictures, 1):
        made = copies(pixels, options.count, changes, rng)
        # File systems allow 255 bytes in all.
        stem = Path(path).stem.encode(errors="surrogateescape")[:150].decode(errors="ignore")
        for k, copy in enumerate(made, 1):
            # Two folders may hold pictures of one name.
            name = f"{number}-{stem}-{k:0{len(str(options.count))}}.png"
            with whole(options.out / name) as beside:
                Image.fromarray(copy).save(beside)
        if number <= ON_SHEET:
            shown.append((path, pixels, made[:COPIES].copy()))
    if not number:
        raise UserError("no picture among the files given")
    augmented(options.out / SHEET, shown, changes)
    of = counted(number, "picture")
    print(f"{options.out}: {options.count} of each of {of}, and {options.out / SHEET}")
