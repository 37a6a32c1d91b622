"""Where a user's programs keep what they can make again, and how much of it."""

import os
import re
import sys
import time
from contextlib import suppress
from pathlib import Path

_LEFTOVER = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{32}\.tmp")  # of `atomic.replacing`, whose process was killed
_HOUR = 3600.0


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


def prune(folder: Path, names: re.Pattern[str], limit: int) -> None:
    """Remove the files that were not used for longest until the rest fit, and what killed writers left behind.

    Several processes may prune at once: each removes the oldest of what it saw, and those are the same files. The
    newest file stays.

    Args:
        folder: that is looked at, without those in it.
        names: of the files; others are left alone.
        limit: how many bytes the files may have together.

    Raises:
        OSError: the folder cannot be read.
    """
    kept, left = list[tuple[float, int, str]](), list[tuple[float, str]]()
    with os.scandir(folder) as entries:
        for entry in entries:
            leftover = _LEFTOVER.fullmatch(entry.name)
            if names.fullmatch(leftover["name"] if leftover else entry.name):
                with suppress(OSError):  # another process was faster
                    about = entry.stat(follow_symlinks=False)
                    if leftover:
                        left.append((about.st_mtime, entry.name))
                    else:
                        kept.append((about.st_mtime, about.st_size, entry.name))
    total = sum(size for _, size, _ in kept)
    gone = [name for time_used, name in left if time.time() - time_used > _HOUR]
    for _, size, name in sorted(kept)[:-1]:
        if total <= limit:
            break
        total -= size
        gone.append(name)
    for name in gone:
        with suppress(OSError):
            (folder / name).unlink(missing_ok=True)
