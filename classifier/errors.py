"""Errors that a user can cause and mend: one line that says what, where and what is allowed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A mistake outside this project's code; its message is the whole of what the user sees."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the program with one line and exit status 1 on a `UserError`; bugs keep their trace."""
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        # A full disk and a read-only folder are the machine's state, not a bug: the system's own
        # words and the file's name say all there is to say.
        where = f": {error.filename}" if error.filename else ""
        sys.exit(f"error: {error.strerror or error}{where}")
