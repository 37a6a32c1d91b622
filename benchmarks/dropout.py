"""Dropout beside torch's, and outside of an LSTM beside within: forward and backward, in turns.

    python benchmarks/dropout.py [--threads 1 2]

First nanoseconds a number, on one thread. Then the ms of an LSTM of 64 steps and 32 sequences without dropout, and what
dropout adds, in percent: as a module after it, or before it as well, and drawn by its own kernels, where the output is
written or the input is read, as the word `dropout` in the equations asks for. The medians of the rounds.
"""

import argparse
from collections.abc import Callable

import torch
from torch import Tensor, nn

import selfloop as sl
from selfloop import cells
from selfloop.bench.timing import ratio, spread, take_turns
from selfloop.compiler import host_target
from selfloop.layers.dropout import Dropout

COUNTS = (1 << 14, 1 << 18, 1 << 22)
SIZES = (64, 128, 256, 512)
STEPS, BATCH, RATE = 64, 32, 0.25


def call(run: Callable[[Tensor], Tensor], *shape: int) -> Callable[[], None]:
    """Forward and backward."""
    x, dy = torch.randn(shape, requires_grad=True), torch.randn(shape)
    return lambda: run(x).backward(dy)


@sl.cell
def after(x, y, h, c, *, W_xh=sl.param("4h x"), W_hh=sl.param("4h h"), b=sl.param("4h")):
    """An LSTM whose output `y` is what is left of `h`."""
    h, c = cells.lstm(x, h, c, W_xh=W_xh, W_hh=W_hh, b=b)
    return sl.dropout(h, RATE), h, c


@sl.cell
def both(x, y, h, c, *, W_xh=sl.param("4h x"), W_hh=sl.param("4h h"), b=sl.param("4h")):
    """Its input is dropped as well."""
    h, c = cells.lstm(sl.dropout(x, RATE), h, c, W_xh=W_xh, W_hh=W_hh, b=b)
    return sl.dropout(h, RATE), h, c


def beside_torch() -> None:
    """Nanoseconds a number."""
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {host_target().name}, 1 thread; ns a number, forward and backward")
    print(f"{'numbers':>12}{'selfloop':>12}{'torch':>12}{'ratio':>9}   quartiles")
    for count in COUNTS:
        ours, peer = take_turns([call(Dropout(0.5), count), call(nn.Dropout(0.5), count)], rounds=7)
        faster = ratio(ours, peer)
        times = "".join(f"{spread(times).median * 1e6 / count:>12.2f}" for times in (ours, peer))
        print(f"{count:>12,}{times}{faster.median:>9.1f}   {faster.low:.1f} to {faster.high:.1f}", flush=True)


def within_an_lstm(threads: int) -> None:
    """What dropout adds to the time of an LSTM."""
    torch.set_num_threads(threads)
    print(f"\nLSTM, T {STEPS}, B {BATCH}, {threads} thread{'s' * (threads > 1)}: ms without dropout, and what it adds")
    print(f"{'units':>7}{'ms':>9}{'module after':>15}{'in the cell':>13}{'before and after':>19}{'in the cell':>13}")
    for size in SIZES:
        drop = Dropout(RATE)
        base, dropped, dropped_twice = (sl.Recurrent(own, size, size) for own in (cells.lstm, after, both))
        runs: list[Callable[[Tensor], Tensor]] = [
            lambda x, rnn=base: rnn(x)[0],
            lambda x, rnn=base, drop=drop: drop(rnn(x)[0]),
            lambda x, rnn=dropped: rnn(x)[0],
            lambda x, rnn=base, drop=drop: drop(rnn(drop(x))[0]),
            lambda x, rnn=dropped_twice: rnn(x)[0],
        ]
        alone, *others = take_turns([call(run, STEPS, BATCH, size) for run in runs], rounds=9)
        added = (f"{ratio(alone, other).median - 1:+.1%}" for other in others)
        print(f"{size:>7}{spread(alone).median:>9.2f}" + "{:>15}{:>13}{:>19}{:>13}".format(*added), flush=True)


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    given = parser.parse_args()
    beside_torch()
    for threads in given.threads:
        within_an_lstm(threads)


if __name__ == "__main__":
    main()
