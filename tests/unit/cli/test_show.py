"""`selfloop show` prints every cell of the zoo, also those that no task gives all their inputs."""

import pytest

from selfloop.cells import ZOO


@pytest.mark.parametrize("name", ["lstm", *(name for name, cell in ZOO.items() if len(cell.inputs) > 1)])
def test_cells_are_shown(selfloop, name):
    said = selfloop("show", name)
    assert said.status == 0, said.err
    assert "sigmoid" in said.out or "tanh" in said.out or "σ" in said.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("lstm --target avx2", "A 'target' is for the levels llvm and assembly. Leave it out for 'equations'."),
        ("lstm --sizes x=3,x=4", "--sizes names 'x' twice: give one number for it."),
        ("lstm --sizes y=3", "The cell 'lstm' has no size 'y'; its sizes are h, x."),
    ],
)
def test_what_would_not_be_followed_is_refused(selfloop, words, message):
    assert selfloop("show", *words.split()).sentence == f"{message}\n"
