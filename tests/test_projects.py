"""What tests do to git and DVC stays in their own folders."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.projects import clean_process, new_repository


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def hooked(tmp_path, monkeypatch) -> Path:
    """A user's repository, one of whose hooks runs the tests."""
    users = new_repository(tmp_path / "user")
    (users.root / "work.py").write_text("")
    users.commit()
    monkeypatch.setenv("GIT_DIR", str(users.root / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(users.root / ".git/index"))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "User")
    monkeypatch.setenv("DVC_ROOT", str(users.root))
    return users.root


def test_a_repository_of_the_tests_is_not_the_users(hooked, tmp_path):
    before = content(hooked)
    project = new_repository(tmp_path / "test")
    project.dvc("init", "--quiet")
    (project.root / "ours.py").write_text("")
    project.commit()
    assert content(hooked) == before
    assert "ours.py" in project.run("git", "ls-files").splitlines()
    assert project.run("git", "log", "--format=%an").strip() == "Tester"
    assert Path(project.dvc("root").strip()) == Path()


def test_what_this_process_starts_does_not_see_the_users_either(hooked, tmp_path, monkeypatch):
    before = content(hooked)
    clean_process(monkeypatch, tmp_path / "home")
    for command in (["git", "init", "--quiet"], ["git", "add", "--all"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    assert content(hooked) == before
    assert Path.home() == tmp_path / "home"
    assert not [name for name in os.environ if name in ("GIT_DIR", "GIT_INDEX_FILE", "DVC_ROOT")]
    assert os.environ["DVC_NO_ANALYTICS"] == "1"
