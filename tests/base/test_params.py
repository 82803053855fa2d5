"""params.yaml: whatever is wrong with it is told in one line, before anything heavy starts."""

import os
import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from classifier.base.errors import UserError
from classifier.base.params import Params, leaves, load_params
from tests.projects import NO_VARIABLES, ROOT, STAGES, recorded, recording, seconds_of_children

COMMITTED = ROOT / "params.yaml"
HEAVY = {"tensorflow", "keras", "jax", "torch", "sklearn", "scipy", "matplotlib", "pandas"}


def committed() -> dict:
    return YAML(typ="safe", pure=True).load(COMMITTED.read_text(encoding="utf-8"))


LEAVES = [key for key, _ in leaves(committed())]


def written(folder, changes) -> Path:
    """The committed parameters with some keys, given with dots, set; `...` deletes a key."""
    content = committed()
    for key, value in changes.items():
        *sections, name = key.split(".")
        section = content
        for one in sections:
            section = section[one]
        if value is ...:
            del section[name]
        else:
            section[name] = value
    path = folder / "params.yaml"
    YAML(typ="safe", pure=True).dump(content, path)
    return path


def accepted(folder, **changes) -> Params:
    return load_params(written(folder, {k.replace("__", "."): v for k, v in changes.items()}))


def told(folder, changes) -> str:
    """What the user reads about these changes: one line."""
    return told_of(written(folder, changes))


def told_of(path) -> str:
    with pytest.raises(UserError) as error:
        load_params(path)
    message = str(error.value)
    assert message.splitlines() == [message]
    assert "params.yaml" in message
    return message.removeprefix(f"{path}: ")


def test_the_committed_parameters_are_good():
    params = load_params(COMMITTED)
    assert params.data.source == "data/catalog/cats_and_dogs_filtered.yaml"
    assert (params.train.arch, params.train.epochs, params.augment.epochs) == ("cnn5", 30, None)
    assert (params.finetune.weights, params.finetune.head_epochs) == ("imagenet", 30)
    assert (params.finetune.unfreeze, params.finetune.epochs) == (1, 5)


def test_every_parameter_has_a_comment():
    lines = COMMITTED.read_text(encoding="utf-8").splitlines()
    sections = re.compile(r" *\w+:$")
    assert [line for line in lines if "#" not in line and not sections.match(line)] == []


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_leaf_refuses_what_is_no_value(tmp_path, leaf):
    message = told(tmp_path, {leaf: [1, 2]})
    assert message.startswith(f"{leaf} is [1, 2], allowed: ")


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_leaf_must_be_there(tmp_path, leaf):
    assert told(tmp_path, {leaf: ...}) == f"{leaf} is missing"


@pytest.mark.parametrize("leaf", [leaf for leaf in LEAVES if leaf != "seed"])
def test_a_misspelled_name_is_put_right(tmp_path, leaf):
    wrong = leaf[:-1]  # the last letter forgotten
    right = leaf.rpartition(".")[2]
    message = told(tmp_path, {leaf: ..., wrong: 1})
    assert message == f"{wrong}: unknown key; did you mean {right}?"


def test_a_misspelled_section_is_put_right(tmp_path):
    message = told(tmp_path, {"trian": committed()["train"], "train": ...})
    assert message == "trian: unknown key; did you mean train?"


def test_an_unknown_name_that_is_like_none_is_answered_with_all(tmp_path):
    message = told(tmp_path, {"data.xyz": 1})
    known = "source, classes, image_size, resize, grey16, limits"
    assert message == f"data.xyz: unknown key; known are {known}"
    message = told(tmp_path, {"data.limits.qqq": 1})
    assert message.startswith("data.limits.qqq: unknown key; known are files, file_bytes")


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("seed", -1, "greater than or equal to 0"),
        ("seed", 2**31, f"less than {2**31}"),
        ("seed", True, "integer"),
        ("seed", 1.5, "integer"),
        ("seed", "1", "integer"),
        ("seed", None, "integer"),
        ("data.source", "", "at least 1 character"),
        ("data.source", 20240517, "in quotes (after -S: ./NAME)"),
        ("data.source", date(2024, 5, 17), "looks like a number or a date"),
        ("data.source", 1e3, "after -S: ./NAME"),
        ("data.classes", 7, "after -S: ./NAME"),
        ("data.classes", "", "at least 1 character"),
        ("data.image_size", 180.0, "integer"),
        ("data.image_size", 3000, "2048"),
        ("data.image_size", 31, "greater than or equal to 32"),
        ("data.resize", "stretch", "'squash', 'crop' or 'pad'"),
        ("data.grey16", "4095", "auto, or two levels up to 65535, black and white, such as 0-4095"),
        ("data.grey16", "9-9", "auto, or two levels up to 65535, black and white, such as 0-4095"),
        ("split.group", "patient", "a regular expression with one group"),
        ("split.group", "(", "a regular expression (missing ), unterminated subpattern"),
        ("data.limits.files", 0, "greater than or equal to 1"),
        ("split.method", "Random", "'predefined', 'random' or 'numbered'"),
        ("split.random.validation", 1.5, "less than 1"),
        ("split.random.validation", 0, "greater than"),
        ("split.random.test", None, "number"),
        ("split.random.train", -3, "greater than"),
        ("split.random.train", float("nan"), "a finite number"),
        ("split.numbered.train", "999-0", "two whole numbers, the smaller first, such as 0-999"),
        ("split.numbered.train", "0–999", "such as 0-999"),
        ("split.numbered.test", 5, "string"),
        ("split.drop_leaks", "yes", "boolean"),
        ("split.drop_leaks", 0, "boolean"),
        ("train.arch", "resnet50", "'cnn5'"),
        ("train.epochs", 0, "greater than or equal to 1"),
        ("train.epochs", 1e2, "integer"),
        ("train.batch_size", 0, "greater than or equal to 1"),
        ("train.optimizer", "Adam", "'rmsprop', 'adam', 'adamw' or 'sgd'"),
        ("train.schedule", "linear", "'constant', 'cosine' or 'step'"),
        ("train.patience", 0, "greater than or equal to 1"),
        ("finetune.ema", 1.0, "less than 1"),
        ("finetune.label_smoothing", 1.0, "less than 1"),
        ("train.clip", 0.0, "greater than 0"),
        ("train.clip", float("inf"), "a finite number"),
        ("train.learning_rate", 0.0, "greater than 0"),
        ("train.learning_rate", 10, "less than or equal to 1"),
        ("train.learning_rate", "0.001", "number"),
        ("train.learning_rate", float("inf"), "a finite number"),
        ("train.learning_rate", float("nan"), "a finite number"),
        ("train.precision", "bfloat16", "'mixed_bfloat16'"),
        ("train.class_weight", None, "'none' or 'balanced'"),
        ("augment.epochs", 0, "greater than or equal to 1"),
        ("augment.flip", True, "'horizontal'"),
        ("augment.rotation", 36, "less than or equal to 0.5"),
        ("augment.zoom", 1.0, "less than 1"),
        ("augment.shift", -0.1, "greater than or equal to 0"),
        ("augment.shear", 1.0, "less than 1"),
        ("augment.channel_shift", 256.0, "less than or equal to 255"),
        ("augment.fill", "wrap", "'reflect', 'nearest' or 'constant'"),
        ("augment.crop", 0.0, "greater than 0"),
        ("augment.erasing", 1.5, "less than or equal to 1"),
        ("augment.rand_augment", 9, "less than or equal to 1"),
        ("augment.mixup", -1.0, "greater than or equal to 0"),
        ("augment.dropout", 1.0, "less than 1"),
        ("finetune.head", "flat", "'dense', 'average' or 'classifier'"),
        ("finetune.unfreeze", 6, "less than or equal to 5"),
        ("finetune.unfreeze", "block5", "integer"),
        ("finetune.epochs", -1, "greater than or equal to 0"),
        ("finetune.views", 0, "greater than or equal to 1"),
        ("finetune.augment", "on", "boolean"),
        ("finetune.weights", None, "string"),
        ("evaluate.threshold", 1, "a number between 0 and 1"),
        ("evaluate.threshold", True, "number"),
        ("evaluate.threshold", "precision>=1.5", "youden, precision>=0.95 or recall>=0.95"),
        ("evaluate.threshold", "precision>=0.0", "youden, precision>=0.95 or recall>=0.95"),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_is_allowed(tmp_path, key, value, allowed):
    message = told(tmp_path, {key: value})
    assert message.startswith(f"{key} is {value!r}, allowed: ")
    assert allowed in message


@pytest.mark.parametrize("leaf", ["data.source", "train.epochs", "split.random.test"])
def test_a_section_in_the_place_of_a_value_is_named(tmp_path, leaf):
    assert told(tmp_path, {leaf: {"a": 1}}).startswith(leaf)


@pytest.mark.parametrize("value", [None, 3, "text", [1]])
def test_a_value_in_the_place_of_a_section_is_named(tmp_path, value):
    assert told(tmp_path, {"evaluate": value}).startswith(f"evaluate is {value!r}, allowed: ")


def test_a_key_that_is_no_text_is_named(tmp_path):
    path = written(tmp_path, {})
    path.write_text(f"{path.read_text(encoding='utf-8')}7: 2\n", encoding="utf-8")
    assert told_of(path).startswith("7: unknown key")


def test_the_unknown_key_is_told_before_other_faults(tmp_path):
    message = told(tmp_path, {"seed": "x", "train.epoch": 3, "train.epochs": ...})
    assert message == "train.epoch: unknown key; did you mean epochs?"


def test_no_picture_may_be_numbered_into_two_splits(tmp_path):
    message = told(tmp_path, {"split.numbered.train": "0-1000"})
    assert message == (
        "split.numbered: train and validation overlap: no picture may be in two splits"
    )
    message = told(tmp_path, {"split.numbered.test": "100-110"})
    assert "train and test overlap" in message


def test_a_picture_too_small_for_the_network_is_refused_naming_both_keys(tmp_path):
    message = told(tmp_path, {"data.image_size": 77})
    assert message == "data.image_size is 77, but train.arch cnn5 needs 78 or more"
    assert accepted(tmp_path, data__image_size=78).data.image_size == 78


def test_the_classifier_head_needs_its_size_naming_both_keys(tmp_path):
    message = told(tmp_path, {"finetune.head": "classifier"})
    assert message == (
        "finetune.head is classifier, but data.image_size is 180: VGG16's own dense layers need 224"
    )
    good = accepted(tmp_path, finetune__head="classifier", data__image_size=224)
    assert good.finetune.head == "classifier"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train.warmup": 30}, "train.epochs is 30, but train.warmup is 30"),
        ({"train.warmup": 9, "augment.epochs": 9}, "augment.epochs is 9, but train.warmup is 9"),
        ({"finetune.warmup": 5}, "finetune.epochs is 5, but finetune.warmup is 5"),
    ],
)
def test_a_warm_up_that_never_ends_is_refused_naming_both_keys(tmp_path, changes, said):
    assert told(tmp_path, changes) == f"{said}: the warm-up has to be shorter"
    head_alone = accepted(tmp_path, finetune__warmup=5, finetune__unfreeze=0)
    assert head_alone.finetune.warmup == 5
    head_alone = accepted(tmp_path, finetune__warmup=5, finetune__epochs=0)
    assert head_alone.finetune.warmup == 5


def test_smaller_training_pictures_are_for_networks_of_any_size(tmp_path):
    assert told(tmp_path, {"augment.image_size": 128}) == (
        "augment.image_size is 128, but train.arch is cnn5, whose weights fit data.image_size "
        "alone; allowed: resnet_small or xception_small"
    )
    params = accepted(tmp_path, augment__image_size=128, train__arch="resnet_small")
    assert params.augment.image_size == 128


@pytest.mark.parametrize("way", ["mixup", "cutmix"])
def test_mixed_pictures_and_balanced_classes_are_refused_naming_both_keys(tmp_path, way):
    message = told(tmp_path, {f"augment.{way}": 0.2, "train.class_weight": "balanced"})
    assert message.startswith(f"augment.{way} is 0.2, but train.class_weight is balanced: ")


def test_null_stands_where_it_means_something(tmp_path):
    good = accepted(tmp_path, augment__epochs=100, finetune__views=8, split__random__train=None)
    assert (good.augment.epochs, good.finetune.views, good.split.random.train) == (100, 8, None)
    good = accepted(tmp_path, augment__epochs=None, finetune__views=None)
    assert good.augment.epochs is None
    assert good.finetune.views is None


def test_sizes_of_splits_are_counts_or_fractions(tmp_path):
    sizes = accepted(tmp_path, split__random__validation=150, split__random__test=0.25).split.random
    assert (sizes.validation, sizes.test) == (150, 0.25)
    assert isinstance(sizes.validation, int)


@pytest.mark.parametrize("goal", [0.3, "youden", "precision>=0.95", "recall>=.9"])
def test_thresholds(tmp_path, goal):
    assert accepted(tmp_path, evaluate__threshold=goal).evaluate.threshold == goal


def test_a_goal_is_set_for_an_experiment_as_its_comment_and_its_error_say(tmp_path):
    from dvc.utils.hydra import apply_overrides

    wrong = told(tmp_path, {"evaluate.threshold": "precision"})  # what the shell leaves of it
    path = written(tmp_path, {})
    for text in (wrong, COMMITTED.read_text(encoding="utf-8")):
        found = re.search(r"-S '(evaluate\.threshold=.*)'", text)
        assert found
        apply_overrides(path, [found[1]])
        assert load_params(path).evaluate.threshold == "precision>=0.95"
        apply_overrides(path, ["evaluate.threshold=0.5"])


@pytest.mark.parametrize("text", ["2024_05_17", "007", "2024-05-17", "1e5"])
def test_a_name_that_yaml_takes_for_a_number_or_a_date_is_to_be_quoted(tmp_path, text):
    path = tmp_path / "params.yaml"
    committed_text = COMMITTED.read_text(encoding="utf-8")
    line = re.compile("  source: .*")
    path.write_text(line.sub(f"  source: {text}", committed_text), encoding="utf-8")
    assert told_of(path).startswith("data.source is ")
    assert "quotes" in told_of(path)
    path.write_text(line.sub(f"  source: '{text}'", committed_text), encoding="utf-8")
    assert load_params(path).data.source == text


@pytest.mark.parametrize("number", ["1e-3", "1.0e-3", "0.001"])
def test_numbers_are_read_as_dvc_reads_them(tmp_path, number):
    path = tmp_path / "params.yaml"
    text = COMMITTED.read_text(encoding="utf-8")
    path.write_text(text.replace("  learning_rate: 0.001", f"  learning_rate: {number}", 1))
    assert load_params(path).train.learning_rate == 0.001


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "allowed: a mapping of keys to values"),
        (b"- 1\n- 2\n", "allowed: a mapping of keys to values"),
        (b"seed: [1\n", "not YAML: "),
        (b"seed: 1\n\t- x\n", "not YAML: "),
        (b"seed: 1\nseed: 2\n", 'duplicate key "seed"'),
        (b"seed: !!python/object:os.system x\n", "not YAML: "),
        (b"\x00", "not YAML: "),
        (b"seed: 2023-02-30\n", "not YAML: day is out of range for month"),
    ],
)
def test_what_is_no_parameter_file_is_told_in_one_line(tmp_path, content, words):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    assert words in told_of(path)


@pytest.mark.parametrize("content", [b"seed: \xe9\n", "seed: 1\n".encode("utf-16")])
def test_another_encoding_than_utf_8_is_told_in_one_line(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    told_of(path)


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(UserError, match="is missing: run this from the project's top folder"):
        load_params(tmp_path / "params.yaml")


def test_parameters_never_change():
    params = load_params(COMMITTED)
    with pytest.raises(ValidationError, match="frozen"):
        params.train.epochs = 3


def run(folder, *arguments, variables=NO_VARIABLES):
    """Run Python in `folder` on this checkout's code; also its seconds of computing."""
    before = seconds_of_children()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, seconds_of_children() - before


@pytest.fixture(scope="module")
def soon(tmp_path_factory) -> float:
    """Seconds: one, but on a slow machine what eight times the least of imports takes there."""
    least = ("-c", "import pydantic, ruamel.yaml")
    return max(1.0, 8 * min(run(tmp_path_factory.getbasetemp(), *least)[1] for _ in range(3)))


FAULTS = (
    ({"train.epochs": "many"}, "train.epochs is 'many', allowed: a valid integer"),
    ({"train.epoch": 3}, "train.epoch: unknown key; did you mean epochs?"),
    ({"evaluate.threshold": 7}, "evaluate.threshold is 7, allowed: a number between 0 and 1"),
)


# `check` is given each fault; the stages, which check in the same function, take them in turn.
@pytest.mark.parametrize(
    ("module", "faults"),
    [
        ("classifier", FAULTS),
        *((f"stages.{stage}", FAULTS[i % 3 : i % 3 + 1]) for i, stage in enumerate(STAGES)),
    ],
    ids=("check", *STAGES),
)
def test_a_wrong_parameter_ends_in_one_line_and_soon(tmp_path, module, faults, soon):
    variables = recording(tmp_path / "records")
    variables["PYTHONPATH"] += f"{os.pathsep}{ROOT}"
    here = tmp_path / "here"
    here.mkdir()
    for changes, words in faults:
        written(here, changes)
        arguments = ["check"] if module == "classifier" else []
        done, seconds = run(here, "-m", module, *arguments, variables=variables)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"error: params.yaml: {words}\n"
        assert seconds < soon
    assert [path.name for path in here.iterdir()] == ["params.yaml"]
    if module != "classifier":
        imported = recorded(tmp_path / "records", module.removeprefix("stages."), "module")
        assert "classifier.base.params" in imported, "nothing was written down"
        assert not imported & HEAVY


def test_checking_imports_nothing_heavy_and_says_that_all_is_good(tmp_path):
    (tmp_path / ".git").mkdir()
    shutil.copy(COMMITTED, tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/catalog").symlink_to(ROOT / "data/catalog")
    done, _ = run(
        tmp_path,
        "-c",
        "import sys\nfrom classifier.__main__ import main\nmain(['check'])\n"
        f"print(sorted({HEAVY | {'cv2'}} & sys.modules.keys()))",
    )
    assert done.stdout.splitlines() == ["params.yaml is good", "[]"], done.stderr
