"""Cells with further inputs: time gaps, masks, what is the same at all steps."""

import numpy as np
import pytest
import torch

import selfloop as sl
from selfloop.errors import ArgumentError, CellError
from selfloop.kernels import memory

SIZES = {"x": 3, "dt": 1, "mask": 3, "static": 2}


@sl.cell
def gap(
    x,
    h,
    dt=sl.given("1"),
    mask=sl.given("x"),
    static=sl.given("s"),
    *,
    W=sl.param("h x"),
    U=sl.param("h h"),
    V=sl.param("h x"),
    S=sl.param("h s"),
    tau=sl.param("h"),
):
    h = h * sl.exp(-sl.relu(tau * sl.sum(dt)))
    return sl.tanh(W @ (x * mask) + U @ h + V @ mask + S @ static)


@sl.cell
def decay(x, h, dt=sl.given("1"), *, W=sl.param("h x"), U=sl.param("h h")):
    return sl.tanh(W @ x + U @ (h / (1 + sl.sum(dt))))


@sl.cell
def doubled(x=sl.given("2d+1"), h=sl.state("h"), *, W=sl.param("h d"), U=sl.param("h h")):
    values, known, dt = sl.split(x, ("d", "d", 1))
    return sl.tanh(W @ (values * known) + U @ h) / (1 + sl.sum(dt) ** 2)


def make(cell, *args, **options):
    torch.manual_seed(0)
    rnn = sl.Recurrent(cell, *args, dtype=torch.float64, **options)
    for weight in rnn.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return rnn


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def inputs(steps=6, batch=4):
    torch.manual_seed(1)
    x, dt, static = draw(steps, batch, 3), torch.rand(steps, batch, 1, dtype=torch.float64), draw(batch, 2)
    return x, {"dt": dt, "mask": torch.rand(steps, batch, 3) < 0.5, "static": static}


def by_hand(rnn, x, dt, mask, static, lengths=None, resets=None, suffix="_l0", reverse=False):
    """The equations of `gap`, a step and a sequence at a time."""
    W, U, V, S, tau = (getattr(rnn, name + suffix) for name in ("W", "U", "V", "S", "tau"))
    columns = []
    for b in range(x.shape[1]):
        h, rows = torch.zeros(rnn.hidden_size, dtype=torch.float64), [torch.zeros(rnn.hidden_size)] * x.shape[0]
        length = x.shape[0] if lengths is None else lengths[b]
        for t in reversed(range(length)) if reverse else range(length):
            if resets is not None and resets[t, b] and not reverse:
                h = torch.zeros_like(h)
            h = h * torch.exp(-torch.relu(tau * dt[t, b]))
            h = torch.tanh(W @ (x[t, b] * mask[t, b]) + U @ h + V @ mask[t, b].double() + S @ static[b])
            rows[t] = h
        columns.append(torch.stack([row.double() for row in rows]))
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("backend", ["native", "interpret"])
@pytest.mark.parametrize("options", [{}, {"lengths": [6, 3, 0, 5]}, {"resets": torch.rand(6, 4) < 0.3}])
def test_it_is_the_equations_and_so_are_its_gradients(backend, options):
    rnn = make(gap, 3, 5, s=2, backend=backend)
    x, given = inputs()
    of = [v.requires_grad_() for v in (x, given["dt"], given["static"])]
    weights = draw(6, 4, 5)
    expected = by_hand(rnn, x, **given, **options)
    wanted = torch.autograd.grad((expected * weights).sum(), (*of, *rnn.parameters()))
    y, _ = rnn(x, **given, **options)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(torch.autograd.grad((y * weights).sum(), (*of, *rnn.parameters())), wanted)


def test_it_is_read_in_both_directions():
    rnn = make(gap, 3, 5, s=2, bidirectional=True)
    x, given = inputs()
    y, _ = rnn(x, **given, lengths=[6, 3, 0, 5])
    torch.testing.assert_close(y[..., :5], by_hand(rnn, x, **given, lengths=[6, 3, 0, 5]))
    backward = by_hand(rnn, x, **given, lengths=[6, 3, 0, 5], suffix="_l0_reverse", reverse=True)
    torch.testing.assert_close(y[..., 5:], backward)


def test_what_is_one_for_a_sequence_is_seen_at_each_step():
    rnn = make(gap, 3, 5, s=2)
    x, given = inputs()
    each = {**given, "static": given["static"].expand(6, 4, 2), "dt": given["dt"][0]}
    y, _ = rnn(x, **each)
    given["dt"] = given["dt"][0].expand(6, 4, 1)
    torch.testing.assert_close(y, rnn(x, **given)[0])


def test_batch_first_and_one_sequence_alone_are_the_same():
    rnn = make(gap, 3, 5, s=2)
    x, given = inputs()
    y, _ = rnn(x, **given)
    one, _ = rnn(x[:, 1], dt=given["dt"][:, 1], mask=given["mask"][:, 1], static=given["static"][1])
    torch.testing.assert_close(one, y[:, 1])
    rnn.batch_first = True
    turned = {name: v.transpose(0, 1) for name, v in {**given, "x": x}.items() if v.dim() == 3}
    out, _ = rnn(turned.pop("x"), static=given["static"], **turned)
    torch.testing.assert_close(out.transpose(0, 1), y)


@pytest.mark.parametrize("backend", ["auto", "interpret"])
@pytest.mark.parametrize("layers", [1, 2])
def test_steps_one_at_a_time_are_those_of_whole_sequences(backend, layers):
    rnn = make(decay, 3, 5, layers, backend=backend)
    x, dt = inputs()[0], inputs()[1]["dt"]
    y, _ = rnn(x, dt=dt)
    state, stepper = None, sl.Stepper(rnn, batch_size=4)
    for t in range(6):
        now, state = rnn.step(x[t], state, dt=dt[t])
        torch.testing.assert_close(now, y[t])
        torch.testing.assert_close(stepper(x[t], dt=dt[t]), y[t])
    alone = sl.Stepper(rnn)
    for t in range(6):
        now = alone(x[t, 2].numpy(), dt=dt[t, 2].numpy())
        assert isinstance(now, np.ndarray)
        torch.testing.assert_close(torch.from_numpy(now), y[t, 2])


def test_a_stack_hands_further_inputs_to_each_layer():
    rnn, first, second = make(decay, 3, 5, 2), make(decay, 3, 5), make(decay, 5, 5)
    x, dt = inputs()[0], inputs()[1]["dt"]
    first.load_state_dict({name: v for name, v in rnn.state_dict().items() if name.endswith("_l0")})
    second.load_state_dict(
        {name.replace("_l1", "_l0"): v for name, v in rnn.state_dict().items() if name.endswith("_l1")}
    )
    between = first(x, dt=dt, lengths=[6, 2, 1, 0])[0]
    expected = second(between, dt=dt, lengths=[6, 2, 1, 0])[0]
    torch.testing.assert_close(rnn(x, dt=dt, lengths=[6, 2, 1, 0])[0], expected)


def test_the_first_input_may_be_of_a_size_of_its_own():
    rnn = make(doubled, 7, 4, d=3)
    x = draw(5, 2, 7)
    y, _ = rnn(x)
    h = torch.tanh(torch.einsum("hd,bd->bh", rnn.W_l0, x[0, :, :3] * x[0, :, 3:6])) / (1 + x[0, :, 6:] ** 2)
    torch.testing.assert_close(y[0], h)
    with pytest.raises(ArgumentError, match=r"must be 2d\+1, which is 7. Got 6 instead"):
        make(doubled, 6, 4, d=3)


def test_the_equations_name_the_inputs():
    assert str(decay).splitlines()[0] == "decay: x[t], dt[t], h[t-1] -> h[t]"
    assert "sum(dt[t])" in str(decay)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dt": None}, "The 'dt' of Recurrent must be a tensor of shape (6, 4, 1), a vector a step, or (4, 1), one a"),
        ({"dt": torch.zeros(6, 4)}, "Got shape (6, 4) instead."),
        ({"statik": torch.zeros(4, 2)}, "Recurrent takes no input 'statik'; did you mean 'static'?"),
        ({"y": torch.zeros(4, 2)}, "Recurrent takes no input 'y'; it takes dt, mask, static beside x."),
    ],
)
def test_what_does_not_fit_is_said(wrong, message):
    x, given = inputs()
    with pytest.raises(ArgumentError) as caught:
        make(gap, 3, 5, s=2)(x, **{**given, **wrong})
    assert message in str(caught.value)


def test_what_is_missing_is_said():
    x, given = inputs()
    del given["mask"]
    with pytest.raises(ArgumentError, match="needs the input 'mask' of its cell; give it as mask=…"):
        make(gap, 3, 5, s=2)(x, **given)
    with pytest.raises(ArgumentError, match="needs the input 'dt' of its cell"):
        sl.Stepper(make(decay, 3, 5))(np.zeros(3))
    with pytest.raises(ArgumentError, match=r"takes no input 'dt'; it takes none beside x"):
        sl.Recurrent(sl.cells.lstm, 3, 5)(torch.zeros(2, 1, 3), dt=x)
    with pytest.raises(ArgumentError, match=r"all have one input size. Got 3 and then 5 instead"):
        make(gap, 3, 5, 2, s=2)


def unused(x, h, dt=sl.given("1"), *, W=sl.param("h x")):
    return W @ x + h


def number(x, h, dt=1.0):
    return x + h + dt


def called_lengths(x, h, lengths=sl.given("h")):
    return h + lengths


def matrix(x, h, m=sl.given("h h")):
    return m @ h


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (unused, "the input 'dt' is never used; use it or remove it"),
        (number, "takes no default but dt=state(SIZE)"),
        (called_lengths, "an input cannot be called 'lengths', as an argument of a layer is"),
        (matrix, "the input 'm' must be a vector; got a h × h matrix"),
    ],
)
def test_a_wrong_declaration_is_said(function, message):
    with pytest.raises(CellError) as caught:
        sl.cell(function)
    assert message in str(caught.value)


@sl.cell
def blind(x, h, g=sl.given("2"), *, W=sl.param("h 2"), b=sl.param("2")):
    """It reads the further input alone, and of that in one place the second half."""
    _, right = sl.split(b * g, 2)
    return sl.tanh(W @ g + sl.sum(right))


@sl.cell
def half_blind(x=sl.given("h+3"), h=sl.state("h"), *, a=sl.param("")):
    """It reads the second half of its input alone, and multiplies it by no matrix."""
    _, right = sl.split(x, ("3", "h"))
    return sl.tanh(a * right + h)


def test_what_a_cell_does_not_read_has_a_gradient_of_zero(monkeypatch):
    before = memory._empty
    monkeypatch.setattr(memory, "_empty", lambda *arguments: before(*arguments).fill_(torch.nan))
    x, g = (torch.randn(5, 2, size, requires_grad=True) for size in (7, 2))
    zeros = {"allow_unused": True, "materialize_grads": True}
    for rnn, given in ((sl.Recurrent(blind, 7, 4), {"g": g}), (sl.Recurrent(half_blind, 7, 4), {})):
        found = []
        for backend in ("native", "interpret"):
            rnn.backend = backend
            y, _ = rnn(x, **given)
            found.append(torch.autograd.grad(y.square().sum(), (x, *given.values()), **zeros))
        torch.testing.assert_close(*found)
