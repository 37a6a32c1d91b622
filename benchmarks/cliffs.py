"""Calls that differ in little, and should take about as long: where a limit of what is kept, or `lengths`, might cost.

    python benchmarks/cliffs.py

Forward and backward, on one thread. Time is the processor's, the best of many rounds in turns.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

import selfloop as sl
from selfloop.compiler import host_target
from selfloop.kernels import plans

ROUNDS, SECONDS = 15, 0.02


class Pair(NamedTuple):
    """A call, and one that differs in one thing.

    Attributes:
        name: of the first.
        other: what the second is, beside it.
        calls: both.
    """

    name: str
    other: str
    calls: tuple[Callable[[], None], Callable[[], None]]


def call(rnn: sl.Recurrent, T: int, B: int, **options: torch.Tensor) -> Callable[[], None]:
    """A training call, with lengths or resets."""
    x = torch.randn(T, B, rnn.input_size)
    return lambda: rnn(x, **options)[0].sum().backward()


def longest_kept(rnn: sl.Recurrent, B: int) -> int:
    """The most steps of a call whose plan is kept."""
    low, high = 1, 1 << 14
    while high - low > 1:
        steps = (low + high) // 2
        plans._PLANS.clear()
        rnn(torch.randn(steps, B, rnn.input_size))
        low, high = (steps, high) if plans._PLANS else (low, steps)
    return low


def pairs() -> list[Pair]:
    """All that is measured."""
    small, lstm = sl.RNN(8, 8), sl.LSTM(64, 64)
    lengths = torch.full((1600,), 10)
    resets = torch.zeros(5, 8, dtype=torch.bool)
    resets[2, 3] = True
    most = longest_kept(small, 100)
    return [
        Pair("RNN 8, T 163, B 100", "T 164", (call(small, 163, 100), call(small, 164, 100))),
        Pair(f"RNN 8, T {most}, B 100", f"T {most + 1}", (call(small, most, 100), call(small, most + 1, 100))),
        Pair("RNN 8, T 10, B 1600", "lengths", (call(small, 10, 1600), call(small, 10, 1600, lengths=lengths))),
        Pair("LSTM 64, T 5, B 8", "lengths", (call(lstm, 5, 8), call(lstm, 5, 8, lengths=torch.full((8,), 5)))),
        Pair("LSTM 64, T 5, B 8", "resets", (call(lstm, 5, 8), call(lstm, 5, 8, resets=resets))),
    ]


def timed(one: Callable[[], None]) -> float:
    """Seconds of a call."""
    calls, start = 0, time.process_time()
    while calls == 0 or time.process_time() - start < SECONDS:
        one()
        calls += 1
    return (time.process_time() - start) / calls


def main() -> None:
    """Measure all pairs."""
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {host_target().name}, 1 thread; µs a call")
    for pair in pairs():
        rounds = [[timed(one) for one in pair.calls] for _ in range(ROUNDS)]
        first, second = (min(times) * 1e6 for times in zip(*rounds, strict=True))
        print(f"{pair.name:<24}{first:>9,.0f}   {pair.other:<8}{second:>9,.0f}   {second / first:.2f}", flush=True)


if __name__ == "__main__":
    main()
