"""How far a model's confidence may be trusted, and temperature scaling to mend it.

`labels` are int64 [n], `scores` float64 [n, k] with rows that sum to 1. The confidence of an image
is its highest score; it is right where that score's column is the label.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import softmax
from scipy.stats import binomtest

BINS = 15  # of equal width, as in Guo et al. 2017

# Beyond these a temperature says only that very many validation images were right, by however
# little (towards 0, where every score becomes 0 or 1), or that the scores carry nothing (towards
# infinity, all equal).
TEMPERATURES = (0.05, 20.0)

# Scores that were rounded to 0 have no logarithm; the smallest normal float32 is what a network's
# softmax could still have told apart from it.
SMALLEST_SCORE = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Bin:
    """The images whose confidence lies in (lower, upper]; None where there are none.

    low, high: 95 % Wilson interval of the accuracy.
    """

    lower: float
    upper: float
    count: int
    confidence: float | None
    accuracy: float | None
    low: float | None
    high: float | None


def fit_temperature(labels: NDArray, scores: NDArray) -> float:
    """Return the temperature T that suits the labels best; fit it on the validation split.

    One number for all classes (Guo et al. 2017, On Calibration of Modern Neural Networks). Above 1
    it makes a model less confident, below 1 more. It minimises the log loss summed over the images,
    plus (1/T − 1)² / 2: before any image is seen 1/T is taken to be normal, 1 ± 1. Where every
    image is right the log loss alone falls for ever as T does, and a good model with a small
    validation split would be called certain of everything. Simulated on a model whose scores are
    its true probabilities, 98.2 % right (`mean_loss_after_scaling` in
    tests/evaluation/test_calibration.py, 400 fits): with 20, 80 and 300 validation images the mean
    log loss of other images was 0.282, 0.126 and 0.049 without this term, 0.049, 0.049 and 0.048
    with it, and 0.046 unscaled.
    """
    logarithms = _logarithms(scores)
    own = logarithms[np.arange(len(labels)), labels]

    def slope(inverse: float) -> float:
        """Differentiate by 1/T, over the images; both parts are convex in it: this rises."""
        expected = (softmax(inverse * logarithms, axis=1) * logarithms).sum(axis=1)
        return float((expected - own).mean()) + (inverse - 1) / len(labels)

    lowest, highest = TEMPERATURES
    if slope(1 / lowest) <= 0:
        return lowest
    if slope(1 / highest) >= 0:
        return highest
    # To the last digits: a minimiser, which compares losses, would find half of them.
    return 1 / float(brentq(slope, 1 / highest, 1 / lowest, xtol=1e-15))


def apply_temperature(scores: NDArray, temperature: float) -> NDArray:
    """Return softmax(log(scores) / temperature), float64 [n, k]; which class leads stays.

    Examples:
        >>> apply_temperature(np.array([[0.1, 0.9]]), temperature=2.0)
        array([[0.25, 0.75]])
    """
    return np.asarray(softmax(_logarithms(scores) / temperature, axis=1), dtype=np.float64)


def _logarithms(scores: NDArray) -> NDArray:
    # Any additive constant of a row cancels in the softmax: these serve as logits.
    return np.asarray(np.log(np.maximum(scores, SMALLEST_SCORE)))


def _bin_numbers(confidence: NDArray, bins: int) -> NDArray:
    # (lower, upper], the convention of Guo et al.: 1.0 belongs to the last bin.
    edges = np.linspace(0, 1, bins + 1)
    return np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)


def expected_calibration_error(labels: NDArray, scores: NDArray, bins: int = BINS) -> float:
    """Return the mean distance of accuracy and confidence over bins, weighted by their images.

    Top-label, equal widths (Naeini et al. 2015; Guo et al. 2017, equation 3). It is never below 0
    and therefore biased upward where images are few: read it beside `ece_if_calibrated`.
    """
    confidence = scores.max(axis=1)
    right = scores.argmax(axis=1) == labels
    gaps = np.bincount(_bin_numbers(confidence, bins), weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def ece_if_calibrated(
    scores: NDArray, draws: int = 1000, seed: int = 0, bins: int = BINS
) -> tuple[float, float]:
    """Return mean and 95th percentile of the error that a calibrated model with these scores shows.

    By simulation: in every draw each image is right with the probability that its confidence
    states. An error above the 95th percentile is more than chance at this many images.
    """
    confidence = scores.max(axis=1)
    numbers = _bin_numbers(confidence, bins)
    generator = np.random.default_rng(seed)
    members = np.zeros((len(scores), bins))
    members[np.arange(len(scores)), numbers] = 1
    stated = np.bincount(numbers, weights=confidence, minlength=bins)
    errors = np.empty(draws)
    rows = max(1, 2_000_000 // len(scores))  # at most 16 MB of random numbers at a time
    for start in range(0, draws, rows):
        shape = (min(rows, draws - start), len(scores))
        right = (generator.random(shape) < confidence) @ members
        errors[start : start + shape[0]] = np.abs(right - stated).sum(axis=1) / len(scores)
    return float(errors.mean()), float(np.percentile(errors, 95))


def calibration_error(labels: NDArray, scores: NDArray, seed: int = 0) -> dict[str, Any]:
    """Return the error beside the mean and the 95th percentile of what chance alone would show."""
    mean, high = ece_if_calibrated(scores, seed=seed)
    return {
        "value": expected_calibration_error(labels, scores),
        "bins": BINS,
        "if_calibrated": mean,
        "if_calibrated_95": high,
    }


def reliability(labels: NDArray, scores: NDArray, bins: int = BINS) -> list[Bin]:
    """Return the rows of a reliability diagram, one a bin, empty bins included."""
    confidence = scores.max(axis=1)
    right = scores.argmax(axis=1) == labels
    numbers = _bin_numbers(confidence, bins)
    edges = np.linspace(0, 1, bins + 1)
    table = []
    for number in range(bins):
        inside = numbers == number
        count, hits = int(inside.sum()), int(right[inside].sum())
        lower, upper = float(edges[number]), float(edges[number + 1])
        if not count:
            table.append(Bin(lower, upper, 0, None, None, None, None))
            continue
        bounds = binomtest(hits, count).proportion_ci(method="wilson")
        table.append(
            Bin(
                lower,
                upper,
                count,
                confidence=float(confidence[inside].mean()),
                accuracy=hits / count,
                low=float(bounds.low),
                high=float(bounds.high),
            )
        )
    return table
