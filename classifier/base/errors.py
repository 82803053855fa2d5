"""Errors that a user can cause and mend: one line that says what, where and what is allowed."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


class UserError(Exception):
    """A mistake outside this project's code; its message is the whole of what the user sees."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the program with one line on a `UserError` and on Ctrl-C; bugs keep their trace.

    The exit status is 1, or `INTERRUPTED`.
    """
    try:
        yield
    except UserError as error:
        _end(f"error: {error}", 1)
    except OSError as error:
        # A full disk and a read-only folder are the machine's state, not a bug: the system's own
        # words and the file's name say all there is to say.
        where = f": {error.filename}" if error.filename else ""
        _end(f"error: {error.strerror or error}{where}", 1)
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED)
    except Exception:
        _end(traceback.format_exc().rstrip(), 1)


def _end(message: str, status: int) -> NoReturn:
    """End with a message; after TensorFlow was loaded, without taking the interpreter apart.

    The exception's frames may hold TensorFlow's iterator over the batches. Deleting it
    waits, with Python's lock in hand, for a thread that may itself wait for this lock: for ever.
    """
    sys.stdout.flush()
    print(message, file=sys.stderr, flush=True)
    if "tensorflow" in sys.modules:
        os._exit(status)
    sys.exit(status)
