"""What evaluation leaves for other programs: predictions.csv and the tables behind the charts."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from classifier.base.files import write_table
from classifier.base.splits import Split
from classifier.evaluation.curves import Charts
from classifier.evaluation.scores import Seen


def write_predictions(path: Path, splits: Mapping[str, Split], seen: Seen) -> None:
    """Write a row for each model and picture, in this order, scores in full precision.

    Columns: model, split, path, label, predicted and score_CLASS of each class, not calibrated.
    Every figure of the evaluation can be computed from this file: temperatures and thresholds from
    the validation rows, all else from the test rows.

    Args:
        path: of the file.
        splits: those of `seen.scores`, at least.
        seen: the order of its splits and models is that of the rows.
    """
    classes = splits["test"].classes
    columns = ["model", "split", "path", "label", "predicted"]
    columns += [f"score_{name}" for name in classes]

    def rows() -> Iterator[list[str]]:
        for model in seen.scores["test"]:
            for name, scores in seen.scores.items():
                split, table = splits[name], scores[model]
                for picture, label, row in zip(split.paths, split.labels, table, strict=True):
                    known = [model, name, picture, classes[label], classes[int(row.argmax())]]
                    yield [*known, *map(repr, row.tolist())]

    write_table(path, columns, rows())


def write_charts(folder: Path, charts: Charts) -> None:
    """Write FOLDER/CHART/MODEL.tsv of each chart, the confusion matrix as .csv; six digits."""
    for chart, models in charts.items():
        ending, delimiter = ("csv", ",") if chart == "confusion" else ("tsv", "\t")
        for name, rows in models.items():
            path = folder / chart / f"{name}.{ending}"
            write_table(path, list(rows[0]), map(_short, rows), delimiter)


def _short(row: Mapping[str, Any]) -> Sequence[Any]:
    return [format(value, ".6g") if isinstance(value, float) else value for value in row.values()]
