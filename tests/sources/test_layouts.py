"""Layouts are recognised by names alone, labels and parts follow, the rest is named as left out."""

import io
import os
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from PIL import Image

from classifier.base.errors import UserError
from classifier.base.params import DataLimits
from classifier.sources.dataset import Source
from classifier.sources.layouts import detect
from classifier.sources.members import Unreadable, open_members
from tests.noise import png

MIRROR = os.environ.get("DATA_MIRROR", "")
MIRROR_LIMITS = DataLimits(
    files=10_000, file_bytes=10**7, total_bytes=10**9, ratio=200, pixels=10**8
)


def nothing_to_read(path: str) -> bytes:
    raise AssertionError(f"{path} was read")


def found(*paths: str, **tables: str) -> Source:
    """What is made of these paths and CSV files, these named by their stem."""
    texts = {f"{stem}.csv": text.encode() for stem, text in tables.items()}
    return detect([*paths, *texts], texts.__getitem__ if texts else nothing_to_read)


def read_as(paths: Sequence[str], contents: Mapping[str, bytes]) -> Source:
    """What is made of these paths and files with content."""
    return detect([*paths, *contents], contents.__getitem__)


def labels(source: Source) -> dict[str, str]:
    return {one.path: one.label for one in source.pictures}


def parts(source: Source) -> dict[str, str]:
    return {one.path: one.part for one in source.pictures}


def skipped(source: Source) -> dict[str, str]:
    return {one.path: one.reason for one in source.skipped}


def test_one_folder_per_class():
    source = found("dogs/b.jpg", "cats/1.png", "owls/x.webp", "cats/2.jpg")
    assert source.layout == "one folder per class"
    assert labels(source) == {
        "cats/1.png": "cats",
        "cats/2.jpg": "cats",
        "dogs/b.jpg": "dogs",
        "owls/x.webp": "owls",
    }
    assert list(labels(source)) == sorted(labels(source))
    assert set(parts(source).values()) == {""}
    assert source.skipped == []


def test_a_class_reaches_into_its_folders():
    source = found("cats/persian/1.jpg", "cats/2.jpg", "dogs/small/old/3.jpg")
    assert set(labels(source).items()) == {
        ("cats/persian/1.jpg", "cats"),
        ("cats/2.jpg", "cats"),
        ("dogs/small/old/3.jpg", "dogs"),
    }


def test_whatever_lies_in_a_class_folder_counts_as_a_picture():
    source = found("cats/1.jpg", "cats/notes.txt", "cats/noending", "dogs/1.jpg")
    assert labels(source)["cats/notes.txt"] == labels(source)["cats/noending"] == "cats"


def test_a_folder_without_pictures_is_no_class():
    source = found("cats/1.jpg", "dogs/1.jpg", "code/train.py", "vectorize.py", "LICENSE.txt")
    assert set(labels(source).values()) == {"cats", "dogs"}
    assert skipped(source) == dict.fromkeys(
        ["LICENSE.txt", "code/train.py", "vectorize.py"], "outside of the layout"
    )


def test_pictures_without_any_ending_are_found_where_none_has_one():
    source = found("cats/0001", "cats/0002", "dogs/0001")
    assert labels(source) == {"cats/0001": "cats", "cats/0002": "cats", "dogs/0001": "dogs"}


def test_microsofts_archive_has_its_papers_beside_the_pictures():
    source = found("PetImages/Cat/0.jpg", "PetImages/Dog/0.jpg", "readme[1].txt", "CDLA.pdf")
    assert labels(source) == {"PetImages/Cat/0.jpg": "Cat", "PetImages/Dog/0.jpg": "Dog"}
    assert set(skipped(source)) == {"readme[1].txt", "CDLA.pdf"}


def test_githubs_archive_has_examples_beside_the_classes():
    source = found(
        *(f"Dataset/{digit}/IMG_{digit}.JPG" for digit in range(10)),
        *(f"Examples/example_{digit}.JPG" for digit in range(10)),
        "README.md",
        "LICENSE",
    )
    assert sorted(set(labels(source).values())) == [str(digit) for digit in range(10)]
    assert "Examples/example_0.JPG" in skipped(source)
    assert "README.md" in skipped(source)


@pytest.mark.parametrize("root", ["", "data/"])
def test_folders_beside_two_classes_are_no_classes_and_the_reason_says_so(root):
    source = found(
        *(f"{root}cats/1.jpg", f"{root}dogs/1.jpg", f"{root}README.md"),
        *(f"{root}docs/screenshot.png", f"{root}Assets/logo.png", f"{root}Assets/icons/1.png"),
    )
    assert labels(source) == {f"{root}cats/1.jpg": "cats", f"{root}dogs/1.jpg": "dogs"}
    reason = "counts as beside the data: rename it if it is a class"
    assert skipped(source) == {
        f"{root}Assets/icons/1.png": f"{root}Assets/ {reason}",
        f"{root}Assets/logo.png": f"{root}Assets/ {reason}",
        f"{root}README.md": "outside of the layout",
        f"{root}docs/screenshot.png": f"{root}docs/ {reason}",
    }


def test_a_folder_beside_the_parts_does_not_make_classes_of_them():
    source = found("train/cats/1.jpg", "train/dogs/1.jpg", "test/1.jpg", "samples/1.jpg")
    assert set(labels(source).values()) == {"cats", "dogs"}
    assert set(skipped(source)) == {"samples/1.jpg", "test/1.jpg"}


def test_a_class_may_be_named_examples_beside_one_other():
    source = found("examples/1.jpg", "cats/1.jpg")
    assert set(labels(source).values()) == {"examples", "cats"}


def test_classes_that_all_have_such_names_count():
    source = found("samples/1.jpg", "docs/1.jpg", "assets/1.jpg", "notes/read.me")
    assert set(labels(source).values()) == {"samples", "docs", "assets"}
    assert set(skipped(source)) == {"notes/read.me"}


def test_the_only_folder_of_a_source_may_have_such_a_name():
    source = found("examples/cats/1.jpg", "examples/dogs/1.jpg", "examples/README.md")
    assert set(labels(source).values()) == {"cats", "dogs"}
    assert skipped(source) == {"examples/README.md": "outside of the layout"}


@pytest.mark.parametrize(
    ("folders", "wanted"),
    [
        (("train", "validation", "test"), {"train", "validation", "test"}),
        (("Training", "Val", "Testing"), {"train", "validation", "test"}),
        (("TRAIN", "valid"), {"train", "validation"}),
        (("train", "dev", "test"), {"train", "validation", "test"}),
    ],
)
def test_part_folders_of_class_folders(folders, wanted):
    source = found(*(f"{part}/{label}/1.jpg" for part in folders for label in ("cats", "dogs")))
    assert set(parts(source).values()) == wanted
    assert set(labels(source).values()) == {"cats", "dogs"}
    assert source.layout.endswith("folders of one folder per class")
    assert source.layout.startswith(folders[0])
    assert list(parts(source)) == sorted(parts(source))
    assert all(folder in source.layout for folder in folders)


def test_part_folders_below_another_folder():
    source = found(
        "data/train/cats/1.jpg", "data/train/dogs/1.jpg", "data/test/cats/2.jpg", "README.md"
    )
    assert parts(source)["data/test/cats/2.jpg"] == "test"
    assert labels(source)["data/train/dogs/1.jpg"] == "dogs"


def test_names_with_numbers_inside_class_folders_do_not_decide():
    paths = [f"{part}/cats/cat.{n}.jpg" for n, part in enumerate(("train", "validation"))]
    source = found(*paths, "train/dogs/dog.0.jpg", "vectorize.py")
    assert set(labels(source).values()) == {"cats", "dogs"}
    assert set(skipped(source)) == {"vectorize.py"}


def test_unlabelled_test_pictures_are_left_out_and_a_lone_part_is_none():
    source = found("train/cats/1.jpg", "train/dogs/1.jpg", "test/1.jpg")
    assert parts(source) == {"train/cats/1.jpg": "", "train/dogs/1.jpg": ""}
    assert skipped(source) == {"test/1.jpg": "outside of the layout"}


def test_files_beside_the_class_folders_of_a_part_are_left_out():
    source = found("train/cats/1.jpg", "train/dogs/1.jpg", "train/x.jpg", "val/cats/2.jpg")
    assert skipped(source) == {"train/x.jpg": "outside of the layout"}


def test_a_lone_training_folder_is_just_a_folder():
    source = found("train/cats/1.jpg", "train/dogs/1.jpg", "README.md")
    assert source.layout == "one folder per class"
    assert set(parts(source).values()) == {""}


def test_classes_may_be_named_like_parts():
    source = found("test/1.jpg", "control/1.jpg", "train/steam/1.jpg")
    assert set(labels(source).values()) == {"test", "control", "train"}
    assert set(parts(source).values()) == {""}


def test_files_named_by_label_and_number():
    source = found("cat.0.jpg", "cat.10.jpg", "dog.0.jpg", "big.dog.7.png", "logo.png")
    assert source.layout == "files named label.N"
    assert labels(source) == {
        "big.dog.7.png": "big.dog",
        "cat.0.jpg": "cat",
        "cat.10.jpg": "cat",
        "dog.0.jpg": "dog",
    }
    assert set(skipped(source)) == {"logo.png"}


def test_numbered_files_in_a_lone_training_folder_have_no_part():
    source = found("train/cat.0.jpg", "train/dog.0.jpg", "test1/1.jpg", "sampleSubmission.txt")
    assert labels(source) == {"train/cat.0.jpg": "cat", "train/dog.0.jpg": "dog"}
    assert set(parts(source).values()) == {""}
    assert set(skipped(source)) == {"test1/1.jpg", "sampleSubmission.txt"}


def test_numbered_files_in_part_folders():
    source = found("train/cat.0.jpg", "train/dog.0.jpg", "test/cat.1.jpg", "test/dog.1.jpg")
    assert source.layout == "train and test folders of files named label.N"
    assert parts(source)["test/cat.1.jpg"] == "test"
    assert labels(source)["test/cat.1.jpg"] == "cat"


CSV_PATHS = ("images/1.jpg", "images/2.jpg", "images/3.jpg")


@pytest.mark.parametrize(
    "text",
    [
        "path,label\nimages/1.jpg,cat\nimages/2.jpg,dog\n",
        "\ufefffilename,class\nimages/1.jpg,cat\nimages/2.jpg,dog\n",
        "Image;Height;Category\r\nimages/1.jpg;5;cat\r\nimages/2.jpg;6;dog\r\n",
        'file\tlabel\n"images/1.jpg"\tcat\nimages\\2.jpg\t dog \n',
        '"file name","Label"\n"./images/1.jpg","cat"\n"images/2.jpg","dog"',
        "label,path,note\ncat,images/1.jpg,\ndog,images/2.jpg\n\n,,\n",
    ],
)
def test_a_csv_with_path_and_label_columns(text):
    source = found(*CSV_PATHS, labels=text)
    assert source.layout == "labels.csv with path and label columns"
    assert labels(source) == {"images/1.jpg": "cat", "images/2.jpg": "dog"}
    assert set(parts(source).values()) == {""}
    assert skipped(source) == {"images/3.jpg": "not listed in labels.csv"}


def test_a_csv_goes_before_folders():
    text = "path,label\ncats/1.jpg,dog\ndogs/1.jpg,cat\n"
    assert labels(found("cats/1.jpg", "dogs/1.jpg", labels=text))["cats/1.jpg"] == "dog"


def test_a_csv_without_these_columns_is_a_stray():
    source = found("cats/1.jpg", "dogs/1.jpg", sizes="path,width\ncats/1.jpg,5\n")
    assert source.layout == "one folder per class"
    assert set(skipped(source)) == {"sizes.csv"}


def test_a_csv_names_the_part():
    rows = "images/1.jpg,cat,Train\nimages/2.jpg,dog,val\nimages/3.jpg,cat,holdout\n"
    source = found(*CSV_PATHS, labels="path,label,split\n" + rows)
    assert parts(source) == {"images/1.jpg": "train", "images/2.jpg": "validation"}
    assert "holdout" in skipped(source)["labels.csv, line 4"]


def test_an_empty_part_column_means_no_parts():
    rows = "images/1.jpg,cat,\nimages/2.jpg,dog,\n"
    assert set(parts(found(*CSV_PATHS, a="path,label,part\n" + rows)).values()) == {""}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("images/9.jpg,cat", "names images/9.jpg, which is not in the source"),
        ("../../etc/passwd,cat", "leaves the source"),
        ("/etc/passwd,cat", "its path leaves the source"),
        (",cat", "names nothing"),
        ("images/3.jpg,", "no label"),
        ("images/3.jpg", "no label"),
        ("images/3.jpg,c\x07t", "no label that can be printed"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_by_its_line(row, reason):
    text = f"path,label\nimages/1.jpg,cat\n{row}\nimages/2.jpg,dog\n"
    source = found(*CSV_PATHS, labels=text)
    assert reason in skipped(source)["labels.csv, line 3"]
    assert len(source.pictures) == 2


def test_a_row_that_comes_twice_counts_once():
    text = "path,label\nimages/1.jpg,cat\nimages/1.jpg,cat\nimages/2.jpg,dog\n"
    assert len(found(*CSV_PATHS, labels=text).pictures) == 2


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (
            {"a": "path,label\nimages/1.jpg,cat\nimages/1.jpg,dog\n"},
            r"a\.csv, line 3: images/1\.jpg .* labels cat and dog",
        ),
        (
            {"a": "path,label,split\nimages/1.jpg,cat,train\nimages/1.jpg,cat,test\n"},
            r"a\.csv, line 3: images/1\.jpg .* parts train and test",
        ),
        ({"a": "path,label\nimages/1.jpg,cat\n"}, "found one class, cat"),
        ({"a": "path,label\nimages/8.jpg,cat\n"}, "no picture with a label"),
        ({"a": "path,label\n"}, "no rows"),
        ({"a": "path,label\nx,y\n", "b": "file,class\nx,y\n"}, r"a\.csv and b\.csv all have"),
        ({"a": "path,label\n" + "x" * 200_000 + ",cat\n"}, r"a\.csv, line 2: field larger"),
        (
            {"a": "path,label\nimages/1.jpg,Cat\nimages/2.jpg,cat\n"},
            "Cat and cat differ only in case",
        ),
    ],
)
def test_a_csv_that_cannot_be_followed_is_an_error(tables, words):
    with pytest.raises(UserError, match=words):
        found(*CSV_PATHS, **tables)


def test_a_csv_that_is_not_utf_8_is_an_error():
    with pytest.raises(UserError, match=r"labels\.csv is not UTF-8"):
        detect(["labels.csv", "1.jpg"], lambda _: b"path,label\n1.jpg,gr\xfc\xdfe\n")


def test_some_other_table_in_another_encoding_is_a_stray():
    paths = ["sizes.csv", "cats/1.jpg", "dogs/1.jpg"]
    source = detect(paths, lambda _: b"path,gr\xf6\xdfe\ncats/1.jpg,5\n")
    assert set(skipped(source)) == {"sizes.csv"}


def test_a_damaged_csv_is_an_error():
    def damaged(path: str) -> bytes:
        raise Unreadable("damaged")

    with pytest.raises(UserError, match=r"labels\.csv cannot be read: damaged"):
        detect(["labels.csv", "1.jpg"], damaged)


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["1.jpg", "2.jpg"], "2 files at the top, such as 1.jpg, 2.jpg; allowed: one folder per"),
        (["cats/1.jpg", "logo.png"], r"cats/ \(1 files\)"),
        (["cats/1.jpg", "cats/2.jpg"], r"cats/ \(2 files\)"),
        (["cat.0.jpg", "cat.1.jpg"], "no layout recognised"),
        (["train/cats/1.jpg", "test/cats/2.jpg"], "found one class, cats"),
        (["notes/a.txt"], "no layout recognised"),
        ([], "found nothing"),
        (["Cat/1.jpg", "cat/2.jpg"], "Cat and cat differ only in case"),
        (
            ["train/Cat/1.jpg", "train/dog/1.jpg", "test/cat/2.jpg"],
            "Cat and cat differ only in case",
        ),
    ],
)
def test_what_fits_no_layout_is_an_error_that_says_what_was_found(paths, words):
    with pytest.raises(UserError, match=words) as raised:
        found(*paths)
    assert "\n" not in str(raised.value)


def test_the_order_of_the_paths_has_no_part_in_it():
    paths = ["b/2.jpg", "a/1.jpg", "c.txt", "a/0.jpg", "b.txt"]
    assert found(*paths) == found(*reversed(paths))


@pytest.mark.parametrize(
    ("name", "layout", "counts"),
    [
        (
            "cats_and_dogs_filtered.zip",
            "train and validation folders of one folder per class",
            {
                ("cats", "train"): 1000,
                ("dogs", "train"): 1000,
                ("cats", "validation"): 500,
                ("dogs", "validation"): 500,
            },
        ),
        ("dogs_vs_cats_2500.zip", "files named label.N", {("cat", ""): 2500, ("dog", ""): 2500}),
        (
            "sign-language-digits.zip",
            "one folder per class",
            {
                (str(digit), ""): count
                for digit, count in enumerate([205, 206, 206, 206, 207, 207, 207, 206, 208, 204])
            },
        ),
    ],
)
def test_the_mirrors_archives_are_recognised(name, layout, counts, tmp_path):
    path = Path(MIRROR) / name
    if not MIRROR or not path.exists():
        pytest.skip(f"{name} is too large for git: DATA_MIRROR names no folder with it")
    with (
        zipfile.ZipFile(path) as archive,
        open_members(path, MIRROR_LIMITS, tmp_path) as members,
    ):
        source = detect(members.paths, members.read)
        assert (source.layout, source.skipped, members.skipped) == (layout, [], [])
        assert Counter((one.label, one.part) for one in source.pictures) == counts
        last = archive.infolist()[-1]
        (same,) = [one for one in members.paths if last.filename.endswith(f"/{one}")]
        assert members.read(same) == archive.read(last)


# Names that say what a folder is.


def of_classes(*folders: str, count: int = 2) -> list[str]:
    return [f"{folder}/{number}.jpg" for folder in folders for number in range(count)]


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"),
        ("training_set/training_set", "test_set/test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("TrainData", "TestData"),
        ("train/images", "test/images"),
        ("flowers-train", "flowers-eval"),
        ("train1", "dev2"),
    ],
)
def test_parts_are_told_by_words_and_unwrapped(train, test):
    tops = [f"{part}/{label}" for part in (train, test) for label in ("cats", "dogs")]
    source = found(*of_classes(*tops))
    assert set(labels(source).values()) == {"cats", "dogs"}
    assert {part for path, part in parts(source).items() if path.startswith(train)} == {"train"}
    assert len(set(parts(source).values())) == 2


def test_an_unlabelled_folder_within_a_part_is_no_class():
    source = found(*of_classes("train/a", "train/b", "val/a", "val/b", "test/unknown"))
    assert set(labels(source).values()) == {"a", "b"}
    assert "test/ counts as unlabelled: it has no folder per class" in source.notes
    source = found(*of_classes("train/a", "train/b", "test/a", "test/b", "test/unlabeled"))
    assert set(labels(source).values()) == {"a", "b"}


def test_masks_beside_their_pictures_are_no_pictures():
    names = ["a/a (1).png", "a/a (1)_mask.png", "a/a (1)_mask_1.png", "b/b_1.png", "b/b_1-seg.png"]
    source = found(*names, "b/gas_mask.png")
    assert set(labels(source)) == {"a/a (1).png", "b/b_1.png", "b/gas_mask.png"}
    assert source.notes[0].endswith("and 2 more count as masks of the pictures beside them")
    assert (
        skipped(source)["b/b_1-seg.png"]
        == "b/b_1-seg.png counts as the mask of a picture beside it"
    )


def test_a_folder_of_masks_in_each_class_is_left_out():
    source = found(*of_classes("a/images", "a/masks", "b/images", "b/masks"))
    assert {path.split("/")[1] for path in labels(source)} == {"images"}
    assert "a/masks/ counts as masks of the pictures beside it" in source.notes


def test_classes_of_which_each_holds_folders_are_read_with_a_question():
    source = found(*of_classes("colon/a", "colon/b", "lung/c", "lung/d"))
    assert source.notes == ["each class holds folders; are they the classes? data.classes: '*/*'"]


def test_a_table_of_labels_that_lies_elsewhere_is_named():
    source = found(*of_classes("images/a", "images/b"), "csv/labels.csv")
    assert "csv/labels.csv was not used for labels" in source.notes


def test_the_words_for_parts_that_few_use():
    source = found(*of_classes("training/a", "training/b", "validate/a", "validate/b"))
    assert set(parts(source).values()) == {"train", "validation"}
    tops = ("training", "validation", "evaluation")
    source = found(*of_classes(*(f"{top}/{label}" for top in tops for label in "ab")))
    assert parts(source)["evaluation/a/0.jpg"] == "test"


def test_classes_with_words_of_parts_in_them_stay_classes():
    source = found(*of_classes("steam_train/old", "steam_train/new", "test_tube/a", "test_tube/b"))
    assert set(labels(source).values()) == {"steam_train", "test_tube"}
    assert set(labels(found(*of_classes("valid", "invalid"))).values()) == {"valid", "invalid"}


def test_unlabelled_pictures_beside_classes_are_no_class():
    source = found(*of_classes("cats", "dogs", "unlabelled", "to_predict"))
    assert set(labels(source).values()) == {"cats", "dogs"}
    reason = "counts as unlabelled: rename it if it is a class"
    assert source.notes == [f"to_predict/ {reason}", f"unlabelled/ {reason}"]
    assert skipped(source)["unlabelled/0.jpg"] == f"unlabelled/ {reason}"


def test_train_and_test_folders_inside_the_classes_are_parts():
    source = found(*of_classes("cats/train", "cats/test", "dogs/train", "dogs/test"))
    assert source.layout == "one folder per class of train and test folders"
    assert (labels(source)["dogs/test/0.jpg"], parts(source)["dogs/test/0.jpg"]) == ("dogs", "test")


@pytest.mark.parametrize(
    "names",
    [
        ("Abyssinian_1.jpg", "Abyssinian_2.jpg", "great_pyrenees_1.jpg"),
        ("cat-001.png", "dog-001.png", "dog-002.png"),
        ("cat (1).jpg", "cat (2).jpg", "dog (1).jpg"),
    ],
)
def test_files_named_by_label_and_count(names):
    source = found(*names)
    assert source.layout == "files named label_N"
    assert len(set(labels(source).values())) == 2
    assert set(labels(found(*(f"images/{name}" for name in names))).values()) == set(
        labels(source).values()
    )


@pytest.mark.parametrize(
    "names",
    [
        ("IMG_1.jpg", "DSC_2.jpg"),
        ("PXL_20240517_1.jpg", "cat_1.jpg"),
        ("cat_1.jpg", "dog_1.jpg", "logo.jpg"),
        ("2024_1.jpg", "2023_2.jpg"),
        ("2024.05.17.jpg", "2023.05.17.jpg"),
        ("2024-05-17 12.03.01.jpg", "2024-05-17 12.04.07.jpg"),
        ("WhatsApp Image 2024-05-17 at 12.03.01.jpeg", "WhatsApp Image 2024-05-18 at 9.15.20.jpeg"),
    ],
)
def test_names_that_cameras_give_are_no_labels(names):
    with pytest.raises(UserError, match="no layout recognised"):
        found(*names)


def test_files_named_by_label_and_count_in_parts():
    source = found("train/cat_1.jpg", "train/dog_1.jpg", "test/cat_2.jpg", "test/dog_2.jpg")
    assert source.layout == "train and test folders of files named label_N"
    assert parts(source)["test/dog_2.jpg"] == "test"


@pytest.mark.parametrize(
    "names",
    [
        ("valid/passport_1.jpg", "valid/licence_1.jpg", "invalid/passport_2.jpg"),
        ("test positive/kit_1.jpg", "test positive/swab_1.jpg", "test negative/kit_2.jpg"),
        ("train/steam_1.jpg", "train/tram_1.jpg", "car/1.jpg", "bus/1.jpg"),
    ],
)
def test_classes_named_like_parts_keep_their_pictures_names_to_themselves(names):
    assert labels(found(*names)) == {name: name.partition("/")[0] for name in names}


def test_folders_beside_parts_of_named_files_are_told():
    names = ("train/cat_1.jpg", "train/dog_1.jpg", "test/cat_2.jpg", "test/dog_2.jpg")
    assert found(*names, "more/1.jpg").notes == ["more/ counts as no part of the data"]


# Folders that are no classes.


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (("train", "test"), "train/ and test/ are named as parts, but hold neither"),
        (("train", "test", "meta"), "train/ and test/ are named as parts"),
        (("cats_train", "cats_test", "dogs_train", "dogs_test"), "are named as parts"),
        (("train/a", "train/b", "more"), "train/ holds class folders, but not more/ beside it"),
        (("images", "annotations/trimaps"), "annotations/ and images/ are no classes"),
        (("images/a", "images/b", "masks"), "images/ and masks/ are no classes"),
        (("photos", "masks"), "masks/ and photos/ are no classes"),
        (("train/images", "train/masks", "test/images", "test/masks"), "train/ and test/ are"),
        (("train/images", "test/images"), "train/ and test/ are named as parts"),
        (
            ("small/small/train/a", "small/small/test/a", "large"),
            "let data.source name small/small",
        ),
        (("fold1/train", "fold1/val", "fold2/train", "fold2/val"), "let data.source name fold1/"),
        (("colour/colour/a", "colour/colour/b", "gray/gray/a", "gray/gray/b"), "'colour/colour/*'"),
        (("patient_001", "patient_002"), "are named as pieces of one whole"),
        (("yes", "no", "set/yes", "set/no"), "let data.source name set/ alone"),
        (
            ("color/a", "color/b", "gray/a", "gray/b"),
            "set data.classes to 'color/*', or to '*/*' for",
        ),
        (("data/color/a", "data/color/b", "data/gray/a", "data/gray/b"), "to 'data/color/*'"),
        (("x_part_1", "x_part_2"), "x_part_1/ and x_part_2/ are named as pieces"),
        (("images_001", "images_002"), "are named as pieces of one whole"),
        (("fold1/a", "fold1/b", "fold2/a", "fold2/b"), "fold1/ and fold2/ hold folders"),
    ],
)
def test_folders_that_are_no_classes_are_refused_with_the_way_on(folders, words):
    paths = [*of_classes(*folders), "README.md"]
    with pytest.raises(UserError) as error:
        found(*paths)
    assert words in str(error.value)
    assert "for a class, set data.classes to '" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "folders",
    [
        ("with_mask", "without_mask"),
        ("mask", "no_mask"),
        ("photos", "drawings"),
        ("class_1", "class_2"),
        ("c0", "c1"),
        ("0", "1"),
        ("benign/sob/a", "malignant/sob/b"),
        ("cats/indoor", "dogs/outdoor"),
    ],
)
def test_classes_that_only_look_like_something_else_stay_classes(folders):
    assert len(set(labels(found(*of_classes(*folders))).values())) == 2


def test_class_folders_may_be_named_where_no_layout_can_tell_them():
    paths = of_classes("color/a", "color/b", "gray/a", "gray/b")
    texts = {"labels.csv": b"path,label\ncolor/a/0.jpg,z\n"}
    source = detect([*paths, *texts], texts.__getitem__, pattern="color/*")
    assert source.layout == "folders color/* as classes"
    assert labels(source)["color/b/0.jpg"] == "b"
    assert {path.partition("/")[0] for path in labels(source)} == {"color"}
    assert set(labels(detect(paths, nothing_to_read, pattern="*")).values()) == {"color", "gray"}


def test_named_class_folders_keep_the_parts_above_them():
    paths = of_classes("a/train/x", "a/train/y", "a/test/x", "b/test/x")
    source = detect(paths, nothing_to_read, pattern="a/*/*")
    assert parts(source)["a/test/x/0.jpg"] == "test"
    assert set(labels(source).values()) == {"x", "y"}


def test_brackets_in_a_name_are_no_pattern():
    paths = [f"plants [v2]/{kind}/{label}/0.jpg" for kind in ("x", "y") for label in "ab"]
    source = detect(paths, nothing_to_read, pattern="plants [v2]/x/*")
    assert set(labels(source).values()) == {"a", "b"}


def test_a_pattern_that_names_nothing_is_an_error():
    with pytest.raises(UserError, match=r"data\.classes is 'x/\*': no such folder; cats/"):
        detect(of_classes("cats", "dogs"), nothing_to_read, pattern="x/*")


# What may have been a class.


@pytest.mark.parametrize(
    ("lost", "note"),
    [
        ({"birds": "a symbolic link"}, "birds was left out: a symbolic link"),
        ({"c.zip": "an archive inside the source"}, "c.zip was left out: an archive inside the"),
        ({"owls/": ""}, "owls/ is empty"),
        ({"owls/": "", "owls/1.jpg": "encrypted"}, "owls/ gives no picture: encrypted"),
    ],
)
def test_what_stands_beside_the_classes_without_a_picture_is_named(lost, note):
    paths = of_classes("cats", "dogs")
    assert detect(paths, nothing_to_read, lost).notes[0].startswith(note)
    inside = {f"train/{path}": reason for path, reason in lost.items()}
    paths = [f"{part}/{path}" for part in ("train", "test") for path in paths]
    assert detect(paths, nothing_to_read, inside).notes[0].startswith(f"train/{note}")


def test_a_folder_with_endings_that_nobody_knows_is_named():
    source = found(*of_classes("cats", "dogs"), "owls/1.xyz", "code/a.py")
    assert source.notes == [
        "code/ gives no picture: no file of it has a picture's ending",
        "owls/ gives no picture: no file of it has a picture's ending",
    ]


@pytest.mark.parametrize("ending", [".pbm", ".mpo", ".heif", ".HEIC", ".jp2", ".dng", ".jxl"])
def test_a_class_of_rare_pictures_is_a_class(ending):
    source = found(*of_classes("cats", "dogs"), f"owls/1{ending}")
    assert labels(source)[f"owls/1{ending}"] == "owls"


def test_a_class_of_files_without_ending_is_told_by_their_content():
    damaged = b"DDS |\0\0\0".ljust(128, b"\1")  # Pillow raises NotImplementedError
    with pytest.raises(NotImplementedError), Image.open(io.BytesIO(damaged)):
        pass
    contents = {"owls/0001": png(1), "owls/0002": png(2), "notes/LICENSE": b"All rights reserved"}
    contents["notes/0"] = damaged
    source = read_as(of_classes("cats", "dogs"), contents)
    assert set(labels(source).values()) == {"cats", "dogs", "owls"}
    assert source.notes == ["notes/ gives no picture: no file of it has a picture's ending"]


def test_where_nothing_fits_archives_that_were_not_opened_are_named():
    with pytest.raises(UserError, match=r"left out: images\.zip \(an archive inside the source\)"):
        detect(["readme.txt"], nothing_to_read, {"images.zip": "an archive inside the source"})
