"""What a ragged batch costs whose lengths are new, beside one whose lengths were seen before; see README.md.

    python benchmarks/new_lengths.py

Forward and backward, on one thread. Time is the processor's, the best of many rounds in turns.
"""

import time
from collections.abc import Callable

import torch

import selfloop as sl
from selfloop.compiler import host_target

CASES = (
    ("LSTM, both directions, T 20, B 32, H 128", sl.LSTM(128, 128, bidirectional=True), 20, 32),
    ("LSTM, T 5, B 8, H 64", sl.LSTM(64, 64), 5, 8),
    ("GRU, both directions, T 50, B 16, H 64", sl.GRU(64, 64, bidirectional=True), 50, 16),
)
ROUNDS, CALLS = 25, 20


def main() -> None:
    """Measure all cases."""
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {host_target().name}, 1 thread; µs a call")
    print(f"{'':<44}{'new lengths':>12}{'the same':>12}{'more':>8}")
    for name, rnn, T, B in CASES:
        new, same = _measure(rnn, T, B)
        print(f"{name:<44}{new:>12.0f}{same:>12.0f}{new - same:>8.0f}")


def _measure(rnn: sl.LSTM | sl.GRU, T: int, B: int) -> tuple[float, float]:
    x, generator = torch.randn(T, B, rnn.input_size), torch.Generator().manual_seed(0)

    def lengths() -> torch.Tensor:
        drawn = torch.randint(T // 4, T + 1, (B,), generator=generator)
        drawn[0] = T  # a batch is padded to its longest sequence
        return drawn

    def call(lengths: torch.Tensor) -> None:
        rnn(x, lengths=lengths)[0].sum().backward()

    def timed(each: Callable[[], torch.Tensor]) -> float:
        given = [each() for _ in range(CALLS)]
        start = time.process_time()
        for own in given:
            call(own)
        return (time.process_time() - start) / CALLS * 1e6

    known = lengths()
    call(known)
    rounds = [(timed(lengths), timed(lambda: known)) for _ in range(ROUNDS)]
    return min(new for new, _ in rounds), min(same for _, same in rounds)


if __name__ == "__main__":
    main()
