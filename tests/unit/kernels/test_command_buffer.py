"""Relocations are patched when the bases are known, and one command buffer serves many calls."""

import numpy as np
import pytest
import torch
from catalogue import everything

import selfloop as sl
from selfloop import cells
from selfloop.compiler import host_target, tools
from selfloop.kernels import commands, plans, recording
from selfloop.kernels.command_buffer import Recorder
from selfloop.kernels.relocations import OFFSET_BITS


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
    assert list(recorded.numbers.offsets[:4]) == list(true)
    first = x >> OFFSET_BITS
    assert list(recorded.numbers.bases[:8]) == [0, 0, 0, 0, first, first, first + 1, first]
    assert list(recorded.numbers.offsets[4:8]) == [0, 8, -64, 1]
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
    monkeypatch.setattr(plans, "_PLANS", {})
    monkeypatch.setattr(plans, "_RAGGED", {})
    rnn = sl.LSTM(3, 4)
    for _ in range(3):
        rnn(torch.randn(5, 2, 3))[0].sum().backward()
    assert len(recorded) == 2  # forward and backward
    rnn(torch.randn(2, 5, 3).transpose(0, 1))[0].sum().backward()  # other pitches
    assert len(recorded) == 4
    for lengths in ([5, 3], [3, 5], [5, 0]):  # which have their tables of rows, and share all else
        rnn(torch.randn(5, 2, 3), lengths=lengths)[0].sum().backward()
        assert len(recorded) == 6
    rnn(torch.randn(5, 2, 3))[0].sum().backward()
    assert len(recorded) == 6


def test_plans_are_few(monkeypatch):
    monkeypatch.setattr(plans, "_PLANS", {})
    monkeypatch.setattr(plans, "_RAGGED", {})
    rnn = sl.LSTM(3, 4)
    for steps in range(1, 2 * plans.MOST_PLANS):
        rnn(torch.randn(steps, 2, 3))
    assert len(plans._PLANS) == plans.MOST_PLANS


def test_ragged_and_reset_calls_keep_their_plans_by_their_numbers(monkeypatch):
    recorded = []
    forward = commands.forward
    monkeypatch.setattr(commands, "forward", lambda *given: recorded.append(given) or forward(*given))
    monkeypatch.setattr(plans, "_PLANS", {})
    monkeypatch.setattr(plans, "_RAGGED", {})
    rnn, x = sl.LSTM(3, 4), torch.randn(5, 2, 3)
    truth = sl.LSTM(3, 4, backend="interpret")
    truth.load_state_dict(rnn.state_dict())
    resets = torch.zeros(5, 2, dtype=torch.bool)
    for _ in range(3):
        lengths = torch.tensor([5, 5])
        for first in (5, 2):
            lengths[0] = first  # in place: a plan knows the numbers, not the tensor
            torch.testing.assert_close(rnn(x, lengths=lengths)[0], truth(x, lengths=lengths)[0])
        for step in (1, 3):
            marks = resets.clone()
            marks[step] = True
            torch.testing.assert_close(rnn(x, resets=marks)[0], truth(x, resets=marks)[0])
    assert len(recorded) == 2  # one of lengths and one of resets: other numbers fill other tables


def test_the_plans_that_were_not_used_for_longest_go_first(monkeypatch):
    monkeypatch.setattr(plans, "_PLANS", {})
    monkeypatch.setattr(plans, "_RAGGED", {})
    monkeypatch.setattr(plans, "MOST_PLANS", 2)
    rnn = sl.LSTM(3, 4)
    for steps in (1, 2, 1, 3):
        rnn(torch.randn(steps, 2, 3))
    assert sorted(plan.rows.steps for plan in plans._PLANS.values()) == [1, 3]


def test_plans_take_no_more_than_their_bytes(monkeypatch):
    monkeypatch.setattr(plans, "_PLANS", {})
    monkeypatch.setattr(plans, "_RAGGED", {})
    rnn = sl.LSTM(3, 4)
    for steps in (10, 20, 30):
        rnn(torch.randn(steps, 2, 3))
    sizes = [plan.bytes for plan in plans._PLANS.values()]
    for k in range(20):
        rnn(torch.randn(9, 2, 3))[0][k % 9].sum().backward()
    monkeypatch.setattr(plans, "MOST_BYTES", 4 * max(sizes))
    for steps in range(11, 31):
        rnn(torch.randn(steps, 2, 3))
    assert sum(plan.bytes for plan in plans._PLANS.values()) <= plans.MOST_BYTES
    assert [plan.rows.steps for plan in plans._PLANS.values()][-1] == 30
    monkeypatch.setattr(plans, "MOST_BYTES", 0)
    rnn(torch.randn(8, 2, 3))  # huge beside what may be kept: it runs, and is not
    assert all(plan.rows.steps != 8 for plan in plans._PLANS.values())


@pytest.mark.parametrize("batch", [1, 8, 9, 40])
def test_gradients_of_vectors_are_added_over_the_batch(batch):
    rnn = sl.GRU(3, 19, dtype=torch.float64)
    truth = sl.GRU(3, 19, dtype=torch.float64, backend="interpret")
    truth.load_state_dict(rnn.state_dict())
    x = torch.randn(3, batch, 3, dtype=torch.float64)
    for layer in (rnn, truth):
        layer(x)[0].square().sum().backward()
    for own, true in zip(rnn.parameters(), truth.parameters(), strict=True):
        torch.testing.assert_close(own.grad, true.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("chunk", [1, recording.CHUNK_BYTES])
@pytest.mark.parametrize("name", ["lstm", "gru"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_batches_of_new_lengths_and_resets_give_what_the_interpreter_gives(
    monkeypatch, name, bidirectional, batch_first, chunk
):
    monkeypatch.setattr(plans, "_RAGGED", {})
    monkeypatch.setattr(recording, "CHUNK_BYTES", chunk)
    T, B = 7, 4
    options = {"bidirectional": bidirectional, "batch_first": batch_first, "dtype": torch.float64}
    rnn = sl.Recurrent(getattr(cells, name), 3, 5, **options)
    truth = sl.Recurrent(getattr(cells, name), 3, 5, backend="interpret", **options)
    truth.load_state_dict(rnn.state_dict())
    for k in range(12):
        lengths, marks = torch.randint(0, T + 1, (B,)), torch.rand(T, B) < 0.3
        given = [{"lengths": lengths}, {"lengths": lengths, "resets": marks}, {"resets": marks}][k % 3]
        x = torch.randn(T, B, 3, dtype=torch.float64)
        if k % 3 < 2:
            x[torch.arange(T)[:, None] >= lengths] = torch.nan  # is read nowhere
        if batch_first:
            x = x.transpose(0, 1).contiguous()
            given = {key: v.T if v.dim() == 2 else v for key, v in given.items()}
        start = sl.State(**{n: torch.randn_like(s) for n, s in rnn.zero_state(B).tensors.items()})

        def run(layer, at=x, state=start, options=given):
            return everything(layer, at, state, lambda *both: layer(*both, **options))

        for mine, theirs in zip(run(rnn), run(truth), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_plans_for_other_lengths_are_few_and_small_and_those_not_used_for_longest_go_first(monkeypatch):
    monkeypatch.setattr(plans, "_PLANS", {})
    monkeypatch.setattr(plans, "_RAGGED", {})
    monkeypatch.setattr(plans, "MOST_RAGGED", 2)
    rnn = sl.LSTM(3, 4)

    def run(steps, lengths):
        rnn(torch.randn(steps, 2, 3), lengths=lengths)
        return sorted(plan.rows.steps for plan in plans._RAGGED.values())

    assert (run(4, [4, 1]), run(5, [5, 1])) == ([4], [4, 5])
    run(4, [3, 4])  # is used again
    assert run(6, [6, 1]) == [4, 6]
    monkeypatch.setattr(plans, "MOST_BYTES", plans._PLANS[[*plans._PLANS][-1]].bytes * 5)
    monkeypatch.setattr(plans, "MOST_RAGGED", 99)
    for steps in range(7, 30):
        run(steps, [steps, 1])
    assert 1 < len(plans._RAGGED) < 6
    assert sum(plan.bytes for plan in plans._RAGGED.values()) <= plans.MOST_BYTES
