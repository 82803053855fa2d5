"""What the tests that run the pipeline share."""

import pytest

from tests.projects import Project, new_project


@pytest.fixture
def project(tmp_path) -> Project:
    """A copy of this checkout with tiny parameters, in which nothing has run."""
    return new_project(tmp_path)
