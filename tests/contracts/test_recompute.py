"""Keeping nothing but the states for the gradient changes no number."""

import pytest
import torch
from catalogue import CELLS, assert_close
from combinations import pairs

from selfloop import LSTM
from selfloop.errors import ArgumentError

CASES = {
    "plain": {},
    "ragged": {"lengths": torch.tensor([7, 0, 3, 5])},
    "resets": {"resets": torch.arange(28).view(7, 4) % 5 == 0},
}


@pytest.mark.parametrize(("entry", "case"), pairs(CELLS, CASES), ids=str)
def test_recomputing_changes_no_gradient(entry, case):
    def everything(recompute):
        torch.manual_seed(1)
        rnn = entry.layer(recompute=recompute, bidirectional=True, backend="native")
        x = torch.randn(7, 4, 3, dtype=torch.float64, requires_grad=True)
        y, state = rnn(x, **CASES[case])
        loss = sum((v * torch.randn_like(v)).sum() for v in (y, *state))
        leaves = [x, *rnn.parameters()]
        return [y, *state, *torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)]

    whole = everything(None)
    for recompute in (1, 3, 100):
        for got, expected in zip(everything(recompute), whole, strict=True):
            assert_close(got, expected)


def kept_bytes(rnn, x):
    """What is kept between forward and backward beside input, output and weights."""
    known = {p.data_ptr() for p in rnn.parameters()} | {x.data_ptr()}
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.setdefault(t.data_ptr(), t), lambda t: t):
        y, _ = rnn(x)
    return sum(t.untyped_storage().nbytes() for at, t in kept.items() if at not in known | {y.data_ptr()}) + y.nbytes


def test_recomputing_keeps_a_third_of_what_is_kept_otherwise():
    x = torch.randn(64, 16, 64, requires_grad=True)
    with_all, with_states = (kept_bytes(LSTM(64, 64, recompute=k), x) for k in (None, 8))
    assert with_states < 0.4 * with_all


def test_recomputing_is_a_number_of_steps():
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(ArgumentError, match=r"The 'recompute' of LSTM must be a number of steps ≥ 1. Got"):
            LSTM(3, 4, recompute=wrong)
