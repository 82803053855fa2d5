"""What VGG16's frozen layers make of each picture: computed once, kept in .cache/features."""

import hashlib
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from classifier.augmentation import Augmentation, augment
from classifier.cache import cache_folder
from classifier.files import new_array, whole
from classifier.splits import Split

COMPUTED_AT_ONCE = 32


def frozen_features(
    frozen: keras.Model,
    split: Split,
    *,
    augmentation: Augmentation | None = None,
    seed: int = 0,
) -> NDArray:
    """Pass pictures through frozen layers, or find what an earlier run computed.

    Args:
        frozen: the layers; their weights, structure and precision tell the results apart.
        split: its images are passed.
        augmentation: None passes the pictures as they are; otherwise one augmented copy of each.
        seed: of the augmentation.

    Returns:
        [n, ...] as the last layer gives it, mapped from the disk.
    """
    drawn = f"{augmentation!r} {seed}" if augmentation else "as they are"
    known = f"{keras.version()} {frozen.to_json()} {drawn} {split.digest}"
    digest = hashlib.sha256(known.encode())
    for weights in frozen.get_weights():
        digest.update(weights.tobytes())
    path = cache_folder("features") / f"{digest.hexdigest()[:32]}.npy"
    if not path.exists():
        _compute(path, frozen, split.images, augmentation, seed)
    return np.load(path, mmap_mode="r")


def _compute(
    path: Path,
    frozen: keras.Model,
    images: NDArray[np.uint8],
    augmentation: Augmentation | None,
    seed: int,
) -> None:
    shape = (len(images), *frozen.output_shape[1:])
    with whole(path) as beside, tqdm(total=len(images), unit=" pictures", disable=None) as bar:
        bar.set_description(f"features of {frozen.layers[-1].name}")
        features = new_array(beside, shape, np.float32)
        for start in range(0, len(images), COMPUTED_AT_ONCE):
            batch = np.asarray(images[start : start + COMPUTED_AT_ONCE])
            if augmentation:
                batch = augment(batch, augmentation, np.random.default_rng([seed, start]))
            features[start : start + len(batch)] = frozen.predict_on_batch(batch)
            bar.update(len(batch))
        features.flush()
