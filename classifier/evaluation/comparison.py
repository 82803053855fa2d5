"""Which of two trained models is better on the same test images, and how sure that is.

These are statements about trained models, not about recipes: another seed trains another model.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binom, norm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

LEVEL = 0.05
POWER = 0.8
MOST_IMAGES = 2**20  # beyond this a needed number of images says nothing but «no difference»


@dataclass(frozen=True)
class Comparison:
    """Two models on the same images; what is `b`'s is positive.

    difference: accuracy of `b` − accuracy of `a`, a fraction; low, high: its 95 % interval (Tango).
    only_a, only_b: images that only this one of the two gets right.
    p_value: exact McNemar test; p_holm: the same after Holm's correction over all pairs.
    needed: images for a test of this power (see `sample_size`), None where nothing was seen.
    """

    a: str
    b: str
    difference: float
    low: float
    high: float
    only_a: int
    only_b: int
    p_value: float
    p_holm: float
    needed: int | None
    sentence: str


def compare_models(labels: NDArray, scores_by_model: dict[str, NDArray]) -> list[Comparison]:
    """Compare the accuracies of each pair of models, in the order in which they are given.

    labels: int64 [n]; scores: float64 [n, k] by model name. Exact McNemar test of each pair, Holm's
    correction over the pairs, interval of the difference by `paired_interval`. The numbers of
    images needed are for a test at the level 0.05 / pairs: what Holm asks of the strictest pair, so
    that they suffice whatever the other pairs show.
    """
    right = {name: scores.argmax(axis=1) == labels for name, scores in scores_by_model.items()}
    pairs = list(combinations(right, 2))
    if not pairs:
        return []
    counts = [
        (int((right[a] & ~right[b]).sum()), int((~right[a] & right[b]).sum())) for a, b in pairs
    ]
    p_values = [mcnemar_p(only_a, only_b) for only_a, only_b in counts]
    corrected = multipletests(p_values, alpha=LEVEL, method="holm")[1]

    comparisons = []
    for (a, b), (only_a, only_b), p_value, p_holm in zip(
        pairs, counts, p_values, corrected, strict=True
    ):
        low, high = paired_interval(only_a, only_b, len(labels))
        needed = sample_size(only_a, only_b, len(labels), alpha=LEVEL / len(pairs))
        difference = (only_b - only_a) / len(labels)
        comparisons.append(
            Comparison(
                a=a,
                b=b,
                difference=difference,
                low=low,
                high=high,
                only_a=only_a,
                only_b=only_b,
                p_value=p_value,
                p_holm=float(p_holm),
                needed=needed,
                sentence=_sentence(
                    (a, b),
                    difference,
                    (low, high),
                    p_holm=float(p_holm),
                    pairs=len(pairs),
                    n=len(labels),
                    needed=needed,
                ),
            )
        )
    return comparisons


@lru_cache(maxsize=4096)
def mcnemar_p(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of the exact McNemar test; 1.0 where the models never differ.

    Examples:
        >>> round(mcnemar_p(only_a=3, only_b=12), 3)
        0.035
    """
    if only_a + only_b == 0:
        return 1.0
    return min(1.0, float(mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue))


@lru_cache(maxsize=4096)
def paired_interval(only_a: int, only_b: int, n: int) -> tuple[float, float]:
    """Return the 95 % score interval of the difference of two paired proportions, (b − a) / n.

    Tango 1998, Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design, Statistics in Medicine 17, 891–908: all differences that its score test
    doesn't reject. statsmodels has none for paired differences. It holds 95 % where few images tell
    the models apart, where Wald's covers 91 % and Newcombe's square-and-add 98 %
    (`python -m tests.simulate_intervals`).

    Examples:
        >>> low, high = paired_interval(only_a=3, only_b=12, n=500)
        >>> f"{9 / 500:.1%} ({low:.1%} to {high:.1%})"
        '1.8% (0.3% to 3.6%)'
    """
    z = float(norm.ppf(1 - LEVEL / 2))
    seen = (only_b - only_a) / n

    def score(difference: float) -> float:
        # Maximum-likelihood estimate of only_a's probability, given the difference (equation 8).
        linear = -(only_a + only_b) + (2 * n - only_b + only_a) * difference
        constant = -only_a * difference * (1 - difference)
        root = math.sqrt(max(0.0, linear**2 - 8 * n * constant))
        only_a_rate = (root - linear) / (4 * n)
        variance = n * (2 * only_a_rate + difference * (1 - difference))
        distance = only_b - only_a - n * difference
        if variance <= 0:
            return math.copysign(math.inf, distance) if distance else 0.0
        return distance / math.sqrt(variance)

    # The score falls as the difference grows; ±1 itself has no variance.
    edge = 1 - 1e-12
    low = -1.0 if seen == -1 else brentq(lambda d: score(d) - z, -edge, seen, xtol=1e-12)
    high = 1.0 if seen == 1 else brentq(lambda d: score(d) + z, seen, edge, xtol=1e-12)
    return float(low), float(high)


def sample_size(
    only_a: int, only_b: int, n: int, power: float = POWER, alpha: float = LEVEL
) -> int | None:
    """Return how many test images a single exact McNemar test at `alpha` needs for this power.

    It takes the rates of differing images seen among `n` as the true ones, and the exact power
    (`exact_power`), not an approximation. None where the models differ on equally many images
    either way, or where more than a million would be needed.
    """
    if only_a == only_b:
        return None

    def enough(images: int) -> bool:
        return exact_power(only_a / n, only_b / n, images, alpha) >= power

    upper = 8
    while not enough(upper):
        upper *= 2
        if upper > MOST_IMAGES:
            return None
    lower = upper // 2
    while upper - lower > 1:
        middle = (lower + upper) // 2
        lower, upper = (lower, middle) if enough(middle) else (middle, upper)
    return upper


def exact_power(rate_a: float, rate_b: float, n: int, alpha: float = LEVEL) -> float:
    """Return the probability that the exact McNemar test at `alpha` rejects with n images.

    rate_a, rate_b: the probabilities that only the one or only the other model is right. The number
    of differing images is binomial, and so is, given that number, how many of them are `b`'s. Of
    the former only the values within 8 standard deviations count: what is left is below 1e-14.
    """
    differing = rate_a + rate_b
    spread = 8 * math.sqrt(n * differing * (1 - differing)) + 8
    totals = np.arange(
        max(0, math.floor(n * differing - spread)), min(n, math.ceil(n * differing + spread)) + 1
    )
    # The largest count whose one-sided probability is at most alpha / 2; -1 where there is none.
    critical = binom.ppf(alpha / 2, totals, 0.5)
    critical = np.where(binom.cdf(critical, totals, 0.5) <= alpha / 2, critical, critical - 1)
    share = rate_b / differing
    rejected = binom.cdf(critical, totals, share) + binom.cdf(critical, totals, 1 - share)
    return float(np.sum(binom.pmf(totals, n, differing) * rejected))


def _sentence(
    names: tuple[str, str],
    difference: float,
    interval: tuple[float, float],
    *,
    p_holm: float,
    pairs: int,
    n: int,
    needed: int | None,
) -> str:
    a, b = names
    low, high = interval
    if p_holm <= LEVEL:
        better, worse = (b, a) if difference > 0 else (a, b)
        if difference < 0:
            low, high = -high, -low
        corrected = f", corrected for {pairs} pairs" if pairs > 1 else ""
        return (
            f"of these two trained models {better} is better than {worse} by "
            f"{_points(abs(difference))} points, 95 % interval {_points(low)} to {_points(high)}, "
            f"{_p(p_holm)}{corrected}"
        )
    unsure = f"no difference in accuracy between {a} and {b} can be told at {n:,} test images"
    if not difference:
        return f"{unsure}: both are right on equally many"
    if needed is None:
        return unsure
    return (
        f"{unsure}; about {_round_up(needed):,} would tell it in 4 of 5 tries if the "
        f"{_points(abs(difference))} points seen were real"
    )


def _points(fraction: float) -> str:
    points = 100 * fraction
    return f"{points:.1f}" if abs(points) >= 0.1 else f"{points:.2g}"


def _p(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def _round_up(images: int) -> int:
    """Round up to two digits: a needed number that was rounded down would not suffice."""
    step = int(10 ** max(0, len(str(images)) - 2))
    return -(-images // step) * step
