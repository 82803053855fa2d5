"""ImageNet's networks as they are: what each sees, and the names of what it finds."""

import csv
import io
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from classifier.__main__ import main
from classifier.base.errors import UserError
from tests.commands.test_predict import change
from tests.projects import ROOT

MOBILENET, VGG16 = "mobilenet_1_0_224_tf.h5", "vgg16_weights_tf_dim_ordering_tf_kernels.h5"
NAMES = [f"thing_{number}" for number in range(1000)]


def stand_in(weights: None = None, classes: int = 1000) -> keras.Model:
    """A network from the means of what it is given, of the three channels, to the classes 0 to 5.

    Their logits are the means as they are, then with the sign turned.
    """
    images = keras.Input((224, 224, 3))
    means = keras.layers.GlobalAveragePooling2D()(images)
    outputs = keras.layers.Dense(classes, activation="softmax")(means)
    model = keras.Model(images, outputs)
    kernel = np.zeros((3, classes), np.float32)
    kernel[:, :3], kernel[:, 3:6] = np.eye(3), -np.eye(3)
    bias = np.full(classes, -1000, np.float32)
    bias[:6] = 0
    model.layers[-1].set_weights([kernel, bias])
    return model


@pytest.fixture(autouse=True)
def mirror(tmp_path, monkeypatch) -> Path:
    """A folder with the class names and both networks' weights, in Keras's old format."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("DATA_MIRROR", "mirror")
    for name in ("MobileNet", "VGG16"):
        monkeypatch.setattr(keras.applications, name, stand_in)
    Path("params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    shutil.copytree(ROOT / "data/catalog", "data/catalog")
    folder = tmp_path / "mirror"
    folder.mkdir()
    index = {str(number): [f"n{number:08}", name] for number, name in enumerate(NAMES)}
    (folder / "imagenet_class_index.json").write_text(json.dumps(index))
    for name in (MOBILENET, VGG16):
        stand_in().save(folder / name)
    Image.fromarray(np.full((90, 120, 3), (255, 140, 50), np.uint8)).save("one.png")
    return folder


def softmax(logits) -> np.ndarray:
    exponentials = np.exp(np.array(logits, np.float64))
    return exponentials / exponentials.sum()


@pytest.mark.parametrize(
    ("network", "means"),
    [
        ("mobilenet", [1.0, 140 / 127.5 - 1, 50 / 127.5 - 1]),
        # Blue, green, red, less their means in ImageNet.
        ("vgg16", [50 - 103.939, 140 - 116.779, 255 - 123.68]),
    ],
)
def test_each_network_sees_pixels_in_its_own_range_and_five_classes_are_named(
    network, means, capsys
):
    main(["predict", "one.png", "--model", f"imagenet:{network}", "--json"])
    [found] = json.loads(capsys.readouterr().out)
    expected = softmax([*means, *(-mean for mean in means)])
    order = np.argsort(-expected, kind="stable")[:5]
    named = [(found["class"], found["confidence"])]
    named += [(other["class"], other["confidence"]) for other in found["runners_up"]]
    # Where nothing is left of the scores in float32, the order says nothing.
    sure = [number for number in order if expected[number] > 1e-6]
    assert [name for name, _ in named][: len(sure)] == [f"thing {number}" for number in sure]
    assert len(named) == 5
    # A mean of 224² equal floats is off by a share of 224² / 2²⁴ at most: by 0.003 of MobileNet's
    # range, and in VGG16's the first class stands alone.
    assert [share for _, share in named] == pytest.approx(expected[order], abs=0.003)


def test_a_table_for_programs_has_a_column_for_each_of_the_five(capsys):
    main(["predict", "one.png", "--model", "imagenet:mobilenet", "--csv"])
    [row] = csv.DictReader(io.StringIO(capsys.readouterr().out))
    places = ("class", "second", "third", "fourth", "fifth")
    assert [row[place] for place in places] == [f"thing {number}" for number in (0, 5, 1, 4, 2)]
    assert float(row["fifth_confidence"]) > 0


def test_the_size_of_the_pictures_is_not_the_pipelines(capsys):
    change("image_size", "96")
    main(["predict", "one.png", "--model", "imagenet:mobilenet"])
    assert "thing 0" in capsys.readouterr().out


def test_16_bit_grey_is_read_before_the_pipeline_has_run(capsys):
    Image.fromarray(np.full((90, 90), 60000, np.uint16)).save("deep.png")
    main(["predict", "deep.png", "--model", "imagenet:mobilenet"])
    assert "deep.png" in capsys.readouterr().out


def test_another_network_and_a_missing_file_are_told_in_one_line(mirror):
    with pytest.raises(UserError, match="allowed: imagenet:mobilenet or imagenet:vgg16"):
        main(["predict", "one.png", "--model", "imagenet:resnet"])
    for name in ("imagenet_class_index.json", VGG16):
        (mirror / name).rename(mirror / "away")
        for path in ("imagenet.yaml", "weights.yaml"):
            catalogue = Path("data/catalog", path)
            text = catalogue.read_text(encoding="utf-8")
            catalogue.write_text(
                text.replace("https://storage.googleapis.com", "http://127.0.0.1:9")
            )
        with pytest.raises(UserError, match=f"cannot fetch {name}: .*DATA_MIRROR") as told:
            main(["predict", "one.png", "--model", "imagenet:vgg16"])
        assert "\n" not in str(told.value)
        (mirror / "away").rename(mirror / name)


@pytest.mark.parametrize("content", ["no JSON", "[]", '{"0": ["n0", "thing"]}', '{"0": [1]}'])
def test_what_is_no_class_index_is_told(mirror, content):
    (mirror / "imagenet_class_index.json").write_text(content)
    with pytest.raises(UserError, match="does not list ImageNet's thousand classes"):
        main(["predict", "one.png", "--model", "imagenet:vgg16"])


def test_weights_of_another_network_are_told(mirror):
    stand_in(classes=10).save(mirror / VGG16)
    with pytest.raises(UserError, match=r"not hold .*VGG16's weights of a thousand classes"):
        main(["predict", "one.png", "--model", "imagenet:vgg16"])
