"""Hooks of a layer run around a step as torch runs them around a call."""

import pytest
import torch
from catalogue import assert_close
from torch import nn
from torch.nn.modules import module as of_all_modules

import selfloop as sl


@pytest.mark.parametrize("needs_gradient", [True, False], ids=["input with a gradient", "input without"])
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_backward_hooks_see_the_gradients_that_they_see_of_a_call(needs_gradient):
    rnn, x, seen = sl.LSTM(3, 4), torch.randn(2, 3, requires_grad=needs_gradient), []
    rnn.register_full_backward_hook(lambda module, dx, dy: seen.append(("after", module, *dx, *dy)))
    rnn.register_full_backward_pre_hook(lambda module, dy: seen.append(("before", module, *dy)))
    handle = of_all_modules.register_module_full_backward_pre_hook(lambda module, dy: seen.append(("all", module, *dy)))
    rnn.step(x)[0].square().sum().backward()
    step, seen[:] = [*seen], []
    rnn(x[None])[0].square().sum().backward()
    handle.remove()
    assert [own[0] for own in step] == [own[0] for own in seen] == ["all", "before", "after"]
    for (_, module, *mine), (_, _, *theirs) in zip(step, seen, strict=True):
        assert module is rnn
        for a, b in zip(mine, theirs, strict=True):
            assert a is b is None or torch.allclose(a, b[0])


def test_backward_hooks_change_gradients():
    rnn, x = sl.LSTM(3, 4), torch.randn(2, 3, requires_grad=True)
    rnn.step(x)[0].sum().backward()
    plain = x.grad
    rnn.register_full_backward_hook(lambda _, dx, dy: (3 * dx[0],))
    rnn.register_full_backward_pre_hook(lambda _, dy: (2 * dy[0], *dy[1:]))
    x.grad = None
    rnn.step(x)[0].sum().backward()
    assert_close(x.grad, 6 * plain)


def test_hooks_that_torch_has_deprecated_are_refused():
    rnn = sl.LSTM(3, 4)
    rnn.register_backward_hook(lambda *_: None)
    with pytest.raises(sl.SelfloopError, match=r"must be made by register_full_backward_hook to run in a step"):
        rnn.step(torch.randn(2, 3))


def test_hooks_that_are_always_called_are_called_after_an_error():
    rnn, seen = sl.LSTM(3, 4), []

    def fail(module, args, result):
        if result is not None:
            raise ZeroDivisionError

    rnn.register_forward_hook(lambda *given: seen.append(given[2:]), always_call=True)
    rnn.register_forward_hook(fail, always_call=True)
    rnn.register_forward_hook(lambda *given: seen.append(given[2:]), always_call=True, with_kwargs=True)
    rnn.register_forward_hook(lambda *_: seen.append("never"))
    for one in (rnn.step, rnn):
        with pytest.raises(sl.SelfloopError, match="float64"):
            one(torch.randn(2, 3, dtype=torch.float64))
        assert seen == [(None,), ({}, None)], one
        seen.clear()
    for one in (rnn.step, rnn):
        with pytest.raises(ZeroDivisionError):
            one(torch.randn(2, 3))
        assert len(seen) == 2, one
        seen.clear()


def test_hooks_of_all_modules_may_take_keywords():
    rnn, seen = nn.ModuleList([sl.LSTM(3, 4)])[0], []
    handle = of_all_modules.register_module_forward_hook(
        lambda module, args, kwargs, result: seen.append(kwargs), with_kwargs=True
    )
    rnn.step(torch.randn(2, 3), record=("c",))
    handle.remove()
    assert {"record": ("c",)} in seen
