"""Where what can be made again of the user's data is kept: tokens, and what was seen in images."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from selfloop.caches import prune, user_caches
from selfloop.errors import DataError

LIMIT = 8 * 2**30
"""How many bytes the files of one cache may have together; those that were not used for longest go first."""

Kept = TypeVar("Kept")

_NAMES = re.compile(r"[0-9a-f]{32}\.\w+")  # of files that are called after a hash of what they hold


def keep(name: str, what: str, folder: Path | None, make: Callable[[Path], Kept]) -> Kept:
    """What `make` opens from a folder, and makes there first if it must.

    Without a cache it is made each time, which is slower and no error: a temporary folder takes it, whose files are
    deleted at once and live as long as they are mapped.

    Args:
        name: of the folder in the user's cache, ``selfloop/NAME``.
        what: is kept, for the error: ``The tokens of the text``.
        folder: another folder, and no other than this; None for the user's cache.
        make: maps what is in the folder that it is given.

    Raises:
        DataError: the folder that was given cannot be used, or nor can a temporary one.
    """
    try:
        if folder is not None:
            return _kept(folder, make)
        with suppress(OSError):
            return _kept(user_caches() / "selfloop" / name, make)
        with TemporaryDirectory(prefix="selfloop-", ignore_cleanup_errors=True) as temporary:
            return make(Path(temporary))
    except OSError as error:
        raise DataError(
            f"{what} cannot be kept in {folder or 'the cache, nor in a temporary folder'} "
            f"({error.strerror or error}): free some space there, or set XDG_CACHE_HOME to another folder."
        ) from error


def used(*paths: Path) -> None:
    """Have files count as used now; a disk that is read only keeps the old time."""
    for path in paths:
        with suppress(OSError):
            os.utime(path)


def _kept(folder: Path, make: Callable[[Path], Kept]) -> Kept:
    found = make(folder)
    with suppress(OSError):
        prune(folder, _NAMES, LIMIT)
    return found
