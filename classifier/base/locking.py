"""One run at a time: locks that the system takes back however the run that holds them ends."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
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


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Take a lock for as long as the block runs, unless another run holds it; yield whether.

    A lock file that cannot be made or locked counts as held.
    """
    try:
        lock = FileLock(path).acquire(timeout=0)
    except (Timeout, OSError):
        lock = None
    with lock or nullcontext():
        yield lock is not None
