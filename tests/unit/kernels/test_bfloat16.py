"""Products in bfloat16, sums and states in float32."""

import pytest
import torch
from catalogue import CELLS, ragged
from combinations import pairs
from hypothesis import given
from hypothesis import strategies as st

import selfloop as sl
from selfloop import cells, param
from selfloop.kernels import bfloat16, interpret, plan, refusals

pytestmark = pytest.mark.skipif(bfloat16.pair_products() is None, reason="this processor does not multiply bfloat16")


def autocast(enabled=True):
    return torch.autocast("cpu", torch.bfloat16, enabled=enabled)


def everything(rnn, x, rounds, **options):
    """The output and all gradients, in float32."""
    torch.manual_seed(1)
    x = x.clone().requires_grad_()
    with autocast(rounds):
        y, state = rnn(x, **options)
    assert y.dtype is torch.float32
    loss = (y.float() * torch.randn(y.shape)).sum() + sum((s.float() * torch.randn(s.shape)).sum() for s in state)
    return [y.detach().float(), *torch.autograd.grad(loss, [x, *rnn.parameters()], allow_unused=True)]


class Rounded(torch.autograd.Function):
    """A product of rounded numbers, forward and backward, as the kernels make it."""

    @staticmethod
    def forward(ctx, weight, v):
        weight, v = weight.bfloat16().float(), v.bfloat16().float()
        ctx.save_for_backward(weight, v)
        return v @ weight.T

    @staticmethod
    def backward(ctx, d):
        (weight, v), d = ctx.saved_tensors, d.bfloat16().float()
        return d.flatten(0, -2).T @ v.expand(*d.shape[:-1], -1).flatten(0, -2), d @ weight


@pytest.mark.parametrize(("entry", "is_ragged"), pairs(CELLS, [False, True]), ids=str)
def test_every_cell_has_the_interpreters_numbers_with_rounded_products(entry, is_ragged, monkeypatch):
    options = ragged(9, 20) if is_ragged else {}
    torch.manual_seed(0)
    rnn = entry.layer(5, 24, dtype=torch.float32, bidirectional=True)
    x = torch.randn(9, 20, 5)
    got = everything(rnn, x, True, **options)
    rnn.backend = "interpret"
    monkeypatch.setitem(interpret.VALUES, "matmul", Rounded.apply)
    expected = everything(rnn, x, False, **options)
    for a, b in zip(got, expected, strict=True):
        if b is not None:
            assert a is not None
            assert (a - b).norm() <= 0.04 * b.norm() + 1e-6


@sl.cell
def linear(x, h, *, W=param("h x"), U=param("h h")):
    return W @ x + U @ (0.5 * h)


@given(inputs=st.integers(1, 70), hidden=st.integers(1, 70), batch=st.integers(1, 70), threads=st.integers(1, 3))
def test_what_needs_no_rounding_is_exact(inputs, hidden, batch, threads):
    """Small whole numbers have exact sums, whatever the tiles' edges."""
    torch.manual_seed(inputs * 71 + hidden)
    rnn = sl.Recurrent(linear, inputs, hidden)
    with torch.no_grad():
        for weight in rnn.parameters():
            weight.copy_(torch.randint(-2, 3, weight.shape))
    x = torch.randint(-2, 3, (1, batch, inputs)).float().requires_grad_()
    start = rnn.zero_state(batch)
    start.h[:] = torch.randint(-2, 3, (1, batch, hidden)) * 2
    start.h.requires_grad_()
    dy = torch.randint(-2, 3, (1, batch, hidden)).float()
    before = torch.get_num_threads()
    answers = []
    try:
        torch.set_num_threads(threads)
        for rounds in (True, False):
            with autocast(rounds):
                _, state = rnn(x, start)
            answers.append([state.h, *torch.autograd.grad(state.h, [x, start.h, *rnn.parameters()], dy[0][None])])
    finally:
        torch.set_num_threads(before)
    for got, expected in zip(*answers, strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize(
    ("weight", "x", "expected"),
    [
        (1.0, 1e-39, 0.0),  # below 1.2e-38 a number is zero, before it is multiplied
        (1e-39, 1.0, 0.0),
        (1e-20, 1e-20, 0.0),  # and after
        (0.5, 1.5e-38, 0.0),
        (2.0, 1.5e-38, 2.9938371747514e-38),
        (10.0, 3.3e38, float("inf")),
        (float("inf"), 1.0, float("inf")),
    ],
)
def test_what_is_too_small_for_a_normal_number_is_zero(weight, x, expected):
    rnn = sl.Recurrent(linear, 1, 1)
    with torch.no_grad(), autocast():
        rnn.W_l0.fill_(weight)
        rnn.U_l0.zero_()
        y, _ = rnn(torch.full((1, 1, 1), x))
    assert y.item() == pytest.approx(expected, rel=1e-6, abs=0)


def test_a_layer_of_bfloat16_gives_bfloat16():
    rnn = sl.GRU(6, 10, num_layers=2, batch_first=True).bfloat16()
    assert "runs as    native" in rnn.explain()
    x = torch.randn(4, 7, 6, dtype=torch.bfloat16)
    y, h = rnn(x)
    y.float().sum().backward()
    assert (y.dtype, h.dtype, rnn.weight_hh_l0.grad.dtype) == (torch.bfloat16,) * 3
    expected, _ = rnn.float()(x.float())
    assert (y.float() - expected).abs().max() < 0.03


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_under_autocast_the_output_has_the_dtype_of_the_input_and_states_keep_their_precision(dtype):
    rnn = sl.Recurrent(cells.lstm, 3, 8, num_layers=2)
    with autocast():
        y, state = rnn(torch.randn(5, 2, 3, dtype=dtype))
    assert y.dtype is dtype
    assert {s.dtype for s in state} == {torch.float32}


@pytest.mark.parametrize("threads", [2, 3])
def test_the_same_bits_on_any_number_of_threads(threads, monkeypatch):
    monkeypatch.setattr(plan, "ONE_THREAD_BELOW", 0)
    torch.manual_seed(0)
    rnn = sl.LSTM(40, 50)
    x = torch.randn(6, 37, 40)
    answers, before = [], torch.get_num_threads()
    try:
        for count in (1, threads):
            torch.set_num_threads(count)
            answers.append(everything(rnn, x, True))
    finally:
        torch.set_num_threads(before)
    for a, b in zip(*answers, strict=True):
        assert torch.equal(a, b)


def test_other_precisions_of_autocast_run_another_way(monkeypatch):
    rnn = sl.Recurrent(cells.gru, 3, 4)
    with torch.autocast("cpu", torch.float16):
        assert "autocast to bfloat16 alone" in rnn.explain()
    monkeypatch.setattr(refusals, "pair_products", lambda: None)
    with autocast():
        assert "does not multiply bfloat16" in rnn.explain()
        y, _ = rnn(torch.randn(5, 2, 3))
    assert y.isfinite().all()
