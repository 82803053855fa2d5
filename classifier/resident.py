"""Training pictures in a GPU's memory: looked up and augmented inside the compiled step.

What travels to the device in a step is the indices of its pictures and one 2×3 matrix for each,
drawn as on a CPU: the same seed turns, zooms and mirrors the same pictures alike on both.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from classifier.augmentation import Augmentation, transformations
from classifier.batches import Batches
from classifier.splits import Split
from classifier.training import History, Recipe, fit

LARGEST = 2**31 - 1  # bytes of pictures: 22,000 of 180 px; a GPU of 8 GB has room for the rest
STEPS_PER_EXECUTION = 8  # compiled into one call


def pays_off(device: str, *splits: Split) -> bool:
    """Whether the pictures of these splits should stay in the device's memory together.

    Of Keras's backends only TensorFlow is known to take it well: PyTorch refuses several steps in
    one call, and JAX may copy the pictures into the compiled program.

    Args:
        device: cpu or gpu.
        splits: that are trained on.
    """
    fits = sum(split.images.nbytes for split in splits) <= LARGEST
    return device == "gpu" and keras.backend.backend() == "tensorflow" and fits


def fit_resident(
    network: keras.Model,
    train: Split,
    validation: Split,
    recipe: Recipe,
    checkpoint: Path,
    *,
    batch_size: int,
    seed: int,
    augmentation: Augmentation | None,
) -> History:
    """Train as `training.fit` does, with the pictures on the device.

    Args:
        network: from uint8 [n, size, size, 3] to probabilities; it is left with the weights of the
            best epoch.
        train: shuffled, and augmented.
        validation: in order, as it is.
        recipe: how to train.
        checkpoint: as of `training.fit`.
        batch_size: pictures a step.
        seed: of order and augmentation.
        augmentation: None leaves the training pictures as they are.
    """
    size = train.images.shape[1]
    pictures = Pictures(train.images, validation.images)
    indices: Any = keras.Input((), dtype="int32", name="indices")
    matrices = keras.Input((2, 3), dtype="float32", name="matrices")
    inputs = [indices, matrices] if augmentation else indices
    model = keras.Model(inputs, network(pictures(inputs)))

    def drawn(rows: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
        assert augmentation  # nobody calls it otherwise
        return rows, transformations(len(rows), size, augmentation, rng).astype(np.float32)

    def unchanged(rows: NDArray, _: np.random.Generator) -> tuple[NDArray, NDArray]:
        return rows, np.tile(np.eye(2, 3, dtype=np.float32), (len(rows), 1, 1))

    rows = np.arange(len(train) + len(validation), dtype=np.int32)
    prepare, leave = (drawn, unchanged) if augmentation else (None, None)
    return fit(
        model,
        Batches([rows[: len(train)]], train.labels, batch_size, seed=seed, prepare=prepare),
        Batches([rows[len(train) :]], validation.labels, batch_size, prepare=leave),
        recipe,
        checkpoint,
        steps_per_execution=STEPS_PER_EXECUTION,
    )


class Pictures(keras.layers.Layer):
    """From indices of pictures to the pictures, transformed where matrices come with them."""

    def __init__(self, *images: NDArray[np.uint8]) -> None:
        """Copy the pictures onto the device.

        Args:
            images: arrays uint8 [n, size, size, 3], which are counted through.
        """
        # Under mixed_bfloat16 Keras would round the matrices to eight significant bits: pictures
        # up to two pixels off.
        super().__init__(dtype="float32", trainable=False, name="pictures")
        self.size = images[0].shape[1]
        # No weight of the layer: weights are what a checkpoint and the best epoch are copies of.
        self.pixels = ops.concatenate([one.reshape(len(one), -1, 3) for one in images])

    def call(self, inputs: Any) -> Any:
        if not isinstance(inputs, list | tuple):
            pixels = ops.take(self.pixels, inputs, axis=0)
            return ops.reshape(pixels, (-1, self.size, self.size, 3))
        rows, matrices = inputs
        return warp(ops.take(self.pixels, rows, axis=0), matrices, self.size)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        return keras.KerasTensor((None, self.size, self.size, 3), dtype="uint8")


def warp(pixels: Any, matrices: Any, size: int) -> Any:
    """What `augmentation.augment` does with OpenCV: bilinear, the borders mirrored.

    Args:
        pixels: uint8 [n, size · size, 3].
        matrices: float32 [n, 2, 3], from a position (x, y, 1) in the output to one in the input.
        size: height and width, pixels.

    Returns:
        uint8 [n, size, size, 3].
    """
    across = ops.arange(size, dtype="float32")
    x, y = across[None, None, :], across[None, :, None]
    matrices = matrices[:, :, :, None, None]
    source = [matrices[:, i, 0] * x + matrices[:, i, 1] * y + matrices[:, i, 2] for i in (0, 1)]
    left, top = (ops.floor(position) for position in source)
    right, below = source[0] - left, source[1] - top  # how far towards the next pixel
    total: Any = 0.0
    for column, across_weight in ((left, 1 - right), (left + 1, right)):
        for row, down_weight in ((top, 1 - below), (top + 1, below)):
            index = _reflected(row, size) * size + _reflected(column, size)
            index = ops.reshape(index, (-1, size * size, 1))
            corner = ops.take_along_axis(pixels, index, axis=1)
            corner = ops.reshape(ops.cast(corner, "float32"), (-1, size, size, 3))
            total += corner * (across_weight * down_weight)[..., None]
    return ops.cast(ops.round(total), "uint8")


def _reflected(position: Any, size: int) -> Any:
    """Positions beyond the border as those inside, as OpenCV's BORDER_REFLECT: 1 0 | 0 1 2 ..."""
    inside = ops.mod(ops.cast(position, "int32"), 2 * size)
    return ops.minimum(inside, 2 * size - 1 - inside)
