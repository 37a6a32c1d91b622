"""The user's own code, ``FILE.py:NAME``, which is run because the user has named it."""

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
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


def code_digest(path: Path) -> str:
    """A hash of a file of the user's, and of the modules of the user's that it imports, directly or not.

    Installed packages, Python's and selfloop's own modules are taken as they are.

    Raises:
        OSError: the file cannot be read.
    """
    found: dict[str, bytes] = {}
    todo = [("", path, "")]
    while todo:
        name, file, package = todo.pop()
        if name in found:
            continue
        found[name] = file.read_bytes()
        for imported in _imports(found[name], package):
            spec = _spec(imported)
            if spec is not None and spec.origin is not None and is_file(Path(spec.origin)) and _is_own(spec.origin):
                todo.append((spec.name, Path(spec.origin), spec.parent or ""))
    digest = hashlib.sha256(found.pop(""))
    for name in sorted(found):
        digest.update(f" {name} {hashlib.sha256(found[name]).hexdigest()}".encode())
    return digest.hexdigest()


def _imports(code: bytes, package: str) -> Iterator[str]:
    """The modules that a module of this package imports, wherever it does; what is no Python imports none."""
    try:
        nodes = [*ast.walk(ast.parse(code))]
    except (SyntaxError, ValueError):
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                above = package.split(".")[: 1 - node.level or None]
                module = ".".join([*above, module] if module else above)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)  # each may be a module, or a name in one


def _spec(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):  # as where its parent is no package
        return None


def _is_own(origin: str) -> bool:
    """Whether a module's file is the user's: not of Python, not installed, and not selfloop's."""
    path, ours = Path(origin), Path(__file__).parents[1]
    installed = {"site-packages", "dist-packages"} & {*path.parts}
    return not installed and not any(path.is_relative_to(folder) for folder in (sysconfig.get_path("stdlib"), ours))
