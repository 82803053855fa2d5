"""Random flips, rotations, zooms, shears and shifts: one pass over the pixels for all of them.

The distribution is that of Keras's RandomFlip, RandomRotation, RandomZoom and RandomTranslation in
that order with their defaults (bilinear, borders mirrored). Those layers resample the picture once
each; here the transformations are multiplied first, so that it is resampled once. Shear comes after
zoom; it, channel shift and fill are those of older tutorials' ImageDataGenerator, in other units.
"""

from dataclasses import dataclass, fields
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

# The training step uses every core; a second pool of threads beside it would only get in its way.
cv2.setNumThreads(1)


BORDERS = {
    "reflect": cv2.BORDER_REFLECT,
    "nearest": cv2.BORDER_REPLICATE,
    "constant": cv2.BORDER_CONSTANT,
}


@dataclass(frozen=True)
class Augmentation:
    """How far pictures are changed.

    Attributes:
        flip: none, horizontal, vertical or both; each way with probability one half.
        rotation: largest angle, as a fraction of a full turn, either way.
        zoom: largest change of the size, as a fraction, in or out.
        keep_aspect: zoom height and width alike.
        shift: largest shift, as a fraction of the size, either way.
        shear: largest shift of a row, as a fraction of its distance from the centre, either way.
        channel_shift: largest change of all channels of a picture, out of 255, either way.
        fill: what lies beyond the border: reflect, nearest (its last pixels) or constant (black).
    """

    flip: str
    rotation: float
    zoom: float
    keep_aspect: bool = True
    shift: float = 0.0
    shear: float = 0.0
    channel_shift: float = 0.0
    fill: str = "reflect"

    @classmethod
    def of(cls, section: object) -> Self:
        """Take what has these names from the parameters `augment.*`."""
        return cls(**{field.name: getattr(section, field.name) for field in fields(cls)})

    def in_words(self) -> str:
        """Say what is changed: `horizontal flips, rotation ±36°, zoom ±20 %`; `none` of nothing."""
        flips = {"none": "", "both": "flips both ways"}.get(self.flip, f"{self.flip} flips")
        apart = "" if self.keep_aspect else " of height and width each on its own"
        ways = (
            flips,
            f"rotation ±{360 * self.rotation:.3g}°" if self.rotation else "",
            f"zoom ±{100 * self.zoom:.3g} %{apart}" if self.zoom else "",
            f"shift ±{100 * self.shift:.3g} %" if self.shift else "",
            f"shear ±{100 * self.shear:.3g} %" if self.shear else "",
            f"channel shift ±{self.channel_shift:.3g}" if self.channel_shift else "",
        )
        return ", ".join(filter(None, ways)) or "none"


def transformations(
    count: int, size: int, augmentation: Augmentation, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw one affine transformation a picture.

    Returns:
        float64 [count, 2, 3]: maps a position (x, y, 1) in the output to one in the input, pixels.
    """
    flip_x = _signs(count, augmentation.flip in ("horizontal", "both"), rng)
    flip_y = _signs(count, augmentation.flip in ("vertical", "both"), rng)
    angle = rng.uniform(-1, 1, count) * augmentation.rotation * 2 * np.pi
    zoom_y = 1 + rng.uniform(-1, 1, count) * augmentation.zoom
    zoom_x = 1 + rng.uniform(-1, 1, count) * augmentation.zoom
    if augmentation.keep_aspect:
        zoom_x = zoom_y
    shift = rng.uniform(-1, 1, (count, 2)) * augmentation.shift * size

    shear = rng.uniform(-1, 1, count) * augmentation.shear

    # From the output back to the input: shift, zoom, shear, rotate, flip, about the centre.
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.empty((count, 2, 2))
    linear[:, 0, 0] = flip_x * cos * zoom_x
    linear[:, 0, 1] = flip_x * (cos * shear - sin) * zoom_y
    linear[:, 1, 0] = flip_y * sin * zoom_x
    linear[:, 1, 1] = flip_y * (sin * shear + cos) * zoom_y
    centre = np.full(2, (size - 1) / 2)
    offset = centre - np.einsum("nij,nj->ni", linear, centre + shift)
    return np.concatenate([linear, offset[:, :, np.newaxis]], axis=2)


def _signs(count: int, enabled: bool, rng: np.random.Generator) -> NDArray[np.float64]:
    drawn = rng.choice([-1.0, 1.0], count)  # drawn in any case: one option moves no other's draws
    return drawn if enabled else np.ones(count)


def augment(
    images: NDArray[np.uint8], augmentation: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Transform each picture at random.

    Args:
        images: uint8 [n, size, size, 3].
        augmentation: how far.
        rng: where the transformations are drawn from.

    Returns:
        uint8 [n, size, size, 3], a new array.

    Examples:
        >>> tilt = Augmentation("none", rotation=0.1, zoom=0.0)
        >>> augment(np.zeros((2, 8, 8, 3), np.uint8), tilt, np.random.default_rng(1)).shape
        (2, 8, 8, 3)
    """
    size = images.shape[1]
    augmented = np.empty_like(images)
    for image, matrix, target in zip(
        images,
        transformations(len(images), size, augmentation, rng),
        augmented,
        strict=True,
    ):
        cv2.warpAffine(
            image,
            matrix,
            (size, size),
            dst=target,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=BORDERS[augmentation.fill],
        )
    if augmentation.channel_shift:
        level = rng.uniform(-1, 1, (len(images), 1, 1, 1)) * augmentation.channel_shift
        augmented = np.clip(augmented + np.rint(level), 0, 255).astype(np.uint8)
    return augmented
