"""What tests of several rooms share."""

import os

# Two workers on two cores: threads of one TensorFlow would only wait for those of the other. Set
# before anything imports it; the stages that tests start inherit it.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator

import pytest

from tests.projects import Project, ended_with_all, new_project

# The files whose tests take longest begin first, so that no worker is left alone with one of them.
LONGEST = (
    "test_pipeline.py",
    "test_finetune.py",
    "test_experiments.py",
    "test_own_pictures.py",
    "test_fit.py",
    "test_reruns.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else 99)


@pytest.fixture
def project(tmp_path) -> Project:
    """A copy of this checkout with tiny parameters, in which nothing has run."""
    return new_project(tmp_path)


@pytest.fixture(scope="session")
def puppet(tmp_path_factory) -> Iterator[Project]:
    """A committed project in which tests/puppet.py has run for every stage; left as it was."""
    project = new_project(tmp_path_factory.mktemp("puppet"), puppet=True)
    with ended_with_all(project):
        project.dvc("repro")
        project.commit()
        yield project


@pytest.fixture
def committed(puppet) -> Iterator[Project]:
    """The puppets' project, as it was committed before and after a test."""
    yield puppet
    puppet.run("git", "checkout", "--quiet", "--force", ".")
    puppet.run("git", "clean", "--quiet", "--force", "-d")
    puppet.dvc("checkout", "--quiet")
