"""One run at a time: locks that the system takes back however the run that holds them ends."""

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout


def locked(path: Path, waiting: str) -> AbstractContextManager[Any]:
    """Take a lock, after waiting for the run that holds it; the end of `with` gives it back.

    Args:
        path: of the lock file, which stays.
        waiting: what to tell the user where another run holds the lock.

    Raises:
        OSError: the file cannot be made or locked there.
    """
    lock = FileLock(path)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(waiting, file=sys.stderr, flush=True)
        return lock.acquire()


def is_held(path: Path) -> bool:
    """Whether a run holds the lock file; also where that cannot be told."""
    try:
        with FileLock(path).acquire(timeout=0):
            return False
    except (Timeout, OSError):
        return True
