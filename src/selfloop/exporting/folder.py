"""The folder that an export goes to: new or empty, so that nothing is overwritten."""

from collections.abc import Mapping
from pathlib import Path

from selfloop.atomic import replacing
from selfloop.errors import ArgumentError


def check_folder(folder: Path) -> None:
    """Raise ArgumentError unless a folder is new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArgumentError(f"The folder '{folder}' is not empty, and export overwrites nothing. Give a new one.")


def write_files(folder: Path, files: Mapping[str, bytes]) -> tuple[Path, ...]:
    """Write files of these names, each whole or not at all.

    Raises:
        ArgumentError: the folder cannot be written, or the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            with replacing(folder / name) as writer:
                writer.write(content)
    except OSError as error:
        raise ArgumentError(f"The folder '{folder}' cannot be written: {error.strerror}.") from None
    return tuple(folder / name for name in files)
