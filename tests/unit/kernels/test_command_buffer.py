"""Relocations are patched when the bases are known, and one command buffer serves many calls."""

import numpy as np
import pytest
import torch

import selfloop as sl
from selfloop.compiler import host_target, tools
from selfloop.kernels import commands, native
from selfloop.kernels.command_buffer import Recorder


@pytest.fixture
def recorder():
    return Recorder(tools(32, host_target()), 1)


def test_numbers_and_addresses_are_told_apart(recorder):
    true = np.array([0, 7, -3, (1 << 47) - 1])
    recorder.write(true)
    x, y = recorder.base("x"), recorder.base("y")
    addresses = recorder.write(np.array([x, x + 8, y - 64, recorder.base("x") + 1]))
    recorded = recorder.finish()
    assert recorded.names == ("x", "y")
    assert list(recorded.offsets[:4]) == list(true)
    assert list(recorded.bases[:8]) == [0, 0, 0, 0, 2, 2, 3, 2]
    assert list(recorded.offsets[4:8]) == [0, 8, -64, 1]
    assert addresses == recorder.base("numbers") + 4 * 8


def test_workspace_starts_at_cache_lines_and_zeros_come_first(recorder):
    first = recorder.workspace(5, "first")
    recorder.zero_workspace()
    second = recorder.workspace(64, "second")
    recorded = recorder.finish()
    assert (first, second) == (recorder.base("workspace"), recorder.base("workspace") + 64)
    assert (recorded.workspace, recorded.zeros) == (128, 64)
    assert recorded.named == {"first": slice(0, 5), "second": slice(64, 128)}


def test_calls_that_differ_in_their_numbers_alone_use_one_plan(monkeypatch):
    recorded = []
    for name in ("forward", "backward"):
        own = getattr(commands, name)
        monkeypatch.setattr(commands, name, lambda *given, own=own: recorded.append(own) or own(*given))
    monkeypatch.setattr(native, "_PLANS", {})
    rnn = sl.LSTM(3, 4)
    for _ in range(3):
        rnn(torch.randn(5, 2, 3))[0].sum().backward()
    assert len(recorded) == 2  # forward and backward
    rnn(torch.randn(2, 5, 3).transpose(0, 1))[0].sum().backward()  # other pitches
    assert len(recorded) == 4
    rnn(torch.randn(5, 2, 3), lengths=[5, 3])  # whose rows are its own
    assert len(recorded) == 5
    rnn(torch.randn(5, 2, 3))[0].sum().backward()
    assert len(recorded) == 5


def test_plans_are_few(monkeypatch):
    monkeypatch.setattr(native, "_PLANS", {})
    rnn = sl.LSTM(3, 4)
    for steps in range(1, 2 * native.MOST_PLANS):
        rnn(torch.randn(steps, 2, 3))
    assert len(native._PLANS) == native.MOST_PLANS
