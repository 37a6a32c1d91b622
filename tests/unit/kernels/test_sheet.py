"""Addresses that become true when the bases are known, and plans that serve many calls."""

import numpy as np
import pytest
import torch

import selfloop as sl
from selfloop.compiler import targets
from selfloop.compiler.pipeline import tools
from selfloop.kernels import plans
from selfloop.kernels.sheet import Sheet


@pytest.fixture
def sheet():
    return Sheet(tools(32, targets.host()), 1)


def test_numbers_and_addresses_are_told_apart(sheet):
    true = np.array([0, 7, -3, (1 << 47) - 1])
    sheet.write(true)
    x, y = sheet.base("x"), sheet.base("y")
    addresses = sheet.write(np.array([x, x + 8, y - 64, sheet.base("x") + 1]))
    plan = sheet.finish()
    assert plan.names == ("x", "y")
    assert list(plan.offsets[:4]) == list(true)
    assert list(plan.bases[:8]) == [0, 0, 0, 0, 2, 2, 3, 2]
    assert list(plan.offsets[4:8]) == [0, 8, -64, 1]
    assert addresses == sheet.base("sheet") + 4 * 8


def test_room_starts_at_lines_of_the_cache_and_zeros_come_first(sheet):
    first = sheet.room(5, "first")
    sheet.zero_so_far()
    second = sheet.room(64, "second")
    plan = sheet.finish()
    assert (first, second) == (sheet.base("room"), sheet.base("room") + 64)
    assert (plan.room, plan.zeros, dict(plan.places)) == (128, 64, {"first": slice(0, 5), "second": slice(64, 128)})


def test_calls_that_differ_in_their_numbers_alone_use_one_plan():
    rnn = sl.LSTM(3, 4)
    plans._remembered.cache_clear()
    for _ in range(3):
        rnn(torch.randn(5, 2, 3))[0].sum().backward()
    assert plans._remembered.cache_info().misses == 2  # forward and backward
    rnn(torch.randn(2, 5, 3).transpose(0, 1))[0].sum().backward()  # other pitches
    assert plans._remembered.cache_info().misses == 4
    rnn(torch.randn(5, 2, 3), lengths=[5, 3])
    assert plans._remembered.cache_info().misses == 4
