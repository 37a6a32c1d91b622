"""One process alone, then two at once on the same processors: what each gets done, and both in sum.

    python benchmarks/shared_cores.py [--size 64] [--steps 50] [--batch 16] [--seconds 5] [--rounds 3] [--train 30]
                                      [--spins 300000 3000 300] [--one-run 30] [--task 'lm ...']

First a library's loop: training calls of an LSTM with two threads, sl's and torch.nn's, with GOMP_SPINCOUNT set to each
of these before torch is loaded; 300000 is libgomp's default. Then the command line: `selfloop train TASK` for so many
seconds as it is, and with each of these. Last, one run of it: of one process with two threads, and of two processes
that torchrun starts, with one thread each. All that is compared runs in turns; printed are the medians of the rounds.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch

import selfloop as sl

THREADS = 2
Process = subprocess.Popen[str]


def loop(which: str, size: int, steps: int, batch: int, seconds: float) -> None:
    """Training calls for so many seconds, when told to start; prints how many a second."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    rnn = {"selfloop": sl.LSTM, "torch.nn": torch.nn.LSTM}[which](size, size)
    x = torch.randn(steps, batch, size, requires_grad=True)

    def call() -> None:
        rnn(x)[0].sum().backward()

    for _ in range(5):
        call()
    print("ready", flush=True)
    sys.stdin.readline()
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        call()
        calls += 1
    print(calls / (time.perf_counter() - start), flush=True)


def calls_a_second(count: int, spins: str, arguments: Iterable[object]) -> list[float]:
    """Of so many processes at once, each of which runs `loop`."""
    processes = [start([__file__, "--loop", *arguments], spins) for _ in range(count)]
    for process in processes:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            sys.exit("a process could not start")
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [float(process.communicate()[0]) for process in processes]


def tokens_a_second(count: int, spins: str | None, task: list[str], seconds: float) -> list[float]:
    """Of so many `selfloop train` at once."""
    with tempfile.TemporaryDirectory() as folder:
        processes = [start(["-m", *training(task, Path(folder) / f"run{k}", seconds)], spins) for k in range(count)]
        return [rate(process.communicate()[0]) for process in processes]


def one_run(count: int, task: list[str], seconds: float) -> float:
    """Tokens a second of one `selfloop train` on two processors, by so many processes."""
    with tempfile.TemporaryDirectory() as folder:
        launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", count, "-m", "--"] * (count > 1)
        command = ["-m", *launcher, *training(task, Path(folder) / "run", seconds)]
        return rate(start(command, None, OMP_NUM_THREADS=str(THREADS // count)).communicate()[0])


def rate(said: str) -> float:
    """The tokens or examples a second that `selfloop train --json` said it took."""
    return float(next(value for name, value in json.loads(said).items() if name.endswith("s_per_second")))


def training(task: list[str], run: Path, seconds: float) -> list[object]:
    """The module and the arguments of `selfloop train`, which else spends a short run in validations."""
    own = ["--minutes", seconds / 60, "--json", "--set", "training.validations=1", "--run", run]
    return ["selfloop", "train", *task, *own]


def start(arguments: Iterable[object], spins: str | None, **more: str) -> Process:
    """Python with these arguments and more variables; libgomp spins as given, and with None as the program has it."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    } | more
    if spins is not None:
        environment["GOMP_SPINCOUNT"] = spins
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64, help="features and units")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5, help="of each loop; 0: none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--train", type=float, default=30, help="seconds of each run of the command line; 0: none")
    parser.add_argument(
        "--spins", nargs="+", default=["300000", "3000", "300"], help="looks for work before a thread sleeps"
    )
    parser.add_argument(
        "--one-run", type=float, default=30, help="seconds of each run of one and two processes; 0: none"
    )
    parser.add_argument("--task", type=shlex.split, default=["lm"], help="of the command line, with its options")
    parser.add_argument("--loop", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.loop:
        which, *numbers, seconds = given.loop
        loop(which, *map(int, numbers), float(seconds))
        return
    report_all(given)


def report_all(given: argparse.Namespace) -> None:
    """Measure what is asked for, and print it."""
    shape = given.size, given.steps, given.batch, given.seconds
    if given.seconds:
        print(
            f"LSTM {given.size} → {given.size}, T {given.steps}, B {given.batch}, {THREADS} threads: training calls/s"
        )
        report(
            {
                f"{module}, GOMP_SPINCOUNT={spins}": partial(calls_a_second, spins=spins, arguments=(module, *shape))
                for module in ("selfloop", "torch.nn")
                for spins in given.spins
            },
            given.rounds,
        )
    if given.train:
        print(f"\nselfloop train {shlex.join(given.task)}: tokens or examples/s")
        train = partial(tokens_a_second, task=given.task, seconds=given.train)
        by_hand = {f"GOMP_SPINCOUNT={spins}": partial(train, spins=spins) for spins in given.spins}
        report({"as it is": partial(train, spins=None), **by_hand}, given.rounds)
    if given.one_run:
        print(f"\none run of selfloop train {shlex.join(given.task)}: tokens or examples/s")
        found = [[one_run(count, given.task, given.one_run) for count in (1, THREADS)] for _ in range(given.rounds)]
        one, two = (statistics.median(speeds) for speeds in zip(*found, strict=True))
        print(
            f"  1 process, {THREADS} threads {one:,.0f}; {THREADS} processes, 1 thread each {two:,.0f}: {two / one:.0%}"
        )


def report(measures: dict[str, Callable[[int], list[float]]], rounds: int) -> None:
    """Take each measure with one process and with two, in turns, and print a line for each."""
    found = {(name, count): [] for name in measures for count in (1, 2)}
    for _ in range(rounds):
        for (name, count), speeds in found.items():
            speeds.append(measures[name](count))
    print(f"  {'':32}{'alone':>9}{'two at once':>20}{'in sum':>9}{'of one alone':>14}")
    for name in measures:
        alone = statistics.median(one for (one,) in found[name, 1])
        low, high = sorted(found[name, 2], key=sum)[rounds // 2]
        together = f"{low:,.0f} and {high:,.0f}"
        print(f"  {name:32}{alone:9,.0f}{together:>20}{low + high:9,.0f}{(low + high) / alone:14.0%}", flush=True)


if __name__ == "__main__":
    main()
