"""Classes of any pictures, from a trained model, decoded and calibrated as in the pipeline."""

import csv
import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from classifier.base.cache import cache_folder
from classifier.base.checked import read
from classifier.base.errors import UserError
from classifier.base.params import Data, Params, load_params
from classifier.base.quiet import stderr_silenced
from classifier.base.wording import percent
from classifier.evaluation.calibration_file import Calibration, read_calibration
from classifier.images.decode import ALL_LEVELS, Levels, Undecodable, decode
from classifier.sources.containers import MAGIC
from classifier.sources.members import (
    ARCHIVE_SUFFIXES,
    Members,
    Unreadable,
    open_members,
    printable,
)

MODELS = Path("data/models")
CALIBRATION = Path("data/evaluation/calibration.json")
REPORT = Path("data/splits/report.json")
LOCK = Path("dvc.lock")
# What decides how a picture reaches a model, and what is made of its scores.
DECIDING = {"data": ("resize", "grey16"), "evaluate": ("threshold", "positive", "flip")}
IMAGENET = "imagenet:"  # before the name of a network that is none of the pipeline's
RUNNERS_UP = 2
PLACES = ("second", "third", "fourth", "fifth")  # of the runners-up, in tables
AT_ONCE = 32  # pictures a forward pass: a first answer soon, and memory for a folder of any size

Complain = Callable[[str, str], None]  # is told of each file that shows no picture, and why


@dataclass(frozen=True)
class Prediction:
    """A picture's class and calibrated confidence, and the classes that come after it."""

    path: str
    label: str
    confidence: float
    runners_up: list[tuple[str, float]]


def run(options: Namespace) -> None:
    """Print a prediction for each picture that the user names.

    Raises:
        UserError: there is no picture among them.
    """
    # A file may have any name; the same bytes come out. Typeshed takes stdout for any TextIO, which
    # need not have this method; the interpreter's own has it.
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    arguments = options.model.removeprefix(IMAGENET), load_params(), complain_to_stderr
    if options.model.startswith(IMAGENET):
        from classifier.commands import imagenet

        predictions = imagenet.predict(options.pictures, *arguments)
    else:
        predictions = predict(options.pictures, *arguments)
    write = write_csv if options.csv else write_json if options.json else write_table
    first = next(predictions, None)
    if first is None:
        raise UserError("no picture among the files given")
    write(chain([first], predictions), sys.stdout)


def predict(
    sources: Sequence[Path], name: str, params: Params, complain: Complain
) -> Iterator[Prediction]:
    """Yield a prediction for each picture, in order, some at a time.

    Args:
        sources: pictures, folders and archives.
        name: of a model in data/models.
        params: of the pipeline that made the model: data and evaluate are used.
        complain: is given the path of a file that shows no picture, and the reason.

    Raises:
        UserError: there is no such model or no calibration of it, or params.yaml has changed since.
    """
    path = model_path(name)
    calibration = read_calibration(CALIBRATION, path)
    check_unchanged(LOCK, params)
    # Seconds, and only now: a mistyped name is told at once. TensorFlow greets on standard error,
    # whatever its log level; only what concerns the user's files belongs there.
    with stderr_silenced():
        from classifier.evaluation.inference import class_scores, compiled, in_precision, mirrored
        from classifier.training.precision import choose
        from classifier.training.saving import load_model

        model, metadata = load_model(path)
        precision = calibration.precision
        with redirect_stdout(None):  # of a GPU that is not used
            if precision != "float32" and choose(params.train.precision).policy != precision:
                precision = "float32"
    size = model.input_shape[1]
    if size != params.data.image_size:
        raise UserError(
            f"{path} takes pictures of {size} pixels, but params.yaml has data.image_size "
            f"{params.data.image_size}: dvc repro, or set it back"
        )
    fast = in_precision(model, precision)
    run = compiled(mirrored(fast) if calibration.flip else fast)
    for paths, pixels in batches(decoded(sources, params, complain)):
        yield from decide(paths, class_scores(run(pixels)), metadata["classes"], calibration)


def batches(
    pictures: Iterator[tuple[str, NDArray[np.uint8]]],
) -> Iterator[tuple[list[str], NDArray[np.uint8]]]:
    """Yield the paths and pixels, uint8 [n, size, size, 3], of some pictures at a time."""
    while some := list(islice(pictures, AT_ONCE)):
        yield [path for path, _ in some], np.stack([pixels for _, pixels in some])


def decide(
    paths: Sequence[str],
    scores: NDArray,
    classes: Sequence[str],
    calibration: Calibration,
    runners_up: int = RUNNERS_UP,
) -> Iterator[Prediction]:
    """Turn uncalibrated scores, float64 [n, k] in the order of `classes`, into predictions."""
    # scipy takes a second.
    from classifier.evaluation.calibration import apply_temperature

    tempered = apply_temperature(scores, calibration.temperature)
    order = np.argsort(-tempered, axis=1, kind="stable")
    if calibration.threshold is not None and calibration.positive is not None:
        positive = list(classes).index(calibration.positive)
        called = scores[:, positive] >= calibration.threshold
        first = np.where(called, positive, 1 - positive)
        order = np.stack([first, 1 - first], axis=1)
    for path, row, ranked in zip(paths, tempered, order, strict=True):
        named = [(classes[c], float(row[c])) for c in ranked[: 1 + runners_up]]
        yield Prediction(path, *named[0], runners_up=named[1:])


def model_path(name: str) -> Path:
    """Return the file of a trained model.

    Raises:
        UserError: there is none of this name; the message lists those that there are.
    """
    there = sorted(path.stem for path in MODELS.glob("*.keras"))
    if name not in there:
        known = ", ".join(there) or "none; dvc repro trains them"
        raise UserError(f"--model is {name!r}, {MODELS} has: {known}")
    return MODELS / f"{name}.keras"


def check_unchanged(lock: Path, params: Params) -> None:
    """Hold what decides a prediction against the values that the models were evaluated with.

    Not against those of the split: it may have run again since, and a training not.

    Args:
        lock: dvc.lock, which records them.
        params: of now.

    Raises:
        UserError: pictures would be decoded, or scores judged, in another way.
    """
    if not lock.exists():  # the stages were run by hand
        return
    stages = (read(lock) or {}).get("stages", {})
    used = stages.get("evaluate", {}).get("params", {}).get("params.yaml", {})
    for section, keys in DECIDING.items():
        for key in keys:
            now = getattr(getattr(params, section), key)
            before = used.get(section, {}).get(key, now)
            if before != now:
                raise UserError(
                    f"params.yaml has {section}.{key} {now}, but the models were evaluated with "
                    f"{before} ({lock}): dvc repro, or set it back"
                )


def grey_levels(data: Data) -> Levels | None:
    """Black and white of 16-bit grey as the model saw it; None where nothing says so."""
    if data.levels or not REPORT.exists():
        return data.levels
    grey = json.loads(REPORT.read_text(encoding="utf-8")).get("grey16")
    return (grey["black"], grey["white"]) if grey else ALL_LEVELS


def decoded(
    sources: Iterable[Path], params: Params, complain: Complain
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield path and pixels, uint8 [size, size, 3], of every picture in `sources`."""
    data, levels = params.data, grey_levels(params.data)
    for path, content in files(sources, params, complain):
        try:
            picture = decode(content, data.image_size, data.resize, data.limits.pixels, levels)
        except Undecodable as reason:
            complain(path, str(reason))
        else:
            yield path, picture.pixels


def files(
    sources: Iterable[Path], params: Params, complain: Complain
) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every file: of a folder or archive, one for each member."""
    limits = params.data.limits
    for source in sources:
        try:
            if source.is_dir() or (source.is_file() and _is_archive(source)):
                with open_members(source, limits, cache_folder("spool")) as members:
                    yield from _members(source, members, complain)
            else:
                yield str(source), _content(source, limits.file_bytes)
        except UserError as error:
            complain(str(source), str(error).removeprefix(f"{source} "))
        except Unreadable as reason:
            complain(str(source), str(reason))
        except OSError as error:
            complain(str(source), error.strerror or str(error))


def _is_archive(path: Path) -> bool:
    if path.suffix.lower() in ARCHIVE_SUFFIXES:
        return True
    with path.open("rb") as file:
        return file.read(8).startswith(tuple(MAGIC))


def _content(path: Path, most: int) -> bytes:
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise Unreadable("neither a file nor a folder")
    if path.stat().st_size > most:
        raise Unreadable(f"larger than data.limits.file_bytes allows ({most:,})")
    return path.read_bytes()


def _members(source: Path, members: Members, complain: Complain) -> Iterator[tuple[str, bytes]]:
    top = source / members.top if source.is_dir() else source
    for skipped in members.skipped:
        complain(f"{source}/{skipped.path}", skipped.reason)
    for path in members.paths:
        try:
            yield f"{top}/{path}", members.read(path)
        except Unreadable as reason:
            complain(f"{top}/{path}", str(reason))


def write_table(predictions: Iterable[Prediction], file: TextIO) -> None:
    """Write a line a picture for people, as they come; the path, of any length, stands last."""
    print(f"{'class':<12} {'confidence':>10}  {'runners-up':<24} picture", file=file)
    for one in predictions:
        others = ", ".join(f"{printable(label)} {percent(p)}" for label, p in one.runners_up)
        label = printable(one.label)
        line = f"{label:<12} {percent(one.confidence):>10}  {others:<24} {printable(one.path)}"
        print(line, file=file, flush=True)


def write_csv(predictions: Iterable[Prediction], file: TextIO) -> None:
    """Write a header and a row a picture, of the same columns for two classes and for three."""
    writer = csv.writer(file, lineterminator="\n")
    columns = ["path", "class", "confidence"]
    rows = iter(predictions)
    first = next(rows)
    for place in PLACES[: max(RUNNERS_UP, len(first.runners_up))]:
        columns += [place, f"{place}_confidence"]
    writer.writerow(columns)
    for one in chain([first], rows):
        row = [one.path, one.label, f"{one.confidence:.6f}"]
        for label, confidence in one.runners_up:
            row += [label, f"{confidence:.6f}"]
        writer.writerow(row + [""] * (len(columns) - len(row)))
        file.flush()


def write_json(predictions: Iterable[Prediction], file: TextIO) -> None:
    """Write a list with an object a picture."""
    found = [
        {
            "path": one.path,
            "class": one.label,
            "confidence": round(one.confidence, 6),
            "runners_up": [
                {"class": label, "confidence": round(confidence, 6)}
                for label, confidence in one.runners_up
            ],
        }
        for one in predictions
    ]
    print(json.dumps(found, indent=2, ensure_ascii=False), file=file)


def complain_to_stderr(path: str, reason: str) -> None:
    """One line for a file that shows no picture."""
    print(f"{printable(path)}: {printable(reason)}", file=sys.stderr)
