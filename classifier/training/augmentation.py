"""Random changes of pictures: one pass over the pixels for all that move them.

The distribution is that of Keras's RandomFlip, RandomRotation, RandomZoom and RandomTranslation in
that order with their defaults (bilinear, borders mirrored). Those layers resample the picture once
each; here the transformations are multiplied first, so that it is resampled once. Shear comes after
zoom; it, channel shift and fill are those of older tutorials' ImageDataGenerator, in other units.
Crop, brightness, contrast and erasing are torchvision's RandomResizedCrop, ColorJitter and
RandomErasing. All together take 12 ms for 32 pictures of 180 pixels on one core, as long as the
first four alone; RandAugment, in its own module, as long again, where Keras's takes 1.3 s.
"""

from dataclasses import dataclass, fields
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from classifier.training.rand_augment import rand_augment

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
        crop: smallest area of a random box, as a share of the picture's, of a ratio from 3:4 to
            4:3; cut off at the borders, and resized to the whole; 1: no box.
        brightness: largest change of all levels, as a fraction.
        contrast: largest change of the levels' distance from their mean, as a fraction.
        rand_augment: strength of RandAugment's operations, 0 (none of them) to 1.
        erasing: probability that a box of 2 to 33 % of the picture becomes noise.
    """

    flip: str
    rotation: float
    zoom: float
    keep_aspect: bool = True
    shift: float = 0.0
    shear: float = 0.0
    channel_shift: float = 0.0
    fill: str = "reflect"
    crop: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    rand_augment: float = 0.0
    erasing: float = 0.0

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
            f"crops from {100 * self.crop:.3g} % of the area" if self.crop < 1 else "",
            f"brightness ±{100 * self.brightness:.3g} %" if self.brightness else "",
            f"contrast ±{100 * self.contrast:.3g} %" if self.contrast else "",
            f"RandAugment at {self.rand_augment:.3g}" if self.rand_augment else "",
            f"erasing in {100 * self.erasing:.3g} %" if self.erasing else "",
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
    images: NDArray[np.uint8],
    augmentation: Augmentation,
    rng: np.random.Generator,
    size: int | None = None,
) -> NDArray[np.uint8]:
    """Transform each picture at random.

    Args:
        images: uint8 [n, side, side, 3].
        augmentation: how far.
        rng: where the transformations are drawn from.
        size: of the results, pixels; None: the pictures' own.

    Returns:
        uint8 [n, size, size, 3], a new array.

    Examples:
        >>> tilt = Augmentation("none", rotation=0.1, zoom=0.0)
        >>> augment(np.zeros((2, 8, 8, 3), np.uint8), tilt, np.random.default_rng(1)).shape
        (2, 8, 8, 3)
    """
    count, side = len(images), images.shape[1]
    size = size or side
    matrices = transformations(count, side, augmentation, rng)
    shift = rng.uniform(-1, 1, count) * augmentation.channel_shift
    # Drawn in any case, as the transformations are: one option moves no other's draws, but for the
    # boxes of crop, whose positions take no draw where a side has no room.
    shares = rng.uniform(augmentation.crop, 1, count)
    crops = boxes(shares, _ratios(count, 3 / 4, rng), side, rng)
    brightness = 1 + rng.uniform(-1, 1, count) * augmentation.brightness
    contrast = 1 + rng.uniform(-1, 1, count) * augmentation.contrast
    if augmentation.crop == 1:
        crops[:] = 0, 0, side, side
    if augmentation.crop < 1 or size != side:
        matrices = _of_boxes(matrices, crops, size)
    augmented = np.empty((count, size, size, 3), np.uint8)
    for image, matrix, target in zip(images, matrices, augmented, strict=True):
        cv2.warpAffine(
            image,
            matrix,
            (size, size),
            dst=target,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=BORDERS[augmentation.fill],
        )
    if augmentation.channel_shift or augmentation.brightness or augmentation.contrast:
        for target, *drawn in zip(augmented, brightness, contrast, shift, strict=True):
            cv2.LUT(target, _levels(target, *drawn), dst=target)
    if augmentation.rand_augment:
        (own,) = rng.spawn(1)  # whose draws move no others
        border = BORDERS[augmentation.fill]
        for target in augmented:
            target[:] = rand_augment(target, augmentation.rand_augment, border, own)
    if augmentation.erasing:
        _erase(augmented, augmentation.erasing, rng)
    return augmented


def boxes(
    shares: NDArray[np.float64],
    ratios: NDArray[np.float64],
    size: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw a box anywhere in each picture.

    Args:
        shares: of the picture's area, [n]; a box that would be longer than the picture is cut off.
        ratios: of width to height, [n].
        size: of the pictures, pixels.
        rng: where positions are drawn from.

    Returns:
        int64 [n, 4]: left, top, width, height, pixels.
    """
    sides = size * np.sqrt(np.stack([shares * ratios, shares / ratios], axis=1))
    sides = np.clip(np.rint(sides), 1, size).astype(np.int64)
    return np.concatenate([rng.integers(0, size - sides + 1), sides], axis=1)


def _ratios(count: int, least: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Ratios between one and its inverse, either side of 1 alike."""
    ratios: NDArray[np.float64] = np.exp(rng.uniform(-1, 1, count) * np.log(least))
    return ratios


def _of_boxes(
    matrices: NDArray[np.float64], crops: NDArray[np.int64], size: int
) -> NDArray[np.float64]:
    """Compose transformations with boxes of their output, each resized to `size` pixels."""
    scale = crops[:, 2:] / size
    linear, offset = matrices[:, :, :2], matrices[:, :, 2]
    # A pixel's position is its centre.
    offset = offset + np.einsum("nij,nj->ni", linear, crops[:, :2] + (scale - 1) / 2)
    return np.concatenate([linear * scale[:, np.newaxis], offset[:, :, np.newaxis]], axis=2)


def _levels(
    image: NDArray[np.uint8], brightness: float, contrast: float, shift: float
) -> NDArray[np.uint8]:
    """Compute what becomes of each of the 256 levels of a picture."""
    levels = np.arange(256) * brightness * contrast + shift
    if contrast != 1:
        levels += image.mean() * brightness * (1 - contrast)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def _erase(images: NDArray[np.uint8], probability: float, rng: np.random.Generator) -> None:
    """Fill a box with noise, in some of the pictures."""
    count, size = len(images), images.shape[1]
    drawn = boxes(rng.uniform(0.02, 0.33, count), _ratios(count, 0.3, rng), size, rng)
    for k in np.flatnonzero(rng.random(count) < probability):
        left, top, width, height = drawn[k]
        noise = rng.integers(0, 256, (height, width, 3), np.uint8)
        images[k, top : top + height, left : left + width] = noise
