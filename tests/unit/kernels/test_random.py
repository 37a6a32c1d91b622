"""What cells draw."""

import pytest
import torch
from catalogue import assert_close

import selfloop as sl
from selfloop import param
from selfloop.errors import CellError
from selfloop.kernels.random import bernoulli

SEED = torch.tensor(5)
CASES = {
    "plain": {},
    "ragged": {"lengths": torch.tensor([7, 0, 3, 5])},
    "resets": {"resets": torch.arange(28).view(7, 4) % 5 == 0},
}


@sl.cell
def regularised(x, h, c, *, W=param("4h x"), U=param("4h h")):
    i, f, g, o = sl.split(W @ x + U @ sl.variational_dropout(h, 0.3), 4)
    new = sl.sigmoid(f) * c + sl.sigmoid(i) * sl.dropout(sl.tanh(g), 0.25)
    return sl.zoneout(sl.sigmoid(o) * sl.tanh(new), h, 0.1), sl.zoneout(new, c, 0.2)


@sl.cell
def kept(x, h, *, W=param("h x")):
    h = sl.zoneout(W @ x, h, 0.4)
    return h


@sl.cell
def dropped(x, h, *, W=param("h x")):
    h = sl.dropout(W @ x, 0.4) + 0 * h
    return h


@sl.cell
def dropped_alike(x, h, *, W=param("h x")):
    h = sl.variational_dropout(W @ x, 0.4) + 0 * h
    return h


def mix(word):
    word ^= word >> 16
    word = word * 0x85EBCA6B % 2**32
    word ^= word >> 13
    word = word * 0xC2B2AE35 % 2**32
    return word ^ word >> 16


@pytest.mark.parametrize("per_step", [True, False])
def test_the_bits_are_those_of_the_formula(per_step):
    got = bernoulli(SEED, 0.3, 2, per_step, 3, 4, 5)
    for t in range(3):
        for b in range(4):
            for j in range(5):
                word = mix((5 + 0x9E3779B9 * 3) % 2**32)
                word = mix(word ^ (t + 1)) if per_step else word
                word = mix(word ^ 0x85EBCA77 * (b + 1) % 2**32)
                word = mix(word ^ 0xC2B2AE3D * (j + 1) % 2**32)
                assert bool(got[t, b, j]) == (word >> 8 < int(0.3 * 2**24))


def test_the_bits_are_frequent_as_asked_and_unlike_their_neighbours():
    draws = ((5, 0), (6, 0), (5, 1))
    drawn = [bernoulli(torch.tensor(seed), 0.3, stream, True, 100, 50, 64).double() - 0.3 for seed, stream in draws]
    sd = (1 / drawn[0].numel()) ** 0.5
    assert abs(drawn[0].mean().item()) < 4 * sd
    for d in (0, 1, 2):
        a, b = drawn[0].narrow(d, 1, drawn[0].shape[d] - 1), drawn[0].narrow(d, 0, drawn[0].shape[d] - 1)
        assert abs((a * b).mean().item() / 0.21) < 5 * sd
    for other in drawn[1:]:
        assert abs((drawn[0] * other).mean().item() / 0.21) < 5 * sd


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_compiled_kernels_draw_what_the_interpreter_draws(case, training, dtype):
    def everything(backend):
        torch.manual_seed(0)
        rnn = sl.Recurrent(regularised, 3, 21, num_layers=2, bidirectional=True, backend=backend, dtype=dtype)
        x = torch.randn(7, 4, 3, dtype=dtype, requires_grad=True)
        y, state = rnn.train(training)(x, **case)
        loss = (y * torch.linspace(0, 1, 42, dtype=dtype)).sum() + state.h.sum() + state.c.sum()
        return [y, *state, *torch.autograd.grad(loss, [x, *rnn.parameters()])]

    for got, expected in zip(everything("native"), everything("interpret"), strict=True):
        assert_close(got, expected)


def test_outside_of_training_what_is_drawn_is_its_mean():
    x = torch.randn(5, 2, 3)
    rnn = sl.Recurrent(dropped, 3, 4).eval()
    assert_close(rnn(x)[0], x @ rnn.W_l0.T)
    rnn = sl.Recurrent(kept, 3, 4).eval()
    new, h = x @ rnn.W_l0.T, torch.zeros(2, 4)
    for t, y in enumerate(rnn(x)[0]):
        h = 0.4 * h + 0.6 * new[t]
        assert_close(y, h)


@pytest.mark.parametrize("backend", ["native", "interpret"])
def test_dropout_scales_what_stays_and_draws_anew_at_each_step_or_once(backend):
    x = torch.ones(50, 8, 3)
    for cell, is_same in ((dropped, False), (dropped_alike, True)):
        rnn = sl.Recurrent(cell, 3, 40, backend=backend)
        mask = rnn(x)[0] / (x @ rnn.W_l0.T)
        assert torch.isclose(mask, torch.tensor(1 / 0.6)).logical_or(mask == 0).all()
        assert abs((mask == 0).float().mean().item() - 0.4) < (0.01 if cell is dropped else 0.1)
        assert bool((mask[0] == mask[1]).all()) == is_same


def test_zoneout_keeps_units_and_a_seed_repeats_them():
    x = torch.randn(30, 4, 3)
    rnn = sl.Recurrent(kept, 3, 20)
    torch.manual_seed(3)
    y = rnn(x)[0]
    stays = y[1:] == y[:-1]
    assert abs(stays.float().mean().item() - 0.4) < 0.05
    torch.manual_seed(3)
    assert torch.equal(rnn(x)[0], y)
    assert not torch.equal(rnn(x)[0], y)


def test_a_cell_that_draws_nothing_leaves_torchs_generator_alone():
    rnn = sl.LSTM(3, 4)
    torch.manual_seed(0)
    rnn(torch.randn(2, 1, 3))
    after = torch.get_rng_state()
    torch.manual_seed(0)
    torch.randn(2, 1, 3)
    assert torch.equal(after, torch.get_rng_state())


@pytest.mark.parametrize("rate", [1, 1.0, -0.1, "0.5", True, None])
def test_a_rate_is_a_number_below_one(rate):
    with pytest.raises(CellError, match=r"the rate of zoneout must be a number in \[0, 1\); got"):

        @sl.cell
        def wrong(x, h, *, W=param("h x")):
            return sl.zoneout(W @ x, h, rate)


def test_what_is_dropped_is_a_vector():
    with pytest.raises(CellError, match="what is dropped must be a vector, but is a scalar"):

        @sl.cell
        def wrong(x, h, *, W=param("h x")):
            return W @ x * sl.dropout(sl.sum(h), 0.5)
