"""The catalogue is complete, and so are the tables of the language."""

import pkgutil

from catalogue import ZOO, operations

from selfloop import cells
from selfloop.kernels.interpret import VALUES
from selfloop.language.graph import LEAVES
from selfloop.language.words import OPERATIONS, WORDS


def test_every_cell_of_the_zoo_is_in_the_catalogue():
    assert {entry.cell.name for entry in ZOO} == set(cells.ZOO)


def test_every_file_of_cells_holds_a_cell_of_the_zoo_under_its_name():
    assert {module.name for module in pkgutil.iter_modules(cells.__path__)} == set(cells.ZOO)
    assert set(cells.__all__) == set(cells.ZOO)


def test_every_operation_has_a_value_in_the_interpreter():
    assert set(OPERATIONS) == set(VALUES)


def test_every_operation_is_used_by_a_cell_of_the_catalogue():
    assert operations() - set(LEAVES) == set(OPERATIONS)


def test_every_word_is_public():
    import selfloop

    assert all(callable(getattr(selfloop, word)) for word in WORDS)
