"""Dropout keeps the share that it should, at random and reproducibly, and its gradient drops what it has dropped."""

import math

import pytest
import torch
from catalogue import TOLERANCE

from selfloop import processors
from selfloop.errors import ArgumentError
from selfloop.kernels import dropout as kernels
from selfloop.kernels import team
from selfloop.kernels.dropout import dropout
from selfloop.kernels.random import bernoulli
from selfloop.layers.dropout import Dropout


@pytest.fixture
def threads(monkeypatch):
    monkeypatch.setattr(processors, "count", lambda: 8)
    monkeypatch.setattr(team, "ONE_THREAD_BELOW", 0)
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def seeded(x, rate=0.3, seed=1):
    torch.manual_seed(seed)
    return dropout(x, rate)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", [(7, 5, 33), (1, 1), (3, 16), (40,), (2, 0, 4), (0, 3), (3, 0)], ids=str)
def test_its_bits_are_those_of_the_formula(shape, dtype):
    x = torch.randn(shape, dtype=dtype)
    torch.manual_seed(1)
    seed = torch.randint(2**31, (), device="cpu")
    size = shape[-1]
    kept = bernoulli(seed, 0.7, 0, False, 1, max(1, math.prod(shape[:-1])), size)[0]
    wanted = x * kept[: math.prod(shape[:-1])].view(shape) * torch.tensor(1 / 0.7, dtype=dtype)
    assert torch.equal(seeded(x), wanted)


@pytest.mark.parametrize("rate", [0.01, 0.3, 0.5, 0.9])
def test_it_drops_the_share_that_it_should(rate):
    x = torch.ones(300, 1000)
    y = seeded(x, rate)
    dropped = y == 0
    sigma = math.sqrt(rate * (1 - rate))
    assert abs(dropped.double().mean() - rate) < 5 * sigma / math.sqrt(x.numel())
    assert (dropped.double().mean(0) - rate).abs().max() < 5 * sigma / math.sqrt(300)
    assert (dropped.double().mean(1) - rate).abs().max() < 5 * sigma / math.sqrt(1000)
    assert (y[~dropped] == torch.tensor(1 / (1 - rate))).all()
    both = (dropped[1:] & dropped[:-1]).double().mean(), (dropped[:, 1:] & dropped[:, :-1]).double().mean()
    assert all(abs(share - rate**2) < 5 / math.sqrt(x.numel()) for share in both)  # neighbours know nothing


def test_calls_draw_anew_and_a_seed_draws_again():
    x = torch.ones(50, 40)
    first, second = seeded(x), dropout(x, 0.3)
    assert not torch.equal(first, second)
    assert torch.equal(seeded(x), first) and torch.equal(dropout(x, 0.3), second)


def test_the_same_bits_on_any_number_of_threads(threads):
    x, found = torch.randn(300, 301, requires_grad=True), []
    for number in (1, 2, 3, 8):
        threads(number)
        y = seeded(x)
        found.append((y.detach(), *torch.autograd.grad(y.sum(), x)))
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_gradients_of_both_orders_are_those_of_differences():
    x = torch.randn(5, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(seeded, x)
    assert torch.autograd.gradgradcheck(seeded, x)


def test_a_batch_of_gradients_is_dropped_like_each():
    x = torch.randn(5, 9, requires_grad=True)
    y, several = seeded(x), torch.randn(3, 5, 9)
    found = torch.autograd.grad(y, x, several, is_grads_batched=True, retain_graph=True)[0]
    each = [torch.autograd.grad(y, x, dy, retain_graph=True)[0] for dy in several]
    torch.testing.assert_close(found, torch.stack(each))


def test_an_input_may_be_laid_out_in_any_way():
    x = torch.randn(6, 4, 10)
    assert torch.equal(seeded(x.transpose(0, 1)), seeded(x.transpose(0, 1).contiguous()))


def test_of_bfloat16_the_same_elements_are_dropped():
    x = torch.randn(30, 50).bfloat16().requires_grad_()
    y = seeded(x, 0.5)
    (gradient,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert y.dtype is gradient.dtype is torch.bfloat16
    assert torch.equal(y, seeded(x.detach().float(), 0.5).bfloat16())
    assert torch.equal(gradient == 0, y == 0)


@pytest.mark.parametrize("dtype", [torch.float16], ids=str)
def test_torch_drops_what_kernels_do_not_take(dtype):
    y = seeded(torch.ones(100, 100, dtype=dtype), 0.5)
    assert y.dtype is dtype and 0.4 < (y == 0).float().mean() < 0.6


def test_the_layer_is_torchs_in_all_else():
    layer, x = Dropout(0.5), torch.ones(20, 30)
    assert repr(layer) == "Dropout(p=0.5, inplace=False)" and isinstance(layer, torch.nn.Dropout)
    assert layer.eval()(x) is x
    assert (layer.train()(x) == 0).any() and not (Dropout(0.0)(x) == 0).any()
    assert (Dropout(1.0)(x) == 0).all()
    assert Dropout(0.5, inplace=True)(x) is x and (x == 0).any()


def test_vmap_and_compile_run_torchs(monkeypatch):
    monkeypatch.setattr(kernels, "_run", None)  # would be called in vain
    x = torch.ones(4, 100)
    y = torch.func.vmap(lambda v: dropout(v, 0.5), randomness="different")(x)
    assert 100 < (y == 0).sum() < 300


def test_what_has_lost_its_memory_is_refused():
    x = torch.ones(4, 100)
    x.untyped_storage().resize_(0)
    with pytest.raises(ArgumentError, match="The 'x' of dropout must have memory"):
        dropout(x, 0.5)
