"""The drop-ins against torch.nn: outputs, final states and all gradients."""

import warnings

import pytest
import torch
from catalogue import assert_close
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import selfloop as sl

BOTH = [
    (sl.RNN, torch.nn.RNN, {"nonlinearity": "tanh"}),
    (sl.RNN, torch.nn.RNN, {"nonlinearity": "relu"}),
    (sl.LSTM, torch.nn.LSTM, {}),
    (sl.LSTM, torch.nn.LSTM, {"proj_size": 2}),
    (sl.GRU, torch.nn.GRU, {}),
]
kinds = pytest.mark.parametrize(
    ("ours", "theirs", "options"), BOTH, ids=lambda v: str(v) if isinstance(v, dict) else ""
)


def twins(ours, theirs, *sizes, **options):
    """Our layer and torch's with the same weights."""
    a, b = ours(*sizes, **options), theirs(*sizes, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that one layer has no dropout between layers
        a.load_state_dict(b.state_dict())
    return a, b


def answers(layer, x, hx, weigh):
    """Output, final states, and the gradients of input, initial states and weights."""
    layer.zero_grad()
    x = x.detach().clone().requires_grad_()
    first = None if hx is None else tuple(h.detach().clone().requires_grad_() for h in hx)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="LSTM with projections")
        y, last = layer(x, first if first is None or len(first) > 1 else first[0])
    last = last if isinstance(last, tuple) else (last,)
    sum((o * w).sum() for o, w in zip((y, *last), weigh((y, *last)), strict=True)).backward()
    gradients = [x.grad, *(h.grad for h in first or ()), *(p.grad for p in layer.parameters())]
    return [y, *last, *gradients]


def weights(outputs):
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(o.shape, generator=generator, dtype=o.dtype) for o in outputs]


@given(
    kind=st.sampled_from(BOTH),
    input_size=st.sampled_from([1, 3, 17]),
    hidden_size=st.sampled_from([3, 8, 19]),
    layers=st.integers(1, 3),
    T=st.integers(1, 7),
    B=st.integers(1, 4),
    bias=st.booleans(),
    batch_first=st.booleans(),
    bidirectional=st.booleans(),
    unbatched=st.booleans(),
    given_state=st.booleans(),
    backend=st.sampled_from(["auto", "interpret"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_drop_ins_give_torchs_numbers(
    kind,
    input_size,
    hidden_size,
    layers,
    T,
    B,
    bias,
    batch_first,
    bidirectional,
    unbatched,
    given_state,
    backend,
    dtype,
):
    ours, theirs, options = kind
    shape = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional, "dtype": dtype, **options}
    a, b = twins(ours, theirs, input_size, hidden_size, layers, **shape)
    a.backend = backend
    x = torch.randn(*((T,) if unbatched else (B, T) if batch_first else (T, B)), input_size, dtype=dtype)
    hx = None
    if given_state:
        rows = (layers * (1 + bidirectional), *(() if unbatched else (B,)))
        names = (hidden_size,) if ours is not sl.LSTM else (options.get("proj_size") or hidden_size, hidden_size)
        hx = tuple(torch.randn(*rows, size, dtype=dtype) for size in names)
    for got, expected in zip(answers(a, x, hx, weights), answers(b, x, hx, weights), strict=True):
        assert_close(got, expected)


@kinds
@pytest.mark.parametrize("is_sorted", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_packed_sequences_come_back_as_torchs(ours, theirs, options, is_sorted, bidirectional):
    a, b = twins(ours, theirs, 3, 5, 2, bidirectional=bidirectional, **options)
    lengths = [6, 4, 1] if is_sorted else [4, 6, 1]
    packed = pack_padded_sequence(torch.randn(6, 3, 3), lengths, enforce_sorted=is_sorted)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="LSTM with projections")
        expected, state = b(packed)
    got, own = a(packed)
    assert_close(got.data, expected.data)
    assert torch.equal(got.batch_sizes, expected.batch_sizes)
    for one, other in (
        (got.sorted_indices, expected.sorted_indices),
        (got.unsorted_indices, expected.unsorted_indices),
    ):
        assert (one is None) == (other is None)
        assert one is None or torch.equal(one, other)
    assert_close(pad_packed_sequence(got)[0], a(pad_packed_sequence(packed)[0], lengths=lengths)[0])
    for s, t in zip(*((v if isinstance(v, tuple) else (v,)) for v in (own, state)), strict=True):
        assert_close(s, t)


@kinds
def test_the_same_seed_starts_the_same_weights(ours, theirs, options):
    made = []
    for layer in (ours, theirs):
        torch.manual_seed(3)
        made.append(layer(4, 6, 2, bidirectional=True, **options).state_dict())
    assert list(made[0]) == list(made[1])
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


@kinds
def test_weights_load_both_ways(ours, theirs, options):
    a, b = ours(4, 6, bias=False, **options), theirs(4, 6, bias=False, **options)
    b.load_state_dict(a.state_dict())
    a.load_state_dict(b.state_dict())


def test_given_a_state_a_drop_in_returns_one():
    lstm = sl.LSTM(2, 3)
    y, state = lstm(torch.randn(4, 1, 2), lstm.zero_state(1))
    assert isinstance(state, sl.State)
    once, (h, c) = lstm(torch.randn(4, 1, 2))
    assert h.shape == c.shape == (1, 1, 3)
    assert y.shape == once.shape


def test_arguments_stand_where_torch_has_them():
    for ours, theirs in ((sl.RNN, torch.nn.RNN), (sl.LSTM, torch.nn.LSTM), (sl.GRU, torch.nn.GRU)):
        positions = (2, 3, 1, "relu", False, True, 0.0, True) if ours is sl.RNN else (2, 3, 1, False, True, 0.0, True)
        assert [tuple(p.shape) for p in ours(*positions).parameters()] == [
            tuple(p.shape) for p in theirs(*positions).parameters()
        ]


@pytest.mark.parametrize("dtype", [torch.bfloat16])
def test_autocast_runs_and_stays_close(dtype):
    lstm = sl.LSTM(8, 16)
    x = torch.randn(5, 2, 8)
    expected, _ = lstm(x)
    with torch.autocast("cpu", dtype):
        y, _ = lstm(x)
        z, _ = sl.Recurrent(sl.cells.vanilla, 8, 16, backend="interpret")(x)
    torch.testing.assert_close(y.float(), expected, rtol=0.05, atol=0.02)
    assert z.isfinite().all()
