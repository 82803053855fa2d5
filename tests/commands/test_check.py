"""`classifier check` on real repositories: what experiments in copies would miss."""

import contextlib
import json
import shutil
import unicodedata
from collections.abc import Callable

import pytest

from classifier.__main__ import main
from classifier.base.errors import UserError
from tests.projects import CATALOGUE, DRAWN, ROOT, Project, clean_process, ran

GOOD = "params.yaml is good\n"


@pytest.fixture
def check(project, tmp_path, monkeypatch, capfd) -> Callable[..., str]:
    """`classifier check` in this process: all that it says of a project."""
    clean_process(monkeypatch, tmp_path / "home")

    def check(one: Project = project) -> str:
        with contextlib.chdir(one.root):
            main(["check"])
        found = capfd.readouterr()
        return found.err + found.out

    return check


def set_source(project: Project, source: str) -> None:
    project.change({"data": {"source": source}})


def test_an_untracked_catalogue_file_is_to_be_added_to_git(project, check):
    assert check() == GOOD
    (project.root / "mine.yaml").write_text(DRAWN, encoding="utf-8")
    set_source(project, "mine.yaml")
    told = check()
    assert "note: mine.yaml is tracked by neither Git nor DVC" in told
    assert "type git add mine.yaml\n" in told
    project.run("git", "add", "mine.yaml")
    assert check() == GOOD


def test_a_positive_class_that_the_pictures_have_not_is_told_before_any_training(project, check):
    facts = {"source": CATALOGUE, "classes": {"cats": 1, "Über": 2}}
    (project.root / "data/raw").mkdir(parents=True, exist_ok=True)
    (project.root / "data/raw/dataset.json").write_text(json.dumps(facts), encoding="utf-8")
    project.change({"evaluate": {"positive": unicodedata.normalize("NFD", "Über")}})
    assert check() == GOOD
    project.change({"evaluate": {"positive": "cat"}})
    told = "note: evaluate.positive is 'cat', the classes are: cats, Über, when download last ran"
    assert told in check()


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("data/catalog/sampel.yaml", "; did you mean data/catalog/sample.yaml?"),
        ("nowhere/at/all", ""),
    ],
)
def test_a_source_that_is_not_there_is_refused_before_dvc_deletes_anything(
    project, check, source, told
):
    set_source(project, source)
    with pytest.raises(UserError) as error:
        check()
    assert str(error.value) == f"params.yaml: data.source is {source}, which is not there{told}"
    (project.root / f"{source}.dvc").parent.mkdir(parents=True, exist_ok=True)
    (project.root / f"{source}.dvc").touch()  # in DVC's cache, then
    assert GOOD in check()


@pytest.mark.slow
def test_an_experiment_in_a_copy_sees_what_was_added(project):
    (project.root / "mine.yaml").write_text(DRAWN, encoding="utf-8")
    set_source(project, "mine.yaml")
    command = ("exp", "run", "--temp", "download")
    assert "mine.yaml" in project.dvc(*command, fails=True)
    project.run("git", "add", "mine.yaml")
    assert ran(project.dvc(*command)) == ["download"]


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_untracked_pictures_are_to_be_added_to_dvc(project, check, kind):
    source = "pictures" if kind == "folder" else "pictures.zip"
    inside = project.root / source / "cats" if kind == "folder" else project.root
    inside.mkdir(parents=True, exist_ok=True)
    (inside / ("1.jpg" if kind == "folder" else source)).write_bytes(b"a cat")
    set_source(project, source)
    assert f"type dvc add {source}\n" in check()
    project.dvc("add", "--quiet", source)
    assert check() == GOOD
    if kind == "folder":
        set_source(project, "pictures/cats")
        assert check() == GOOD


def test_pictures_outside_of_the_repository_need_not_be_tracked(project, check, tmp_path):
    (tmp_path / "pictures").mkdir()
    set_source(project, str(tmp_path / "pictures"))
    assert check() == GOOD


def test_a_shallow_clone_is_to_be_deepened(project, check, tmp_path):
    (project.root / "new").write_text("a second commit", encoding="utf-8")
    project.commit()
    shallow = Project(tmp_path / "shallow", project.environment)
    url = f"file://{project.root}"
    project.run("git", "clone", "--quiet", "--depth", "1", url, str(shallow.root))
    assert "type git fetch --unshallow\n" in check(shallow)
    shallow.run("git", "fetch", "--quiet", "--unshallow")
    assert check(shallow) == GOOD


def test_a_project_without_git_is_told_what_to_do(project, check):
    shutil.rmtree(project.root / ".git")
    with pytest.raises(UserError, match=r"^DVC needs a git repository, and this is none: ") as told:
        check()
    project.run("bash", "-c", str(told.value).split("or type ")[1])
    assert check() == GOOD
    assert ran(project.dvc("repro", "download")) == ["download"]


def test_a_clone_has_the_same_bytes_where_git_would_change_line_ends(project, tmp_path):
    shutil.copy(ROOT / ".gitattributes", project.root)
    project.commit()
    clone = tmp_path / "windows"
    command = ("git", "clone", "--quiet", "--config", "core.autocrlf=true", ".", str(clone))
    project.run(*command)
    assert Project(clone, project.environment).run("git", "status", "--porcelain") == ""
    for path in ("params.yaml", "dvc.yaml", CATALOGUE, "classifier/__main__.py"):
        assert (clone / path).read_bytes() == (project.root / path).read_bytes(), path
