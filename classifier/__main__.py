"""python -m classifier COMMAND: the commands and their options; their work is in `commands`."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from classifier.base.errors import one_line_errors


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command: `run` of the module in classifier/commands that its parser names."""
    options = parser().parse_args(arguments)
    try:
        # Only the module that is needed: `check` must answer in under a second.
        command = import_module(f"classifier.commands.{options.module}")
    except ModuleNotFoundError as error:
        if sys.prefix != sys.base_prefix:  # in an environment
            raise
        sys.exit(f"error: {sys.executable} has no {error.name}; activate the environment first")
    try:
        command.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output (head, less) has seen enough. What is still buffered goes nowhere,
        # or Python would complain once more while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def count(text: str) -> int:
    """Read a number of one or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"is {number}, allowed: 1 or more")
    return number


def seed(text: str) -> int:
    """Read what random numbers begin with."""
    number = int(text)
    if not 0 <= number < 2**31:
        raise argparse.ArgumentTypeError(f"is {number}, allowed: 0 to {2**31 - 1}")
    return number


def named(text: str) -> Path:
    """Read a path; an empty one, of a variable that is not set, would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("is empty")
    return Path(text)


def parser() -> argparse.ArgumentParser:
    """Describe the commands and their options."""
    top = argparse.ArgumentParser(
        prog="python -m classifier", description="Commands around the pipeline."
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, module: str, summary: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=summary)
        command.set_defaults(module=module)
        return command

    add("check", "check", "check params.yaml")
    add("repro", "repro", "dvc repro, a line a stage")

    command = add("train", "train", "train on a folder of your own pictures")
    command.add_argument("folder", type=named, metavar="FOLDER", help="or an archive")
    command.add_argument("--plan", action="store_true", help="print the plan, and run nothing")

    command = add("recipe", "recipe", "train what a tutorial trains")
    command.add_argument("name", metavar="NAME", help="a file of recipes/, without .yaml")
    command.add_argument("--print", action="store_true", help="print the command, and run nothing")
    command.add_argument("--seeds", type=count, help="queue so many experiments: NAME-1, -2, ...")

    add("recipes", "recipes", "what tutorials publish, and what was measured here").add_argument(
        "--record",
        action="store_true",
        help="add what has finished since to recipes/results.csv and docs/results.md",
    )

    command = add("compare", "compare", "compare two groups of experiments")
    command.add_argument("prefix_a", metavar="PREFIX_A", help="experiments PREFIX_A-1, -2, ...")
    command.add_argument("prefix_b", metavar="PREFIX_B", help="and those to compare them with")
    command.add_argument(
        "--metric", default="accuracy", help="of metrics/ (accuracy, of the test split)"
    )
    command.add_argument(
        "--commits", type=count, default=1, help="experiments of so many last commits (1)"
    )

    add("curves", "mermaid", "learning curves as Markdown with Mermaid charts")

    command = add("predict", "predict", "classify pictures")
    command.add_argument(
        "pictures", nargs="+", type=named, metavar="PICTURE", help="a picture, folder or archive"
    )
    command.add_argument(
        "--model",
        default="vgg16",
        help="of data/models (vgg16), imagenet:mobilenet, imagenet:vgg16",
    )
    output = command.add_mutually_exclusive_group()
    output.add_argument("--csv", action="store_true", help="print CSV, for programs")
    output.add_argument("--json", action="store_true", help="print JSON, likewise")

    command = add("export", "export", "write a model in another format, open it and compare")
    command.add_argument("name", metavar="MODEL", help="of data/models")
    command.add_argument(
        "--to",
        required=True,
        metavar="FORMAT",
        help="keras, weights, architecture, saved_model, onnx, litert or h5",
    )
    command.add_argument("--out", type=named, help="the file or folder (exports/MODEL...)")

    command = add("augment", "augment", "what augmentation makes of pictures")
    command.add_argument(
        "pictures", nargs="+", type=named, metavar="PICTURE", help="a picture, folder or archive"
    )
    command.add_argument("--count", type=count, default=10, help="copies of each picture (10)")
    command.add_argument(
        "--out", type=named, required=True, metavar="FOLDER", help="for the copies"
    )

    command = add("sweep", "sweep", "combinations of parameters on a Ray cluster")
    command.add_argument("-n", "--name", required=True, help="experiments NAME-1, NAME-2, ...")
    command.add_argument(
        "-S", "--set-param", action="append", default=[], help="as dvc exp run: 'seed=range(1,6)'"
    )
    command.add_argument("--address", help="ray://HOST:10001 or auto (a cluster on this machine)")
    command.add_argument("--gpus", type=float, help="of each experiment (1 where there are any)")
    command.add_argument("--cpus", type=count, help="of each experiment (all of its node)")
    command.add_argument(
        "--bring", choices=["models"], help="copy the models into the cache here as well"
    )

    command = add("tune", "tune", "search parameters for the lowest validation loss, by Optuna")
    command.add_argument("-n", "--name", required=True, help="experiments NAME-1, NAME-2, ...")
    command.add_argument(
        "--trials", type=count, default=20, help="in all, with those that are there (20)"
    )
    command.add_argument("--model", default="augmented", help="to train (augmented)")
    command.add_argument(
        "--over",
        action="append",
        required=True,
        metavar="RANGE",
        help="KEY=log(1e-4,1e-2), KEY=float(0,0.5), KEY=int(1,5) or KEY=choice(adam,sgd)",
    )

    add("demo", "demo", "run the pipeline on drawn pictures, in .demo/").add_argument(
        "--seed", type=seed, default=1, help="of all trainings (1)"
    )
    return top


if __name__ == "__main__":
    with one_line_errors():
        main()
