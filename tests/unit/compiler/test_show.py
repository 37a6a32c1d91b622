"""Every level as it prints, for four cells; what changes here changes what is compiled.

python tests/unit/compiler/test_show.py    # writes the files anew; read the difference
"""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import selfloop as sl
from selfloop.cli import app
from selfloop.compiler import LEVELS
from selfloop.errors import ArgumentError, BackendError

GOLDEN = Path(__file__).parent / "golden"
CELLS = ("lstm", "gru_reset_before", "layer_norm_lstm", "recurrent_highway")


def prints(name):
    """Every level above LLVM."""
    cell = sl.cells.ZOO[name]
    levels = ("equations", "graph", "step", "program")
    return "\n\n".join(f"===== {level}\n{sl.show(cell, level, sizes={'x': 3, 'h': 4})}" for level in levels) + "\n"


@pytest.mark.parametrize("name", CELLS)
def test_every_level_prints_as_it_did(name):
    assert prints(name) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def run(*arguments):
    return CliRunner().invoke(app, ["show", *arguments])


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_prints_for_a_cell_of_ones_own(level, tmp_path):
    own = tmp_path / "mine.py"
    own.write_text(
        "import selfloop as sl\n\n@sl.cell\ndef mine(x, h, *, W=sl.param('h x'), k=sl.param('d')):\n"
        "    h = sl.tanh(W @ x + sl.sum(k) * h)\n    return h\n"
    )
    target = ["--target", "neon"] if level in ("llvm", "assembly") else []
    done = run(f"{own}:mine", "--level", level, "--sizes", "x=2,h=3,d=5", *target)
    assert done.exit_code == 0
    expected = {"equations": "h[t] = ", "graph": "matmul", "step": "load param k[0:] : 5", "llvm": "define void"}
    assert expected.get(level, {"program": "reduction loop", "assembly": "fmla"}.get(level)) in done.output


def test_sizes_that_are_left_out_are_64():
    assert "h_prev h[0:] : 64" in sl.show(sl.cells.lstm, "step")
    assert "h_prev h[0:] : 7" in sl.show(sl.cells.lstm, "step", sizes={"h": 7})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"level": "ssa"}, ArgumentError, "The 'level' must be one of equations, graph, .*. Got 'ssa' instead."),
        ({"level": "grap"}, ArgumentError, "did you mean 'graph'"),
        ({"sizes": {"hidden": 3}}, ArgumentError, "The cell 'lstm' has no size 'hidden'; its sizes are h, x."),
        ({"sizes": {"h": 0}}, ArgumentError, "must be a whole number ≥ 1"),
        ({"level": "llvm", "target": "z80"}, BackendError, "There is no target 'z80'; there are avx512, "),
        ({"level": "step", "target": "neon"}, ArgumentError, "A 'target' is for the levels llvm and assembly"),
    ],
)
def test_what_cannot_be_shown_is_an_error(arguments, error, message):
    with pytest.raises(error, match=message):
        sl.show(sl.cells.lstm, **arguments)


@pytest.mark.parametrize("sizes", ["h", "h=", "h=-1", "h=1.5", "64", "h=0"])
def test_sizes_are_whole_numbers_by_name(sizes):
    done = run("lstm", "--sizes", sizes)
    assert isinstance(done.exception, ArgumentError)
    assert str(done.exception) == f"--sizes takes whole numbers by name, as x=64,h=128. Got '{sizes}' instead."


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for each in CELLS:
        (GOLDEN / f"{each}.txt").write_text(prints(each), encoding="utf-8")


def test_what_is_no_cell_or_no_level_is_said():
    with pytest.raises(ArgumentError, match="of show must be made by @selfloop"):
        sl.show(3)
    with pytest.raises(ArgumentError, match="must be one of equations"):
        sl.show(sl.cells.lstm, 3)
