"""Pictures of noise, each of a seed its own."""

import io

import numpy as np
from PIL import Image


def png(seed: int, width: int = 12, height: int = 9) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
