"""The README's ways to fetch a model from elsewhere, with real DVC and a file that is no model."""

from pathlib import Path

import pytest

from tests.projects import Project, new_project, pretend

pytestmark = pytest.mark.slow
MODEL = "data/models/vgg16.keras"
CONTENT = f"stands for {MODEL}"


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Project:
    """A project whose model is committed, and pushed to a DVC remote."""
    folder = tmp_path_factory.mktemp("published")
    project = new_project(folder)
    pretend(project, "finetune_vgg16")
    project.dvc("remote", "add", "--default", "storage", str(folder / "storage"))
    project.dvc("push", MODEL)
    project.commit()
    return project


@pytest.fixture
def url(published, tmp_path) -> str:
    """The address of a repository with the same commits, and no files of the model."""
    published.run("git", "clone", "--quiet", "--bare", ".", str(tmp_path / "repository.git"))
    return (tmp_path / "repository.git").as_uri()


def tag(published: Project, folder: Path, *options: str) -> None:
    repository = f"--git-dir={folder / 'repository.git'}"
    published.run("git", repository, "tag", *options, "vgg16@v1.0.0")


@pytest.mark.parametrize("rev", [(), ("--rev", "v1.0.0")])
def test_an_annotated_tag_makes_a_model_an_artifact_that_can_be_had(published, url, tmp_path, rev):
    tag(published, tmp_path, "--annotate", "--message", "the first")
    out = tmp_path / "model.keras"
    published.dvc("artifacts", "get", url, "vgg16", *rev, "--out", str(out))
    assert out.read_text(encoding="utf-8") == CONTENT


@pytest.mark.parametrize("tagged", [False, True], ids=["no tag", "a tag that is not annotated"])
def test_without_an_annotated_tag_there_is_no_artifact(published, url, tmp_path, tagged):
    if tagged:
        tag(published, tmp_path)
    said = published.dvc("artifacts", "get", url, "vgg16", fails=True)
    assert "Unable to find artifact 'vgg16'" in said


def test_without_a_tag_the_file_can_be_had_by_its_path(published, url, tmp_path):
    out = tmp_path / "model.keras"
    published.dvc("get", url, MODEL, "--out", str(out))
    assert out.read_text(encoding="utf-8") == CONTENT
