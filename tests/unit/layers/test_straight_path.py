"""The straight path of a state: the derivative of a unit by itself, with all that mixes units held fixed."""

import pytest
import torch
from catalogue import CELLS

import selfloop as sl
from selfloop import cells
from selfloop.layers.straight_path import straight_path


def path_of(rnn, suffix="_l0"):
    x = torch.randn(6, 2, rnn.input_size, dtype=torch.float64)
    names = tuple(rnn.cell.graph.states)
    with torch.no_grad():
        _, _, seen = rnn(x, record=names)
    before = {name: torch.cat([torch.zeros_like(seen[f"{name}_l0"][:1]), seen[f"{name}_l0"][:-1]]) for name in names}
    flat = {name: s.flatten(0, 1) for name, s in before.items()}
    return x, before, straight_path(rnn, suffix, x.flatten(0, 1), flat)


@pytest.mark.parametrize(
    ("cell", "state", "gate"), [("lstm", "c", "f"), ("peephole_lstm", "c", "f"), ("gru", "h", "z"), ("mgu", "h", "f")]
)
def test_of_gated_cells_it_is_the_gate(cell, state, gate):
    rnn = sl.Recurrent(getattr(cells, cell), 3, 4, dtype=torch.float64)
    x, _, path = path_of(rnn)
    _, _, seen = rnn(x, record=(gate,))
    found = seen[f"{gate}_l0"].flatten(0, 1)
    torch.testing.assert_close(path[state], 1 - found if cell == "mgu" else found)


def test_a_vanilla_rnn_has_none():
    _, _, path = path_of(sl.Recurrent(cells.vanilla, 3, 4, dtype=torch.float64))
    assert not path["h"].any()


@pytest.mark.parametrize("entry", CELLS, ids=str)
def test_every_cell_has_one(entry):
    rnn = entry.layer().eval()
    _, before, path = path_of(rnn)
    assert {name: p.shape for name, p in path.items()} == {name: s.flatten(0, 1).shape for name, s in before.items()}
    assert all(p.isfinite().all() for p in path.values())


def test_without_products_it_is_the_whole_derivative():
    @sl.cell
    def leaky(x, h=sl.state("x"), *, a=sl.param("x")):
        h = sl.sigmoid(a) * h + sl.tanh(x) * h**2
        return h

    rnn = sl.Recurrent(leaky, 3, 3, dtype=torch.float64)
    x, before, path = path_of(rnn)
    h = before["h"]
    expected = 0.5 + 2 * x.tanh() * h
    torch.testing.assert_close(path["h"], expected.flatten(0, 1))
