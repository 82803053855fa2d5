"""Learning curves as text that draws itself where Markdown is shown but no file of ours can be.

A job's summary and a comment on GitHub take pictures by public address alone, and draw Mermaid's
charts (https://mermaid.js.org/syntax/xyChart.html).
"""

import math
from argparse import Namespace
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from classifier.base.family import MODELS, colour
from classifier.report.page import read_curve

QUANTITIES = ("accuracy", "loss")
CHART = """\
```mermaid
---
config:
  themeVariables:
    xyChart:
      plotColorPalette: "#b0b0b0, {colour}"
---
xychart-beta
  title "{model}: {quantity} in training (grey) and on validation"
  x-axis "epoch" {first} --> {last}
  y-axis "{quantity}"
  line [{train}]
  line [{validation}]
```
"""


def run(options: Namespace) -> None:
    """Print the curves of plots/curves."""
    print(learning_curves(Path("plots/curves")), end="")


def learning_curves(folder: Path) -> str:
    """Draw each model's accuracy and loss by epoch, as Markdown.

    Args:
        folder: plots/curves; what it holds no curve of two epochs for is left out.
    """
    charts = []
    for number, model in enumerate(MODELS):
        rows = _finite_rows(folder / f"{model}.tsv")
        if len(rows) > 1:
            charts += [_chart(model, colour(number), quantity, rows) for quantity in QUANTITIES]
    return "\n".join(charts) or "No model was trained for more than one epoch.\n"


def _finite_rows(path: Path) -> list[dict[str, float]]:
    """Read a curve's rows up to where the training diverged, if it did."""
    rows = read_curve(path) if path.exists() else []
    return list(takewhile(lambda row: all(map(math.isfinite, row.values())), rows))


def _chart(model: str, stroke: str, quantity: str, rows: Sequence[dict[str, float]]) -> str:
    def points(split: str) -> str:
        return ", ".join(f"{row[f'{split}_{quantity}']:.4f}" for row in rows)

    return CHART.format(
        model=model,
        colour=stroke,
        quantity=quantity,
        first=f"{rows[0]['epoch']:.0f}",
        last=f"{rows[-1]['epoch']:.0f}",
        train=points("train"),
        validation=points("validation"),
    )
