"""A model's file depends on the model alone, and opens with Keras alone."""

import json
import re
import zipfile
from functools import partial

import keras
import numpy as np
import pytest

from classifier.base.errors import UserError
from classifier.evaluation.inference import class_scores, scores
from classifier.networks.cnn5 import cnn5
from classifier.training.fused import fused
from classifier.training.saving import in_float32, load_model, save_model
from classifier.transfer.vgg16 import vgg16_preprocessing
from tests.rounding import assert_same_but_for_rounding, rounding

pytestmark = pytest.mark.numeric

CLASSES = {"classes": ["cats", "dögs"]}


def pictures(n=3, size=78):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return cnn5(78, 2, dropout=0.5)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "a.keras"
    save_model(path, model, CLASSES)
    return path


def test_two_saves_are_the_same_bytes(model, saved, tmp_path):
    save_model(tmp_path / "b.keras", model, CLASSES)
    assert (tmp_path / "b.keras").read_bytes() == saved.read_bytes()


def test_no_time_is_in_the_file(saved):
    with zipfile.ZipFile(saved) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist() == ["config.json", "metadata.json", "model.weights.h5"]
        assert json.loads(archive.read("metadata.json")) == {
            "keras_version": keras.version(),
            **CLASSES,
        }


def test_the_same_model_built_anew_is_the_same_bytes(tmp_path):
    built = []
    for name in ("a.keras", "b.keras"):
        keras.utils.clear_session()
        keras.config.set_dtype_policy("float32")
        keras.utils.set_random_seed(1)
        built.append(cnn5(78, 2, dropout=0.5))
        save_model(tmp_path / name, built[-1], CLASSES)
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    np.testing.assert_array_equal(
        keras.saving.load_model(tmp_path / "a.keras")(pictures()), built[0](pictures())
    )


def test_no_address_of_an_object_in_memory_is_in_the_file(saved):
    with zipfile.ZipFile(saved) as archive:
        config = archive.read("config.json").decode()
    numbers = [int(number) for number in re.findall(r'"shared_object_id": (\d+)', config)]
    assert numbers, "Keras has another way to tell shared objects"
    assert max(numbers) <= len(numbers)


def test_other_weights_are_other_bytes(model, saved, tmp_path):
    other = keras.models.clone_model(model)
    other.set_weights([weights + 1e-6 for weights in model.get_weights()])
    save_model(tmp_path / "b.keras", other, CLASSES)
    assert (tmp_path / "b.keras").read_bytes() != saved.read_bytes()


def test_it_comes_back_with_its_class_names(model, saved):
    loaded, metadata = load_model(saved)
    assert metadata["classes"] == ["cats", "dögs"]
    np.testing.assert_array_equal(scores(loaded, pictures()), scores(model, pictures()))


def test_plain_keras_opens_it(model, saved):
    loaded = keras.saving.load_model(saved)
    np.testing.assert_array_equal(loaded(pictures()), model(pictures()))


def modules(config) -> set[str]:
    if isinstance(config, list):
        return set().union(*map(modules, config))
    if not isinstance(config, dict):
        return set()
    inner = set().union(*map(modules, config.values())) if config else set()
    return inner | ({config["module"]} if config.get("module") else set())


@pytest.mark.parametrize("kind", ["cnn5", "preprocessing"])
def test_nothing_of_this_package_is_needed_to_open_it(tmp_path, kind):
    network = cnn5(78, 2, 0.5) if kind == "cnn5" else vgg16_preprocessing(32)
    save_model(tmp_path / "a.keras", network, CLASSES)
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        config = archive.read("config.json").decode()
    assert {name.partition(".")[0] for name in modules(json.loads(config))} <= {"keras", "builtins"}
    assert "classifier" not in config


@pytest.mark.parametrize("content", [None, b"", b"no model", "other archive", "other class"])
def test_what_is_no_model_is_told_in_one_line(tmp_path, content):
    path = tmp_path / "a.keras"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        with zipfile.ZipFile(path, "w") as archive:
            if content == "other class":
                unknown = {"module": "nowhere", "class_name": "Net", "config": {}}
                archive.writestr("metadata.json", '{"keras_version": "3.0.0"}')
                archive.writestr("config.json", json.dumps(unknown))
                archive.writestr("model.weights.h5", b"")
            else:
                archive.writestr("a.txt", "hello")
    with pytest.raises(UserError) as error:
        load_model(path)
    message = str(error.value)
    assert message.splitlines() == [message]
    assert message.startswith(f"{path} can't be loaded as a model: ")


def test_a_failed_save_leaves_the_old_model(model, tmp_path):
    save_model(tmp_path / "a.keras", model, CLASSES)
    before = (tmp_path / "a.keras").read_bytes()
    with pytest.raises(TypeError):
        save_model(tmp_path / "a.keras", model, {"classes": {1, 2}})
    assert (tmp_path / "a.keras").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_the_float32_twin_has_the_same_weights_and_precision_stays_as_it_was():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        fast = cnn5(78, 2)
        plain = in_float32(fast, partial(cnn5, 78, 2))
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
    assert {layer.compute_dtype for layer in plain.layers} == {"float32"}
    for one, other in zip(plain.get_weights(), fast.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_plain_twin_of_a_fast_network_computes_the_same():
    fast = fused(cnn5(78, 2))
    plain = in_float32(fast, partial(cnn5, 78, 2))
    allowed = rounding(9 * 256, sums=6)
    assert_same_but_for_rounding(scores(plain, pictures()), scores(fast, pictures()), allowed)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_scores_are_probabilities_of_every_class(classes):
    network = cnn5(78, classes)
    found = scores(network, pictures(5))
    assert found.dtype == np.float64
    assert found.shape == (5, classes)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    outputs = np.asarray(network(pictures(5)))
    assert_same_but_for_rounding(found[:, -1], outputs[:, -1], rounding(9 * 256, sums=6))


def test_one_unit_is_the_probability_of_class_1():
    outputs = np.array([[0.25], [1.0], [0.0]], np.float32)
    least = 2.0**-24
    wanted = [[0.75, 0.25], [least, 1 - least], [1 - least, least]]
    np.testing.assert_array_equal(class_scores(outputs), wanted)


def test_which_class_is_the_second_does_not_matter_where_the_unit_is_saturated():
    logits = np.array([-40, -25, -2, 2, 25, 40], np.float32)[:, None]
    found, mirrored = (class_scores(1 / (1 + np.exp(-one))) for one in (logits, -logits))
    np.testing.assert_allclose(np.log(found), np.log(mirrored[:, ::-1]), atol=1e-6)


def test_rounded_softmax_outputs_are_made_to_add_up():
    outputs = np.array([[0.333, 0.333, 0.333]], np.float32)
    np.testing.assert_allclose(class_scores(outputs), 1 / 3, rtol=1e-12)
