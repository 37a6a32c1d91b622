"""Where what can be made again is kept."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from selfloop.caches import user_caches
from selfloop.errors import DataError

Kept = TypeVar("Kept")


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
            return make(folder)
        with suppress(OSError):
            return make(user_caches() / "selfloop" / name)
        with TemporaryDirectory(prefix="selfloop-", ignore_cleanup_errors=True) as temporary:
            return make(Path(temporary))
    except OSError as error:
        raise DataError(
            f"{what} cannot be kept in {folder or 'the cache, nor in a temporary folder'} "
            f"({error.strerror or error}): free some space there, or set XDG_CACHE_HOME to another folder."
        ) from error
