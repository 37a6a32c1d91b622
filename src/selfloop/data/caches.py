"""Where what can be made again is kept."""

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """The folder of one kind of thing in the user's cache: ``selfloop/NAME`` in ``XDG_CACHE_HOME``, or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "selfloop" / name
