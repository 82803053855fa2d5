"""Models in other formats: each computes what Keras does, and says what its classes are."""

import json
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from classifier.__main__ import main
from classifier.base.errors import UserError
from classifier.base.splits import write_split
from classifier.commands import export
from classifier.commands.export import FORMATS, for_older
from classifier.evaluation.calibration_file import write_calibrations
from classifier.training.saving import save_model
from classifier.transfer.vgg16 import vgg16_preprocessing

SIZE = 8
CLASSES = ["cat", "dög", "fox"]
MODEL = Path("data/models/vgg16.keras")


@pytest.fixture(autouse=True)
def trained(tmp_path, monkeypatch) -> None:
    """A network with VGG16's preprocessing, its calibration, and pictures to compare it on."""
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3), dtype="uint8"),
            vgg16_preprocessing(SIZE),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Rescaling(1 / 255),  # scores that are not all 0 and 1
            keras.layers.Dense(len(CLASSES), activation="softmax"),
        ]
    )
    save_model(MODEL, model, {"classes": CLASSES})
    tested = {"policy": "float32"}
    judged = {"vgg16": {"temperature": 1.5, "threshold": None, "tested": tested}}
    write_calibrations(Path("data/evaluation/calibration.json"), judged, {"vgg16": MODEL})
    pixels = np.random.default_rng(0).integers(0, 256, (40, SIZE, SIZE, 3), np.uint8)
    table = [(f"{number}.png", CLASSES[number % 3], "") for number in range(40)]
    for split in ("train", "test"):
        write_split(Path("data/splits"), split, pixels, range(40), table)


def skip_without(name: str) -> None:
    if any(find_spec(module) is None for module in FORMATS[name].needs):
        pytest.skip("requirements-export.txt is not installed")


def metadata_of(path: Path) -> dict:
    """What travels with a model, as a reader without this project finds it."""
    if path.is_dir():
        return json.loads((path / "assets.extra/metadata.json").read_text(encoding="utf-8"))
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return json.loads(file.attrs["metadata"])
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))["metadata"]
    if path.suffix == ".onnx":
        import onnxruntime

        meta = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
        return {key: json.loads(value) for key, value in meta.items()}
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("metadata.json"))


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_opened_by_its_runtime_and_says_what_the_classes_are(name, capsys):
    skip_without(name)
    out = Path(f"new/exported{FORMATS[name].suffix}")
    main(["export", "vgg16", "--to", name, "--out", str(out)])
    told = capsys.readouterr().out
    assert told.startswith(f"{out}: within ")
    assert told.endswith("of Keras's scores on 32 test pictures\n")
    assert [path.name for path in Path("new").iterdir()] == [out.name]
    found = metadata_of(out)
    assert (found["classes"], found["temperature"]) == (CLASSES, 1.5)
    # The metadata, written last, leaves a file that opens.
    model = keras.saving.load_model(MODEL)
    images = np.random.default_rng(1).integers(0, 256, (5, SIZE, SIZE, 3), np.uint8)
    outputs = FORMATS[name].opened(out, model)(images)
    np.testing.assert_allclose(outputs, model.predict(images, verbose=0), atol=export.MOST)


@pytest.mark.parametrize("name", ["keras", "saved_model"])
@pytest.mark.parametrize("change", [0.1, np.nan])
def test_what_computes_something_else_is_an_error_and_leaves_nothing(name, change, monkeypatch):
    kind = FORMATS[name]

    def write_another(model, path, metadata):
        other = keras.models.clone_model(model)
        other.set_weights([weights + change for weights in model.get_weights()])
        other.predict(np.zeros((1, SIZE, SIZE, 3), np.uint8), verbose=0)
        kind.write(other, path, metadata)

    monkeypatch.setitem(FORMATS, name, replace(kind, write=write_another))
    with pytest.raises(UserError, match=r"scores differ from Keras's by .*allowed: 0\.001"):
        main(["export", "vgg16", "--to", name])
    assert list(Path("exports").iterdir()) == []


def test_a_file_is_replaced_and_a_folder_is_not():
    for _ in range(2):
        main(["export", "vgg16", "--to", "architecture"])
    assert json.loads(Path("exports/vgg16.json").read_text())["class_name"] == "Sequential"
    Path("mine").mkdir()
    Path("mine/photo.jpg").touch()
    with pytest.raises(UserError, match="'mine', which is there"):
        main(["export", "vgg16", "--to", "saved_model", "--out", "mine"])
    assert Path("mine/photo.jpg").exists()
    Path("file").touch()
    with pytest.raises(UserError, match="'file', which is there"):
        main(["export", "vgg16", "--to", "saved_model", "--out", "file"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--to", "torch"], "--to is 'torch', allowed: keras, weights, "),
        (
            ["--to", "keras", "--out", "data/models/vgg16.keras"],
            "where the stages keep their models",
        ),
        (["--to", "h5", "--out", "a.keras"], r"--out is 'a\.keras', must end in \.h5"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(arguments, told):
    with pytest.raises(UserError, match=told):
        main(["export", "vgg16", *arguments])


def test_a_missing_runtime_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda module: None if module == "tf2onnx" else True)
    told = "onnx needs tf2onnx: pip install -r requirements-export.txt"
    with pytest.raises(UserError, match=told):
        main(["export", "vgg16", "--to", "onnx"])


def test_a_model_of_other_pictures_than_the_splits_is_refused():
    pixels = np.zeros((2, 16, 16, 3), np.uint8)
    table = [(f"{n}.png", CLASSES[n], "") for n in range(2)]
    write_split(Path("data/splits"), "test", pixels, range(2), table)
    with pytest.raises(UserError, match="other pictures than data/splits: dvc repro"):
        main(["export", "vgg16", "--to", "h5"])


def test_what_older_keras_does_not_know_is_left_out_where_it_says_nothing():
    main(["export", "vgg16", "--to", "keras"])
    with zipfile.ZipFile(MODEL) as before, zipfile.ZipFile("exports/vgg16.keras") as after:
        old, new = (archive.read("config.json").decode() for archive in (before, after))
        assert before.read("model.weights.h5") == after.read("model.weights.h5")
    for key, default in export.NEWER.items():
        assert f'"{key}": {json.dumps(default)}' in old, "the oldest Keras may have changed"
        assert key not in new
    assert '"class_name": "Flip", "config": {"axis": -1}' in new
    for kept in ('{"input_axes": [0]}', '{"renorm": true}', '{"seed": null}', '{"name": "flip"}'):
        assert for_older(kept) == kept
