"""What a backbone's frozen layers make of each picture: computed once, kept in .cache/features."""

import hashlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from classifier.base.cache import cache_folder, locked, locked_if_free
from classifier.base.files import new_array, write_text
from classifier.base.splits import Split
from classifier.training import augmentation as augmentation_module
from classifier.training import rand_augment
from classifier.training.augmentation import Augmentation, augment
from classifier.training.precision import environment
from classifier.transfer import winograd
from classifier.transfer.backbone import cut

WHOLE = "features.npy"  # the file that is there when all of it is
PARTIAL = "partial.npy"
PROGRESS = "done"  # how many pictures' features are in it
LOCK = ".lock"
KEPT = 20e9  # bytes of features; augmented copies are new ones for each seed
STARTED = time.time()
COMPUTED_AT_ONCE = 32
SAVED_EVERY = 8  # batches: some 20 seconds where it takes long


def frozen_features(
    frozen: keras.Model,
    split: Split,
    *,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    through: str | None = None,
    mirror: bool = False,
) -> NDArray:
    """Pass pictures through frozen layers, or find what an earlier run computed.

    Args:
        frozen: the layers; their weights, structure and precision tell the results apart.
        split: its images are passed.
        augmentation: None passes the pictures as they are; otherwise one augmented copy of each.
        seed: of the augmentation.
        through: a layer on the way, whose output is kept as well where the pictures have to pass.
        mirror: passes their mirror images.

    Returns:
        float32 [n, ...], of the shape of the last layer's output, mapped from the disk.
    """
    drawn = f"{augmentation!r} {seed}" if augmentation else "as they are"
    drawn += ", mirrored" if mirror else ""
    known = f"{environment()} {structure(frozen)} {drawn} {split.digest}"
    digest = hashlib.sha256(known.encode())
    for weights in frozen.get_weights():
        digest.update(weights.tobytes())
    changes = augmentation_module.__file__, rand_augment.__file__
    for code in (__file__, *changes, winograd.__file__):
        digest.update(Path(code).read_bytes())
    folder = cache_folder("features") / digest.hexdigest()[:32]
    folder.mkdir(exist_ok=True)
    with locked(folder / LOCK, "waiting for another run that computes the same features"):
        os.utime(folder)
        if not (folder / WHOLE).exists():
            images, layers = split.images[:, :, ::-1] if mirror else split.images, frozen
            if through and through != frozen.layers[-1].name:
                lower, layers = cut(frozen, through, ("pictures", "features"))
                images = frozen_features(
                    lower, split, augmentation=augmentation, seed=seed, mirror=mirror
                )
                augmentation = None  # it is in them
            _compute(folder, layers, images, augmentation, seed)
            _make_room(folder.parent)
        return np.load(folder / WHOLE, mmap_mode="r")


def structure(model: keras.Model) -> str:
    """Write down a model's layers and how they are joined, the same when it is saved.

    Keras numbers names by what else a process has built, so that they are told by their order here.
    """
    text, places = model.to_json(), dict[str, str]()

    def place(node: dict[str, Any]) -> dict[str, Any]:
        config = node.get("config")
        if isinstance(config, dict) and "name" in config and node["class_name"] != "DTypePolicy":
            places.setdefault(config["name"], f"#{len(places)}")
        return node

    json.loads(text, object_hook=place)
    return re.sub(r'"([^"]*)"', lambda found: f'"{places.get(found[1], found[1])}"', text)


def _compute(
    folder: Path,
    frozen: keras.Model,
    images: NDArray,
    augmentation: Augmentation | None,
    seed: int,
) -> None:
    """Write the features into a folder, going on where an interrupted run stopped."""
    shape = (len(images), *frozen.output_shape[1:])
    partial, progress = folder / PARTIAL, folder / PROGRESS
    done = int(progress.read_text()) if progress.exists() else 0
    if done:
        features: np.memmap = np.lib.format.open_memmap(partial, mode="r+")
        print(f"going on with the features of {done:,} of {len(images):,} pictures")
    else:
        features = new_array(partial, shape, np.float32)
    with tqdm(total=len(images), initial=done, unit=" pictures", disable=None) as bar:
        bar.set_description(f"features of {frozen.layers[-1].name}")
        for start in range(done, len(images), COMPUTED_AT_ONCE):
            batch = np.asarray(images[start : start + COMPUTED_AT_ONCE])
            if augmentation:
                batch = augment(batch, augmentation, np.random.default_rng([seed, start]))
            features[start : start + len(batch)] = frozen.predict_on_batch(batch)
            bar.update(len(batch))
            if start // COMPUTED_AT_ONCE % SAVED_EVERY == SAVED_EVERY - 1:
                features.flush()  # to the disk, before it is said to be there
                write_text(progress, str(start + len(batch)))
    features.flush()
    partial.replace(folder / WHOLE)
    progress.unlink(missing_ok=True)


def _make_room(folders: Path) -> None:
    """Delete the features that were asked for longest ago, where there are more than `KEPT` bytes.

    Those that were asked for since this run began stay. A run that is reading deleted ones keeps
    them until it ends.
    """
    total = 0
    for folder in sorted(folders.iterdir(), key=_asked_for, reverse=True):
        # Progress first: without the file that it speaks of, it would mislead the next run.
        files = [folder / name for name in (PROGRESS, PARTIAL, WHOLE)]
        size = sum(_size(file) for file in files)
        total += size
        if size and total > KEPT and _asked_for(folder) < STARTED:
            with locked_if_free(folder / LOCK) as free:
                if free:
                    print(f"deleting {size / 1e9:.1f} GB of features, the longest unused")
                    for file in files:
                        file.unlink(missing_ok=True)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # or renamed this moment by a run that is at work there
        return 0


def _asked_for(folder: Path) -> float:
    return folder.stat().st_mtime
