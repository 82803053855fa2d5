"""Images whose label is likely wrong: a cross-fitted model contradicts it with confidence.

The list is a suggestion. Nothing is removed or relabelled: a person looks and decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from classifier.base.splits import Split

FOLDS = 5
COMPONENTS = 64  # beyond them the regression learns single images by heart


@dataclass(frozen=True)
class Suspect:
    """An image by its row, its label, the class that the model takes it for, and how surely."""

    index: int
    given: int
    suggested: int
    confidence: float


def likely_wrong(features: NDArray, labels: NDArray, *, seed: int = 0) -> list[Suspect]:
    """Return the suspects, the surest first.

    Each image is judged by a logistic regression (standardised features, 64 principal components)
    that was fitted on the other folds. Confident learning (cleanlab; Northcutt, Jiang and Chuang
    2021, JAIR 70) then flags an image where another class is at least as probable as that class is,
    on average, for its own images: of cleanlab's rules the one with the fewest false suspicions
    where few labels are wrong. Classes with a single image can't be judged and are left out; with
    fewer than two other classes the list is empty.

    Args:
        features: float [n, d], computed by a network that does not know these labels; a d of some
            hundreds is enough and fast, 12,800 is slow.
        labels: int64 [n].
        seed: of the folds and of the principal components.
    """
    classes, counts = np.unique(labels, return_counts=True)
    judged = np.flatnonzero(np.isin(labels, classes[counts >= 2]))
    classes = classes[counts >= 2]
    if len(classes) < 2:
        return []
    given = np.searchsorted(classes, labels[judged])
    probabilities = _cross_fitted(features[judged], given, seed)
    suggested = probabilities.argmax(axis=1)
    # n_jobs: cleanlab would fork a process a core, which costs more than the work itself.
    flagged = find_label_issues(given, probabilities, filter_by="confident_learning", n_jobs=1)
    suspects = [
        Suspect(
            index=int(judged[row]),
            given=int(classes[given[row]]),
            suggested=int(classes[suggested[row]]),
            confidence=float(probabilities[row, suggested[row]]),
        )
        for row in np.flatnonzero(flagged & (suggested != given))
    ]
    return sorted(suspects, key=lambda suspect: (-suspect.confidence, suspect.index))


def _cross_fitted(features: NDArray, labels: NDArray, seed: int) -> NDArray:
    """Return float64 [n, k]: class probabilities of each image from a model that never saw it."""
    folds = min(FOLDS, int(np.bincount(labels).min()))
    smallest_fit = len(labels) - -(-len(labels) // folds)
    components = min(COMPONENTS, features.shape[1], smallest_fit)
    model = make_pipeline(
        StandardScaler(),
        PCA(components, random_state=seed),
        LogisticRegression(C=0.1, max_iter=1000),
    )
    return np.asarray(
        cross_val_predict(
            model,
            features,
            labels,
            cv=StratifiedKFold(folds, shuffle=True, random_state=seed),
            method="predict_proba",
        ),
        dtype=np.float64,
    )


def find_label_errors(splits: Mapping[str, Split], features: Mapping[str, NDArray]) -> list[dict]:
    """List the pictures whose label is likely wrong, the surest first.

    Of validation and test: the network that made the features never saw their labels, while it may
    have learned wrong labels of training pictures by heart; the report says so.

    Args:
        splits: those to look through, by name.
        features: of each of them, float [n, d].

    Returns:
        split, row (in the split), path, label, suggested and confidence of each.
    """
    rows = [(name, row) for name, split in splits.items() for row in range(len(split))]
    suspects = likely_wrong(
        np.concatenate([features[name] for name in splits]),
        np.concatenate([split.labels for split in splits.values()]),
    )
    found = []
    for suspect in suspects:
        name, row = rows[suspect.index]
        split = splits[name]
        found.append(
            {
                "split": name,
                "row": row,
                "path": split.paths[row],
                "label": split.classes[suspect.given],
                "suggested": split.classes[suspect.suggested],
                "confidence": suspect.confidence,
            }
        )
    return found
