"""How far two ways to compute the same may differ: told from the arithmetic, not seen on one CPU.

Libraries sum in the order that suits the CPU (the width of its vectors, its tiles, its threads), so
that a tolerance that was tried out on one machine fails on the next.
"""

import numpy as np

# Half the distance from 1 to the next number: what one rounding changes at most, relatively.
UNIT = {"float32": 2.0**-24, "bfloat16": 2.0**-8}
CAREFUL = 8  # of standard deviations of a rounding error, two computations' together


def rounding(terms: int, sums: int = 1) -> float:
    """The relative difference that another order of summing may make, of float32 arrays as a whole.

    Each addition rounds a partial sum by at most a UNIT of it, either way. Over n products of
    random sign the partial sums grow as √k to √n, their roundings add up as a random walk does, and
    of the result √n units are left (Higham and Mary, "A New Approach to Probabilistic Rounding
    Error Analysis", 2019); of one sign, fewer.

    Args:
        terms: of the longest sum.
        sums: that follow upon one another, each on the results of the one before.

    Examples:
        >>> rounding(9 * 64)  # a 3×3 convolution of 64 channels
        1.1444091796875e-05
    """
    return CAREFUL * sums * terms**0.5 * UNIT["float32"]


def assert_same_but_for_rounding(found: object, expected: object, allowed: float) -> None:
    """Hold arrays against each other as a whole, by the root of the sum of squares."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected) <= allowed * np.linalg.norm(expected)
