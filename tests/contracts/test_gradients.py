"""Gradients are those of finite differences: with respect to the input, the initial state and every parameter."""

import pytest
import torch
from catalogue import ANY, CELLS, FUSED
from combinations import ALL

import selfloop as sl

WHOLE, RAGGED = {}, {"lengths": torch.tensor([3, 1])}
RESET = {**RAGGED, "resets": torch.tensor([[False, True], [False, False], [True, True]])}
CASES = [
    pytest.param(entry, backend, options, id=f"{entry}-{backend}-{what}")
    for backend, cells in (("native", CELLS), ("interpret", ANY), ("torch", FUSED))
    for what, options in (("whole", WHOLE), ("ragged", RAGGED), ("resets", RESET))
    for entry in cells
    if not (backend == "torch" and options is RESET) and not entry.has_other_gradient
]


@pytest.mark.parametrize(("entry", "backend", "options"), CASES)
def test_gradients_are_those_of_finite_differences(entry, backend, options):
    rnn = entry.layer(input_size=2, hidden_size=3, backend=backend)
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    first = [torch.randn_like(s).requires_grad_() for s in rnn.zero_state(2)]
    names = list(rnn.zero_state(2).tensors)

    def run(x, *rest):
        states, weights = rest[: len(names)], rest[len(names) :]
        parameters = {name: w for (name, _), w in zip(rnn.named_parameters(), weights, strict=True)}
        start = sl.State(**dict(zip(names, states, strict=True)))
        y, final = torch.func.functional_call(rnn, parameters, (x, start), options)
        return y, *final

    # The fast mode compares both gradients along one random direction, the slow mode number by number.
    assert torch.autograd.gradcheck(run, (x, *first, *rnn.parameters()), fast_mode=not ALL)
