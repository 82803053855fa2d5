"""Costly results that outlive a stage: where they are kept, and how runs share them.

A shortcut, never a source of truth: to delete .cache changes no result.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from classifier.base.errors import UserError

WITHOUT_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}


def project_root() -> Path:
    """Return the checkout that the user works in, also inside an experiment's temporary copy.

    DVC runs `--temp` and queued experiments in a copy of the checkout and sets DVC_ROOT to the
    original.
    """
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def cache_folder(name: str) -> Path:
    """`.cache/NAME` of the user's checkout, created."""
    folder = project_root() / ".cache" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def locked(path: Path, waiting: str) -> AbstractContextManager[Any]:
    """Take a lock, after waiting for the run that holds it; the end of `with` gives it back.

    The system takes it back however that run ends.

    Args:
        path: of the lock file, which stays.
        waiting: what to tell the user where another run holds the lock.

    Raises:
        OSError: the file cannot be made there.
        UserError: the file system has no locks.
    """
    lock = FileLock(path)
    try:
        try:
            return lock.acquire(timeout=0)
        except Timeout:
            print(waiting, file=sys.stderr, flush=True)
            return lock.acquire()
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        raise UserError(
            f"{path.parent} lies on a file system without locks ({error.strerror}): clone the "
            "project to a disk of this machine, or have the file system mounted with locks"
        ) from error


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
