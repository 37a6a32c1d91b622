"""What holds for every cell: a sequence is its steps, whatever the layout."""

import pytest
import torch
from catalogue import ANY, FUSED, assert_close
from combinations import pairs
from hypothesis import given
from hypothesis import strategies as st

each_cell = pytest.mark.parametrize("entry", ANY, ids=str)


@pytest.mark.parametrize(("entry", "batch_first"), pairs(ANY, [False, True]), ids=str)
def test_a_sequence_is_its_steps(entry, batch_first):
    rnn = entry.layer(num_layers=2 if entry.can_stack else 1).requires_grad_(False)
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    y, final = rnn(x)
    rnn.batch_first = batch_first
    state, alone = None, None
    for t in range(6):
        step, state = rnn.step(x[t], state)
        assert_close(step, y[t])
        single, alone = rnn.step(x[t, 0], alone)
        assert_close(single, y[t, 0])
    for got, one, expected in zip(state, alone, final, strict=True):
        assert_close(got, expected)
        assert_close(one, expected[:, :1])


@each_cell
@pytest.mark.parametrize(("T", "B"), [(0, 2), (3, 0), (0, 0)])
@pytest.mark.parametrize("ragged", [False, True])
def test_nothing_in_nothing_out(entry, T, B, ragged):
    rnn = entry.layer(bidirectional=True).requires_grad_(False)
    start = rnn.zero_state(B)
    y, final = rnn(torch.zeros(T, B, 3, dtype=torch.float64), start, lengths=[0] * B if ragged else None)
    assert y.shape == (T, B, rnn.output_size)
    assert all(s.shape == before.shape for s, before in zip(final, start, strict=True))


@each_cell
def test_states_keep_the_order_of_the_cell(entry):
    rnn = entry.layer().requires_grad_(False)
    _, final = rnn(torch.randn(2, 3, 3, dtype=torch.float64))
    assert tuple(final.tensors) == tuple(rnn.zero_state(3).tensors) == entry.cell.graph.states


@each_cell
def test_layouts_are_one_layout(entry):
    rnn, first = (entry.layer(batch_first=batch_first).requires_grad_(False) for batch_first in (False, True))
    first.load_state_dict(rnn.state_dict())
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    resets = torch.rand(5, 2) < 0.3
    y, final = rnn(x, lengths=[5, 2], resets=resets)
    swapped, same = first(x.transpose(0, 1), lengths=[5, 2], resets=resets.T)
    assert_close(swapped.transpose(0, 1), y)
    single, alone = rnn(x[:, 0], lengths=[5], resets=resets[:, 0])
    assert_close(single, y[:, 0])
    for a, b, c in zip(final, same, alone, strict=True):
        assert_close(a, b)
        assert_close(a[:, :1], c)


@given(
    entry=st.sampled_from(FUSED),
    T=st.integers(1, 6),
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    input_size=st.integers(1, 5),
)
def test_fused_and_interpreted_agree_on_any_shape(entry, T, lengths, layers, bidirectional, input_size):
    rnn = entry.layer(input_size, 3, num_layers=layers, bidirectional=bidirectional, backend="torch")
    lengths = [min(length, T) for length in lengths]
    x = torch.randn(T, len(lengths), input_size, dtype=torch.float64)
    y, final = rnn(x, lengths=lengths)
    rnn.backend = "interpret"
    expected, state = rnn(x, lengths=lengths)
    for got, other in zip([y, *final], [expected, *state], strict=True):
        assert_close(got, other)


@each_cell
def test_the_form_of_a_graph_is_its_own(entry):
    others = [other.cell.graph.form for other in ANY if other is not entry]
    assert entry.cell.graph.form not in others
