"""A folder that is there whole or not at all."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selfloop.errors import ArgumentError


def check_new(folder: Path) -> None:
    """Raise ArgumentError unless there is nothing at a path, or an empty folder."""
    try:
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return
    except OSError as error:
        raise ArgumentError(f"The folder '{folder}' cannot be read: {error.strerror}.") from None
    raise ArgumentError(f"The folder '{folder}' is not empty, and export overwrites nothing. Give a new one.")


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """A folder beside this one that takes its place when the block ends, and vanishes when it raises.

    Raises:
        ArgumentError: there is something at `folder`, or the disk is full or not to be written on.
    """
    check_new(folder)
    beside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        beside.mkdir(parents=True)
        yield beside
        check_new(folder)
        if folder.exists():
            folder.rmdir()
        beside.rename(folder)
    except OSError as error:
        raise ArgumentError(f"The folder '{folder}' cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
