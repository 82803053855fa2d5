"""What a training step computes, and what the machine can compute at best."""

import math
import time
from typing import Any

import numpy as np

PRODUCT_SIZES = (512, 1024, 2048, 4096)


def training_flop(model: Any) -> float:
    """Floating-point operations of a training step, an image.

    Two (multiply and add) for every product of convolutions and dense layers, in three passes:
    forward, the gradient of the kernel and that of the input; the first layer needs no gradient of
    its input. What is left out (biases, pooling, activations, the optimizer) is a few per cent.

    Args:
        model: of Keras's own layers, each of which is called once.
    """
    total, passes = 0, 2
    for layer in model.layers:
        name = type(layer).__name__
        if name not in ("Conv2D", "Dense"):
            continue
        positions = math.prod(layer.output.shape[1:3]) if name == "Conv2D" else 1
        total += 2 * passes * positions * math.prod(layer.kernel.shape)
        passes = 3
    return float(total)


def product_rates(sizes: tuple[int, ...] = PRODUCT_SIZES) -> dict[str, float]:
    """GFLOP/s of numpy's product of two float32 matrices [n, n], the best of three, by n."""
    rates = {}
    for n in sizes:
        a = np.random.default_rng(0).random((n, n), np.float32)
        seconds = []
        for _ in range(4):  # the first sets up
            start = time.perf_counter()
            a @ a
            seconds.append(time.perf_counter() - start)
        rates[str(n)] = 2 * n**3 / min(seconds[1:]) / 1e9
    return rates
