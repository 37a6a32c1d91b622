"""Two trees of this repository, one against the other: the same calls in turns, and the ratio of their times.

    git worktree add --detach ../before COMMIT
    python benchmarks/before_after.py ../before [--cases lstm gru] [--rounds 15] [--seconds 0.2]

Each tree has a process of its own that stays, and only one of them runs at a time. A round times both at one case, the
one that begins changes from round to round; printed are the median of the times per call, and the median and the
quartiles of the ratios, after to before.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import selfloop as sl

HERE = Path(__file__).resolve().parents[1]
Call = Callable[[], object]


def layer(kind: str, size: int, steps: int, batch: int, train: bool, ragged: bool = False) -> Call:
    """A call of a layer of the tree this process belongs to."""
    rnn = getattr(sl, kind)(size, size)
    x = torch.randn(steps, batch, size, requires_grad=train)
    above = torch.ones(steps, batch, size)
    lengths = torch.randint(1, steps + 1, (batch,)) if ragged else None

    def infer() -> None:
        with torch.no_grad():
            rnn(x, lengths=lengths)

    def learn() -> None:
        rnn(x, lengths=lengths)[0].backward(above)

    return learn if train else infer


def stepper(kind: str, size: int) -> Call:
    """A hundred steps of one sequence."""
    step, x = sl.Stepper(getattr(sl, kind)(size, size)), torch.randn(size).numpy()

    def walk() -> None:
        for _ in range(100):
            step(x)

    return walk


SHAPES = {"64 T50 B32": (64, 50, 32), "128 T50 B32": (128, 50, 32), "256 T50 B32": (256, 50, 32)}
SHAPES |= {"512 T50 B64": (512, 50, 64), "1024 T35 B32": (1024, 35, 32), "16 T4 B4": (16, 4, 4)}
CASES: dict[str, tuple[Callable[..., Call], tuple[object, ...]]] = {
    f"{kind.lower()} {name} {'train' if train else 'infer'}": (layer, (kind, *shape, train))
    for kind in ("LSTM", "GRU")
    for name, shape in SHAPES.items()
    for train in (True, False)
}
CASES |= {
    f"ragged 128 T50 B32 {name}": (layer, ("LSTM", 128, 50, 32, name == "train", True)) for name in ("train", "infer")
}
CASES |= {f"stepper {kind.lower()} 64, 100 steps": (stepper, (kind, 64)) for kind in ("LSTM", "GRU")}


def serve() -> None:
    """Time the cases that are asked for on standard input, for so many calls, until it ends."""
    torch.manual_seed(0)
    calls: dict[str, Call] = {}
    for line in sys.stdin:
        name, count = line.rstrip("\n").split("\t")
        if name not in calls:
            make, given = CASES[name]
            calls = {name: make(*given)}  # the last case's memory goes
            for _ in range(3):
                calls[name]()
        start = time.perf_counter()
        for _ in range(int(count)):
            calls[name]()
        print((time.perf_counter() - start) / int(count), flush=True)


class Tree:
    """A process that times the calls of a tree."""

    def __init__(self, root: Path) -> None:
        environment = {"GOMP_SPINCOUNT": "300", **os.environ, "PYTHONPATH": str(root / "src")}
        command = [sys.executable, __file__, "--serve", str(root)]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def time(self, name: str, count: int) -> float:
        """Seconds of a call."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{name}\t{count}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="the other tree's root")
    parser.add_argument("--cases", nargs="+", default=[""], help="the cases whose names begin so")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each turn")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve()
        return
    if not (given.before / "src" / "selfloop").is_dir():
        parser.error(f"{given.before} is no tree of this repository: it has no src/selfloop")
    trees = [Tree(given.before.resolve()), Tree(HERE)]
    print(f"{'':28}{'before':>11}{'after':>11}{'ratio':>8}   quartiles", flush=True)
    for name in CASES:
        if name.startswith(tuple(given.cases)):
            report(name, trees, given.rounds, given.seconds)


def report(name: str, trees: list[Tree], rounds: int, seconds: float) -> None:
    """Time a case in turns and print its line."""
    count = max(1, round(seconds / max(tree.time(name, 1) for tree in trees)))
    found = []
    for k in range(rounds):
        order = (0, 1) if k % 2 else (1, 0)
        turn = {which: trees[which].time(name, count) for which in order}
        found.append((turn[0], turn[1]))
    before, after = (statistics.median(times) * 1e3 for times in zip(*found, strict=True))
    low, middle, high = statistics.quantiles([b / a for a, b in found], n=4)
    print(f"{name:28}{before:8.3f} ms{after:8.3f} ms{middle:8.3f}   {low:.3f} to {high:.3f}", flush=True)


if __name__ == "__main__":
    main()
