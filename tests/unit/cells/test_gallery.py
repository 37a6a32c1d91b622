"""The page of cells is made of the cells, and says what they say."""

import runpy
import sys
from pathlib import Path

import pytest
from catalogue import ANY, WITH_FURTHER_INPUTS

from selfloop import cells

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture
def docs(monkeypatch):
    """A script of docs, whose neighbours it imports."""
    monkeypatch.setattr(sys, "path", [str(DOCS), *sys.path])
    return lambda name: runpy.run_path(str(DOCS / f"{name}.py"))


def test_the_page_says_what_the_cells_say(docs):
    written = docs("write_cells")
    assert written["PAGE"].read_text(encoding="utf-8") == written["page"](), "run python docs/write_cells.py"


def test_each_cell_has_a_picture():
    assert {path.stem for path in (DOCS / "cells").iterdir()} == set(cells.ZOO)


@pytest.mark.parametrize("entry", ANY + WITH_FURTHER_INPUTS, ids=str)
def test_each_state_has_an_equation_whose_brackets_match(docs, entry):
    lines = docs("cell_latex")["equations"](entry.cell.graph)
    symbol = docs("cell_latex")["symbol"]
    for state in entry.cell.graph.states:
        assert sum(line.startswith(f"{symbol(state)}_t &= ") for line in lines) == 1
    for line in lines:
        for left, right in ("()", "{}", "[]"):
            assert line.count(left) == line.count(right), line


def test_an_lstm_reads_as_its_equations(docs):
    assert docs("cell_latex")["equations"](cells.lstm.graph) == [
        r"a_{1} &= W_{xh} \, x_t + W_{hh} \, h_{t-1} + b",
        r"i &= \sigma(a_{1}^{(1)})",
        r"f &= \sigma(a_{1}^{(2)})",
        r"g &= \tanh(a_{1}^{(3)})",
        r"o &= \sigma(a_{1}^{(4)})",
        r"c_t &= f \odot c_{t-1} + i \odot g",
        r"h_t &= o \odot \tanh(c_t)",
    ]


def test_a_picture_is_drawn_of_any_cell(docs, tmp_path):
    draw = docs("cell_diagram")["draw"]
    for entry in ANY:
        draw(entry.cell.graph, tmp_path / f"{entry}.png")
        assert (tmp_path / f"{entry}.png").stat().st_size > 0
