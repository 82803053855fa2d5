"""The catalogue's own files, and what a mistake in one says."""

from pathlib import Path

import pytest

from classifier.base.errors import UserError
from classifier.sources.catalog import Drawn, load_dataset, load_weights

CATALOG = Path(__file__).parents[2] / "data" / "catalog"
DATASETS = sorted(
    path for path in CATALOG.glob("*.yaml") if path.stem not in ("imagenet", "weights")
)
IMAGENET, WEIGHTS = CATALOG / "imagenet.yaml", CATALOG / "weights.yaml"

GOOD = """\
name: mine
description: My pictures.
file:
  name: mine.zip
  urls:
    - https://example.org/mine.zip
  bytes: 1000
  sha256: "{sha256}"
terms: Mine.
citation: None.
""".format(sha256="0" * 64)


def written(folder: Path, content: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(content, encoding="utf-8")
    return path


def complaint(path: Path) -> str:
    """What `load_dataset` says of a file, which is to be one line that names the file."""
    with pytest.raises(UserError) as caught:
        load_dataset(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


def test_the_catalogue_is_complete():
    assert [path.stem for path in DATASETS] == [
        "cats_and_dogs_filtered",
        "dogs_vs_cats",
        "dogs_vs_cats_2500",
        "flower_photos",
        "sample",
        "sign_language_digits",
    ]


@pytest.mark.parametrize("path", DATASETS, ids=lambda path: path.stem)
def test_each_data_set_is_named_after_its_file_and_can_be_had(path):
    dataset = load_dataset(path)
    assert dataset.name == path.stem
    if dataset.file is not None:
        # Without a URL only a mirror has it, and then only a sum tells whether it is the right one.
        assert dataset.file.urls or dataset.file.sha256


def test_the_catalogue_gives_what_is_known_of_each_file():
    sizes = {
        "cats_and_dogs_filtered": 68_606_236,
        "dogs_vs_cats": None,
        "dogs_vs_cats_2500": 40_488_096,
        "flower_photos": 228_813_984,
        "sign_language_digits": None,
    }
    files = {path.stem: load_dataset(path).file for path in DATASETS}
    assert {name: file.bytes for name, file in files.items() if file} == sizes
    sums = {name: file.sha256[:8] for name, file in files.items() if file and file.sha256}
    assert sums == {"dogs_vs_cats_2500": "755b22fb", "flower_photos": "4c54ace7"}


def test_sample_is_drawn():
    assert load_dataset(CATALOG / "sample.yaml").drawn == Drawn(per_class=300, size=128, seed=0)


@pytest.mark.parametrize(
    ("catalogue", "name", "size", "md5"),
    [
        (WEIGHTS, "imagenet", 58_889_256, "6d6bbae143d832006294945121d1f1fc"),
        (WEIGHTS, "imagenet_classifier", 553_467_096, "64373286793e3c8b2b4e3219cbf3544b"),
        (IMAGENET, "classes", 35_363, "c2c37ea517e94d9795004a39431a14cb"),
    ],
)
def test_weights_and_class_names_are_found_by_name(catalogue, name, size, md5):
    file = load_weights(catalogue, name).file
    assert (file.bytes, file.md5) == (size, md5)
    # Keras's own cache has the same names, so that its folder can serve as a mirror.
    assert file.urls[0].rsplit("/", 1)[1] == file.name


def test_unknown_weights_name_the_nearest():
    with pytest.raises(UserError, match=r"did you mean imagenet\?"):
        load_weights(WEIGHTS, "imagent")
    with pytest.raises(UserError, match="known are imagenet, imagenet_classifier"):
        load_weights(WEIGHTS, "xyz")


def test_a_mistake_in_the_weights_file_names_the_entry(tmp_path):
    path = written(tmp_path, "imagenet: {file: {name: a.h5, urls: []}, term: x, citation: y}\n")
    with pytest.raises(UserError, match=r": imagenet\.term: unknown key; did you mean terms\?"):
        load_weights(path, "imagenet")
    path = written(tmp_path, "imagenet: {file: {name: a.h5, url: []}, terms: x, citation: y}\n")
    with pytest.raises(UserError, match=r": imagenet\.file\.url: unknown key; did you mean urls\?"):
        load_weights(path, "imagenet")


def test_a_file_of_a_few_lines_is_enough(tmp_path):
    dataset = load_dataset(written(tmp_path, GOOD))
    assert dataset.file is not None
    assert dataset.file.urls == ["https://example.org/mine.zip"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("terms: Mine.\n", "", ": terms is missing"),
        ("terms:", "terms: Mine.\nlicence:", ": licence: unknown key; known are name, desc"),
        ("  bytes:", "  md5sum: x\n  bytes:", ": file.md5sum: unknown key; did you mean md5?"),
        ("bytes: 1000", "bytes: '1000'", ": file.bytes is '1000', allowed: a valid integer"),
        ("bytes: 1000", "bytes: 1e3", ": file.bytes is 1000.0, allowed: a valid integer"),
        ("bytes: 1000", "bytes: 0", ": file.bytes is 0, allowed: greater than 0"),
        ('"0000', '"XYZ0', "allowed: match pattern '^[0-9a-f]{64}$'"),
        ("https://example", "ftp://example", ": file.urls.0 is 'ftp://"),
        ("https://example.org/mine.zip", "file:///etc/passwd", "http:// or https:// address"),
        ("https://example.org/mine.zip", "https:///mine.zip", "http:// or https:// address"),
        ("https://example.org/mine.zip", "http://[", "http:// or https:// address"),
        ("name: mine.zip", "name: ../mine.zip", ": file.name is '../mine.zip', allowed: a file"),
        ("name: mine.zip", "name: /mine.zip", "allowed: a file name without folders"),
        ("name: mine.zip", "name: ..", "allowed: a file name without folders"),
        ("name: mine.zip", 'name: "a\\0b"', "allowed: a file name without folders"),
        ("name: mine\n", "name: ''\n", ": name is ''"),
        ("terms:", "drawn: {per_class: 1, size: 32, seed: 0}\nterms:", ": one of file and drawn"),
        ("name: mine\n", "name: mine\nname: yours\n", "duplicate key"),
        ("name: mine\n", "name: [mine\n", "line 2"),
    ],
)
def test_a_mistake_is_named_with_its_key_value_and_what_is_allowed(tmp_path, old, new, says):
    assert old in GOOD
    assert says in complaint(written(tmp_path, GOOD.replace(old, new, 1)))


def test_a_data_set_is_either_downloaded_or_drawn(tmp_path):
    content = "name: a\ndescription: b\nterms: c\ncitation: d\n"
    assert complaint(written(tmp_path, content)).startswith(": one of file and drawn")


@pytest.mark.parametrize("content", ["", "- a\n", "just words\n"])
def test_what_is_no_mapping_is_refused(tmp_path, content):
    assert "allowed: a mapping" in complaint(written(tmp_path, content))


def test_what_cannot_be_read_is_refused(tmp_path):
    assert complaint(tmp_path / "none.yaml") == ": cannot be read: No such file or directory"
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"name: \xff\xfe")
    assert complaint(path) == ": not UTF-8 text at byte 6"


def test_yaml_builds_no_objects(tmp_path):
    path = written(tmp_path, "name: !!python/object/apply:os.getcwd []\n")
    assert "line 1" in complaint(path)
