"""Pictures that look like nothing else in the set: drawings, buildings, people among the dogs.

The list is a suggestion. Nothing is removed: a person looks and decides.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from cleanlab.outlier import OutOfDistribution
from numpy.typing import NDArray

from classifier.base.splits import Split

SHOWN = 24  # the worst; there is no score that parts outliers from the rest


def find_outliers(splits: Mapping[str, Split], features: Mapping[str, NDArray]) -> list[dict]:
    """List the pictures that are furthest from their nearest neighbours, the furthest first.

    cleanlab's score (Kuan and Mueller 2022, Back to the Basics: Revisiting Out-of-Distribution
    Detection Baselines): the mean distance to a picture's 10 nearest neighbours, by the angle
    between their features.

    Args:
        splits: by name.
        features: of each of them, float [n, d].

    Returns:
        split, row (in the split), path, label and score of each: from 0, like nothing else, to 1.
    """
    rows = [(name, row) for name, split in splits.items() for row in range(len(split))]
    table = np.concatenate([features[name] for name in splits])
    # An angle knows no scale, but scikit-learn takes MobileNet's 1e-20 with random weights for 0.
    table /= np.abs(table).max() or 1
    detector = OutOfDistribution({"k": min(10, len(rows) - 1)})
    scores = detector.fit_score(features=table, verbose=False)
    found: list[dict[str, Any]] = []
    for index in np.argsort(scores, kind="stable")[:SHOWN]:
        name, row = rows[index]
        split = splits[name]
        found.append(
            {
                "split": name,
                "row": row,
                "path": split.paths[row],
                "label": split.classes[split.labels[row]],
                "score": round(float(scores[index]), 4),
            }
        )
    return found
