import doctest
import importlib
import pkgutil

import pytest

import selfloop.data

MODULES = sorted(module.name for module in pkgutil.walk_packages(selfloop.data.__path__, "selfloop.data."))


@pytest.mark.parametrize("name", MODULES)
def test_every_example_in_a_docstring_is_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_public_names_are_there_and_sorted_into_all():
    assert [name for name in selfloop.data.__all__ if not hasattr(selfloop.data, name)] == []
