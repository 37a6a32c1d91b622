"""`selfloop show` prints every cell of the zoo, also those that no task gives all their inputs."""

import pytest

from selfloop.cells import ZOO


@pytest.mark.parametrize("name", ["lstm", *(name for name, cell in ZOO.items() if len(cell.inputs) > 1)])
def test_cells_are_shown(selfloop, name):
    said = selfloop("show", name)
    assert said.status == 0, said.err
    assert "sigmoid" in said.out or "tanh" in said.out or "σ" in said.out
