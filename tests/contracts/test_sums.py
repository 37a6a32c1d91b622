"""Gradients of weights are sums over all rows of a batch: exact to rounding, of every row once, in one order."""

import pytest
import torch
from catalogue import assert_close

import selfloop as sl
from selfloop import cells
from selfloop.kernels import recording, weight_gradients


def gradients(rnn, x, **options):
    rnn.zero_grad()
    y, state = rnn(x, **options)
    (y.sum() + sum(s.sum() for s in state)).backward()
    return [p.grad.clone() for p in rnn.parameters()]


def interpreted(rnn, x, **options):
    rnn.backend = "interpret"
    try:
        return gradients(rnn, x, **options)
    finally:
        rnn.backend = "native"


@pytest.mark.parametrize(
    ("rnn", "T", "B", "length"),
    [
        (lambda: sl.LSTM(64, 1024, backend="native"), 4, 600, 3),
        (lambda: sl.Recurrent(cells.gru, 64, 128, recompute=16, backend="native"), 64, 5, 30),
        (lambda: sl.LSTM(3, 5, dtype=torch.float64, backend="native"), 9, 4, 2),
    ],
    ids=["chunks of bytes", "recompute", "small chunks"],
)
def test_steps_without_rows_after_the_last_change_nothing(rnn, T, B, length, monkeypatch):
    """Where all lengths are below T, the last chunk of steps would have no rows: called twice on recycled memory."""
    if B == 4:
        monkeypatch.setattr(recording, "CHUNK_BYTES", 1)
    rnn, x = rnn(), torch.randn(T, B, 64)
    if B == 4:
        x = torch.randn(T, B, 3, dtype=torch.float64)
    lengths = torch.full((B,), length)
    whole = gradients(rnn, x[:length])
    for _ in range(3):
        for got, expected in zip(gradients(rnn, x, lengths=lengths), whole, strict=True):
            assert_close(got, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_ragged_chunks_give_the_interpreters_gradients(monkeypatch):
    monkeypatch.setattr(recording, "CHUNK_BYTES", 1)  # a chunk for each step
    for recompute in (None, 1, 4):
        rnn = sl.Recurrent(cells.lstm, 3, 5, dtype=torch.float64, recompute=recompute, backend="native")
        x, lengths = torch.randn(9, 6, 3, dtype=torch.float64), [2, 0, 5, 5, 1, 3]
        for got, expected in zip(gradients(rnn, x, lengths=lengths), interpreted(rnn, x, lengths=lengths), strict=True):
            assert_close(got, expected)


@pytest.mark.parametrize("partial", [1, 2, 32])
def test_partial_sums_are_the_sum(partial, monkeypatch):
    monkeypatch.setattr(weight_gradients, "ROWS_PER_SUM", 1)
    monkeypatch.setattr(weight_gradients, "MOST_PARTIAL_SUMS", partial)
    monkeypatch.setattr(recording, "CHUNK_BYTES", 1 << 10)
    for cell in (cells.lstm, cells.gru, cells.vanilla):
        rnn = sl.Recurrent(cell, 2, 3, dtype=torch.float64, backend="native")
        x = torch.randn(40, 6, 2, dtype=torch.float64)
        for got, expected in zip(gradients(rnn, x), interpreted(rnn, x), strict=True):
            assert_close(got, expected)


def test_three_million_rows_are_summed_to_single_precision():
    """Positive inputs, whose running sum loses what is small beside it: torch.nn's bias has an error of 1e-3 here."""
    rnn = sl.LSTM(8, 8, backend="native")
    x = torch.rand(1000, 1500, 8)
    single = gradients(rnn, x)
    double = gradients(rnn.double(), x.double())
    for got, expected in zip(single, double, strict=True):
        assert (got - expected).abs().max() <= 1e-6 * expected.abs().max()


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("T", "B", "H"), [(300, 30, 64), (30, 30, 1024), (40, 3, 300)], ids=["rows", "units", "few rows"]
)
def test_the_same_bits_on_any_number_of_threads_over_many_chunks(T, B, H, threads):
    rnn = sl.LSTM(64, H, backend="native")
    x = torch.randn(T, B, 64)
    for options in ({}, {"lengths": torch.randint(1, T, (B,))}):
        answers = []
        for number in (1, 2, 3, 5):
            threads(number)
            answers.append(gradients(rnn, x, **options))
        for answer in answers[1:]:
            assert all(torch.equal(a, b) for a, b in zip(answer, answers[0], strict=True))
