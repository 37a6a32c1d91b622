from pathlib import Path

import pytest

from selfloop.cells import ZOO
from selfloop.errors import CellError, ConfigError
from selfloop.tasks.choose_cell import choose_cell

OWN = """
from __future__ import annotations

from dataclasses import dataclass

import selfloop as sl
from selfloop import param, tanh


@dataclass
class Note:
    text: str = "files may hold other things"


@sl.cell
def mine(x, h, *, W=param("h x"), U=param("h h")):
    h = tanh(W @ x + U @ h)
    return h
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "own.py"
    file.write_text(OWN)
    return file


@pytest.mark.parametrize("name", [name for name, cell in ZOO.items() if len(cell.inputs) == 1])
def test_a_name_of_the_zoo_is_its_cell(name):
    assert choose_cell(name) is ZOO[name]


@pytest.mark.parametrize("absolute", [True, False])
def test_a_file_of_ones_own_gives_its_cell(own, absolute):
    assert choose_cell(f"{own if absolute else own.name}:mine").name == "mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lstmm", "The cell 'lstmm' is not in the zoo; did you mean 'lstm'?"),
        ("gru_d", "The cell 'gru_d' reads mask and dt beside x, .* from Python, as rnn\\(x, mask=…, dt=…\\)."),
        ("zzz", "The cell 'zzz' is not in the zoo; known are antisymmetric, .*, and FILE.py:NAME for one's own."),
        ("none.py:mine", "The cell 'none.py:mine' is to come from none.py, which is not a file here."),
        ("notes.txt:mine", "The cell 'notes.txt:mine' is to come from notes.txt, which is not a Python file."),
        ("own.py:other", "own.py has no cell 'other'; its cells are: mine."),
        ("own.py:Note", "own.py has no cell 'Note'; its cells are: mine."),
        ("empty.py:mine", "empty.py has no cell 'mine'; its cells are: none."),
        ("broken.py:mine", "The file broken.py of the cell 'mine' does not run: ZeroDivisionError: division by zero."),
        ("odd.py:mine", r"The file odd.py of the cell 'mine' does not run: SyntaxError: .*\."),
    ],
)
def test_what_is_no_cell_is_named_in_one_sentence(own, name, message):
    for file, text in (("notes.txt", ""), ("empty.py", ""), ("broken.py", "1 / 0"), ("odd.py", "def (")):
        own.with_name(file).write_text(text)
    with pytest.raises(ConfigError, match=f"^{message.replace('?', '[?]')}$"):
        choose_cell(name)


def test_an_error_in_the_cell_itself_comes_as_it_is(own):
    own.write_text(OWN.replace("tanh(W", "print(W"))
    with pytest.raises(CellError):
        choose_cell("own.py:mine")
