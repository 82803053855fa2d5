"""params.yaml: every hyperparameter, checked whole before any work starts."""

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from classifier.base.checked import Section, load
from classifier.base.errors import UserError
from classifier.base.family import NETWORKS, OF_ANY_SIZE

VGG16_CLASSIFIER_INPUT = 224

Probability = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
LearningRate = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Epochs = Annotated[int, Field(ge=1, le=100_000)]


def _number_range(text: str) -> str:
    ends = re.fullmatch(r"(\d+)-(\d+)", text)
    if not ends or int(ends[1]) > int(ends[2]):
        raise ValueError("two whole numbers, the smaller first, such as 0-999")
    return text


def _grey_levels(text: str) -> str:
    ends = re.fullmatch(r"(\d+)-(\d+)", text)
    if text != "auto" and not (ends and int(ends[1]) < int(ends[2]) <= 65535):
        raise ValueError("auto, or two levels up to 65535, black and white, such as 0-4095")
    return text


def _group_pattern(text: str) -> str:
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from error
    if groups != 1:
        raise ValueError(r"a regular expression with one group, such as (patient\d+)_")
    return text


def _threshold(goal: float | str) -> float | str:
    if isinstance(goal, float) and not 0 < goal < 1:
        raise ValueError("a number between 0 and 1")
    if isinstance(goal, str):
        stated = re.fullmatch(r"youden|(precision|recall)>=(0?\.\d+)", goal)
        if not stated or (stated[2] and float(stated[2]) == 0):
            raise ValueError(
                "a number between 0 and 1, youden, precision>=0.95 or recall>=0.95; "
                "for an experiment: -S 'evaluate.threshold=\"precision>=0.95\"'"
            )
    return goal


def _class_name(name: object) -> object:
    if name is not None and not isinstance(name, str):
        raise ValueError("null or the name of a class, in quotes where it could be a number: '1'")
    return name


def _architecture(name: str) -> str:
    if name not in NETWORKS:
        raise ValueError(" or ".join(map(repr, NETWORKS)))
    return name


Name = Annotated[str, Field(min_length=1)]
# As paths are: the same letters, whichever system wrote them.
Written = Annotated[Name, AfterValidator(partial(unicodedata.normalize, "NFC"))]
Architecture = Annotated[str, AfterValidator(_architecture)]
NumberRange = Annotated[str, AfterValidator(_number_range)]
GreyLevels = Annotated[str, AfterValidator(_grey_levels)]
GroupPattern = Annotated[str, AfterValidator(_group_pattern)]
Threshold = Annotated[float | str, AfterValidator(_threshold)]


class DataLimits(Section):
    """The most that is taken from a source, and the largest picture that is decoded."""

    files: Count
    file_bytes: Count
    total_bytes: Count
    ratio: Count
    pixels: Count


class Data(Section):
    """Where the pictures come from, and how they are decoded."""

    source: Name
    classes: Written | None
    image_size: Annotated[int, Field(ge=32, le=2048)]
    resize: Literal["squash", "crop", "pad"]
    grey16: GreyLevels
    limits: DataLimits

    @property
    def levels(self) -> tuple[int, int] | None:
        """Black and white of 16-bit grey as grey16 states them; None where it is auto."""
        if self.grey16 == "auto":
            return None
        black, white = map(int, self.grey16.split("-"))
        return black, white


class RandomSplit(Section):
    """The sizes of a random split: fractions of all pictures, or numbers of them."""

    validation: Probability | Count
    test: Probability | Count
    train: Probability | Count | None


class NumberedSplit(Section):
    """The numbers in the file names of each split, both ends included."""

    train: NumberRange
    validation: NumberRange
    test: NumberRange

    @model_validator(mode="after")
    def _ranges_do_not_overlap(self) -> Self:
        texts = {"train": self.train, "validation": self.validation, "test": self.test}
        ends = {name: text.split("-") for name, text in texts.items()}
        ranges = [(int(low), int(high), name) for name, (low, high) in ends.items()]
        for (_, end, first), (start, _, second) in pairwise(sorted(ranges)):
            if start <= end:
                raise ValueError(f"{first} and {second} overlap: no picture may be in two splits")
        return self


class Split(Section):
    """Which pictures go into which split."""

    method: Literal["predefined", "random", "numbered"]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    random: RandomSplit
    numbered: NumberedSplit
    group: GroupPattern | None
    drop_leaks: bool


class Training(Section):
    """What a section has that trains."""

    batch_size: Count
    optimizer: Literal["rmsprop", "adam", "adamw", "sgd"]
    learning_rate: LearningRate
    patience: Count | None
    schedule: Literal["constant", "cosine", "step"]
    warmup: Annotated[int, Field(ge=0)]
    weight_decay: Rate
    label_smoothing: Rate
    ema: Probability | None
    clip: Annotated[float, Field(gt=0)] | None


class Train(Training):
    """The networks from scratch, and what all trainings share."""

    arch: Architecture
    epochs: Epochs
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]
    class_weight: Literal["none", "balanced"]


class Augment(Section):
    """How training pictures are changed at random; the epochs and dropout that go with it."""

    epochs: Epochs | None
    flip: Literal["none", "horizontal", "vertical", "both"]
    rotation: Annotated[float, Field(ge=0, le=0.5)]
    zoom: Rate
    keep_aspect: bool
    shift: Rate
    shear: Rate
    channel_shift: Annotated[float, Field(ge=0, le=255)]
    fill: Literal["reflect", "nearest", "constant"]
    crop: Annotated[float, Field(gt=0, le=1)]
    brightness: Rate
    contrast: Rate
    rand_augment: Annotated[float, Field(ge=0, le=1)]
    erasing: Annotated[float, Field(ge=0, le=1)]
    image_size: Annotated[int | None, Field(ge=32, le=2048)]
    mixup: Annotated[float, Field(ge=0, le=10)]
    cutmix: Annotated[float, Field(ge=0, le=10)]
    dropout: Rate


class Transfer(Training):
    """What a section has that fine-tunes a pre-trained network."""

    weights: Name
    dropout: Rate
    head_epochs: Epochs
    head_learning_rate: LearningRate
    epochs: Annotated[int, Field(ge=0, le=100_000)]
    augment: bool
    views: Annotated[int, Field(ge=1, le=1000)] | None


class Finetune(Transfer):
    """How VGG16 is fine-tuned."""

    head: Literal["dense", "average", "classifier"]
    dense_units: Count
    unfreeze: Annotated[int, Field(ge=0, le=5)]


class MobileNet(Transfer):
    """How MobileNet is fine-tuned."""

    unfreeze: Annotated[int, Field(ge=0, le=14)]


class Evaluate(Section):
    """How the models are tested."""

    threshold: Threshold
    positive: Annotated[Written | None, BeforeValidator(_class_name)]
    flip: bool


class Params(Section):
    """The whole of params.yaml; what each key means stands in the file itself."""

    seed: Annotated[int, Field(ge=0, lt=2**31)]
    data: Data
    split: Split
    train: Train
    augment: Augment
    finetune: Finetune
    mobilenet: MobileNet
    evaluate: Evaluate

    @model_validator(mode="after")
    def _networks_fit_their_input(self) -> Self:
        size = self.data.image_size
        smallest = NETWORKS[self.train.arch]
        if size < smallest:
            raise ValueError(
                f"data.image_size is {size}, but train.arch {self.train.arch} needs "
                f"{smallest} or more"
            )
        if self.augment.image_size and self.train.arch not in OF_ANY_SIZE:
            raise ValueError(
                f"augment.image_size is {self.augment.image_size}, but train.arch is "
                f"{self.train.arch}, whose weights fit data.image_size alone; allowed: "
                f"{' or '.join(OF_ANY_SIZE)}"
            )
        if self.finetune.head == "classifier" and size != VGG16_CLASSIFIER_INPUT:
            raise ValueError(
                f"finetune.head is classifier, but data.image_size is {size}: "
                f"VGG16's own dense layers need {VGG16_CLASSIFIER_INPUT}"
            )
        return self

    @model_validator(mode="after")
    def _mixed_pictures_have_no_class_to_weigh(self) -> Self:
        if self.train.class_weight == "balanced":
            for way in ("mixup", "cutmix"):
                if alpha := getattr(self.augment, way):
                    raise ValueError(
                        f"augment.{way} is {alpha:g}, but train.class_weight is balanced: "
                        "a picture mixed of two classes has no class to be weighed by"
                    )
        return self

    @model_validator(mode="after")
    def _warm_up_comes_to_an_end(self) -> Self:
        phases = [
            ("train", self.train.warmup, "train.epochs", self.train.epochs),
            ("train", self.train.warmup, "augment.epochs", self.augment.epochs or 0),
        ]
        for name, tuned in (("finetune", self.finetune), ("mobilenet", self.mobilenet)):
            phases.append((name, tuned.warmup, f"{name}.head_epochs", tuned.head_epochs))
            epochs = tuned.epochs if tuned.unfreeze else 0
            phases.append((name, tuned.warmup, f"{name}.epochs", epochs))
        for name, warmup, key, epochs in phases:
            if 0 < epochs <= warmup:
                raise ValueError(
                    f"{key} is {epochs}, but {name}.warmup is {warmup}: "
                    "the warm-up has to be shorter"
                )
        return self


def positive_class(name: str | None, classes: Sequence[str]) -> int:
    """Say which of two classes is the positive one; of more classes the answer has no effect.

    Args:
        name: as `evaluate.positive` has it; None for the second of the sorted classes.
        classes: all of them.

    Raises:
        UserError: there is no such class, or there are more than two.
    """
    if name is None:
        return 1
    if len(classes) != 2:
        raise UserError(f"evaluate.positive is for two classes, here are {len(classes)}: null")
    if name not in classes:
        raise UserError(f"evaluate.positive is {name!r}, the classes are: {', '.join(classes)}")
    return classes.index(name)


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check `path`.

    Examples:
        >>> load_params().train.epochs
        30

    Raises:
        UserError: one line that names the first wrong key, its value and what is allowed.
    """
    if not path.exists():
        raise UserError(f"{path} is missing: run this from the project's top folder")
    return load(path, Params)


def way_back(command: str) -> str:
    """End an error about params.yaml: what undoes `dvc exp run -S`, which leaves its value there.

    With all that was changed by hand, which the words say.

    The file goes first: DVC puts the old one in place and writes the new value within one second,
    and git, which looks at seconds and size, takes a file of the same size for the old one.

    Returns:
        Nothing in a copy of the checkout, as of --temp and the queue, and outside DVC.
    """
    return (
        f"; correct it there, or, to undo all changes of params.yaml: rm params.yaml && {command}"
        if os.environ.get("DVC_ROOT") == str(Path.cwd())
        else ""
    )


def leaves(tree: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key, as DVC names it, and the value of all that is no section, in order."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
