"""RNNCell, LSTMCell and GRUCell against torch.nn: outputs, gradients, weights both ways, and what is refused."""

import copy
import inspect
import pickle

import pytest
import torch
from catalogue import assert_close
from torch import nn

import selfloop as sl
from selfloop.errors import ArgumentError

BOTH = [
    (sl.RNNCell, nn.RNNCell, {"nonlinearity": "tanh"}),
    (sl.RNNCell, nn.RNNCell, {"nonlinearity": "relu"}),
    (sl.LSTMCell, nn.LSTMCell, {}),
    (sl.GRUCell, nn.GRUCell, {}),
]
kinds = pytest.mark.parametrize(
    ("ours", "theirs", "options"), BOTH, ids=lambda v: str(v) if isinstance(v, dict) else ""
)


def twins(ours, theirs, **options):
    a, b = ours(3, 5, **options), theirs(3, 5, **options)
    a.load_state_dict(b.state_dict())
    return a, b


def unrolled(cell, x, hx):
    """The states after each of a few steps, and the gradients of inputs, first states and weights."""
    x = x.clone().requires_grad_()
    hx = None if hx is None else tuple(h.clone().requires_grad_() for h in hx)
    first = hx or ()
    state, states = hx if hx is None or len(hx) > 1 else hx[0], []
    for x_t in x:
        state = cell(x_t, state)
        states += state if isinstance(state, tuple) else [state]
    loss = sum((s * torch.linspace(-1, 2, s.numel(), dtype=s.dtype).view_as(s)).sum() for s in states)
    return states + list(torch.autograd.grad(loss, [x, *first, *cell.parameters()]))


@kinds
@pytest.mark.parametrize("backend", ["auto", "native", "interpret"])
@pytest.mark.parametrize("batch", [(), (2,), (9,)], ids=["one", "few", "more"])
@pytest.mark.parametrize("shape", [{}, {"bias": False}, {"dtype": torch.float64}], ids=str)
def test_cells_give_torchs_numbers(ours, theirs, options, backend, batch, shape):
    a, b = twins(ours, theirs, **options, **shape)
    a.backend = backend
    x = torch.randn(3, *batch, 3, dtype=shape.get("dtype"))
    states = 2 if ours is sl.LSTMCell else 1
    for hx in (None, tuple(torch.randn(*batch, 5, dtype=x.dtype) for _ in range(states))):
        for got, expected in zip(unrolled(a, x, hx), unrolled(b, x, hx), strict=True):
            assert_close(got, expected)


@kinds
@pytest.mark.parametrize("bias", [True, False])
def test_weights_load_both_ways_and_start_alike(ours, theirs, options, bias):
    made = []
    for cell in (ours, theirs):
        torch.manual_seed(3)
        made.append(cell(3, 5, bias=bias, **options))
    a, b = made
    assert list(a.state_dict()) == list(b.state_dict())
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    b.load_state_dict(a.state_dict(), strict=True)
    assert (a.bias_ih is None) == (b.bias_ih is None)


@pytest.mark.parametrize(("ours", "theirs"), [(a, b) for a, b, _ in BOTH[1:]], ids=lambda c: c.__name__)
def test_arguments_are_torchs_in_order_and_with_its_defaults(ours, theirs):
    given = [a for a in inspect.signature(ours).parameters.values() if a.kind is a.POSITIONAL_OR_KEYWORD]
    documented = inspect.signature(theirs).parameters.values()
    assert [(a.name, a.default) for a in given] == [(a.name, a.default) for a in documented]


def test_a_cell_is_a_layer_that_can_be_copied_hooked_and_stepped():
    cell, x = sl.LSTMCell(3, 5), torch.randn(3)
    seen = []
    cell.register_forward_hook(lambda module, args, output: seen.append((len(args), len(output))))
    h, _ = cell(x)
    assert seen == [(1, 2)]
    for twin in (copy.deepcopy(cell), pickle.loads(pickle.dumps(sl.LSTMCell(3, 5)))):
        assert twin(x)[0].shape == h.shape
    assert_close(sl.Stepper(cell)(x), h)
    assert "runs as" in cell.explain()


X = torch.zeros(2, 3)
MISUSE = [
    (lambda: sl.GRUCell(3, 4)(torch.zeros(2, 2, 3)), "The 'x' of GRUCell must be of shape (B, I), or (I,) for one"),
    (lambda: sl.GRUCell(3, 4)([1.0]), "for one sequence: a step has no time. Got list instead."),
    (lambda: sl.GRUCell(3, 4)(torch.zeros(2, 4)), "must have 3 features in its last dimension"),
    (lambda: sl.GRUCell(3, 4)(X, torch.zeros(4)), "The state 'h' of GRUCell must have shape (2, 4)"),
    (lambda: sl.LSTMCell(3, 4)(X, X), "The 'hx' of LSTMCell must be a pair (h_0, c_0). Got Tensor instead."),
    (lambda: sl.LSTMCell(3, 4)(X.double()), "must be torch.float32, as its weights. Got torch.float64"),
    (lambda: sl.LSTMCell(3, 0), "The 'hidden_size' of 'lstm' must be a whole number ≥ 1. Got 0 instead."),
    (lambda: sl.LSTMCell(3, 4, num_layers=2), "LSTMCell takes no 'num_layers'; Recurrent(cells.lstm, …) does."),
    (lambda: sl.LSTMCell(3, 4, bais=True), "LSTMCell takes no 'bais'; did you mean 'bias'?"),
    (lambda: sl.RNNCell(3, 4, nonlinearity="sin"), "The 'nonlinearity' of RNNCell must be 'tanh' or 'relu'."),
    (lambda: sl.RNNCell(3, 4, "relu"), "The 'bias' of RNNCell must be True or False. Got 'relu' instead."),
]


@pytest.mark.parametrize(("misuse", "says"), MISUSE, ids=[says[:50] for _, says in MISUSE])
def test_wrong_arguments_are_named_with_what_was_expected(misuse, says):
    with pytest.raises(ArgumentError) as caught:
        misuse()
    assert says in str(caught.value)
