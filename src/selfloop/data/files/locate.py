"""Where a source is: on this machine, or on the hub."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selfloop.data.files.names import TABLES, TEXTS
from selfloop.data.tables.arrow import open_hub
from selfloop.errors import ConfigError, DataError, first_line, nearest
from selfloop.untrusted import exists, is_file, is_folder

_HUB = re.compile(r"(?P<name>[\w-][\w.-]*(/[\w-][\w.-]*)?)(:(?P<config>[\w.-]+))?")
_NEVER_ON_THE_HUB = {*TABLES, *TEXTS, ".md", ".log", ".py", ".gz", ".ts", ".npz", ".npy", ".idx"}


def locate(
    source: str | Path, open_there: Callable[[str, str | None], dict[str, Any]] = open_hub
) -> Path | dict[str, Any]:
    """The file or folder of that name, or the splits of that data set on the hub, as `open_there` opens them.

    Raises:
        DataError: there is neither, or what is there is a pipe or a device.

    >>> locate(".").is_dir()
    True
    """
    path = Path(source).expanduser()
    if is_file(path) or is_folder(path):
        return path
    if exists(path):
        raise DataError(f"{path} is a pipe or a device, and data are read more than once: write them to a file first.")
    siblings = [sibling.name for sibling in path.parent.iterdir()] if is_folder(path.parent) else []
    near = nearest(path.name, siblings)
    hub = _HUB.fullmatch(str(source))
    in_a_folder_here = path.parent != Path() and is_folder(path.parent)
    if hub is None or path.suffix.lower() in _NEVER_ON_THE_HUB or in_a_folder_here:
        raise DataError(f"There is no file or folder {path}{near or ': give one that exists.'}")
    try:
        return open_there(hub["name"], hub["config"])
    except Exception as error:  # the network, the hub and a stranger's files fail in more ways than have a common class
        raise DataError(
            f"'{source}' is no file or folder here, nor a dataset that the Hugging Face hub gives "
            f"({first_line(error)}){near or ': give an existing path, or the name of a public dataset.'}"
        ) from error


def check_encoding(encoding: str) -> None:
    """Raises a ConfigError where Python knows no such encoding of text.

    >>> check_encoding("latin-1")
    """
    try:
        "\n".encode(encoding)
    except LookupError:
        known = nearest(encoding, ("utf-8", "utf-16", "latin-1", "cp1252", "shift-jis", "gb18030"))
        raise ConfigError(f"The 'encoding' must be one Python knows. Got '{encoding}' instead{known or '.'}") from None
