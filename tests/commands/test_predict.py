"""Predictions for any picture, folder or archive, from a real (tiny) model."""

import io
import json
import os
import re
import tarfile
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifier.__main__ import main
from classifier.base.errors import UserError
from classifier.base.params import load_params
from classifier.commands import predict as prediction
from classifier.commands.predict import decide, files, predict
from classifier.evaluation import inference
from classifier.evaluation.calibration import apply_temperature
from classifier.evaluation.calibration_file import Calibration, write_calibrations
from classifier.images.decode import decode
from tests.projects import ROOT

PARAMS = ROOT / "params.yaml"
SIZE = 80
TEMPERATURE = 2.0
MODEL = Path("data/models/vgg16.keras")
CALIBRATION, REPORT = prediction.CALIBRATION, prediction.REPORT


def jpeg(level: int, width: int = 120, height: int = 90) -> bytes:
    """A grey picture with a gradient, so that squash, crop and pad differ."""
    ramp = np.linspace(-level / 4, level / 4, width)[None, :, None] + level
    pixels = np.broadcast_to(ramp, (height, width, 3)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


@cache
def tiny_model() -> bytes:
    """The file of a model that takes bright pictures for day, dark ones for night."""
    import keras

    from classifier.training.saving import save_model

    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1, activation="sigmoid", name="output"),
        ]
    )
    model.layers[-1].set_weights([np.full((3, 1), -2.0, np.float32), np.full(1, 3.0, np.float32)])
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder) / "vgg16.keras", model, {"classes": ["day", "night"]})
        return (Path(folder) / "vgg16.keras").read_bytes()


def lay_out() -> None:
    """Put a trained model, its calibration and params.yaml into the working folder."""
    text = PARAMS.read_text(encoding="utf-8").replace("image_size: 180", f"image_size: {SIZE}")
    Path("params.yaml").write_text(text, encoding="utf-8")
    Path("data/models").mkdir(parents=True)
    Path("data/models/vgg16.keras").write_bytes(tiny_model())
    Path("data/evaluation").mkdir()
    calibrate()


@pytest.fixture
def trained(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    lay_out()


def calibrate(precision="float32", *, flip=False) -> None:
    """Write what evaluate writes of the model that lies there."""
    threshold = {"value": 0.5, "positive": "night"}
    judged = {"vgg16": {"temperature": TEMPERATURE, "threshold": threshold}}
    judged["vgg16"]["tested"] = {"policy": precision}
    write_calibrations(CALIBRATION, judged, {"vgg16": MODEL}, flip=flip)


def change(key: str, value: str) -> None:
    text = Path("params.yaml").read_text(encoding="utf-8")
    # The first of that name, as image_size is one of data and one of augment.
    changed, times = re.subn(
        rf"^( +{key}): .*$", rf"\1: {value}", text, count=1, flags=re.MULTILINE
    )
    assert times == 1
    Path("params.yaml").write_text(changed, encoding="utf-8")


def run(*sources: str):
    complaints = []
    found = predict(
        [Path(source) for source in sources],
        "vgg16",
        load_params(),
        lambda path, reason: complaints.append((path, reason)),
    )
    return list(found), complaints


def test_a_picture_is_decoded_calibrated_and_named(trained):
    Path("bright.jpg").write_bytes(jpeg(200))
    [found], complaints = run("bright.jpg")
    pixels = decode(jpeg(200), SIZE, "squash", 10**8).pixels
    night = 1 / (1 + np.exp(6 * pixels.mean() / 255 - 3))
    expected = apply_temperature(np.array([[1 - night, night]]), TEMPERATURE)[0]
    assert found.path == "bright.jpg"
    assert found.label == "day"
    assert found.confidence == pytest.approx(expected[0], abs=1e-5)
    assert found.runners_up == [("night", pytest.approx(expected[1], abs=1e-5))]
    assert complaints == []


def test_the_way_of_resizing_is_that_of_params(trained):
    Path("wide.jpg").write_bytes(jpeg(120, width=300, height=60))
    confidences = []
    for resize in ("squash", "pad"):
        change("resize", resize)
        confidences.append(run("wide.jpg")[0][0])
    assert confidences[0].confidence != pytest.approx(confidences[1].confidence, abs=0.05)


def test_16_bit_grey_is_scaled_as_in_the_splits_or_refused(trained):
    file = io.BytesIO()
    Image.fromarray(np.full((90, 90), 4000, np.uint16)).save(file, "PNG")
    Path("deep.png").write_bytes(file.getvalue())
    assert run("deep.png")[1] == [
        ("deep.png", "16-bit grey, whose range stands in data/splits/report.json: missing")
    ]
    REPORT.parent.mkdir()
    labels = []
    for content in ({}, {"grey16": {"images": 1, "black": 0, "white": 4095}}):
        REPORT.write_text(json.dumps(content))
        labels.append(run("deep.png")[0][0].label)
    assert labels == ["night", "day"]
    REPORT.unlink()
    change("grey16", "0-4095")
    assert run("deep.png")[0][0].label == "day"


def test_pictures_of_folders_and_archives_come_in_order_under_their_paths(trained):
    Path("pets/inner").mkdir(parents=True)
    for name in ("b", "a"):
        Path(f"pets/inner/{name}.jpg").write_bytes(jpeg(60))
    with zipfile.ZipFile("some.zip", "w") as archive:
        archive.writestr("x/1.jpg", jpeg(220))
        archive.writestr("y/2.jpg", jpeg(30))
    with tarfile.open("more.tar.gz", "w:gz") as archive:
        archive.add("pets/inner/a.jpg", "only.jpg")
    found, complaints = run("pets", "some.zip", "more.tar.gz", "pets/inner/a.jpg")
    assert [one.path for one in found] == [
        "pets/inner/a.jpg",
        "pets/inner/b.jpg",
        "some.zip/x/1.jpg",
        "some.zip/y/2.jpg",
        "more.tar.gz/only.jpg",
        "pets/inner/a.jpg",
    ]
    assert [one.label for one in found] == ["night", "night", "day", "night", "night", "night"]
    assert complaints == []


def test_more_pictures_than_go_through_at_once_all_come_out(trained):
    Path("many").mkdir()
    for number in range(prediction.AT_ONCE + 3):
        Path(f"many/{number:03}.jpg").write_bytes(jpeg(40 if number % 2 else 220))
    found, _ = run("many")
    assert [one.label for one in found] == ["day", "night"] * (prediction.AT_ONCE // 2 + 1) + [
        "day"
    ]


def test_what_shows_no_picture_is_told_and_the_rest_goes_on(trained):
    Path("notes.txt").write_text("hello")
    Path("cut.jpg").write_bytes(jpeg(100)[:400])
    Path("not.zip").write_text("hello")
    Path("empty").mkdir()
    Path("good.jpg").write_bytes(jpeg(100))
    Path("some").mkdir()
    Path("some/bad.jpg").write_bytes(b"\0" * 50)
    Path("some/good.jpg").write_bytes(jpeg(100))
    found, complaints = run(
        "notes.txt", "cut.jpg", "missing.jpg", "not.zip", "empty", "some", "good.jpg"
    )
    assert [one.path for one in found] == ["some/good.jpg", "good.jpg"]
    told = dict(complaints)
    assert told["notes.txt"] == "not a picture: looks like text"
    assert told["cut.jpg"] == "truncated JPEG"
    assert told["missing.jpg"] == "No such file or directory"
    assert "no archive" in told["not.zip"]
    assert told["empty"].startswith("holds no usable file")
    assert told["some/bad.jpg"] == "not a picture: only zero bytes"


def test_a_pipe_is_not_waited_for(trained):
    os.mkfifo("pipe.jpg")
    assert run("pipe.jpg") == ([], [("pipe.jpg", "neither a file nor a folder")])


def test_limits_of_params_hold(trained):
    change("file_bytes", "500")
    change("pixels", "1000")
    Path("heavy.jpg").write_bytes(jpeg(100) + b"\0" * 500)
    complaints = []
    given = load_params()
    assert not list(files([Path("heavy.jpg")], given, lambda *one: complaints.append(one)))
    assert complaints == [("heavy.jpg", "larger than data.limits.file_bytes allows (500)")]
    change("file_bytes", "100000")
    Path("wide.jpg").write_bytes(jpeg(100))
    [(_, reason)] = run("wide.jpg")[1]
    assert reason.startswith("too large: 120 x 90 pixels")


def test_an_unknown_model_is_told_before_anything_is_loaded(trained):
    with pytest.raises(UserError, match=r"--model is 'resnet', data/models has: vgg16"):
        next(predict([], "resnet", load_params(), print))


def test_another_models_calibration_is_refused_until_evaluate_has_run(trained):
    Path("x.jpg").write_bytes(jpeg(100))
    # As `dvc repro train_baseline` with another seed leaves it.
    with zipfile.ZipFile(MODEL, "a") as archive:
        archive.writestr("another.txt", "seed")
    with pytest.raises(UserError, match=r"calibration of another .*: dvc repro evaluate$") as told:
        run("x.jpg")
    assert "\n" not in str(told.value)
    calibrate()
    assert run("x.jpg")[0]


def test_a_calibration_that_names_no_model_is_refused(trained):
    CALIBRATION.write_text(
        json.dumps({"vgg16": {"temperature": 1.0, "threshold": 0.5, "positive": "b"}})
    )
    with pytest.raises(UserError, match="dvc repro evaluate"):
        run("x.jpg")


@pytest.mark.parametrize(
    ("agreed", "fast", "used"),
    [
        ("mixed_bfloat16", "mixed_bfloat16", "mixed_bfloat16"),
        ("mixed_bfloat16", "float32", "float32"),
        ("float32", "mixed_bfloat16", "float32"),
    ],
)
def test_the_precision_is_one_that_the_model_was_tested_in_and_the_machine_is_fast_at(
    trained, monkeypatch, agreed, fast, used
):
    Path("a.jpg").write_bytes(jpeg(220))
    computed = []
    in_precision = inference.in_precision
    monkeypatch.setattr(
        inference, "in_precision", lambda *given: computed.append(given[1]) or in_precision(*given)
    )
    change("precision", fast)
    calibrate(agreed)
    assert run("a.jpg")[0][0].label == "day"
    assert computed == [used]


@pytest.mark.parametrize("flip", [False, True])
def test_mirror_images_are_scored_alike_where_evaluate_flips(trained, flip):
    import keras

    from classifier.training.saving import save_model

    inputs = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))
    save_model(MODEL, model, {"classes": ["day", "night"]})
    calibrate(flip=flip)
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    for name, picture in (("a.png", pixels), ("b.png", pixels[:, ::-1])):
        Image.fromarray(np.ascontiguousarray(picture)).save(name)
    (one, other), _ = run("a.png", "b.png")
    alike = one.label == other.label and abs(one.confidence - other.confidence) < 1e-6
    assert alike == flip


def test_a_model_without_calibration_is_refused(trained):
    CALIBRATION.write_text("{}")
    with pytest.raises(UserError, match="has no calibration of vgg16: dvc repro evaluate"):
        run("x.jpg")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("resize", "crop", "params.yaml has data.resize crop, .*evaluated with squash .*dvc repro"),
        ("grey16", "0-4095", "params.yaml has data.grey16 .*dvc repro"),
        ("image_size", "96", "params.yaml has .*data.image_size .*dvc repro"),
        ("threshold", "0.9", "params.yaml has evaluate.threshold 0.9, .*evaluated with 0.5 "),
        ("positive", "night", "params.yaml has evaluate.positive night, .*evaluated with None "),
    ],
)
def test_changed_parameters_are_told_instead_of_predicting_in_another_way(
    trained, key, value, told
):
    Path("dvc.lock").write_text(
        "schema: '2.0'\nstages:\n"
        # As after a run that ended between the two.
        "  split:\n    params:\n      params.yaml:\n        data.resize: crop\n"
        "  evaluate:\n    params:\n      params.yaml:\n"
        "        data: {resize: squash, grey16: auto, image_size: 80}\n"
        "        evaluate: {threshold: 0.5, positive: null, flip: false}\n"
    )
    Path("a.jpg").write_bytes(jpeg(100))
    assert run("a.jpg")[0]
    change(key, value)
    with pytest.raises(UserError, match=told):
        run("a.jpg")


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("dvc.lock", "<<<<<<< HEAD\nschema: '2.0'\nstages: {}\n", "dvc.lock: not YAML: "),
        (str(CALIBRATION), '{"vgg16": {"tem', "has no calibration of vgg16: dvc repro evaluate"),
    ],
)
def test_a_record_that_is_damaged_is_told_in_one_line(trained, file, content, told):
    Path(file).write_text(content)
    with pytest.raises(UserError, match=told):
        run("x.jpg")


def test_an_empty_lock_says_nothing(trained):
    Path("dvc.lock").touch()
    Path("a.jpg").write_bytes(jpeg(100))
    assert run("a.jpg")[0]


def test_an_empty_name_is_not_the_current_folder(capsys):
    with pytest.raises(SystemExit):
        main(["predict", ""])
    assert "argument PICTURE: is empty" in capsys.readouterr().err


def test_two_runners_up_of_many_classes_the_likelier_first():
    scores = np.array([[0.1, 0.2, 0.6, 0.1], [0.4, 0.3, 0.1, 0.2]])
    found = list(decide(["a", "b"], scores, ["k", "l", "m", "n"], Calibration(1.0, None, None)))
    assert [one.label for one in found] == ["m", "k"]
    assert [[label for label, _ in one.runners_up] for one in found] == [["l", "k"], ["l", "n"]]
    assert found[0].confidence == pytest.approx(0.6)


def test_the_threshold_of_evaluation_decides_on_the_uncalibrated_score():
    scores = np.array([[0.3, 0.7], [0.05, 0.95], [0.7, 0.3]])
    found = list(decide("abc", scores, ["day", "night"], Calibration(3.0, 0.9, "night")))
    assert [one.label for one in found] == ["day", "night", "day"]
    assert found[0].confidence < 0.5
    assert found[0].runners_up[0][0] == "night"


def test_the_threshold_is_of_the_score_of_the_positive_class_whichever_it_is():
    scores = np.array([[0.3, 0.7], [0.05, 0.95], [0.15, 0.85]])
    found = list(decide("abc", scores, ["day", "night"], Calibration(1.0, 0.1, "day")))
    assert [one.label for one in found] == ["day", "night", "day"]
