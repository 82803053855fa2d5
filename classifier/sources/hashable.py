"""What in a folder of pictures stops DVC, before any stage could leave it out.

DVC hashes data.source first. A link that leads nowhere and a name that is not UTF-8 end it in a
message about its own workings, and on a named pipe it waits for ever.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from classifier.base.errors import UserError
from classifier.sources.members import printable


def check_hashable(source: Path) -> None:
    """Refuse a folder that DVC cannot hash; anything else passes.

    Raises:
        UserError: names the first such file, and says how many there are.
    """
    found = sorted(_unhashable(source)) if source.is_dir() else []
    if found:
        path, reason = found[0]
        more = f" ({len(found) - 1:,} more such files)" if len(found) > 1 else ""
        raise UserError(
            f"{printable(path)} {reason}{more}: DVC cannot take it for data.source; delete or "
            "rename it, or pack the pictures into an archive, of which only such files are left out"
        )


def _unhashable(source: Path) -> Iterator[tuple[str, str]]:
    for folder, folders, files in os.walk(source):
        for name in folders + files:
            if any("\udc80" <= character <= "\udcff" for character in name):
                yield f"{folder}/{name}", "has a name that is not UTF-8"
        for name in files:
            path = f"{folder}/{name}"
            if not os.path.isfile(path):  # noqa: PTH113 - a million Paths take seconds
                yield path, _reason(path)


def _reason(path: str) -> str:
    mode = os.lstat(path).st_mode
    return "is a link to nothing" if stat.S_ISLNK(mode) else "is no file, but a pipe or a device"
