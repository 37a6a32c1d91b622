"""Two trees of this repository, one against the other: the cases of `selfloop bench`, ours alone, in turns.

    git worktree add --detach ../before COMMIT
    python benchmarks/before_after.py ../before [lstm gru …] [--rounds 15] [--seconds 0.2]
    python benchmarks/before_after.py ../before --train 'label DATA --batch-size 32' [--rounds 15] [--steps 400]

Each tree has a process of its own that stays, and only one of them runs at a time. A round times both at one case, the
one that begins changes from round to round; printed are the median of the times per call, and the median and the
quartiles of the ratios, after to before. The group `overhead` is a call that computes next to nothing, the group `beam`
a translator's search of B sentences with 5 beams each, for T steps, with 8,000 types; it is not trained.

With --train a round is `selfloop train` with these words, for so many updates, in each tree; printed is how many
examples, words or tokens a second each tree trained on, scoring left out.
"""

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from shared_cores import rate

import selfloop as sl
from selfloop.bench import CASES, Case
from selfloop.cells import ZOO
from selfloop.decoding import beam_search
from selfloop.models import EncoderDecoder
from selfloop.processors import SPINS

HERE = Path(__file__).resolve().parents[1]
Call = Callable[[], object]
TYPES = 8_000

OVERHEAD = tuple(
    Case("overhead", cell, "", 4, 4, 16, 16, mode) for cell in ("lstm", "gru") for mode in ("train", "infer")
)
BEAMS = tuple(Case("beam", "lstm", "", 30, sentences, 256, 256, "search") for sentences in (1, 4, 16, 64))


def cases() -> dict[str, Case]:
    """By their names: those of the bench, each that trains also in inference."""
    found = {}
    for case in (*CASES, *OVERHEAD, *BEAMS):
        for mode in ("train", "infer") if case.mode == "train" else (case.mode,):
            if case.group not in ("bfloat16", "jax"):
                found[f"{case.group} {case.cell} T{case.T} B{case.B} I{case.I} H{case.H} {mode}"] = replace(
                    case, mode=mode
                )
    return found


def call_of(case: Case) -> Call:
    """A call of a layer of the tree this process belongs to, or a search."""
    if case.mode == "search":
        return search_of(case)
    rnn = sl.Recurrent(ZOO[case.cell], case.I, case.H, **case.sizes)
    x = torch.randn(case.T, case.B, case.I, requires_grad=case.mode == "train")
    dy, lengths = torch.ones(case.T, case.B, rnn.output_size), case.lengths
    step, row = sl.Stepper(rnn) if case.mode == "step" else None, torch.randn(case.I).numpy()

    def train() -> None:
        rnn(x, lengths=lengths)[0].backward(dy)

    def infer() -> None:
        with torch.no_grad():
            rnn(x, lengths=lengths)

    def walk() -> None:
        for _ in range(100):
            step(row)

    return {"train": train, "infer": infer, "step": walk}[case.mode]


def search_of(case: Case) -> Call:
    """A search of a translator; all its beams go on to the last step."""
    model = EncoderDecoder(TYPES, TYPES, ZOO[case.cell], embedding_size=case.I, hidden_size=case.H, tied=True).eval()
    source, first = torch.randint(TYPES, (15, case.B)), torch.zeros(case.B, dtype=torch.long)

    def search() -> None:
        with torch.inference_mode():
            beam_search(model, *model.step(first, model.encode(source)), max_tokens=case.T, beam=5)

    return search


def serve() -> None:
    """Time the cases that are asked for on standard input, for so many calls, until it ends."""
    torch.manual_seed(0)
    known, calls = cases(), {}
    for line in sys.stdin:
        name, count = line.rstrip("\n").split("\t")
        if name not in calls:
            calls = {name: call_of(known[name])}  # the last case's memory goes
            for _ in range(3):
                calls[name]()
        start = time.perf_counter()
        for _ in range(int(count)):
            calls[name]()
        print((time.perf_counter() - start) / int(count), flush=True)


def environment_of(root: Path) -> dict[str, str]:
    """In which Python imports the selfloop of a tree."""
    return {**os.environ, "PYTHONPATH": str(root / "src")}


class Tree:
    """A process that times the calls of a tree."""

    def __init__(self, root: Path) -> None:
        environment = {"GOMP_SPINCOUNT": SPINS, **environment_of(root)}
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
    parser.add_argument("groups", nargs="*", help="of selfloop bench, and overhead; all if none")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each turn")
    parser.add_argument("--train", metavar="WORDS", help="the words after `selfloop train`")
    parser.add_argument("--steps", type=int, default=400, help="updates of each run of --train")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve()
        return
    if given.rounds < 2:
        parser.error("quartiles take two --rounds or more")
    if not (given.before / "src" / "selfloop").is_dir():
        parser.error(f"{given.before} is no tree of this repository: it has no src/selfloop")
    if given.train:
        report_training(given.train, (given.before.resolve(), HERE), given.rounds, given.steps)
        return
    trees = [Tree(given.before.resolve()), Tree(HERE)]
    print(f"{'':50}{'before':>11}{'after':>11}{'ratio':>8}   quartiles", flush=True)
    for name, case in cases().items():
        if not given.groups or case.group in given.groups:
            report(name, trees, given.rounds, given.seconds)


def report(name: str, trees: list[Tree], rounds: int, seconds: float) -> None:
    """Time a case in turns and print its line."""
    count = max(1, round(seconds / max(tree.time(name, 1) for tree in trees)))
    found = [*in_turns(rounds, lambda which: trees[which].time(name, count))]
    before, after = (statistics.median(times) * 1e3 for times in zip(*found, strict=True))
    low, middle, high = statistics.quantiles([b / a for a, b in found], n=4)
    print(f"{name:50}{before:8.3f} ms{after:8.3f} ms{middle:8.3f}   {low:.3f} to {high:.3f}", flush=True)


def in_turns(rounds: int, measure: Callable[[int], float]) -> Iterator[tuple[float, float]]:
    """What is measured of both trees, given the number of each, in every round; who begins changes."""
    for k in range(rounds):
        turn = {which: measure(which) for which in ((0, 1) if k % 2 else (1, 0))}
        yield turn[0], turn[1]


def speed(root: Path, words: str, steps: int) -> float:
    """What a tree trains on in a second."""
    with tempfile.TemporaryDirectory() as folder:
        more = ["--steps", str(steps), "--set", "training.validations=1", "--json", "--run", f"{folder}/run"]
        command = [sys.executable, "-m", "selfloop", "train", *shlex.split(words), *more]
        done = subprocess.run(command, env=environment_of(root), stdout=subprocess.PIPE, text=True, check=True)
    return rate(done.stdout)


def report_training(words: str, roots: tuple[Path, Path], rounds: int, steps: int) -> None:
    """Train in both trees in turns, and print a line for each."""
    speed(roots[1], words, 1)  # what both keep of the data is kept
    ratios = []
    for before, after in in_turns(rounds, lambda which: speed(roots[which], words, steps)):
        ratios.append(after / before)
        print(f"round {len(ratios)}: before {before:10,.0f}/s   after {after:10,.0f}/s", flush=True)
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"{middle:.2f} times as fast   {low:.2f} to {high:.2f}", flush=True)


if __name__ == "__main__":
    main()
