"""params.yaml: every hyperparameter, checked whole before any work starts."""

import difflib
import re
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from classifier.base.errors import UserError
from classifier.base.family import NETWORKS

VGG16_CLASSIFIER_INPUT = 224

Probability = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
LearningRate = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Epochs = Annotated[int, Field(ge=1, le=100_000)]
Optimizer = Literal["rmsprop", "adam", "sgd"]


def _number_range(text: str) -> str:
    ends = re.fullmatch(r"(\d+)-(\d+)", text)
    if not ends or int(ends[1]) > int(ends[2]):
        raise ValueError("two whole numbers, the smaller first, such as 0-999")
    return text


def _threshold(goal: float | str) -> float | str:
    if isinstance(goal, float) and not 0 < goal < 1:
        raise ValueError("a number between 0 and 1")
    if isinstance(goal, str):
        stated = re.fullmatch(r"youden|(precision|recall)>=(0?\.\d+)", goal)
        if not stated or (stated[2] and float(stated[2]) == 0):
            raise ValueError("a number between 0 and 1, youden, precision>=0.95 or recall>=0.95")
    return goal


def _architecture(name: str) -> str:
    if name not in NETWORKS:
        raise ValueError(" or ".join(map(repr, NETWORKS)))
    return name


Architecture = Annotated[str, AfterValidator(_architecture)]
NumberRange = Annotated[str, AfterValidator(_number_range)]
Threshold = Annotated[float | str, AfterValidator(_threshold)]


class Section(BaseModel):
    """A part of params.yaml: no other keys, no conversion between types, never changed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class DataLimits(Section):
    files: Count
    file_bytes: Count
    total_bytes: Count
    ratio: Count
    pixels: Count


class Data(Section):
    source: Annotated[str, Field(min_length=1)]
    image_size: Annotated[int, Field(ge=8, le=2048)]
    resize: Literal["squash", "crop", "pad"]
    limits: DataLimits


class RandomSplit(Section):
    validation: Probability | Count
    test: Probability | Count
    train: Probability | Count | None


class NumberedSplit(Section):
    train: NumberRange
    validation: NumberRange
    test: NumberRange

    @model_validator(mode="after")
    def ranges_do_not_overlap(self) -> Self:
        texts = {"train": self.train, "validation": self.validation, "test": self.test}
        ends = {name: text.split("-") for name, text in texts.items()}
        ranges = [(int(low), int(high), name) for name, (low, high) in ends.items()]
        for (_, end, first), (start, _, second) in pairwise(sorted(ranges)):
            if start <= end:
                raise ValueError(f"{first} and {second} overlap: no picture may be in two splits")
        return self


class Split(Section):
    method: Literal["predefined", "random", "numbered"]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    random: RandomSplit
    numbered: NumberedSplit
    drop_leaks: bool


class Train(Section):
    arch: Architecture
    epochs: Epochs
    batch_size: Count
    optimizer: Optimizer
    learning_rate: LearningRate
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]
    class_weight: Literal["none", "balanced"]


class Augment(Section):
    epochs: Epochs | None
    flip: Literal["none", "horizontal", "vertical", "both"]
    rotation: Annotated[float, Field(ge=0, le=0.5)]
    zoom: Rate
    keep_aspect: bool
    shift: Rate
    dropout: Rate


class Finetune(Section):
    weights: Annotated[str, Field(min_length=1)]
    head: Literal["dense", "classifier"]
    dense_units: Count
    dropout: Rate
    batch_size: Count
    optimizer: Optimizer
    head_epochs: Epochs
    head_learning_rate: LearningRate
    unfreeze: Annotated[int, Field(ge=0, le=5)]
    epochs: Annotated[int, Field(ge=0, le=100_000)]
    learning_rate: LearningRate
    augment: bool
    views: Annotated[int, Field(ge=1, le=1000)] | None


class Evaluate(Section):
    threshold: Threshold


class Params(Section):
    """The whole of params.yaml; what each key means stands in the file itself."""

    seed: Annotated[int, Field(ge=0, lt=2**31)]
    data: Data
    split: Split
    train: Train
    augment: Augment
    finetune: Finetune
    evaluate: Evaluate

    @model_validator(mode="after")
    def networks_fit_their_input(self) -> Self:
        size = self.data.image_size
        smallest = NETWORKS[self.train.arch]
        if size < smallest:
            raise ValueError(
                f"data.image_size is {size}, but train.arch {self.train.arch} needs "
                f"{smallest} or more"
            )
        if self.finetune.head == "classifier" and size != VGG16_CLASSIFIER_INPUT:
            raise ValueError(
                f"finetune.head is classifier, but data.image_size is {size}: "
                f"VGG16's own dense layers need {VGG16_CLASSIFIER_INPUT}"
            )
        return self


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check `path`.

    Raises:
        UserError: one line that names the first wrong key, its value and what is allowed.
    """
    try:
        # The parser that DVC uses, so that 1e-3 is a number here as it is there.
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: run this from the project's top folder") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no parameters")
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {_explain(error.errors())}") from error


def _explain(errors: list[ErrorDetails]) -> str:
    # An unknown key goes first: with it, the key it was meant to be is often missing as well.
    error = min(errors, key=lambda one: one["type"] != "extra_forbidden")
    path, section = _location(error["loc"])
    key = ".".join(path)
    if error["type"] == "extra_forbidden":
        return f"{key} is not a parameter; {_nearest(path[-1], section)}"
    if error["type"] == "missing":
        return f"{key} is missing"
    reason = error["msg"].removeprefix("Value error, ")
    if not key:
        return reason
    if isinstance(error["input"], dict):
        return f"{key}: {reason}"
    # A value that may be of several types fails once for each of them.
    reasons = dict.fromkeys(
        one["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        for one in errors
        if _location(one["loc"])[0] == path
    )
    return f"{key} is {error['input']!r}, allowed: {' or '.join(reasons)}"


def _location(location: tuple[int | str, ...]) -> tuple[list[str], type[BaseModel]]:
    """Split pydantic's location into the keys of params.yaml and the section that holds the last.

    What follows the last key names the member of a union, which means nothing to a reader.
    """
    path: list[str] = []
    section: type[BaseModel] = Params
    inner: Any = Params
    for part in location:
        if inner is None:
            break
        section = inner
        path.append(str(part))
        field = section.model_fields.get(str(part))
        annotation = field.annotation if field else None
        is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        inner = annotation if is_section else None
    return path, section


def _nearest(name: str, section: type[BaseModel]) -> str:
    allowed = list(section.model_fields)
    nearest = difflib.get_close_matches(name, allowed, n=1, cutoff=0.5)
    if nearest:
        return f"did you mean {nearest[0]}?"
    return f"allowed: {', '.join(allowed)}"
