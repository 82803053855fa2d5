"""95 % intervals of the figures of one model, and the bootstrap that some of them need.

`labels` are int64 [n], `scores` float64 [n, k], k ≥ 2, with rows that sum to 1.

The names are those of `Figure.method`:

- `wilson`: accuracy, top-k, precision and recall are counts of independent images: Wilson's score
  interval (scipy). That of a precision takes the number of predictions as given.
- `wilson of jaccard`: F1 is 2J / (1 + J) of the class's Jaccard index J = hits / (hits + false
  alarms + misses), such a count too: Wilson's interval of J, carried over.
- `score`: balanced accuracy and macro precision are means of independent proportions, one a class:
  all means t with |mean − t| ≤ 1.96 √V(t), V being the variance at those proportions of mean t that
  are likeliest. Of one proportion it is Wilson's; a small class weighs as much as it should.
- `bootstrap, score`: ROC AUC: the variance of a bootstrap, then a score interval, as Wilson's is
  one: all areas t with |AUC − t| ≤ 1.96 √(r V(t)), V being Hanley and McNeil's variance (1982,
  Radiology 143, 29–36; as in method 5 of Newcombe 2006, Statistics in Medicine 25, 559–573) and r
  the ratio of the bootstrap's variance to it.
- `bootstrap, wilson`: average precision and macro F1: likewise with the variance t (1 − t) / n of a
  proportion, n being the positive images or, of a mean over k classes, k² / Σ 1 / n_class.
- `bootstrap-t`: log loss and Brier score: means of images few of which weigh most, so that a
  resample's distance is measured in its own standard error (Efron and Tibshirani 1993, section
  12.5). Percentiles cover 87 to 93 % where few images are wrong.

The bootstrap draws images within each class, so that no class is lost. Where few images are ranked
wrongly neither its percentiles nor its variance can be trusted (of an AUC of 0.998 at 500 images
the percentiles cover 87 %, and where every image is right they shrink to nothing); there the ratio
r is drawn towards 1 (`_ratio`), and the intervals are rather too wide than too narrow.
`python -m tests.simulate_intervals` shows how often the intervals hold the true value.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binomtest, norm
from statsmodels.stats.proportion import proportion_confint

Z = float(norm.ppf(0.975))
CHUNK = 500_000  # weights at a time: 4 MB stay in a core's cache


@dataclass(frozen=True)
class Figure:
    """A value and its 95 % interval; NaN when undefined."""

    value: float
    low: float
    high: float
    method: str


@dataclass(frozen=True)
class Samples:
    """What each resample of the images gives: float64 [resamples].

    The first two, [resamples, 2], are a mean and its standard error; the last two have a column for
    each ranked class.
    """

    log_loss: NDArray
    brier: NDArray
    f1: NDArray
    roc_auc: NDArray
    average_precision: NDArray


def proportion(hits: int, n: int) -> Figure:
    """Return hits / n with Wilson's interval; NaN where n is 0.

    Examples:
        >>> found = proportion(488, 500)
        >>> f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})"
        '97.6% (95.9% to 98.6%)'
    """
    if not n:
        return Figure(math.nan, math.nan, math.nan, "wilson")
    bounds = binomtest(hits, n).proportion_ci(method="wilson")
    return Figure(hits / n, float(bounds.low), float(bounds.high), "wilson")


def mean_of_proportions(hits: NDArray, n: NDArray) -> Figure:
    """Return the mean of hits / n with its score interval; 0 / 0 counts as 0 and is not in doubt.

    hits, n: int64 [k].
    """
    known = n > 0
    hits, n = hits[known].astype(np.float64), n[known].astype(np.float64)
    mean, share = float((hits / n).mean()), float(known.mean())
    low, high = min(mean, _lowest_mean(hits, n)), max(mean, 1 - _lowest_mean(n - hits, n))
    return Figure(share * mean, share * low, share * high, "score")


def _lowest_mean(hits: NDArray, n: NDArray) -> float:
    value = (hits / n).mean()
    if value == 0:
        return 0.0

    def likeliest(pull: float) -> NDArray:
        # Of the likelihood less pull times the sum: a quadratic equation for each, its discriminant
        # as a sum of what is never negative.
        return 2 * hits / (pull + n + np.sqrt((pull - n) ** 2 + 4 * pull * (n - hits)))

    def outside(pull: float) -> float:
        p = likeliest(pull)
        return float(value - p.mean() - Z * np.sqrt((p * (1 - p) / n).sum()) / len(n))

    # Where all is right or wrong nothing gives way to a pull of less than so many images.
    start = 0.0 if outside(0.0) < 0 else n[hits == n].min() * (1 + 1e-9)
    end = 2 * n.max()
    while outside(end) < 0:
        end *= 2
    return float(likeliest(brentq(outside, start, end)).mean())


def wilson_of_spread(value: float, samples: NDArray, n: float) -> Figure:
    """Return a figure between 0 and 1 with Wilson's interval widened to the bootstrap's variance.

    n: images that would tell it alone, were it a proportion.
    """
    ratio = _ratio(value, float(np.var(samples, ddof=1)), value * (1 - value) / n)
    low, high = proportion_confint(value * n / ratio, n / ratio, method="wilson")
    # A figure of 0 or 1 is its interval's end, which rounding may leave beside it.
    return Figure(value, min(value, float(low)), max(value, float(high)), "bootstrap, wilson")


def auc_interval(
    value: float, samples: NDArray, positives: float, negatives: float, classes: int = 1
) -> Figure:
    """Return a ROC AUC, or its mean over `classes`, with its score interval.

    positives, negatives: images, on average over the classes; the classes' areas are taken for
    independent in Hanley and McNeil's variance, not in the bootstrap's.
    """

    def model(area: float) -> float:
        one = (positives - 1) * (area / (2 - area) - area**2)
        other = (negatives - 1) * (2 * area**2 / (1 + area) - area**2)
        return (area * (1 - area) + one + other) / (positives * negatives * classes)

    ratio = _ratio(value, float(np.var(samples, ddof=1)), model(value))

    def outside(area: float) -> float:
        return abs(value - area) - Z * math.sqrt(max(0.0, ratio * model(area)))

    edge = 1e-12
    low = 0.0 if value <= edge else brentq(outside, 0.0, min(value, 1 - edge))
    high = 1.0 if value >= 1 - edge else brentq(outside, max(value, edge), 1.0)
    return Figure(value, float(low), float(high), "bootstrap, score")


def _ratio(value: float, variance: float, model: float) -> float:
    """Return the bootstrap's variance over the model's, drawn towards 1 where errors are few.

    p (1 − p)² / variance is the number of errors among the images for which a proportion p has this
    variance. The model weighs as much as three errors: with less the intervals of some models' AUC
    near 1 cover less than 93 %, with more they are wider for nothing (docs/results.md).
    """
    errors = value * (1 - value) ** 2 / variance if variance > 0 else 0.0
    if errors <= 0 or model <= 0:
        return 1.0
    return (errors * variance / model + 3) / (errors + 3)


def bootstrap(
    labels: NDArray, scores: NDArray, ranked: Sequence[int], *, seed: int, resamples: int
) -> Samples:
    """Return figures of resampled images, drawn within each class as often as it has images.

    ranked: the classes whose ROC AUC and average precision are wanted, each against the rest.
    """
    classes = scores.shape[1]
    predicted = scores.argmax(axis=1)
    log_loss_of, brier_of = (_mean(part, labels) for part in losses_of(labels, scores))
    called = np.eye(classes)[predicted]
    hit = called * (predicted == labels)[:, None]
    given = np.bincount(labels, minlength=classes)
    # As scikit-learn's macro averages: the classes that occur, as a label or as a prediction.
    present = (given + called.sum(axis=0)) > 0
    rankings = [_ranking(labels == c, scores[:, c]) for c in ranked]

    parts = []
    for weights in _resamplings(labels, np.random.default_rng(seed), resamples):
        hits, calls = (weights @ hit)[:, present], (weights @ called)[:, present]
        areas = np.array([ranking(weights) for ranking in rankings])
        parts.append(
            Samples(
                log_loss=log_loss_of(weights),
                brier=brier_of(weights),
                # A class that this resample lacks counts as 0.
                f1=(2 * hits / np.maximum(calls + given[present], 1)).mean(axis=1),
                roc_auc=areas[:, 0].T,
                average_precision=areas[:, 1].T,
            )
        )
    return Samples(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in FIELDS})


FIELDS = tuple(Samples.__dataclass_fields__)


def losses_of(labels: NDArray, scores: NDArray) -> tuple[NDArray, NDArray]:
    """Return each image's part of log loss and Brier score, as scikit-learn defines them."""
    classes = scores.shape[1]
    own = scores[np.arange(len(labels)), labels]
    losses = -np.log(np.clip(own, np.finfo(np.float64).eps, 1))
    squares = ((scores - np.eye(classes)[labels]) ** 2).sum(axis=1)
    return losses, squares / 2 if classes == 2 else squares


def studentised(value: float, of_images: NDArray, labels: NDArray, samples: NDArray) -> Figure:
    """Return a mean over images that is never negative; samples: float64 [resamples, 2]."""
    mean, error = _mean(of_images, labels)(np.ones((1, len(labels))))[0]
    known = samples[:, 1] > 0
    if not known.any():  # all images weigh the same
        return Figure(value, value, value, "bootstrap-t")
    distances = (samples[known, 0] - mean) / samples[known, 1]
    below, above = np.percentile(distances, [97.5, 2.5]) * error
    return Figure(value, max(0.0, float(mean - below)), float(mean - above), "bootstrap-t")


def _mean(of_images: NDArray, labels: NDArray) -> Callable[[NDArray], NDArray]:
    """Return a function of weights [r, n] that gives mean and standard error, [r, 2].

    As the resamples are drawn within classes, so is the variance the sum of that within classes.
    """
    given = np.bincount(labels)
    inside = np.eye(len(given))[labels]
    first, second = inside * of_images[:, None], inside * (of_images**2)[:, None]

    def moments(weights: NDArray) -> NDArray:
        sums = weights @ first
        spread = weights @ second - sums**2 / np.maximum(given, 1)
        errors = np.sqrt(np.maximum(spread, 0).sum(axis=1)) / len(labels)
        return np.stack([sums.sum(axis=1) / len(labels), errors], axis=1)

    return moments


def _resamplings(
    labels: NDArray, generator: np.random.Generator, resamples: int
) -> Iterator[NDArray]:
    """Yield how often each resample draws each image: float64 [some, n], a few MB at a time."""
    members = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    n = len(labels)
    rows = max(1, CHUNK // n)
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        first = np.arange(size)[:, None] * n
        drawn = [
            (first + inside[generator.integers(len(inside), size=(size, len(inside)))]).ravel()
            for inside in members
        ]
        counts = np.bincount(np.concatenate(drawn), minlength=size * n)
        yield counts.reshape(size, n).astype(np.float64)


def _ranking(true: NDArray, score: NDArray) -> Callable[[NDArray], tuple[NDArray, NDArray]]:
    """Return a function of weights [r, n] that gives ROC AUC and average precision, each [r].

    All resamples share one sorting. Images of equal score form one step of the curves, as in
    scikit-learn: the AUC is the area of trapezoids, the average precision a sum of rectangles.
    """
    order = np.argsort(-score, kind="stable")
    positive = true[order].astype(np.float64)
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    tied = len(ends) < len(score)

    def areas(weights: NDArray) -> tuple[NDArray, NDArray]:
        drawn = weights[:, order]
        calls = np.cumsum(drawn, axis=1)
        hits = np.cumsum(drawn * positive, axis=1)
        if tied:
            calls, hits = calls[:, ends], hits[:, ends]
        alarms = calls - hits
        new_hits = np.diff(hits, axis=1, prepend=0)
        new_alarms = np.diff(alarms, axis=1, prepend=0)
        roc_auc = np.einsum("ij,ij->i", new_alarms, hits - new_hits / 2)
        precision = hits / np.maximum(calls, 1)
        average_precision = np.einsum("ij,ij->i", new_hits, precision)
        return roc_auc / (hits[:, -1] * alarms[:, -1]), average_precision / hits[:, -1]

    return areas
