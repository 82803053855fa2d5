"""python -m classifier as its users run it."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from classifier.__main__ import main, parser
from classifier.base.errors import UserError
from tests.commands.test_predict import jpeg, lay_out
from tests.projects import ROOT, clean_process, new_repository


@pytest.fixture(autouse=True)
def clean(tmp_path, monkeypatch) -> None:
    clean_process(monkeypatch, tmp_path / "home")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture
def trained(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    lay_out()


def classifier(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "classifier", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def checkable() -> None:
    Path(".git").mkdir()
    Path("data/catalog").symlink_to(ROOT / "data/catalog")


def test_check_says_that_the_parameters_are_good(trained):
    checkable()
    found = classifier("check")
    assert (found.returncode, found.stdout, found.stderr) == (0, "params.yaml is good\n", "")


def test_check_names_what_is_wrong_in_one_line(trained):
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("resize: squash", "resize: stretch"))
    found = classifier("check")
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith("error: params.yaml: data.resize is 'stretch', allowed: ")
    assert found.stderr.count("\n") == 1


def test_no_command_shows_the_commands():
    found = classifier()
    assert found.returncode == 2
    assert "check" not in found.stdout
    assert "the following arguments are required" in found.stderr
    assert all(word in classifier("--help").stdout for word in ("check", "compare", "predict"))


def test_compare_without_experiments_is_one_line(tmp_path, monkeypatch):
    project = new_repository(tmp_path)
    project.dvc("init", "--quiet")
    monkeypatch.chdir(project.root)
    lay_out()
    found = classifier("compare", "a", "b")
    assert found.returncode == 1
    assert found.stderr.startswith("error: ")
    assert "Traceback" not in found.stderr


@pytest.fixture
def some(trained):
    Path("some").mkdir()
    Path("some/bright.jpg").write_bytes(jpeg(230))
    Path("some/dark, at night.jpg").write_bytes(jpeg(20))
    Path("some/notes.txt").write_text("hello")


def test_predict_prints_a_table_and_complains_beside_it(some):
    found = classifier("predict", "some")
    assert found.returncode == 0
    header, bright, dark = found.stdout.splitlines()
    assert header.split() == ["class", "confidence", "runners-up", "picture"]
    assert bright.startswith("day ")
    assert bright.endswith(" some/bright.jpg")
    assert "night" in bright
    assert dark.startswith("night ")
    assert dark.endswith(" some/dark, at night.jpg")
    assert found.stderr == "some/notes.txt: not a picture: looks like text\n"


def test_predict_writes_csv_and_json_that_say_the_same(some, capsys):
    main(["predict", "some", "--csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    main(["predict", "some", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [row["path"] for row in rows] == ["some/bright.jpg", "some/dark, at night.jpg"]
    for row, one in zip(rows, found, strict=True):
        [second] = one["runners_up"]
        assert (row["path"], row["class"]) == (one["path"], one["class"])
        assert float(row["confidence"]) == one["confidence"]
        assert (row["second"], float(row["second_confidence"])) == (
            second["class"],
            second["confidence"],
        )
        assert row["third"] == row["third_confidence"] == ""
        assert one["confidence"] + second["confidence"] == pytest.approx(1, abs=2e-6)


def test_predict_fails_where_nothing_could_be_read(trained, capsys):
    Path("notes.txt").write_text("hello")
    with pytest.raises(UserError, match=r"^no picture among the files given$"):
        main(["predict", "notes.txt", "missing.jpg"])
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.splitlines() == [
        "notes.txt: not a picture: looks like text",
        "missing.jpg: No such file or directory",
    ]


def test_a_reader_that_has_seen_enough_is_no_error(trained):
    checkable()
    # A reader that is gone before the first line is written, however fast that is.
    command = f"{{ sleep 0.2; {sys.executable} -m classifier check; }} | true"
    found = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


@pytest.mark.parametrize("command", [["stages.download"], ["classifier", "check"]])
def test_a_python_without_the_requirements_is_told_in_a_line(command):
    # -S makes it the system's python, without the environment's packages.
    done = subprocess.run(
        [sys.executable, "-S", "-m", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {sys.executable} has no ")
    assert "activate the environment" in done.stderr


def test_a_module_that_an_active_environment_lacks_is_a_bug_and_keeps_its_trace(monkeypatch):
    monkeypatch.setattr(sys, "prefix", "/an/environment")
    monkeypatch.setitem(sys.modules, "classifier.commands.check", None)
    with pytest.raises(ModuleNotFoundError):
        main(["check"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["augment", "a.jpg", "--out", "copies", "--count"],
        ["compare", "a", "b", "--commits"],
        ["recipe", "cnn3", "--seeds"],
        ["tune", "-n", "t", "--over", "train.epochs=int(1,5)", "--trials"],
    ],
)
def test_a_number_of_things_is_one_or_more(arguments, capsys):
    assert parser().parse_args([*arguments, "1"])
    with pytest.raises(SystemExit):
        parser().parse_args([*arguments, "0"])
    assert f"argument {arguments[-1]}: is 0, allowed: 1 or more" in capsys.readouterr().err
