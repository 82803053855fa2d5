"""`python -m classifier check`: what is wrong in params.yaml, in under a second."""

from argparse import Namespace
from pathlib import Path

from classifier.base.params import load_params
from classifier.sources.hashable import check_hashable
from classifier.sources.weights import check_own


def run(options: Namespace) -> None:
    """Check the parameters and what they name."""
    params = load_params()
    check_own(params.finetune.weights, Path("data/raw/dataset.json"))
    check_hashable(Path(params.data.source))
    print("params.yaml is good")
