"""Dropout beside torch's: nanoseconds a number, in turns.

    python benchmarks/dropout.py

Forward and backward, on one thread; the medians of the rounds.
"""

from collections.abc import Callable

import torch
from torch import nn

from selfloop.bench.timing import ratio, spread, take_turns
from selfloop.compiler import host_target
from selfloop.layers.dropout import Dropout

COUNTS = (1 << 14, 1 << 18, 1 << 22)


def call(module: nn.Module, count: int) -> Callable[[], None]:
    """Forward and backward."""
    x, dy = torch.randn(count, requires_grad=True), torch.randn(count)
    return lambda: module(x).backward(dy)


def main() -> None:
    """Measure all."""
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {host_target().name}, 1 thread; ns a number, forward and backward")
    print(f"{'numbers':>12}{'selfloop':>12}{'torch':>12}{'ratio':>9}   quartiles")
    for count in COUNTS:
        ours, peer = take_turns([call(Dropout(0.5), count), call(nn.Dropout(0.5), count)], rounds=7)
        faster = ratio(ours, peer)
        times = "".join(f"{spread(times).median * 1e6 / count:>12.2f}" for times in (ours, peer))
        print(f"{count:>12,}{times}{faster.median:>9.1f}   {faster.low:.1f} to {faster.high:.1f}", flush=True)


if __name__ == "__main__":
    main()
