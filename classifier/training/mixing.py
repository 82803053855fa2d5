"""Training on two pictures in one, whose labels are shared: mixup and cutmix."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from classifier.training.augmentation import boxes


@dataclass(frozen=True)
class Mixing:
    """How pictures are mixed; with both ways on, each batch takes one of them.

    Attributes:
        mixup: α of the Beta distribution of each picture's share in a sum of two (Zhang et al.
            2018); 0: no sums.
        cutmix: the same for a box of another picture in each (Yun et al. 2019).
    """

    mixup: float
    cutmix: float

    def in_words(self) -> str:
        """Say it: `mixup 0.2 or cutmix 1`; nothing where neither is on."""
        ways = (f"{way} {getattr(self, way):g}" for way in self._ways())
        return " or ".join(ways)

    def _ways(self) -> list[str]:
        return [way for way in ("mixup", "cutmix") if getattr(self, way)]

    def mix(
        self, images: NDArray[np.uint8], targets: NDArray[np.float32], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Mix each picture of a batch with another.

        Args:
            images: uint8 [n, size, size, 3].
            targets: float32 [n, units], soft labels.
            rng: where partners and shares are drawn from.

        Returns:
            Pictures and soft labels of the same shapes.
        """
        way = rng.choice(self._ways())
        partners = rng.permutation(len(images))
        alpha = getattr(self, way)
        shares = rng.beta(alpha, alpha, len(images))
        mixed = images.copy()
        if way == "mixup":
            for target, partner, share in zip(mixed, partners, shares, strict=True):
                cv2.addWeighted(target, share, images[partner], 1 - share, 0, dst=target)
        else:
            size = images.shape[1]
            drawn = boxes(1 - shares, np.ones(len(images)), size, rng)
            for target, partner, (left, top, width, height) in zip(
                mixed, partners, drawn, strict=True
            ):
                box = np.s_[top : top + height, left : left + width]
                target[box] = images[partner][box]
            shares = 1 - drawn[:, 2:].prod(axis=1) / size**2
        own = shares[:, np.newaxis].astype(np.float32)
        return mixed, own * targets + (1 - own) * targets[partners]
