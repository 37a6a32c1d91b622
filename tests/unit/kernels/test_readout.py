"""The logits of predictions are torch's, whoever writes them, and the same bits on any number of threads."""

import pytest
import torch
from catalogue import TOLERANCE
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F

from selfloop import processors
from selfloop.kernels import readout
from selfloop.kernels.readout import linear

SHAPES = ((1, 1, 1), (5, 7, 3), (16, 16, 16), (33, 17, 70), (65, 6, 65), (130, 66, 17), (7, 300, 130))
"""Rows, features and outputs: below, at and beyond whole vectors, squares, tiles and panels."""


@pytest.fixture(autouse=True)
def compiled(monkeypatch):
    """Our own functions write however little there is to write."""
    monkeypatch.setattr(readout, "LEAST_ROWS", 1)
    monkeypatch.setattr(readout, "LEAST_WEIGHTS", 1)


@pytest.fixture
def ours(monkeypatch):
    """Counts what our own functions write."""
    calls, plain = [], readout.on_logits
    monkeypatch.setattr(readout, "on_logits", lambda *given: calls.append(given) or plain(*given))
    return calls


def problem(rows, features, outputs, dtype=torch.float32):
    return [torch.randn(size, dtype=dtype) for size in ((rows, features), (outputs, features), outputs)]


def check(x, weight, bias):
    exact = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    with torch.no_grad():
        found = linear(x, weight, bias)
    assert found.is_contiguous()
    torch.testing.assert_close(found, exact.to(x.dtype), **TOLERANCE[x.dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_logits_are_those_of_torch(shape, dtype, ours):
    x, weight, bias = problem(*shape, dtype)
    check(x, weight, bias)
    check(x, weight, None)
    assert len(ours) == 2


def test_rows_come_in_blocks(in_blocks):
    check(*problem(130, 66, 17))
    assert len(readout._plan(32, 130, 66, 17, 66, 66, 1).blocks) >= 3


def test_views_of_any_strides_and_axes(ours):
    x, weight, bias = problem(60, 24, 40)
    check(x.view(3, 20, 24), weight, bias)
    check(x.view(3, 20, 24).transpose(0, 1), weight, bias)
    check(x.T.contiguous().T, weight.T.contiguous().T, bias)
    check(x[::2, 3:9], weight[1::3, ::4], bias[1::3])
    check(x.view(2, 3, 10, 24)[:, 1:], weight.expand(40, 24), bias[:1].expand(40))
    assert len(ours) == 5


@pytest.mark.parametrize("shape", [(130, 66, 200), (300, 33, 3), (16, 20, 999)], ids=str)
def test_the_same_bits_on_any_number_of_threads_and_for_any_other_rows(shape, monkeypatch):
    x, weight, bias = problem(*shape)
    monkeypatch.setattr(processors, "count", lambda: 8)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            with torch.inference_mode():
                found.append(linear(x, weight, bias))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], other) for other in found[1:])
    with torch.no_grad():
        assert torch.equal(linear(x[:5], weight, bias), found[0][:5])


def test_with_a_gradient_and_under_autocast_they_are_written_by_torch(ours):
    x, weight, bias = problem(20, 8, 30)
    weight.requires_grad_()
    assert linear(x, weight, bias).requires_grad
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert linear(x, weight, bias).dtype is torch.bfloat16
    assert not ours


def test_what_kernels_do_not_read_is_left_to_torch(ours):
    x, weight, bias = problem(20, 8, 30)
    with torch.no_grad():
        mapped = torch.func.vmap(linear, (0, None, None))(x.view(4, 5, 8), weight, bias)
        torch.testing.assert_close(mapped.view(20, 30), F.linear(x, weight, bias))
        for own in ([t.bfloat16() for t in (x, weight, bias)], [t.to("meta") for t in (x, weight, bias)]):
            assert linear(*own).shape == (20, 30)
        assert linear(x[0], weight, bias).shape == (30,)
        traced = make_fx(linear)(x, weight, bias)
        torch.testing.assert_close(traced(2 * x, weight, bias), F.linear(2 * x, weight, bias))
    assert not ours


@pytest.mark.parametrize(
    "wrong",
    [lambda x, w, b: (x[:, :5], w, b), lambda x, w, b: (x, w, b[:3]), lambda x, w, b: (x.double(), w, b)],
)
def test_what_does_not_fit_is_refused_by_torch(wrong):
    with torch.no_grad(), pytest.raises(RuntimeError):
        linear(*wrong(*problem(20, 8, 30)))


@pytest.mark.parametrize("k", range(3), ids=["x", "weight", "bias"])
def test_what_has_lost_its_memory_is_refused_by_torch(k):
    given = problem(20, 8, 30)
    given[k].untyped_storage().resize_(0)
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"storage|not allocated"):
        linear(*given)


def test_of_little_torch_writes_the_logits(ours, monkeypatch):
    monkeypatch.setattr(readout, "LEAST_ROWS", 16)
    monkeypatch.setattr(readout, "LEAST_WEIGHTS", 8 * 30)
    x, weight, bias = problem(16, 8, 30)
    with torch.no_grad():
        linear(x[:15], weight, bias)
        linear(x, weight[1:], bias[1:])
        assert not ours
        linear(x, weight, bias)
    assert len(ours) == 1
