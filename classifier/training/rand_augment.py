"""RandAugment (Cubuk et al. 2020): two of fourteen operations a picture, all as strong.

Their ranges are AutoAugment's (Cubuk et al. 2019, table 6). Levels are changed by Pillow, places by
OpenCV, which continues a picture beyond its border.
"""

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

OPERATIONS_A_PICTURE: Final = 2


def _enhanced(enhancer: type) -> Callable[[Image.Image, float], Image.Image]:
    return lambda image, strength: enhancer(image).enhance(1 + 0.9 * strength)


def _turned(strength: float) -> list[list[float]]:
    cos, sin = np.cos(np.deg2rad(30 * strength)), np.sin(np.deg2rad(30 * strength))
    return [[cos, -sin, 0], [sin, cos, 0]]


# Of strengths from -1 to 1; those that know no direction take them without their sign.
LEVELS: Final[dict[str, Callable[[Image.Image, float], Image.Image]]] = {
    "identity": lambda image, strength: image,
    "autocontrast": lambda image, strength: ImageOps.autocontrast(image),
    "equalize": lambda image, strength: ImageOps.equalize(image),
    "posterize": lambda image, strength: ImageOps.posterize(image, 8 - round(4 * abs(strength))),
    "solarize": lambda image, strength: ImageOps.solarize(image, round(256 - 256 * abs(strength))),
    "color": _enhanced(ImageEnhance.Color),
    "contrast": _enhanced(ImageEnhance.Contrast),
    "brightness": _enhanced(ImageEnhance.Brightness),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
}
# Where in the input an output's pixel is found: positions about the centre, in sizes.
PLACES: Final[dict[str, Callable[[float], list[list[float]]]]] = {
    "rotate": _turned,
    "shear_x": lambda strength: [[1, 0.3 * strength, 0], [0, 1, 0]],
    "shear_y": lambda strength: [[1, 0, 0], [0.3 * strength, 1, 0]],
    "translate_x": lambda strength: [[1, 0, 150 / 331 * strength], [0, 1, 0]],
    "translate_y": lambda strength: [[1, 0, 0], [0, 1, 150 / 331 * strength]],
}


def rand_augment(
    picture: NDArray[np.uint8], strength: float, border: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Change a picture by two operations, which may be the same twice.

    Args:
        picture: uint8 [size, size, 3].
        strength: how far within its range each operation goes, 0 to 1, either way.
        border: OpenCV's constant for what lies beyond the border.
        rng: where operations and directions are drawn from.

    Returns:
        uint8 [size, size, 3].
    """
    for name in rng.choice((*LEVELS, *PLACES), OPERATIONS_A_PICTURE):
        signed = strength * rng.choice((-1, 1))
        if change := LEVELS.get(name):
            picture = np.asarray(change(Image.fromarray(picture), signed))
        else:
            picture = _moved(picture, np.array(PLACES[name](signed), float), border)
    return picture


def _moved(
    picture: NDArray[np.uint8], matrix: NDArray[np.float64], border: int
) -> NDArray[np.uint8]:
    size = len(picture)
    centre = np.full(2, (size - 1) / 2)
    matrix[:, 2] = matrix[:, 2] * size + centre - matrix[:, :2] @ centre
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, matrix, (size, size), flags=flags, borderMode=border)
