"""Judge the network on other people: figures, their intervals, the confusion matrix."""

from pathlib import Path

import numpy as np

from classifier.base.files import write_json
from classifier.evaluation.curves import confusion_rows
from classifier.evaluation.figures import details, headline
from classifier.evaluation.files import write_charts
from classifier.evaluation.inference import class_scores
from classifier.training.saving import load_model


def main() -> None:
    """Write metrics.json, details.json and the confusion matrix under plots."""
    table = np.loadtxt("data/test.csv", delimiter=",", skiprows=1)
    ages, effects = table[:, :1], table[:, 1].astype(int)
    model, metadata = load_model(Path("trial.keras"))
    classes = metadata["classes"]
    scores = class_scores(model.predict(ages, batch_size=len(ages), verbose=0))
    write_json(Path("metrics.json"), headline(effects, scores) | {"examples": len(ages)})
    write_json(Path("details.json"), details(effects, scores, classes))
    write_charts(Path("plots"), {"confusion": {"trial": confusion_rows(effects, scores, classes)}})


if __name__ == "__main__":
    main()
