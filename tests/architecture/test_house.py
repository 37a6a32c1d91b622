"""The shape of the house: names, homes, and what a fast start leaves unimported."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import selfloop

SOURCE = Path(selfloop.__file__).parent
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
FILES = sorted(SOURCE.rglob("*.py"))
RUNNER = SOURCE / "exporting" / "onnx" / "tasks" / "run.py"
"""A program that exports carry along."""

# A library has one home, or a few that are named here.
HOMES = {
    "typer": {"cli"},
    "rich": {"app", "cli"},
    "matplotlib": {"training", "bench", "inspect"},
    "pydantic": {"config.py", "options", "tasks"},
    "datasets": {"data"},
    "tokenizers": {"data"},
    "accelerate": {"app", "training"},
    "llvmlite": {"compiler"},
    "sacrebleu": {"metrics"},
    "av": {"data"},
    "PIL": {"data", "inspect", "tasks"},
    "huggingface_hub": {"tasks", "data"},
}


def imported(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_what_runs_an_export_needs_no_torch_and_no_selfloop():
    assert imported(RUNNER) - sys.stdlib_module_names == {"numpy", "onnxruntime", "tokenizers", "PIL"}


@pytest.mark.parametrize("file", [f for f in FILES if f != RUNNER], ids=lambda f: str(f.relative_to(SOURCE)))
def test_a_library_is_imported_in_its_home_only(file):
    where = file.relative_to(SOURCE).parts[0]
    for library in imported(file) & set(HOMES):
        assert where in HOMES[library], f"{library} in {file}"


def test_every_requirement_is_imported_or_used_by_a_library_that_needs_it():
    text = PYPROJECT.read_text(encoding="utf-8")
    required = re.findall(
        r'^    "([A-Za-z0-9_-]+)[^"]*",$', text.partition("dependencies = [")[2].partition("]")[0], re.M
    )
    modules = {"pillow": "PIL"}
    of_others = {"tensorboard"}  # through torch.utils.tensorboard
    everything = set().union(*map(imported, FILES))
    assert len(required) > 10
    assert [name for name in required if modules.get(name, name) not in everything | of_others] == []


def test_imports_run_down_the_house():
    """The contract in pyproject.toml, in a process whose path import-linter may change."""
    code = (
        "import sys; from importlinter.cli import lint_imports\n"
        f"sys.exit(lint_imports(config_filename={str(PYPROJECT)!r}, no_cache=True))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_language_and_the_cells_do_without_torch():
    for file in FILES:
        if file.relative_to(SOURCE).parts[0] in (
            "language",
            "cells",
            "compiler",
            "errors.py",
            "config.py",
            "atomic.py",
            "processors.py",
        ):
            assert "torch" not in imported(file), file


def test_nothing_is_unpickled():
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        assert "pickle" not in imported(file), file
        if file.relative_to(SOURCE).as_posix() != "converting/state_dicts.py":
            assert "torch.load(" not in text, file
        else:  # users' state dicts, of which torch makes tensors alone
            loads = re.findall(r"torch\.load\([^\n]*", text)
            assert loads == ['torch.load(path, map_location="cpu", weights_only=True)']


def test_no_module_has_a_name_that_says_nothing():
    nameless = {"utils", "util", "helpers", "helper", "misc", "common", "base", "manager"}
    assert not [file for file in FILES if file.stem in nameless]


@pytest.mark.parametrize("name", selfloop.__all__)
def test_public_names_are_there(name):
    assert getattr(selfloop, name) is not None
    assert name in dir(selfloop)


@pytest.mark.parametrize("package", [m.name for m in pkgutil.iter_modules(selfloop.__path__) if m.ispkg])
def test_packages_name_what_is_public(package):
    module = importlib.import_module(f"selfloop.{package}")
    for name in getattr(module, "__all__", ()):
        assert hasattr(module, name)


@pytest.mark.parametrize("package", ["selfloop.language", "selfloop.layers"])
def test_what_these_packages_name_is_public(package):
    inner = {"Graph", "Node"}  # what the kernels read
    assert set(importlib.import_module(package).__all__) - inner <= set(selfloop.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'lstm_cell'"):
        _ = selfloop.lstm_cell


@pytest.mark.parametrize("arguments", [["--help"], ["train", "lm", "--help"], ["--version"]])
def test_help_waits_for_no_heavy_library(arguments):
    code = (
        "import sys\n"
        "from selfloop.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'numpy', 'datasets', 'tokenizers', 'accelerate', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
