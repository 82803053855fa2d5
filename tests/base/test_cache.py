"""Runs share what is kept: locks, also where a file system has none."""

import errno
import os

import pytest

from classifier.base import cache
from classifier.base.cache import locked, locked_if_free
from classifier.base.errors import UserError


class Refusing:
    """A lock on a file system that refuses it."""

    reason = errno.ENOLCK

    def __init__(self, path) -> None: ...

    def acquire(self, timeout: float = -1) -> None:
        raise OSError(self.reason, os.strerror(self.reason))


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_with_the_way_on(tmp_path, monkeypatch, reason):
    monkeypatch.setattr(cache, "FileLock", Refusing)
    monkeypatch.setattr(Refusing, "reason", reason)
    with pytest.raises(UserError) as caught:
        locked(tmp_path / ".lock", "waiting")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path} lies on a file system without locks")
    assert "clone the project to a disk of this machine" in message
    with locked_if_free(tmp_path / ".lock") as free:
        assert not free


def test_other_reasons_stay_the_systems(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "FileLock", Refusing)
    monkeypatch.setattr(Refusing, "reason", errno.EROFS)
    with pytest.raises(OSError, match="Read-only"):
        locked(tmp_path / ".lock", "waiting")


def test_who_comes_second_is_told_and_waits(tmp_path, capsys):
    with locked(tmp_path / ".lock", "waiting"), locked_if_free(tmp_path / ".lock") as free:
        assert not free
    assert capsys.readouterr().err == ""
    with locked_if_free(tmp_path / ".lock") as free:
        assert free
