"""Files that appear whole or not at all."""

import csv
import errno
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

# The earliest time that a zip archive can hold: its bytes depend on its members alone.
ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well.

    The temporary file lies in the same folder, so that the rename is atomic. When the block fails
    it is deleted and whatever `path` held before stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        with beside.open("rb") as file:
            os.fsync(file.fileno())  # else a lost machine may leave the name without the content
        beside.chmod(0o644)  # mkstemp makes private files; outputs are for everybody
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def new_array(path: Path, shape: tuple[int, ...], dtype: Any) -> "np.memmap":
    """Make an .npy file and map it, all of its space taken.

    Raises:
        OSError: the disk has no room for it. Without its space taken, writing to the mapping would
            end the process with a signal where the disk is full.
    """
    import numpy as np

    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # not every disk can
                    raise OSError(error.errno, error.strerror, str(path)) from error
    return array


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, whole or not at all."""
    with whole(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON that ends in a line feed, keys in the order given; NaN is an error."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_table(
    path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]], delimiter: str = ","
) -> None:
    """Write a table as UTF-8 text with a header and Unix line ends, whole or not at all."""
    with whole(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
