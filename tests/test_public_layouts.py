"""Layouts of public data sets, from the folder to the splits: read rightly, or refused in words.

Names and structure are theirs, the pictures are drawn.
"""

import csv
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from classifier.base.errors import UserError
from stages import download, split
from tests.noise import png
from tests.projects import ROOT

Counts = dict[tuple[str, str], int]


class Layout:
    """A data set's name, its pictures and tables, and what is to become of them."""

    def __init__(
        self,
        title: str,
        pictures: list[str],
        *,
        read: Counts | None = None,
        refused: str = "",
        notes: tuple[str, ...] = (),
        classes: str = "",
        tables: Mapping[str, str] | None = None,
    ) -> None:
        self.title, self.pictures, self.notes, self.classes = title, pictures, notes, classes
        self.read, self.refused = read, refused
        self.tables = dict(tables or {})

    def __str__(self) -> str:
        return self.title


def files(*folders: str, ending: str = ".png", count: int = 4) -> list[str]:
    return [f"{folder}/{number}{ending}" for folder in folders for number in range(count)]


def rows(header: str, pattern: str, values: list[str], first: int = 0) -> str:
    """A table with a row a value: N and VALUE stand in the pattern for its number and itself."""
    lines = [
        pattern.replace("N", str(number)).replace("VALUE", value)
        for number, value in enumerate(values, first)
    ]
    return "\n".join([header, *lines, ""])


def both(first: str, second: str, *parts: str, count: int = 4) -> Counts:
    return {(label, part): count for label in (first, second) for part in parts}


TWO = ["boxer", "collie"] * 4
ONE_OR_TWO = ["1", "2"] * 4

DAY_ONE = [
    Layout(
        "Udemy's cats and dogs",
        files(
            *(f"training_set/training_set/{label}" for label in ("cats", "dogs")),
            *(f"test_set/test_set/{label}" for label in ("cats", "dogs")),
            "single_prediction",
        ),
        read=both("cats", "dogs", "train", "test"),
        notes=("single_prediction/ counts as unlabelled",),
    ),
    Layout(
        "Intel's scenes",
        files(
            *(f"seg_train/seg_train/{label}" for label in ("sea", "street")),
            *(f"seg_test/seg_test/{label}" for label in ("sea", "street")),
            "seg_pred/seg_pred",
        ),
        read=both("sea", "street", "train", "test"),
        notes=("seg_pred/ counts as unlabelled",),
    ),
    Layout(
        "traffic signs, without their tables",
        files("Train/0", "Train/1", "Test", "Meta"),
        read=both("0", "1", ""),
        notes=("Test/ counts as unlabelled", "Meta/ counts as no part"),
    ),
    Layout(
        "traffic signs",
        [*files("Train/0", "Train/1", "Meta"), *files("Test", count=8)],
        read=both("0", "1", "train", "test"),
        notes=("Meta.csv counts as no part",),
        tables={
            "Train.csv": rows("Width,ClassId,Path", "9,0,Train/0/N.png", [""] * 4)
            + rows("", "9,1,Train/1/N.png", [""] * 4),
            "Test.csv": rows("Width,ClassId,Path", "9,VALUE,Test/N.png", ["0", "1"] * 4),
            "Meta.csv": rows("Path,ClassId", "Meta/N.png,VALUE", ["0", "1"]),
        },
    ),
    Layout(
        "dog breeds",
        [*files("train", count=8), "test/9.png"],
        read=both("boxer", "collie", ""),
        tables={
            "labels.csv": rows("id,breed", "N,VALUE", TWO),
            "sample_submission.csv": "id,boxer,collie\n9,0.5,0.5\n",
        },
    ),
    Layout(
        "cassava",
        files("train_images", count=8) + files("test_images"),
        read=both("1", "2", ""),
        tables={
            "train.csv": rows("image_id,label", "N.png,VALUE", ONE_OR_TWO),
            "sample_submission.csv": "image_id,label\n3.png,4\n",
        },
    ),
    Layout(
        "blindness",
        files("train_images", count=8) + files("test_images"),
        read=both("1", "2", ""),
        tables={
            "train.csv": rows("id_code,diagnosis", "N,VALUE", ONE_OR_TWO),
            "test.csv": "id_code\n1\n",
            "sample_submission.csv": "id_code,diagnosis\n1,0\n",
        },
    ),
    Layout(
        "a folder for Hugging Face",
        files("train", "test", count=8),
        read=both("boxer", "collie", "train", "test"),
        tables={
            "train/metadata.csv": rows("file_name,label", "N.png,VALUE", TWO),
            "test/metadata.csv": rows("file_name,label", "N.png,VALUE", TWO),
        },
    ),
    Layout(
        "Roboflow's export",
        files("train", "valid", "test", count=8),
        read=both("cat", "dog", "train", "validation", "test"),
        tables={
            **{
                f"{part}/_classes.csv": rows(
                    "filename, cat, dog", "N.png,VALUE", ["0,1", "1,0"] * 4
                )
                for part in ("train", "valid", "test")
            },
        },
    ),
    Layout(
        "Oxford's pets",
        ["images/Abyssinian_1.jpg", "images/beagle_1.jpg", "annotations/trimaps/beagle_1.png"],
        refused="annotations/ and images/ are no classes",
    ),
    Layout(
        "Oxford's pets, the images alone",
        [f"{name}_{n}.png" for name in ("Abyssinian", "great_pyrenees") for n in range(4)],
        read=both("Abyssinian", "great_pyrenees", ""),
    ),
    Layout(
        "brain tumours",
        files("yes", "no", "brain_tumor_dataset/yes", "brain_tumor_dataset/no"),
        refused="let data.source name brain_tumor_dataset/ alone",
    ),
    Layout(
        "skin lesions, without their table",
        files("HAM10000_images_part_1", "HAM10000_images_part_2"),
        refused="HAM10000_images_part_1/ and HAM10000_images_part_2/ are named as pieces",
    ),
    Layout(
        "skin lesions",
        [f"HAM10000_images_part_{1 + n % 2}/ISIC_{n}.png" for n in range(8)],
        read=both("nv", "mel", ""),
        tables={
            "HAM10000_metadata.csv": rows(
                "lesion_id,image_id,dx,age", "N,ISIC_N,VALUE,50", ["nv", "mel"] * 4
            ),
        },
    ),
    Layout(
        "PlantVillage",
        files(*(f"{kind}/{leaf}" for kind in ("color", "grayscale") for leaf in ("apple", "corn"))),
        refused="color/ and grayscale/ hold folders of the same names, apple and corn",
    ),
    Layout(
        "PlantVillage, its coloured half",
        files(*(f"{kind}/{leaf}" for kind in ("color", "grayscale") for leaf in ("apple", "corn"))),
        classes="color/*",
        read=both("apple", "corn", ""),
    ),
    Layout(
        "masks beside images",
        files("images/a", "images/b", "masks/a", "masks/b"),
        refused="images/ and masks/ are no classes",
    ),
    Layout(
        "a table with columns that nobody knows",
        files("train", "test"),
        refused="labels.csv has the columns picture, sort; a table of labels has one of path, ",
        tables={
            "labels.csv": rows("picture,sort", "N.png,VALUE", TWO),
        },
    ),
]
NEIGHBOURS = [
    Layout(
        "chest X-rays, packed twice",
        files(
            *(
                f"{copy}{part}/{label}"
                for copy in ("", "chest_xray/")
                for part in ("train", "val", "test")
                for label in ("NORMAL", "PNEUMONIA")
            )
        ),
        read=both("NORMAL", "PNEUMONIA", "train", "validation", "test"),
        notes=("chest_xray/ counts as no part",),
    ),
    Layout(
        "malaria cells, packed twice",
        files("Parasitized", "Uninfected", "cell_images/Parasitized", "cell_images/Uninfected"),
        refused="let data.source name cell_images/ alone",
    ),
    Layout(
        "American Sign Language",
        [
            *files(*(f"asl_alphabet_train/asl_alphabet_train/{letter}" for letter in "AB")),
            "asl_alphabet_test/asl_alphabet_test/A_test.png",
        ],
        read=both("A", "B", ""),
        notes=("asl_alphabet_test/ counts as unlabelled",),
    ),
    Layout(
        "Tiny ImageNet",
        files("train/n1/images", "train/n2/images", "val/images", "test/images"),
        read=both("n1", "n2", ""),
        notes=("val/ counts as unlabelled", "test/ counts as unlabelled"),
    ),
    Layout(
        "Caltech's birds with their outlines",
        files(*(f"{kind}/00{n}.bird" for kind in ("images", "segmentations") for n in (1, 2))),
        refused="images/ and segmentations/ are no classes",
    ),
    Layout(
        "Plant Pathology, a column per class",
        files("images", count=8),
        read=both("healthy", "rust", ""),
        tables={
            "train.csv": rows("image_id,healthy,rust", "N,VALUE", ["0,1", "1,0"] * 4),
            "test.csv": "image_id\n9\n",
            "sample_submission.csv": "image_id,healthy,rust\n9,0.25,0.25\n",
        },
    ),
    Layout(
        "CIFAR-10 as Kaggle has it",
        files("train", "test", count=8),
        read=both("frog", "truck", ""),
        tables={
            "trainLabels.csv": rows("id,label", "N,VALUE", ["frog", "truck"] * 4),
            "sampleSubmission.csv": "id,label\n1,cat\n",
        },
    ),
    Layout(
        "EuroSAT, a table per part",
        files("Forest", "River", count=8),
        read=both("1", "2", "train", "test"),
        tables={
            **{
                f"{part}.csv": rows(
                    ",Filename,Label,ClassName", "N,Forest/N.png,1,Forest", [""] * 4, first
                )
                + rows("", "N,River/N.png,2,River", [""] * 4, first)
                for part, first in (("train", 0), ("test", 4))
            },
        },
    ),
    Layout(
        "chest X-rays with several findings each",
        files("images_001/images", "images_002/images"),
        refused="Data_Entry_2017.csv has the columns Image Index, Finding Labels; a table of",
        tables={
            "Data_Entry_2017.csv": rows("Image Index,Finding Labels", "N.png,Hernia|Mass", TWO),
        },
    ),
    Layout(
        "fashion products",
        files("images", count=8),
        refused="styles.csv has the columns id, gender, articleType; a table of labels",
        tables={
            "styles.csv": rows("id,gender,articleType", "N,Men,VALUE", TWO),
        },
    ),
    Layout(
        "defects, a folder of parts per product",
        files(
            *(f"{product}/train/good" for product in ("bottle", "cable")),
            *(f"{product}/test/broken" for product in ("bottle", "cable")),
        ),
        refused="bottle/ holds test and train, which are parts: let data.source name bottle/ alone",
    ),
    Layout(
        "fruits, with several on one picture apart",
        files("Training/Apple", "Training/Pear", "Test/Apple", "Test/Pear", "test-multiple_fruits"),
        read=both("Apple", "Pear", "train", "test"),
        notes=("test-multiple_fruits/ counts as no part",),
    ),
    Layout(
        "faces with and without a mask",
        files("with_mask", "without_mask"),
        read=both("with_mask", "without_mask", ""),
    ),
    Layout(
        "parts inside of the classes",
        files("cats/train", "cats/test", "dogs/train", "dogs/test"),
        read=both("cats", "dogs", "train", "test"),
    ),
    Layout(
        "class and part in one name",
        files("cats_train", "cats_test", "dogs_train", "dogs_test"),
        refused="are named as parts, but hold neither class folders nor labels",
    ),
    Layout(
        "objects to be found, not classified",
        [*files("images/train", "images/val"), "classes.yaml"],
        refused="images/train/ and images/val/ are named as parts",
    ),
    Layout(
        "a driver's table",
        [f"imgs/train/c{n % 2}/img_{n}.png" for n in range(8)] + files("imgs/test"),
        read=both("c0", "c1", ""),
        tables={
            "driver_imgs_list.csv": rows(
                "subject,classname,img", "p1,VALUE,img_N.png", ["c0", "c1"] * 4
            ),
        },
    ),
]


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def laid_out(checkout: Path, layout: Layout) -> None:
    """The source, and params.yaml that names it."""
    for seed, path in enumerate(layout.pictures):
        (checkout / "source" / path).parent.mkdir(parents=True, exist_ok=True)
        (checkout / "source" / path).write_bytes(png(seed))
    for path, text in layout.tables.items():
        (checkout / "source" / path).write_text(text, encoding="utf-8")
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    source = "data/catalog/cats_and_dogs_filtered.yaml"
    predefined = any(part for _, part in layout.read or {})
    for before, after in (
        (f"source: {source}", "source: source"),
        ("  classes: ", f"  classes: {layout.classes}"),
        ("weights: imagenet", "weights: none"),
        ("image_size: 180", "image_size: 78"),
        ("method: predefined", f"method: {'predefined' if predefined else 'random'}"),
        ("validation: 0.15", "validation: 2"),
        ("test: 0.25", "test: 2"),
    ):
        assert before in text
        text = text.replace(before, after, -1 if before == "weights: imagenet" else 1)
    (checkout / "params.yaml").write_text(text, encoding="utf-8")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def refused(checkout: Path, layout: Layout) -> bool:
    """Whether a layout is to be refused; it is then, in one line, and leaves nothing."""
    laid_out(checkout, layout)
    if layout.refused:
        with pytest.raises(UserError, match=layout.refused) as error:
            download.main()
        assert "\n" not in str(error.value)
        assert not (checkout / "data/raw/images.csv").exists()
    return bool(layout.refused)


def downloaded(checkout: Path, layout: Layout, capsys) -> list[dict[str, str]]:
    """The rows of images.csv: no more and no less than the layout's, with a line for each loss."""
    download.main()
    out = capsys.readouterr().out
    for note in layout.notes:
        assert f"note: {note}" in out
    assert len(layout.notes) == out.count("note: ")
    listed = table(checkout / "data/raw/images.csv")
    assert Counter((row["label"], row["part"]) for row in listed) == layout.read
    facts = json.loads((checkout / "data/raw/dataset.json").read_text(encoding="utf-8"))
    told = {row["path"] for row in [*listed, *facts["skipped"]]}
    assert told >= {*layout.pictures}
    return listed


@pytest.mark.parametrize("layout", DAY_ONE, ids=str)
def test_a_layout_of_day_one_is_split_rightly_or_refused(checkout, layout, capsys):
    if refused(checkout, layout):
        return
    listed = downloaded(checkout, layout, capsys)
    split.main()
    splits = {
        row["path"]: name
        for name in ("train", "validation", "test")
        for row in table(checkout / f"data/splits/{name}.csv")
    }
    assert set(splits) == {row["path"] for row in listed}
    for row in listed:
        if row["part"] == "test":
            assert splits[row["path"]] == "test"


@pytest.mark.parametrize("layout", NEIGHBOURS, ids=str)
def test_another_public_layout_is_read_rightly_or_refused(checkout, layout, capsys):
    assert refused(checkout, layout) or downloaded(checkout, layout, capsys)
