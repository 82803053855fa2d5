"""python -m classifier: check params.yaml, compare experiments, draw curves, classify, demo.

Each command imports what it needs: `check` must answer in under a second.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from classifier.base.errors import UserError, one_line_errors
from classifier.base.params import load_params
from classifier.sources.hashable import check_hashable
from classifier.sources.weights import check_own


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output (head, less) has seen enough. What is still buffered goes nowhere,
        # or Python would complain once more while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="python -m classifier", description="Beside the stages.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("check", help="check params.yaml")
    command.set_defaults(run=check)

    command = commands.add_parser("compare", help="compare two groups of experiments")
    command.add_argument("prefix_a", metavar="PREFIX_A", help="experiments PREFIX_A-1, -2, ...")
    command.add_argument("prefix_b", metavar="PREFIX_B", help="and those to hold against them")
    command.add_argument("--metric", default="accuracy", help="of metrics/evaluate.json (accuracy)")
    command.add_argument(
        "--commits", type=int, default=1, help="of how many last commits, the experiments (1)"
    )
    command.set_defaults(run=compare)

    command = commands.add_parser("curves", help="learning curves as Markdown with Mermaid charts")
    command.set_defaults(run=curves)

    command = commands.add_parser("predict", help="classify pictures")
    command.add_argument(
        "pictures", nargs="+", type=Path, metavar="PICTURE", help="a picture, folder or archive"
    )
    command.add_argument("--model", default="vgg16", help="a model of data/models (vgg16)")
    output = command.add_mutually_exclusive_group()
    output.add_argument("--csv", action="store_true", help="for programs, instead of a table")
    output.add_argument("--json", action="store_true", help="the same")
    command.set_defaults(run=predict)

    command = commands.add_parser("demo", help="run the pipeline on drawn pictures, in .demo/")
    command.add_argument("--seed", type=int, default=1, help="of the three trainings (1)")
    command.set_defaults(run=demo)
    return top


def check(options: argparse.Namespace) -> None:
    params = load_params()
    check_own(params.finetune.weights, Path("data/raw/dataset.json"))
    check_hashable(Path(params.data.source))
    print("params.yaml is good")


def compare(options: argparse.Namespace) -> None:
    from classifier.commands import compare

    prefixes = options.prefix_a, options.prefix_b
    a, b = (compare.gather(prefix, commits=options.commits) for prefix in prefixes)
    print(compare.table(prefixes, (a, b), compare.compare(a, b, options.metric)))


def curves(options: argparse.Namespace) -> None:
    from classifier.commands.mermaid import learning_curves

    print(learning_curves(Path("plots/curves")), end="")


def predict(options: argparse.Namespace) -> None:
    from classifier.commands import predict

    # A file may have any name; the same bytes come out. Typeshed takes stdout for any TextIO, which
    # need not have this method; the interpreter's own has it.
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    predictions = predict.predict(
        options.pictures, options.model, load_params(), predict.complain_to_stderr
    )
    write = predict.write_table
    if options.csv:
        write = predict.write_csv
    if options.json:
        write = predict.write_json
    first = next(predictions, None)
    if first is None:
        raise UserError("no picture among the files given")
    write(chain([first], predictions), sys.stdout)


def demo(options: argparse.Namespace) -> None:
    from classifier.commands.demo import run_demo

    run_demo(options.seed)


if __name__ == "__main__":
    with one_line_errors():
        main()
