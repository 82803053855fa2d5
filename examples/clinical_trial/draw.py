"""Draw the people of a trial: their age, and whether the drug had side effects."""

from pathlib import Path

import numpy as np
from dvc.api import params_show
from numpy.typing import NDArray

from classifier.base.files import write_table


def draw(count: int, rule: float, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Draw people, half of them from 13 to 64 years old, half from 65 to 100.

    Args:
        count: how many.
        rule: the share of the older that has side effects, and of the younger that has none.
        rng: where they are drawn from.

    Returns:
        Ages in years and side effects (0 or 1), int64 [count] each, in no order.
    """
    ages = np.where(
        rng.permutation(count) % 2, rng.integers(65, 101, count), rng.integers(13, 65, count)
    )
    return ages, ((ages >= 65) == (rng.random(count) < rule)).astype(int)


def main() -> None:
    """Write the people of training and test to data/train.csv and data/test.csv."""
    params = params_show()
    rng = np.random.default_rng(params["seed"])
    for name in ("train", "test"):
        ages, effects = draw(params["people"], params["rule"], rng)
        rows = zip(ages, effects, strict=True)
        write_table(Path("data") / f"{name}.csv", ["age", "side_effects"], rows)


if __name__ == "__main__":
    main()
