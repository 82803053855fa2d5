"""Where costly results that outlive a stage are kept: a shortcut, never a source of truth."""

import os
from pathlib import Path


def project_root() -> Path:
    """The checkout that the user works in, also inside an experiment's temporary copy.

    DVC runs `--temp` and queued experiments in a copy of the checkout and sets DVC_ROOT to the
    original one.
    """
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def cache_folder(name: str) -> Path:
    """`.cache/NAME` of the user's checkout, created; deleting it changes no result."""
    folder = project_root() / ".cache" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
