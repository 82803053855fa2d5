"""Tables of labels in all their forms, and those that look alike."""

import pytest

from classifier.base.errors import UserError
from classifier.sources.tables import (
    GROUP_COLUMNS,
    ID_COLUMNS,
    LABEL_COLUMNS,
    PART_COLUMNS,
    PATH_COLUMNS,
)
from tests.projects import ROOT
from tests.sources.test_layouts import found, labels, parts, read_as, skipped

PATHS = ("a/1.jpg", "a/2.jpg")
ROWS = "path;label\n1.jpg;süß\n2.jpg;sauer\n"
AS_ROWS = {"a/1.jpg": "süß", "a/2.jpg": "sauer"}


@pytest.mark.parametrize(
    "content",
    [
        ROWS.encode("utf-16"),
        b"\xfe\xff" + ROWS.encode("utf-16-be"),
        ROWS.encode("utf-16-le"),
        ROWS.encode("utf-16-be"),
        ("sep=;\n" + ROWS).encode(),
        ("\ufeffSEP=;\r\n" + ROWS.replace("\n", "\r\n")).encode(),
        ("sep=|\n" + ROWS.replace(";", "|")).encode(),
        ("sep=\t\n" + ROWS.replace(";", "\t")).encode(),
        ROWS.replace("\n", "\r").encode(),
        ("sep=;\r" + ROWS.replace("\n", "\r")).encode("utf-16"),
    ],
    ids=[
        "UTF-16",
        "UTF-16 BE",
        "no BOM",
        "no BOM BE",
        "sep",
        "sep CRLF",
        "sep |",
        "sep tab",
        "CR",
        "all",
    ],
)
def test_what_spreadsheets_write_is_read(content):
    assert labels(read_as(PATHS, {"labels.csv": content})) == AS_ROWS


def test_a_line_is_counted_with_the_one_that_states_the_separator():
    source = found(*PATHS, labels="sep=;\npath;label\n1.jpg;a\n2.jpg;b\n9.jpg;c\n")
    assert skipped(source) == {"labels.csv, line 5": "names 9.jpg, which is not in the source"}


@pytest.mark.parametrize(
    "header",
    ["id,breed", "image_id,label", "id_code,diagnosis", "Image,Species", "ClassId,Path", "img,dx"],
)
def test_the_columns_of_public_sets_are_known(header):
    swapped = header == "ClassId,Path"
    lines = [f"{b},{a}" if swapped else f"{a},{b}" for a, b in (("1", "x"), ("2", "y"))]
    source = found(*PATHS, train="\n".join([header, *lines]))
    assert labels(source) == {"a/1.jpg": "x", "a/2.jpg": "y"}


@pytest.mark.parametrize(
    "names",
    [
        ("a/1.jpg", "a/2.jpg"),
        ("1.jpg", "2.jpg"),
        ("1", "2"),
        ("A/1.JPG", "a/2.JPG"),
        ("mine/a/1.jpg", "mine/a/2.jpg"),
        ("a\\1", "a\\2"),
    ],
)
def test_a_picture_is_found_by_a_name_that_means_one(names):
    text = f"file,label\n{names[0]},x\n{names[1]},y\n"
    assert labels(found(*PATHS, t=text)) == {"a/1.jpg": "x", "a/2.jpg": "y"}


def test_a_name_that_may_mean_two_pictures_is_left_out():
    paths = ("a/1.jpg", "b/1.jpg", "b/2.jpg", "b/3.jpg")
    source = found(*paths, t="file,label\n1,x\n2,y\n3,x\n")
    assert skipped(source)["t.csv, line 2"] == "names 1, which may be a/1.jpg or b/1.jpg"
    assert labels(source) == {"b/2.jpg": "y", "b/3.jpg": "x"}


def test_where_every_name_may_mean_two_the_error_says_so():
    with pytest.raises(UserError, match=r"line 2: names 1, which may be test/1\.jpg or train/1"):
        found("train/1.jpg", "test/1.jpg", labels="id,breed\n1,pug\n")


def test_where_no_line_can_be_used_the_error_says_why_not():
    rows = "path,label\n/kaggle/a/1.jpg,x\n/kaggle/a/2.jpg,y\n"
    with pytest.raises(UserError, match=r"\(labels\.csv, line 2: its path leaves the source\)"):
        found(*PATHS, labels=rows)


def test_the_part_in_a_tables_name_tells_between_pictures():
    paths = [f"{part}/{number}.jpg" for part in ("train", "test") for number in (1, 2)]
    source = found(*paths, trainLabels="id,label\n1,x\n2,y\n")
    assert labels(source) == {"train/1.jpg": "x", "train/2.jpg": "y"}
    assert set(parts(source).values()) == {""}


def test_a_table_for_each_part_makes_the_parts():
    text = "file,label\n{0}/1.jpg,x\n{0}/2.jpg,y\n"
    paths = [f"{part}/{number}.jpg" for part in ("a", "b") for number in (1, 2)]
    source = found(*paths, train=text.format("a"), test=text.format("b"))
    assert source.layout == "train.csv and test.csv with path and label columns"
    assert parts(source) == dict(zip(sorted(paths), ["train"] * 2 + ["test"] * 2, strict=True))


def test_folders_tell_the_parts_where_no_table_does():
    paths = [f"{part}/{number}.jpg" for part in ("train", "test") for number in "012"]
    rows = [f"{path},{'xy'[n % 2]}\n" for n, path in enumerate(paths)]
    source = found(*paths, labels="path,label\n" + "".join(rows))
    assert parts(source) == {path: path.partition("/")[0] for path in paths}
    # Some pictures in no such folder, and the folders are not the parts.
    source = found(*paths, "0.jpg", labels="path,label\n" + "".join(rows) + "0.jpg,x\n")
    assert set(parts(source).values()) == {""}


def test_the_table_in_a_parts_folder_takes_no_other_parts_picture():
    tables = {
        "train/metadata.csv": b"file_name,label\n0.jpg,x\n1.jpg,y\n",
        "test/metadata.csv": b"file_name,label\n0.jpg,x\n1.jpg,x\n2.jpg,y\n",
    }
    source = read_as(["train/0.jpg", "train/1.jpg", "test/0.jpg", "test/2.jpg"], tables)
    assert labels(source)["train/1.jpg"] == "y"
    assert skipped(source)["test/metadata.csv, line 3"].endswith("which is not in the source")


def test_a_picture_in_the_tables_of_two_parts_is_an_error():
    text = "file,label\na/1.jpg,x\na/2.jpg,y\n"
    with pytest.raises(UserError, match=r"a/1\.jpg is listed before .* parts train and test"):
        found(*PATHS, train=text, test=text)


def test_two_tables_of_one_part_are_an_error():
    text = "file,label\na/1.jpg,x\n"
    with pytest.raises(UserError, match=r"train\.csv and train_2\.csv all have .* one for each"):
        found(*PATHS, train=text, train_2=text)


def test_a_column_per_class_is_read_and_a_row_without_one_class_left_out():
    text = "filename, cat, dog\n1.jpg,1,0\n2.jpg,0,1\n3.jpg,1,1\n4.jpg,0,0\n5.jpg,0,1\n"
    paths = [f"train/{number}.jpg" for number in range(1, 6)]
    source = read_as(paths, {"train/_classes.csv": text.encode()})
    assert source.layout == "train/_classes.csv with a column per class"
    assert labels(source) == {"train/1.jpg": "cat", "train/2.jpg": "dog", "train/5.jpg": "dog"}
    assert "has 1 in cat and dog" in skipped(source)["train/_classes.csv, line 4"]
    assert "no label" in skipped(source)["train/_classes.csv, line 5"]


def test_columns_of_which_most_rows_set_several_are_no_classes():
    text = "path,young,smiling\n1.jpg,1,1\n2.jpg,0,0\n"
    with pytest.raises(UserError, match=r"attributes\.csv has the columns path, young, smiling"):
        found(*PATHS, attributes=text)


@pytest.mark.parametrize("name", ["labels", "train", "class_list", "annotations", "GroundTruth"])
def test_a_table_of_labels_that_does_not_fit_is_never_passed_over(name):
    paths = ("cats/1.jpg", "dogs/2.jpg")
    text = "picture_no,sort\n1.jpg,owl\n2.jpg,cat\n"
    with pytest.raises(UserError) as error:
        found(*paths, **{name: text})
    message = str(error.value)
    assert f"{name}.csv has the columns picture_no, sort" in message
    assert all(known in message for known in ("id_code", "diagnosis", "column of 0 and 1"))


def test_a_table_that_counts_the_classes_lists_no_pictures():
    paths = [f"{folder}/{number}.jpg" for folder in ("cats", "dogs") for number in (1, 20)]
    source = found(*paths, label_counts="label,count\ncats,20\ndogs,1\n")
    assert set(labels(source).values()) == {"cats", "dogs"}


@pytest.mark.parametrize("folder", ["", "tumor_prediction/"])
def test_empty_lines_and_the_folders_name_hide_no_table(folder):
    paths = [f"{folder}{site}/{number}.jpg" for site in "ab" for number in "01"]
    rows = [f"{path.removeprefix(folder)},{'xy'[n % 2]}" for n, path in enumerate(paths)]
    table = "\n\npath,label\n" + "\n".join([*rows, "c/1.jpg,x"])
    source = read_as(paths, {f"{folder}labels.csv": table.encode()})
    assert labels(source) == {path: "xy"[n % 2] for n, path in enumerate(paths)}
    assert f"{folder}labels.csv, line 8" in skipped(source)


def test_a_table_that_does_not_fit_explains_why_there_is_no_layout():
    with pytest.raises(UserError, match=r"data\.csv has the columns picture, sort"):
        found("train/1.jpg", "test/2.jpg", data="picture,sort\n1.jpg,a\n2.jpg,b\n")


def test_a_table_of_classes_is_no_table_of_pictures():
    paths = [f"{folder}/{number}.jpg" for folder in "01" for number in "01"]
    source = found(*paths, classes="id,label\n0,cat\n1,dog\n", counts="name,class\n0,2\n1,2\n")
    assert source.layout == "one folder per class"
    assert set(labels(source).values()) == {"0", "1"}


@pytest.mark.parametrize("header", ["id,label", "patient_id,diagnosis", "diagnosis,folder"])
@pytest.mark.parametrize("folder", ["{}", "{}/", "scans/{}"])
def test_a_table_of_labelled_folders_is_never_passed_over(header, folder):
    paths = [f"scans/p{patient}/{number}.jpg" for patient in "123" for number in "01"]
    cells = [(folder.format("p1"), "benign"), (folder.format("p2"), "malignant")]
    cells.append((folder.format("p3"), "benign"))
    ordered = (row if header.startswith(("id", "patient")) else row[::-1] for row in cells)
    text = "\n".join([header, *map(",".join, ordered)])
    with pytest.raises(UserError, match=r"truth\.csv gives labels to folders, such as .*p1"):
        found(*paths, truth=text)


def test_an_empty_column_names_no_folder():
    source = found("cat.1.jpg", "dog.1.jpg", "dog.2.jpg", notes="author,class\n,a\n,a\n")
    assert source.layout == "files named label.N"


def test_a_table_of_the_classes_kinds_is_no_table_of_labelled_folders():
    paths = [f"{folder}/{number}.jpg" for folder in ("cat", "dog", "owl") for number in "01"]
    source = found(*paths, kinds="class,category\ncat,mammal\ndog,mammal\nowl,bird\n")
    assert set(labels(source).values()) == {"cat", "dog", "owl"}


def test_what_a_contest_wants_back_is_no_table_of_labels():
    text = "id,label\n1,0\n2,0\n"
    source = found(*PATHS, train="id,label\n1,x\n2,y\n", sample_submission=text)
    assert set(labels(source).values()) == {"x", "y"}


def test_groups_come_along():
    source = found(*PATHS, labels="path,label,group\n1.jpg,x,patient 1\n2.jpg,y,\n")
    assert [picture.group for picture in source.pictures] == ["patient 1", ""]


def test_patients_and_lesions_are_groups():
    source = found(*PATHS, labels="lesion_id,image_id,dx\nHAM_1,1,x\nHAM_1,2,y\n")
    assert [picture.group for picture in source.pictures] == ["HAM_1", "HAM_1"]


def test_a_picture_of_two_groups_is_an_error():
    with pytest.raises(UserError, match="two groups 1 and 2; a picture has one"):
        found(*PATHS, labels="path,label,group\n1.jpg,x,1\n1.jpg,x,2\n")


def test_tables_lie_where_the_only_folder_of_pictures_begins():
    paths = ["README.md", "set/images/1.jpg", "set/images/2.jpg"]
    source = read_as(paths, {"set/labels.csv": b"path,label\nimages/1.jpg,x\nimages/2.jpg,y\n"})
    assert labels(source) == {"set/images/1.jpg": "x", "set/images/2.jpg": "y"}


def test_the_documents_table_has_every_known_column():
    text = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    columns = (*PATH_COLUMNS, *ID_COLUMNS, *LABEL_COLUMNS, *PART_COLUMNS, *GROUP_COLUMNS)
    assert [name for name in columns if f"`{name}`" not in text] == []
