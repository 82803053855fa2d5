"""Silence for libraries written in C, which write to file descriptor 2 themselves."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stderr_silenced() -> Iterator[None]:
    """Send whatever is written to standard error to nowhere; exceptions still arrive."""
    if sys.stderr:
        sys.stderr.flush()
    try:
        stderr = os.dup(2)
    except OSError:  # a process without standard error: nothing to silence
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
