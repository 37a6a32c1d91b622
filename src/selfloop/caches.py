"""Where a user's programs keep what they can make again."""

import os
import sys
from pathlib import Path


def user_caches() -> Path:
    """The folder of caches: ``XDG_CACHE_HOME``, or what the platform has, as ``~/.cache`` on Linux.

    Raises:
        OSError: the user has no home folder.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():  # the XDG standard ignores relative paths
        return named
    local = os.environ.get("LOCALAPPDATA")
    if sys.platform == "win32" and local:
        return Path(local)
    folder = {"win32": "AppData/Local", "darwin": "Library/Caches"}.get(sys.platform, ".cache")
    try:
        return Path.home() / folder
    except RuntimeError as error:  # pathlib's way to say so
        raise OSError("there is no home folder") from error
