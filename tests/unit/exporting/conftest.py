import importlib.util
import subprocess
import sys

import pytest


@pytest.fixture(scope="session")
def called():
    """Opens the Python file of an export; its shared library is made first, with little optimisation."""

    def opened(folder, name="model", *, is_made=True):
        if is_made:
            command = ["make", "-s", f"lib{name}.so", "CFLAGS=-std=c99 -O1 -Wall -Wextra -Werror"]
            subprocess.run(command, cwd=folder, check=True)
        spec = importlib.util.spec_from_file_location(f"{name}_of_{folder.name}", folder / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    return opened
