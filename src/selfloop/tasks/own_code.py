"""The user's own code, ``FILE.py:NAME``, which is run because the user has named it."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from selfloop.errors import ConfigError, SelfloopError
from selfloop.untrusted import is_file


def run_file(kind: str, name: str) -> ModuleType:
    """What the file of ``FILE.py:NAME`` defines.

    Args:
        kind: what is wanted of it, for errors: ``cell``.
        name: the file and the name in it.

    Raises:
        ConfigError: there is no such file, or it does not run.
    """
    file, _, own = name.rpartition(":")
    path = Path(file)
    if not is_file(path):
        raise ConfigError(f"The {kind} '{name}' is to come from {file}, which is not a file here.")
    spec = importlib.util.spec_from_file_location(f"selfloop_own_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"The {kind} '{name}' is to come from {file}, which is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a dataclass of the file looks for its names
    try:
        spec.loader.exec_module(module)
    except SelfloopError:
        raise
    except Exception as error:
        raise ConfigError(
            f"The file {file} of the {kind} '{own}' does not run: {type(error).__name__}: {error}."
        ) from error
    return module
