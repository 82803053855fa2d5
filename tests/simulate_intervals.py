"""Simulation: do the 95 % intervals hold the true value, does McNemar's test hold its level?

    python -m tests.simulate_intervals [--repeats 2000]

Models of known accuracy on n test images, as many of each class. Of two classes the scores are
logits of one shape, shifted apart so that the accuracy at 0.5 is the stated one: `normal` (light
tails), `logistic` (heavier: some confident mistakes), `unequal` (normal, class 1 spread twice as
wide), `rare` (normal, a 25th of the images in class 1). Of `ten` classes each has a normal logit,
and the true one's is shifted. True values come from two million images.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import expit, softmax
from scipy.stats import logistic, norm
from sklearn import metrics as sk

from classifier.evaluation.comparison import exact_power, mcnemar_p, paired_interval, sample_size
from classifier.evaluation.figures import details
from classifier.evaluation.intervals import proportion

SIZES = (500, 2000)
ACCURACIES = (0.70, 0.90, 0.98)
SHAPES = ("normal", "logistic", "unequal", "rare", "ten")
# Accuracy of a, accuracy of b, correlation of their being right.
PAIRS = (
    (0.98, 0.98, 0.6),
    (0.98, 0.99, 0.6),
    (0.98, 0.98, 0.3),
    (0.90, 0.90, 0.3),
    (0.90, 0.93, 0.3),
    (0.70, 0.70, 0.3),
    (0.70, 0.75, 0.0),
)


@dataclass(frozen=True)
class Case:
    """How often something held in a simulation; below, above: where the true value lay else.

    width: of the intervals, on average, over 2 × 1.96 standard deviations of the values.
    """

    what: str
    n: int
    setting: str
    repeats: int
    coverage: float
    below: float = 0.0
    above: float = 0.0
    width: float | None = None

    def __str__(self) -> str:
        return (
            f"{self.what:<22}{self.n:>6}  {self.setting:<28}{100 * self.coverage:>6.1f} %"
            f"{100 * self.below:>6.1f}{100 * self.above:>6.1f}{self.repeats:>8}"
        )


def draw(
    shape: str, accuracy: float, n: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels [n], as many of each class, and scores [n, k] of a model of that accuracy."""
    if shape == "ten":
        labels = np.arange(n) % 10
        logits = generator.normal(size=(n, 10))
        logits[np.arange(n), labels] += _ahead(accuracy, 10)
        return labels, softmax(2 * logits, axis=1)
    labels = np.arange(n) % 25 // 24 if shape == "rare" else np.arange(n) % 2
    if shape == "logistic":
        logits = generator.logistic(size=n) + (2 * labels - 1) * logistic.ppf(accuracy)
    else:
        spread = np.where(labels == 1, 2.0 if shape == "unequal" else 1.0, 1.0)
        logits = spread * (generator.normal(size=n) + (2 * labels - 1) * norm.ppf(accuracy))
    positive = expit(2 * logits)
    return labels, np.stack([1 - positive, positive], axis=1)


@lru_cache
def _ahead(accuracy: float, classes: int) -> float:
    """By how much a normal value leads if it is the largest of so many with this probability."""

    def largest(shift: float) -> float:
        return quad(lambda x: norm.pdf(x - shift) * norm.cdf(x) ** (classes - 1), -9, 18)[0]

    return float(brentq(lambda shift: largest(shift) - accuracy, 0, 9))


@lru_cache
def truth(shape: str, accuracy: float) -> dict[str, float]:
    """Return the figures of two million images, by scikit-learn alone."""
    labels, scores = draw(shape, accuracy, 2_000_000, np.random.default_rng(12345))
    called = scores.argmax(axis=1)
    macro = sk.precision_recall_fscore_support(labels, called, average="macro")
    dog = [part[1] for part in sk.precision_recall_fscore_support(labels, called)]
    ranked = range(10) if shape == "ten" else [1]
    areas = [sk.roc_auc_score(labels == c, scores[:, c]) for c in ranked]
    precisions = [sk.average_precision_score(labels == c, scores[:, c]) for c in ranked]
    return {
        "ROC AUC": float(np.mean(areas)),
        "average precision": float(np.mean(precisions)),
        "log loss": sk.log_loss(labels, scores),
        "Brier score": sk.brier_score_loss(labels, scores),
        "balanced accuracy": macro[1],
        "macro precision": macro[0],
        "macro F1": macro[2],
        "precision of a class": dog[0],
        "recall of a class": dog[1],
        "F1 of a class": dog[2],
    }


def bounds(found: dict[str, Any]) -> dict[str, tuple[float, float, float]]:
    """Return the same figures: the ends of the interval and the value."""
    figures = {
        "ROC AUC": found["roc_auc"],
        "average precision": found["average_precision"],
        "log loss": found["log_loss"],
        "Brier score": found["brier"],
        "balanced accuracy": found["balanced_accuracy"],
        "macro precision": found["macro"]["precision"],
        "macro F1": found["macro"]["f1"],
        "precision of a class": found["classes"]["b"]["precision"],
        "recall of a class": found["classes"]["b"]["recall"],
        "F1 of a class": found["classes"]["b"]["f1"],
    }
    return {name: (one["low"], one["high"], one["value"]) for name, one in figures.items()}


def wilson_coverage(
    sizes: Sequence[int], accuracies: Sequence[float], repeats: int, seed: int
) -> Iterator[Case]:
    """Accuracy: a count of independent images."""
    generator = np.random.default_rng(seed)
    for n in sizes:
        for accuracy in accuracies:
            counts, times = np.unique(generator.binomial(n, accuracy, repeats), return_counts=True)
            figures = [proportion(int(count), n) for count in counts]
            below = np.array([accuracy < figure.low for figure in figures])
            above = np.array([accuracy > figure.high for figure in figures])
            yield _case("accuracy", n, f"accuracy {accuracy}", below, above, times)


def model_coverage(
    sizes: Sequence[int],
    accuracies: Sequence[float],
    shapes: Sequence[str],
    repeats: int,
    seed: int,
    resamples: int = 400,
) -> Iterator[Case]:
    """Every figure of `details` that has an interval."""
    generator = np.random.default_rng(seed)
    for shape in shapes:
        for n in sizes:
            for accuracy in accuracies:
                true = truth(shape, accuracy)
                seen: dict[str, list[tuple[float, float, float]]] = {name: [] for name in true}
                for repeat in range(repeats):
                    labels, scores = draw(shape, accuracy, n, generator)
                    names = "abcdefghij"[: scores.shape[1]]
                    found = details(labels, scores, names, seed=repeat, resamples=resamples)
                    for name, figure in bounds(found).items():
                        seen[name].append(figure)
                for name, rows in seen.items():
                    low, high, value = np.array(rows).T
                    case = _case(
                        name,
                        n,
                        f"accuracy {accuracy}, {shape}",
                        true[name] < low,
                        true[name] > high,
                    )
                    width = (high - low).mean() / (2 * 1.96 * value.std())
                    yield replace(case, width=float(width))


def paired_coverage(
    sizes: Sequence[int], pairs: Sequence[tuple[float, float, float]], repeats: int, seed: int
) -> Iterator[Case]:
    """The difference of two models on the same images."""
    for n in sizes:
        for a, b, correlation in pairs:
            counts, times = _discordant(n, a, b, correlation, repeats, seed)
            limits = np.array([paired_interval(int(i), int(j), n) for i, j in counts])
            yield _case(
                "paired difference",
                n,
                f"{a} and {b}, r = {correlation}",
                b - a < limits[:, 0] - 1e-12,
                b - a > limits[:, 1] + 1e-12,
                times,
            )


def paired_rejections(
    sizes: Sequence[int], accuracies: Sequence[float], repeats: int, seed: int
) -> Iterator[Case]:
    """Exact McNemar on models of equal accuracy: how often it rejects a true null."""
    for n in sizes:
        for accuracy in accuracies:
            counts, times = _discordant(n, accuracy, accuracy, 0.3, repeats, seed)
            rejected = np.array([mcnemar_p(int(i), int(j)) <= 0.05 for i, j in counts])
            share = float(np.average(rejected, weights=times))
            yield Case("McNemar, true null", n, f"accuracy {accuracy}", repeats, share)


def power_where_it_suffices(
    pairs: Sequence[tuple[float, float, float]], repeats: int, seed: int
) -> Iterator[Case]:
    """Exact McNemar with as many images as `sample_size` asks for."""
    for a, b, correlation in pairs:
        if a == b:
            continue
        only_a, only_b = _rates(a, b, correlation)
        scale = 10**6  # what was seen, at rates that are exact to six digits
        n = sample_size(round(only_a * scale), round(only_b * scale), scale)
        assert n is not None
        counts, times = _discordant(n, a, b, correlation, repeats, seed)
        rejected = np.array([mcnemar_p(int(i), int(j)) <= 0.05 for i, j in counts])
        share = float(np.average(rejected, weights=times))
        exact = exact_power(only_a, only_b, n)
        setting = f"{a} and {b}: exactly {100 * exact:.1f} %"
        yield Case("McNemar, power", n, setting, repeats, share)


def _rates(a: float, b: float, correlation: float) -> tuple[float, float]:
    both = a * b + correlation * np.sqrt(a * (1 - a) * b * (1 - b))
    return a - both, b - both


def _discordant(
    n: int, a: float, b: float, correlation: float, repeats: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct (only_a, only_b) drawn, and how often each was."""
    only_a, only_b = _rates(a, b, correlation)
    rates = [only_a, only_b, 1 - only_a - only_b]
    drawn = np.random.default_rng(seed).multinomial(n, rates, size=repeats)[:, :2]
    return np.unique(drawn, axis=0, return_counts=True)


def _case(
    what: str,
    n: int,
    setting: str,
    below: np.ndarray,
    above: np.ndarray,
    times: np.ndarray | None = None,
) -> Case:
    low, high = float(np.average(below, weights=times)), float(np.average(above, weights=times))
    repeats = len(below) if times is None else int(times.sum())
    return Case(what, n, setting, repeats, 1 - low - high, low, high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1000, help="of each bootstrap case")
    repeats = parser.parse_args().repeats
    many = 50 * repeats
    print(f"{'':<22}{'n':>6}  {'':<28}{'holds':>8}{'below':>6}{'above':>6}{'repeats':>8}")
    for cases in (
        wilson_coverage(SIZES, ACCURACIES, many, seed=1),
        paired_coverage(SIZES, PAIRS, many, seed=2),
        paired_rejections(SIZES, ACCURACIES, many, seed=3),
        power_where_it_suffices(PAIRS, many, seed=4),
        model_coverage(SIZES, ACCURACIES, SHAPES, repeats, seed=5),
    ):
        for case in cases:
            print(case, flush=True)


if __name__ == "__main__":
    main()
