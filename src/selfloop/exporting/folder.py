"""The folder that an export goes to: new or empty, so that nothing is overwritten."""

import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from selfloop.atomic import replacing
from selfloop.errors import ArgumentError


def check_folder(folder: Path) -> None:
    """Raise ArgumentError unless a folder is new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArgumentError(f"The folder '{folder}' is not empty, and export overwrites nothing. Give a new one.")


def write_files(folder: Path, files: Mapping[str, bytes]) -> tuple[Path, ...]:
    """Write files of these names to a folder that is new or empty: all of them, or none.

    Raises:
        ArgumentError: the folder is not empty, or cannot be written, or the disk is full.
    """
    check_folder(folder)
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            with replacing(folder / name) as writer:
                writer.write(content)
    except OSError as error:
        for name in files:
            with suppress(OSError):
                (folder / name).unlink()
        if is_new:
            with suppress(OSError):
                folder.rmdir()
        raise ArgumentError(f"The folder '{folder}' cannot be written: {error.strerror}.") from None
    return tuple(folder / name for name in files)


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """A folder beside this one that takes its place when the block ends, and vanishes when it raises.

    Raises:
        ArgumentError: there is something at `folder`, or it cannot be written, or the disk is full.
    """
    check_folder(folder)
    beside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        beside.mkdir(parents=True)
        yield beside
        check_folder(folder)
        if folder.exists():
            folder.rmdir()
        beside.rename(folder)
    except OSError as error:
        raise ArgumentError(f"The folder '{folder}' cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
