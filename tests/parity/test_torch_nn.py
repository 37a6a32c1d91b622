"""The drop-ins against torch.nn: outputs, final states and all gradients."""

import functools
import warnings

import pytest
import torch
from catalogue import assert_close
from hypothesis import given, settings
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
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="dropout option adds dropout after all but last")
        a, b = ours(*sizes, **options), theirs(*sizes, **options)
    a.load_state_dict(b.state_dict())
    return a, b


def initial_states(layer, *batch):
    """h_0, and c_0 for an LSTM, in torch's shapes; the batch is left out for one sequence."""
    rows = layer.num_layers * (1 + layer.bidirectional)
    sizes = [layer.proj_size or layer.hidden_size] + [layer.hidden_size] * (layer.mode == "LSTM")
    return tuple(torch.randn(rows, *batch, size, dtype=layer.weight_ih_l0.dtype) for size in sizes)


def answers(layer, x, hx, call=None):
    """Output, final states, and the gradients of input, initial states and weights, of a weighing of them all."""
    x = x.detach().clone().requires_grad_()
    first = tuple(h.detach().clone().requires_grad_() for h in hx or ())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="LSTM with projections")
        y, last = (call or layer)(x, (first if len(first) > 1 else first[0]) if first else None)
    outputs = [y, *(last if isinstance(last, tuple) else (last,))]
    generator = torch.Generator().manual_seed(7)
    loss = sum((o * torch.randn(o.shape, generator=generator, dtype=o.dtype)).sum() for o in outputs)
    return outputs + list(torch.autograd.grad(loss, [x, *first, *layer.parameters()]))


@settings(max_examples=40)
@given(
    kind=st.sampled_from(BOTH),
    sizes=st.sampled_from([(1, 3), (3, 8), (17, 9)]),  # few, as kernels are compiled for each
    layers=st.integers(1, 3),
    T=st.integers(1, 7),
    B=st.one_of(st.none(), st.integers(1, 4)),
    batch_first=st.booleans(),
    given_state=st.booleans(),
    backend=st.sampled_from(["auto", "interpret"]),
    options=st.fixed_dictionaries(
        {
            "bias": st.booleans(),
            "bidirectional": st.booleans(),
            "dropout": st.sampled_from([0.0, 0.5]),
            "dtype": st.sampled_from([torch.float32, torch.float64]),
        }
    ),
)
def test_drop_ins_give_torchs_numbers(kind, sizes, layers, T, B, batch_first, given_state, backend, options):
    ours, theirs, own = kind
    a, b = twins(ours, theirs, *sizes, layers, batch_first=batch_first, **options, **own)
    a.backend = backend
    a.eval()
    b.eval()
    batch = () if B is None else (B,)
    x = torch.randn(*((*batch, T) if batch_first else (T, *batch)), sizes[0], dtype=options["dtype"])
    hx = initial_states(b, *batch) if given_state else None
    for got, expected in zip(answers(a, x, hx), answers(b, x, hx), strict=True):
        assert_close(got, expected)


@kinds
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("given_state", [False, True])
@pytest.mark.parametrize("lengths", [[6, 4, 1], [4, 6, 1]], ids=["sorted", "unsorted"])
def test_packed_sequences_and_lengths_give_torchs_numbers(ours, theirs, options, bidirectional, given_state, lengths):
    a, b = twins(ours, theirs, 3, 5, 2, bidirectional=bidirectional, dtype=torch.float64, **options)
    x, hx = torch.randn(6, 3, 3, dtype=torch.float64), initial_states(b, 3) if given_state else None

    def packed(layer):
        def call(x, hx):
            y, last = layer(pack_padded_sequence(x, lengths, enforce_sorted=lengths[0] == 6), hx)
            return pad_packed_sequence(y)[0], last

        return call

    expected = answers(b, x, hx, packed(b))
    for call in (packed(a), functools.partial(a, lengths=lengths)):
        for got, torchs in zip(answers(a, x, hx, call), expected, strict=True):
            assert_close(got, torchs)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", [[6, 4, 1], [4, 6, 1]], ids=["sorted", "unsorted"])
def test_a_packed_sequence_comes_back_packed_as_it_was(batch_first, lengths):
    a, b = twins(sl.GRU, torch.nn.GRU, 3, 5, batch_first=batch_first)
    packed = pack_padded_sequence(torch.randn(6, 3, 3), lengths, enforce_sorted=lengths[0] == 6)
    (got, _), (expected, _) = a(packed), b(packed)
    for field in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        one, other = getattr(got, field), getattr(expected, field)
        assert (one is None and other is None) or torch.equal(one, other)
    assert_close(got.data, expected.data)


@kinds
def test_the_same_seed_starts_the_same_weights(ours, theirs, options):
    made = []
    for layer in (ours, theirs):
        torch.manual_seed(3)
        made.append(layer(4, 6, 2, bidirectional=True, **options).state_dict())
    assert list(made[0]) == list(made[1])
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


@kinds
@pytest.mark.parametrize("shape", [{"bias": False}, {"num_layers": 2, "bidirectional": True}], ids=str)
def test_weights_load_both_ways(ours, theirs, options, shape):
    a, b = ours(4, 6, **shape, **options), theirs(4, 6, **shape, **options)
    b.load_state_dict(a.state_dict(), strict=True)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    other = theirs(4, 6, **shape, **options)
    a.load_state_dict(other.state_dict(), strict=True)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), other.parameters(), strict=True))


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
