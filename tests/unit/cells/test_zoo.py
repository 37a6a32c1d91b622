"""What every cell of the zoo has beside its equations."""

import importlib
import re

import pytest

from selfloop import cells


@pytest.mark.parametrize("cell", cells.ZOO.values(), ids=lambda cell: cell.name)
def test_a_cell_names_its_formula_and_its_paper(cell):
    assert "$" in cell.__doc__ or "$" in importlib.import_module(cell.__module__).__doc__
    assert re.search(r"[A-Z]\w+ (&|et al\.|[12]\d{3}).* ?[12]\d{3}|[A-Z]\w+ [12]\d{3}", cell.__doc__)


def test_a_cell_is_named_as_its_file():
    assert all(cell.__module__ == f"selfloop.cells.{name}" for name, cell in cells.ZOO.items())
