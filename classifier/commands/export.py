"""Trained models in other formats: each file is opened by its own runtime and compared with Keras.

Imports of Keras and of runtimes come late: what is missing is told in under a second.
"""

import json
import tempfile
import zipfile
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier.base.errors import UserError
from classifier.base.files import ZIP_TIME, write_json
from classifier.base.quiet import stderr_silenced
from classifier.base.splits import read_split
from classifier.commands.predict import CALIBRATION, MODELS, model_path
from classifier.evaluation.calibration_file import read_calibration

FOLDER = Path("exports")
MOST = 1e-3  # by which a probability may differ from Keras's
COMPARED = 32  # test pictures
# Not known to Keras 3.10 and older, with the defaults that newer ones fill in again.
NEWER = {
    "input_axes": None,
    "output_axes": None,
    "quantization_config": None,
    "renorm": False,
    "renorm_clipping": None,
    "renorm_momentum": 0.99,
}

Metadata = dict[str, Any]
Model = Any  # keras.Model
Outputs = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class Format:
    """A way to keep a model."""

    suffix: str  # of the file; "" for a folder
    write: Callable[[Model, Path, Metadata], None]  # the model and its metadata, to a path
    # From that path and Keras's model to a function from pictures to the outputs of what was
    # written; the model is for formats that hold a part of it.
    opened: Callable[[Path, Model], Outputs]
    needs: tuple[str, ...] = ()  # modules beyond requirements.txt


def run(options: Namespace) -> None:
    """Write a model of data/models in another format.

    Raises:
        UserError: no such model or format, a runtime is missing, or what was written computes
            something else; then no file is left.
    """
    name, out = options.name, options.out
    if options.to not in FORMATS:
        raise UserError(f"--to is {options.to!r}, allowed: {', '.join(FORMATS)}")
    kind = FORMATS[options.to]
    out = out or FOLDER / f"{name}{kind.suffix or f'_{options.to}'}"
    check_possible(options.to, kind, out)
    path = model_path(name)
    calibrated = asdict(read_calibration(CALIBRATION, path))
    del calibrated["precision"]  # of this machine; what is written computes in float32
    test = read_split("test")
    images = np.asarray(test.images[:: max(1, len(test) // COMPARED)][:COMPARED])
    with stderr_silenced():
        from classifier.evaluation.inference import class_scores, scores
        from classifier.training.saving import load_model

        model, metadata = load_model(path)
        if images.shape[1:] != model.input_shape[1:]:
            raise UserError(f"{path} is of other pictures than data/splits: dvc repro")
        expected = scores(model, images)  # before writing: Keras exports what has been called once
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
            beside = Path(folder) / out.name
            kind.write(model, beside, metadata | calibrated)
            found = class_scores(kind.opened(beside, model)(images))
            difference = float(np.abs(found - expected).max())
            if not difference <= MOST:  # NaN is not either
                raise UserError(
                    f"{options.to}: scores differ from Keras's by up to {difference:.1e} on "
                    f"{len(images)} test pictures, allowed: {MOST:g}; {out} is not written"
                )
            beside.replace(out)
    print(f"{out}: within {difference:.1e} of Keras's scores on {len(images)} test pictures")
    if calibrated["flip"]:
        print("average its outputs over each picture and its mirror image, as evaluate.flip does")


def check_possible(name: str, kind: Format, out: Path) -> None:
    """Refuse what would fail after a minute's work."""
    missing = [module for module in kind.needs if find_spec(module) is None]
    if missing:
        raise UserError(
            f"{name} needs {', '.join(missing)}: pip install -r requirements-export.txt"
        )
    if not out.name.endswith(kind.suffix):
        raise UserError(f"--out is {str(out)!r}, must end in {kind.suffix}")
    if out.is_dir() or (out.exists() and not kind.suffix):  # a folder is written then
        raise UserError(f"--out is {str(out)!r}, which is there: delete it or name another")
    if out.resolve().is_relative_to(MODELS.resolve()):
        raise UserError(f"--out is {str(out)!r}, where the stages keep their models: name another")


def _outputs_of(model: Model) -> Outputs:
    return lambda images: model.predict(images, verbose=0)


def for_older(config: str | bytes) -> str:
    """Leave out of a Keras configuration what only newer versions know, where it says nothing."""

    def known(node: dict[str, Any]) -> dict[str, Any]:
        if str(node.get("module")).startswith("keras.src.ops"):
            node["config"].pop("name", None)  # operations had none; that of the node is what counts
        return {key: node[key] for key in node if key not in NEWER or node[key] != NEWER[key]}

    return json.dumps(json.loads(config, object_hook=known))


def _write_keras(model: Model, path: Path, metadata: Metadata) -> None:
    from classifier.training.saving import save_model

    newest = path.with_name(f"newest{path.name}")
    save_model(newest, model, metadata)
    with zipfile.ZipFile(newest) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content: str | bytes = old.read(name)
            if name == "config.json":
                content = for_older(content)
            new.writestr(zipfile.ZipInfo(name, ZIP_TIME), content)


def _open_keras(path: Path, _: Model) -> Outputs:
    import keras

    return _outputs_of(keras.saving.load_model(path, compile=False))


def _write_weights(model: Model, path: Path, metadata: Metadata) -> None:
    model.save_weights(path)
    _add_attributes(path, metadata)


def _open_weights(path: Path, model: Model) -> Outputs:
    import keras

    fresh = keras.models.clone_model(model)
    fresh.load_weights(path)
    return _outputs_of(fresh)


def _write_architecture(model: Model, path: Path, metadata: Metadata) -> None:
    write_json(path, json.loads(for_older(model.to_json())) | {"metadata": metadata})


def _open_architecture(path: Path, model: Model) -> Outputs:
    import keras

    fresh = keras.models.model_from_json(path.read_text(encoding="utf-8"))
    fresh.set_weights(model.get_weights())
    return _outputs_of(fresh)


def _write_h5(model: Model, path: Path, metadata: Metadata) -> None:
    in_layers(model).save(path)
    _add_attributes(path, metadata)


def in_layers(model: Model) -> Model:
    """Copy a network as layers alone: HDF5 keeps no operations, such as the flip of VGG16's.

    Preprocessing that is a model of its own, and treats every pixel alike, becomes a convolution of
    1×1: what black turns into is its bias, what full red, green and blue add to that its kernel.
    """
    import keras

    preprocessing, *others = model.layers
    if not isinstance(preprocessing, keras.Model):
        return model
    colours = np.zeros((4, *model.input_shape[1:]), np.uint8)
    colours[1:] = 255 * np.eye(3, dtype=np.uint8)[:, np.newaxis, np.newaxis]
    black, *full = preprocessing.predict(colours, verbose=0)[:, 0, 0]
    convolution = keras.layers.Conv2D(3, 1, name=preprocessing.name)
    images = keras.Input(model.input_shape[1:], dtype="uint8")
    plain = keras.Sequential([images, keras.layers.Rescaling(1.0), convolution, *others])
    convolution.set_weights([(np.stack(full) - black)[np.newaxis, np.newaxis] / 255, black])
    return plain


def _add_attributes(path: Path, metadata: Metadata) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        file.attrs["metadata"] = json.dumps(metadata, ensure_ascii=False)


def _write_saved_model(model: Model, path: Path, metadata: Metadata) -> None:
    model.export(path, format="tf_saved_model", verbose=False)
    # Where the format keeps what is the user's.
    write_json(path / "assets.extra/metadata.json", metadata)


def _open_saved_model(path: Path, _: Model) -> Outputs:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda images: loaded.serve(images).numpy()


def _write_onnx(model: Model, path: Path, metadata: Metadata) -> None:
    import onnx

    model.export(path, format="onnx", verbose=False)
    written = onnx.load(path)
    onnx.helper.set_model_props(
        written, {key: json.dumps(metadata[key], ensure_ascii=False) for key in metadata}
    )
    onnx.save(written, path)


def _open_onnx(path: Path, _: Model) -> Outputs:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {session.get_inputs()[0].name: images})[0]


def _write_litert(model: Model, path: Path, metadata: Metadata) -> None:
    model.export(path, format="litert", verbose=False)
    # LiteRT's own place for files that go with a model: a zip archive behind it.
    with zipfile.ZipFile(path, "a") as archive:
        text = json.dumps(metadata, indent=2, ensure_ascii=False)
        archive.writestr(zipfile.ZipInfo("metadata.json", ZIP_TIME), text)


def _open_litert(path: Path, _: Model) -> Outputs:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    [given], [found] = interpreter.get_input_details(), interpreter.get_output_details()

    def outputs(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        interpreter.resize_tensor_input(given["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], images)
        interpreter.invoke()
        return np.array(interpreter.get_tensor(found["index"]))

    return outputs


FORMATS = {
    "keras": Format(".keras", _write_keras, _open_keras),
    "weights": Format(".weights.h5", _write_weights, _open_weights),
    "architecture": Format(".json", _write_architecture, _open_architecture),
    "saved_model": Format("", _write_saved_model, _open_saved_model),
    "onnx": Format(".onnx", _write_onnx, _open_onnx, ("onnx", "onnxruntime", "tf2onnx")),
    "litert": Format(".tflite", _write_litert, _open_litert, ("ai_edge_litert",)),
    "h5": Format(".h5", _write_h5, _open_keras),
}
