"""What `record` costs: a call that returns every gate and the cell state of an LSTM beside one that does not, in turns.

python benchmarks/recorded.py
"""

from collections.abc import Callable, Sequence

import torch

import selfloop as sl
from selfloop.bench.timing import ratio, take_turns

STEPS, BATCH, SIZE = 96, 32, 128
GATES = ("i", "f", "g", "o", "c")
ROUNDS = 31


def main() -> None:
    lstm = sl.LSTM(SIZE, SIZE)
    x = torch.randn(STEPS, BATCH, SIZE)

    @torch.no_grad()
    def infer(record: Sequence[str] | None) -> None:
        lstm(x, record=record)

    def forward(record: Sequence[str] | None) -> None:
        lstm(x, record=record)

    def pair(run: Callable[[Sequence[str] | None], None]) -> None:
        plain, recorded = take_turns([lambda: run(None), lambda: run(GATES)], ROUNDS)
        found = ratio(plain, recorded)
        print(
            f"{run.__name__:8} {found.median:.2f} times the plain call, quartiles {found.low:.2f} to {found.high:.2f}"
        )

    print(f"LSTM of {SIZE} units, {STEPS} steps, batch of {BATCH}, recording {', '.join(GATES)}")
    for run in (infer, forward):
        pair(run)


if __name__ == "__main__":
    main()
