"""A cell by name: of the zoo, or of the user's own file."""

import importlib.util
import sys
from pathlib import Path

from selfloop.cells import ZOO
from selfloop.errors import ConfigError, SelfloopError, nearest
from selfloop.language import Cell


def choose_cell(name: str) -> Cell:
    """The cell ``lstm`` of the zoo, or ``FILE.py:NAME``, which runs that file.

    Raises:
        ConfigError: there is no such cell, or the file does not run.
    """
    file, colon, own = name.rpartition(":")
    if not colon:
        if name not in ZOO:
            hint = nearest(name, ZOO) or f"; known are {', '.join(ZOO)}, and FILE.py:NAME for one's own."
            raise ConfigError(f"The cell '{name}' is not in the zoo{hint}")
        return ZOO[name]
    path = Path(file)
    if not path.is_file():
        raise ConfigError(f"The cell '{name}' is to come from {file}, which is not a file here.")
    spec = importlib.util.spec_from_file_location(f"selfloop_own_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"The cell '{name}' is to come from {file}, which is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a dataclass of the file looks for its names
    try:
        spec.loader.exec_module(module)
    except SelfloopError:
        raise
    except Exception as error:
        raise ConfigError(
            f"The file {file} of the cell '{own}' does not run: {type(error).__name__}: {error}."
        ) from error
    found = getattr(module, own, None)
    if not isinstance(found, Cell):
        cells = [n for n, value in vars(module).items() if isinstance(value, Cell)]
        raise ConfigError(f"{file} has no cell '{own}'; its cells are: {', '.join(cells) or 'none'}.")
    return found
