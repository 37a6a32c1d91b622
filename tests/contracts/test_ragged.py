"""Ragged batches: `lengths` and `resets` give what each sequence, and each segment of it, gives by itself."""

from itertools import pairwise

import pytest
import torch
from catalogue import ANY, CELLS, FUSED, assert_close, everything
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

import selfloop as sl

WAYS = [
    pytest.param(e, way, id=f"{e}-{way}")
    for way, cells in (("native", CELLS), ("interpret", ANY), ("torch", FUSED))
    for e in cells
]
directions = pytest.mark.parametrize("bidirectional", [False, True])


def by_itself(rnn, x, start, lengths, resets):
    """Each segment of each sequence in a call of its own, without `lengths` and without `resets`."""
    directions = 2 if rnn.bidirectional else 1
    backward = torch.arange(rnn.num_layers * directions) % directions == 1

    def beside(marks, s):
        """A mark for each layer and direction, beside the elements of a state."""
        return marks.view(-1, *[1] * (s.dim() - 1))

    rows, finals = [], []
    for row, length in enumerate(lengths):
        given_state = start.select(torch.tensor([row]))
        ends, segments = [0, *(t for t in range(1, length) if resets[t, row]), length], []
        for a, b in pairwise(ends):
            forward_on, backward_on = a == 0 and not (length and resets[0, row]), b == length
            kept = torch.where(backward, backward_on, forward_on)
            first = sl.State(**{name: s * beside(kept, s) for name, s in given_state.tensors.items()})
            segments.append(rnn(x[a:b, row : row + 1], first))
        y = torch.cat([y for y, _ in segments])
        rows.append(F.pad(y, (0, 0, 0, 0, 0, len(x) - length)))
        one_end, other_end = segments[0][1], segments[-1][1]
        finals.append([torch.where(beside(backward, s), s, t) for s, t in zip(one_end, other_end, strict=True)])
    return torch.cat(rows, 1), [torch.cat(s, 1) for s in zip(*finals, strict=True)]


def random_start(rnn, batch):
    return sl.State(**{name: 0.3 * torch.randn_like(s) for name, s in rnn.zero_state(batch).tensors.items()})


def assert_ragged_is_by_itself(rnn, x, lengths=None, resets=None):
    """What lies beyond a sequence's end must not matter: the input is NaN there, and may ask for resets."""
    ends = [len(x)] * x.shape[1] if lengths is None else lengths
    marks = torch.zeros(x.shape[:2]) if resets is None else resets
    dirty = x.clone()
    for row, length in enumerate(ends):
        dirty[length:, row] = torch.nan
    start = random_start(rnn, x.shape[1])
    together = everything(rnn, dirty, start, lambda x, start: rnn(x, start, lengths=lengths, resets=resets))
    rnn.backend = "interpret"  # torch takes no empty input
    alone = everything(rnn, x, start, lambda x, start: by_itself(rnn, x, start, ends, marks))
    for got, expected in zip(together, alone, strict=True):
        assert_close(got, expected)


@pytest.mark.parametrize(("entry", "backend"), WAYS)
@directions
def test_lengths_are_each_sequence_by_itself(entry, backend, bidirectional):
    rnn = entry.layer(bidirectional=bidirectional, backend=backend)
    x = torch.randn(5, 4, 3, dtype=torch.float64)
    assert_ragged_is_by_itself(rnn, x, lengths=[3, 0, 5, 1])


@pytest.mark.parametrize("entry", ANY, ids=str)
@directions
@pytest.mark.parametrize("lengths", [None, [7, 4, 0]], ids=["whole", "ragged"])
def test_resets_are_each_segment_by_itself(entry, bidirectional, lengths):
    rnn = entry.layer(bidirectional=bidirectional)
    x = torch.randn(7, 3, 3, dtype=torch.float64)
    resets = torch.zeros(7, 3, dtype=torch.bool)
    resets[[2, 5], 0] = True
    resets[[0, 1, 4, 6], 1] = True
    resets[[0, 3], 2] = True
    assert_ragged_is_by_itself(rnn, x, lengths, resets)


@given(
    entry=st.sampled_from([e for e in ANY if e.can_stack]),
    layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    data=st.data(),
)
def test_any_lengths_and_resets_are_each_segment_by_itself(entry, layers, bidirectional, lengths, data):
    rnn = entry.layer(num_layers=layers, bidirectional=bidirectional).requires_grad_(False)
    marks = st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths))
    resets = torch.tensor(data.draw(st.lists(marks, min_size=5, max_size=5)))
    x = torch.randn(5, len(lengths), 3, dtype=torch.float64)
    start = random_start(rnn, len(lengths))
    y, final = rnn(x, start, lengths=lengths, resets=resets)
    rnn.backend = "interpret"
    expected, states = by_itself(rnn, x, start, lengths, resets)
    for got, alone in zip([y, *final], [expected, *states], strict=True):
        assert_close(got, alone)
