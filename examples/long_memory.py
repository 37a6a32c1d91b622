"""Why gates exist: two tasks whose answer lies hundreds of steps back, which one cell after another learns, or not.

adding  Each step brings a number in [0, 1] and a mark; two steps are marked, one in each half. The answer, after the
        last step, is the sum of the two marked numbers (Hochreiter & Schmidhuber 1997; as in Le et al. 2015). Always to
        say 1 has a mean squared error of 1/6.
copy    Ten symbols out of eight, a long blank, a signal; then the ten are to be said again (Arjovsky et al. 2016). To
        remember nothing costs 10 log 8 / (T + 20) nats a step.

A task is solved when 6 % of that loss is left. Sequences are new at each update; the loss is that of 500 others.

  python examples/long_memory.py adding --steps 200 --cell lstm gru vanilla janet --minutes 2 --plot flow.png
  python examples/long_memory.py copy --steps 200 --chrono --minutes 5
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import selfloop as sl
from selfloop import chrono, param
from selfloop.inspect import draw_gradient_flow, gradient_flow
from selfloop.tasks.choose_cell import choose_cell

SYMBOLS, COPIED = 8, 10
BLANK, SIGNAL = SYMBOLS, SYMBOLS + 1
SOLVED = 0.06


def adding(steps: int, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Numbers and marks (T, B, 2), and the sums (B)."""
    numbers = torch.rand(steps, batch, generator=generator)
    first = torch.randint(0, steps // 2, (1, batch), generator=generator)
    second = torch.randint(steps // 2, steps, (1, batch), generator=generator)
    marks = torch.zeros(steps, batch).scatter_(0, torch.cat([first, second]), 1.0)
    return torch.stack([numbers, marks], dim=-1), (numbers * marks).sum(0)


def copy(steps: int, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One-hot symbols (T + 20, B, 10), and what is to be said at each step (T + 20, B): blanks, and then the ten."""
    symbols = torch.randint(SYMBOLS, (COPIED, batch), generator=generator)
    tokens = torch.full((steps + 2 * COPIED, batch), BLANK)
    answers = tokens.clone()
    tokens[:COPIED], tokens[-COPIED - 1] = symbols, SIGNAL
    answers[-COPIED:] = symbols
    return F.one_hot(tokens, SYMBOLS + 2).float(), answers


@dataclass(frozen=True)
class Task:
    """What is drawn, the sizes of a step and of an answer, the loss, and what it is for one that remembers nothing."""

    draw: Callable[[int, int, torch.Generator], tuple[Tensor, Tensor]]
    sizes: tuple[int, int]
    loss: Callable[[Tensor, Tensor], Tensor]
    unit: str
    memoryless: Callable[[int], float]


TASKS = {
    "adding": Task(adding, (2, 1), lambda y, sums: F.mse_loss(y[-1, :, 0], sums), "MSE", lambda T: 1 / 6),
    "copy": Task(
        copy,
        (SYMBOLS + 2, SYMBOLS + 1),
        lambda y, answers: F.cross_entropy(y.flatten(0, 1), answers.flatten()),
        "nats a step",
        lambda T: COPIED * math.log(SYMBOLS) / (T + 2 * COPIED),
    ),
}


class Network(nn.Module):
    """A recurrent layer and a linear readout: all that there is."""

    def __init__(self, task: Task, cell: sl.Cell, hidden_size: int) -> None:
        super().__init__()
        features, answers = task.sizes
        self.rnn = sl.Recurrent(cell, features, hidden_size)
        self.readout = nn.Linear(hidden_size, answers)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.rnn(x)
        return self.readout(y)


def patient(steps: int) -> dict[str, sl.Cell]:
    """Cells of the zoo whose gates start with memories of up to T steps (Tallec & Ollivier 2018)."""
    keep, let_in = chrono(steps), -chrono(steps)

    @sl.cell
    def lstm(x, h, c, *, W_xh=param("4h x"), W_hh=param("4h h"), b=param("4h", init=(let_in, keep, 0, 0))):
        return sl.cells.lstm(x, h, c, W_xh=W_xh, W_hh=W_hh, b=b)

    @sl.cell
    def gru(x, h, *, W_xh=param("3h x"), W_hh=param("3h h"), b_xh=param("3h", init=(0, keep, 0)), b_hh=param("3h")):
        return sl.cells.gru(x, h, W_xh=W_xh, W_hh=W_hh, b_xh=b_xh, b_hh=b_hh)

    @sl.cell
    def janet(x, h, *, W_xh=param("2h x"), W_hh=param("2h h"), b=param("2h", init=(keep, 0))):
        return sl.cells.janet(x, h, W_xh=W_xh, W_hh=W_hh, b=b)

    @sl.cell
    def min_gru(x, h, *, W_xh=param("2h x"), b=param("2h", init=(let_in, 0))):
        return sl.cells.min_gru(x, h, W_xh=W_xh, b=b)

    return {cell.name: cell for cell in (lstm, gru, janet, min_gru)}


def learn(
    network: Network, task: Task, *, steps: int, batch: int, rate: float, clip: float, seconds: float, seed: int
) -> dict[str, Any]:
    """Train until the task is solved, or for so many seconds."""
    generator = torch.Generator().manual_seed(seed)
    x, answers = task.draw(steps, 500, torch.Generator().manual_seed(seed + 1_000_000))
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    updates, history, start = 0, [], time.perf_counter()
    while True:
        for _ in range(50):
            new, wanted = task.draw(steps, batch, generator)
            optimizer.zero_grad()
            task.loss(network(new), wanted).backward()
            nn.utils.clip_grad_norm_(network.parameters(), clip)
            optimizer.step()
        updates += 50
        with torch.no_grad():
            loss = float(task.loss(network(x), answers))
        spent, solved = time.perf_counter() - start, loss < SOLVED * task.memoryless(steps)
        history.append({"updates": updates, "seconds": round(spent, 1), "loss": loss})
        print(f"\r  {updates:,} updates, {spent:.0f} s, loss {loss:.4f}", end=" ", file=sys.stderr, flush=True)
        if solved or spent > seconds or not math.isfinite(loss):
            print("\r" + " " * 60, end="\r", file=sys.stderr)
            return {"loss": loss, "solved": solved, "updates": updates, "seconds": round(spent, 1), "history": history}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--steps", type=int, default=200, help="T, at least 2 (200)")
    parser.add_argument(
        "--cell", nargs="+", default=["lstm", "gru", "vanilla", "janet"], help="of the zoo, or FILE:NAME"
    )
    parser.add_argument("--minutes", type=float, default=2.0, help="for each cell that does not solve it earlier (2)")
    parser.add_argument("--hidden", type=int, default=64, help="the size of the state (64)")
    parser.add_argument("--batch", type=int, default=64, help="sequences of an update (64)")
    parser.add_argument("--rate", type=float, default=1e-2, help="Adam's (0.01)")
    parser.add_argument("--clip", type=float, default=1.0, help="the largest norm of a gradient (1)")
    parser.add_argument("--chrono", action="store_true", help="gates start with memories of up to T steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", help="draw how far back the gradients reach, before and after: flow.png")
    parser.add_argument("--json", action="store_true", help="print JSON, with the losses on the way")
    options = parser.parse_args()
    if options.steps < 2:
        parser.error(f"--steps must be at least 2, for two marks. Got {options.steps} instead.")

    task, results, before, after = TASKS[options.task], {}, {}, {}
    watched, _ = task.draw(options.steps, 16, torch.Generator().manual_seed(options.seed + 2_000_000))
    cells = patient(options.steps) if options.chrono else {}
    for cell in options.cell:
        torch.manual_seed(options.seed)
        network = Network(task, cells.get(cell) or choose_cell(cell), options.hidden)
        before[cell] = gradient_flow(network.rnn, watched)
        results[cell] = learn(
            network, task, steps=options.steps, batch=options.batch, rate=options.rate, clip=options.clip,
            seconds=60 * options.minutes, seed=options.seed,
        )  # fmt: skip
        after[cell] = gradient_flow(network.rnn, watched)
        results[cell]["reach"] = [before[cell].reach(), after[cell].reach()]
    if options.plot:
        draw_gradient_flow(after, options.plot, before=before)
    if options.json:
        print(json.dumps({"options": vars(options), "memoryless": task.memoryless(options.steps), "cells": results}))
        return
    print(f"{options.task}, T = {options.steps}: without a memory {task.memoryless(options.steps):.4f} {task.unit}\n")
    print(f"{'cell':12} {task.unit:>12}             updates  minutes  1 % of the gradient reaches back")
    for cell, found in results.items():
        told, (first, last) = "solved" if found["solved"] else "not solved", found["reach"]
        print(f"{cell:12} {found['loss']:12.4f}  {told:10} {found['updates']:8,} {found['seconds'] / 60:8.1f}", end="")
        print(f"  {first} steps, after training {last}")


if __name__ == "__main__":
    main()
