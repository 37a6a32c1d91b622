"""The examples in docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import selfloop

MODULES = [
    "selfloop",
    *(
        module.name
        for module in pkgutil.walk_packages(selfloop.__path__, "selfloop.")
        if not module.name.startswith("selfloop.cli") and module.name != "selfloop.__main__"
    ),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    module = importlib.import_module(name)
    names = {"torch": importlib.import_module("torch"), "np": importlib.import_module("numpy")}
    failed, _ = doctest.testmod(module, extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0
