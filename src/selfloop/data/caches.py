"""Where what can be made again is kept."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

Kept = TypeVar("Kept")


def cache_folder(name: str) -> Path:
    """The folder of one kind of thing in the user's cache: ``selfloop/NAME`` in ``XDG_CACHE_HOME``, or ``~/.cache``.

    Raises:
        OSError: the user has no home.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "selfloop" / name
    except RuntimeError as error:  # pathlib's way to say so
        raise OSError("there is no home folder") from error


def keep(name: str, folder: Path | None, make: Callable[[Path], Kept]) -> Kept:
    """What `make` opens from a folder, and makes there first if it must.

    Without a cache it is made each time, which is slower and no error: a temporary folder takes it, whose files are
    deleted at once and live as long as they are mapped.

    Args:
        name: of the user's cache.
        folder: another folder, and no other than this; None for the user's cache.
        make: maps what is in the folder that it is given.

    Raises:
        OSError: the folder that was given cannot be used, or nor can a temporary one.
    """
    if folder is not None:
        return make(folder)
    with suppress(OSError):
        return make(cache_folder(name))
    with TemporaryDirectory(prefix="selfloop-", ignore_cleanup_errors=True) as temporary:
        return make(Path(temporary))
