"""Cells whose states are matrices: what the other contracts do not hold them to."""

import pytest
import torch
from catalogue import INTERPRETED, assert_close

import selfloop as sl
from selfloop.errors import BackendError

each_cell = pytest.mark.parametrize("entry", INTERPRETED, ids=str)


@each_cell
def test_explain_says_which_matrix_is_not_compiled(entry):
    rnn = entry.layer()
    (matrix,) = (name for name in entry.cell.graph.states if len(entry.cell.graph.shape(name)) == 2)
    reason = f"{matrix} is a matrix that differs from step to step, and compiled kernels hold vectors"
    assert f"not as     native: {reason}" in rnn.explain()
    assert "native: " + reason in sl.Stepper(rnn).explain()
    assert rnn.runs_as == "interpret"
    rnn.backend = "native"
    with pytest.raises(BackendError, match=reason):
        rnn(torch.zeros(2, 1, 3, dtype=torch.float64))
    with pytest.raises(BackendError, match=f"'{entry}' cannot be compiled: {matrix} is a matrix"):
        sl.show(entry.cell, "step", sizes={"x": 3, "h": 4})
    assert "outer" in sl.show(entry.cell, "graph")


@each_cell
def test_states_are_matrices_a_layer_a_direction_and_a_sequence(entry):
    rnn = entry.layer(bidirectional=True, num_layers=2)
    _, state = rnn(torch.randn(3, 5, 3, dtype=torch.float64))
    sizes = {"h": 4, "": 1, **entry.sizes}
    for name, s in state.tensors.items():
        assert s.shape == (4, 5, *(size.value(sizes) for size in entry.cell.graph.shape(name)))


@each_cell
def test_a_sequence_may_be_read_in_two_calls(entry, tmp_path):
    rnn = entry.layer(num_layers=2).requires_grad_(False)
    x = torch.randn(6, 3, 3, dtype=torch.float64)
    y, last = rnn(x)
    first, state = rnn(x[:4])
    path = str(tmp_path / "state.safetensors")
    state.save(path)
    second, state = rnn(x[4:], sl.State.load(path))
    assert_close(torch.cat([first, second]), y)
    for a, b in zip(state, last, strict=True):
        assert_close(a, b)


@each_cell
def test_rows_of_a_state_are_chosen_and_zeroed(entry):
    rnn = entry.layer().requires_grad_(False)
    _, state = rnn(torch.randn(3, 3, 3, dtype=torch.float64))
    chosen = state.select(torch.tensor([2, 2]))
    zeroed = state.reset(torch.tensor([False, True, False]))
    for s, some, rest in zip(state, chosen, zeroed, strict=True):
        assert torch.equal(some, s[:, [2, 2]])
        assert torch.equal(rest, s * torch.tensor([1, 0, 1]).view(3, *[1] * (s.dim() - 2)))
    stepper = sl.Stepper(rnn, 3)
    stepper.reset(state)
    stepper.reset(mask=torch.tensor([False, True, False]))
    for got, expected in zip(stepper.state, zeroed, strict=True):
        assert torch.equal(got, expected)


@each_cell
def test_where_sequences_start_is_learnt(entry):
    rnn = entry.layer(learn_state=True, num_layers=2)
    x = torch.randn(3, 5, 3, dtype=torch.float64)
    start, zeros = rnn.initial_state(5), rnn.zero_state(5)
    for name, s in start.tensors.items():
        assert s.shape == zeros.tensors[name].shape
        assert torch.equal(s[1, 3], rnn.get_parameter(f"{name}_l1"))
    y, _ = rnn(x)
    assert_close(y, rnn(x, start)[0])
    assert not torch.allclose(y, rnn(x, zeros)[0])
    y.square().sum().backward()
    (matrix,) = (name for name, s in start.tensors.items() if s.dim() == 4)
    assert rnn.get_parameter(f"{matrix}_l0").grad.abs().min() > 0


def test_a_state_of_another_shape_is_refused():
    rnn = INTERPRETED[0].layer()
    state = sl.State(h=torch.zeros(1, 2, 4).double(), S=torch.zeros(1, 2, 4).double())
    with pytest.raises(sl.SelfloopError, match=r"The state 'S' of Recurrent must have shape \(1, 2, 4, 4\)"):
        rnn(torch.zeros(3, 2, 3, dtype=torch.float64), state)


@each_cell
def test_autocast_is_near_single_precision(entry):
    rnn = entry.layer(dtype=torch.float32)
    x = torch.randn(5, 3, 3)
    expected, _ = rnn(x)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = rnn(x)
    assert all(s.dtype == torch.float32 for s in state)
    assert (y.float() - expected).norm() < 0.1 * expected.norm()
