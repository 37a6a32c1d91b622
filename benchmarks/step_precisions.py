"""Whole steps of training in bfloat16 against the same in float32, in turns: the cases of `selfloop bench step`.

    python benchmarks/step_precisions.py [--rounds 7]

One thread. Printed are ms of processor time, the median of the rounds, which other work on the machine disturbs little;
and the ratio of medians, and of the best rounds.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn

from selfloop.bench.steps import STEPS, Batch, _own_loss, _step
from selfloop.bench.timing import take_turns


def loss_in(dtype: torch.dtype) -> Callable[[nn.Module, Batch], Tensor]:
    """The loss of a model, with products of this dtype."""

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
            return _own_loss(model, batch)

    return loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(f"{'':24}    T×B    float32   bfloat16   ratio   of the best")
    for case in STEPS:
        torch.manual_seed(0)
        batch, runs = case.batch(case), []
        for dtype in (torch.float32, torch.bfloat16):
            torch.manual_seed(0)
            runs.append(_step(case.model("native").train(), batch, loss_in(dtype)))
        exact, short = take_turns(runs, rounds, clock=time.process_time)
        shape, ratios = f"{case.T}×{case.B}", (median(exact) / median(short), min(exact) / min(short))
        times = f"{median(exact):8.2f} ms{median(short):8.2f} ms"
        print(f"{case.name:24}{shape:>7}{times}   {ratios[0]:5.2f}   {ratios[1]:11.2f}", flush=True)


if __name__ == "__main__":
    main()
