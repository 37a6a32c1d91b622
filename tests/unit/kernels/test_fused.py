"""Torch's own functions: which cells have one, when it refuses, and what padding must not do."""

import pytest
import torch
from catalogue import CELLS, FUSED, assert_close, everything

import selfloop as sl
from selfloop.errors import BackendError
from selfloop.kernels import dispatch, fused
from selfloop.kernels.problem import Problem


def problem(entry, T=2, resets=None):
    rnn = entry.layer()
    params = {name: getattr(rnn, f"{name}_l0") for name in entry.cell.graph.params}
    x = torch.zeros(T, 1, 3, dtype=torch.float64)
    return Problem(entry.cell.graph, params, x, tuple(s[0] for s in rnn.zero_state(1)), resets=resets)


@pytest.mark.parametrize("entry", FUSED, ids=str)
def test_a_cell_of_torchs_runs_fused_unless_torch_cannot(entry):
    assert fused.refusal(problem(entry)) is None
    assert fused.refusal(problem(entry, T=0)) == "torch's fused functions take no empty input"
    resets = torch.zeros(2, 1, dtype=torch.bool)
    assert fused.refusal(problem(entry, resets=resets)) == (
        "torch's fused functions cannot reset the state inside a sequence"
    )


@pytest.mark.parametrize("entry", [e for e in CELLS if e not in FUSED], ids=str)
def test_another_cell_is_refused_with_the_reason(entry):
    reason = "torch has fused functions for its own RNN, LSTM and GRU alone, and these equations are none of them"
    assert fused.refusal(problem(entry)) == reason
    with pytest.raises(BackendError, match=reason):
        dispatch.choose(problem(entry), "torch")


def test_the_same_equations_under_other_names_run_fused():
    @sl.cell
    def mine(u, s, *, A=sl.param("h x"), B=sl.param("h h"), d=sl.param("h")):
        return sl.tanh(A @ u + B @ s + d)

    assert "runs as    torch" in sl.Recurrent(mine, 3, 4, backend="torch").explain()


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_a_state_that_grows_beyond_a_sequences_end_leaves_gradients_alone(nonlinearity):
    """Rectified units double at each of 2,000 padded steps: infinity there, times zero, must not reach a gradient."""
    rnn = sl.RNN(1, 1, nonlinearity=nonlinearity, dtype=torch.float64)
    with torch.no_grad():
        for weight in rnn.parameters():
            weight.fill_(2)
    x = torch.ones(2000, 2, 1, dtype=torch.float64)
    answers = {}
    for backend in ("torch", "interpret"):
        rnn.backend = backend
        answers[backend] = everything(rnn, x, rnn.zero_state(2), lambda x, start: rnn(x, start, lengths=[5, 3]))
    for got, expected in zip(*answers.values(), strict=True):
        assert_close(got, expected)
