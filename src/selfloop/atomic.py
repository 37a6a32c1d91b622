"""A file that is there whole or not at all."""

import errno
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from selfloop.errors import ArgumentError


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file that takes ``path``'s place when the block ends, and vanishes when it raises.

    What is written goes to a name of its own beside ``path`` and to the disk before it is renamed: a reader never sees
    half of it, and of several writers at once the last one wins whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.parent / _beside(path)
    try:
        with beside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def check_replacing(path: Path) -> None:
    """Find out whether `replacing` could write a file, before there is anything to write; nothing is left behind.

    Raises:
        OSError: it could not.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    trial = folder / _beside(path)
    trial.touch(exist_ok=False)
    trial.unlink()


@contextmanager
def refused_if_unwritable(path: Path) -> Iterator[None]:
    """Turn an OSError into an ArgumentError that names the file, which the user has chosen."""
    try:
        yield
    except OSError as error:
        raise ArgumentError(f"{path} cannot be written ({error.strerror or error}): choose another place.") from error


def remove_leftovers(folder: Path, names: Iterable[str]) -> None:
    """Remove what killed writers left beside files of these names, such as ``*.json``, which no one else writes."""
    for name in names:
        for file in folder.glob(leftover(name)):
            file.unlink(missing_ok=True)


def leftover(name: str) -> str:
    """What a killed writer leaves beside a file of this name is called like this."""
    return f".{name}.*.tmp"


def _beside(path: Path) -> str:
    """The name under which a file is written, one of `leftover`."""
    return f".{path.name}.{uuid.uuid4().hex}.tmp"


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # the new name itself must reach the disk
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
