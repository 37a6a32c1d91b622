"""Where the time of a training step of an LSTM goes: each kernel that a call launches, and its share of the peak.

    python benchmarks/launches.py [T×B×H …]

A call runs its kernels one after another in one command buffer. Here the buffer is stopped after the first kernel, the
second one, and so on; the difference of the times is the kernel's.
"""

import argparse
import time
from collections import Counter

import numpy as np
import torch

import selfloop as sl
from selfloop.bench.peak import peak
from selfloop.compiler import LAUNCH, LAUNCHES_HEADER
from selfloop.kernels import plans, team
from selfloop.kernels.command_buffer import CommandBuffer
from selfloop.kernels.plan import Plan

SHAPES = ("96×32×64", "96×32×128", "128×64×256", "64×64×512")
REPEATS = 30
PRODUCTS = {"project": 1, "infer": 1, "train": 1, "back": 1, "input_gradient": 1, "outer_product": 2}
"""How many matrices of (4H, H) a kernel multiplies each row of the batch by; `train` does the work of `project` where
there is none."""


def functions(plan: Plan, buffer: CommandBuffer) -> dict[int, str]:
    """The kernels' names by their addresses."""
    known = {buffer.tools.address(name): name for name in ("pack", "add", "add_rows", "outer_product")}
    for name in ("project", "train", "back", "input_gradient"):
        if getattr(plan.kernels, name) is not None:
            known[plan.kernels.address(name)] = name
    return known


def times(buffer: CommandBuffer, addresses: list[int]) -> list[tuple[int, float]]:
    """The address and the seconds of each launch."""
    numbers = buffer.numbers.offsets[buffer.start :].reshape(buffer.threads, -1)
    count, head = LAUNCHES_HEADER.index("count"), len(LAUNCHES_HEADER)
    launches = int(numbers[0, count])
    best = np.full(launches + 1, np.inf)
    for _ in range(REPEATS):
        for k in range(launches + 1):
            numbers[:, count] = k
            start = time.perf_counter()
            buffer.run(addresses, torch.float32)
            best[k] = min(best[k], time.perf_counter() - start)
    numbers[:, count] = launches
    return [(int(numbers[0, head + len(LAUNCH) * k]), float(best[k + 1] - best[k])) for k in range(launches)]


def recorded(steps: int, batch: int, size: int) -> tuple[Plan, dict[str, tuple[CommandBuffer, list[int]]]]:
    """The plan of a training step, and for each way the command buffer with the addresses of its last run."""
    last: dict[int, list[int]] = {}
    run = CommandBuffer.run

    def spy(self: CommandBuffer, addresses: list[int], *rest: object) -> torch.Tensor:
        last[id(self.idle)] = addresses
        return run(self, addresses, *rest)  # type: ignore[arg-type]

    plans._PLANS.clear()
    rnn, x = sl.Recurrent(sl.cells.lstm, size, size), torch.randn(steps, batch, size, requires_grad=True)
    CommandBuffer.run = spy  # type: ignore[method-assign, assignment]
    try:
        y, _ = rnn(x)
        dy = torch.randn_like(y)
        kept.append((rnn, x, y, dy, torch.autograd.grad(y, [x, *rnn.parameters()], dy, retain_graph=True)))
    finally:
        CommandBuffer.run = run  # type: ignore[method-assign]
    (plan,) = plans._PLANS.values()
    (back,) = plan._backward.values()
    assert plan.forward is not None
    return plan, {
        "forward": (plan.forward, last[id(plan.forward.idle)]),
        "backward": (back.recorded, last[id(back.recorded.idle)]),
    }


def called(steps: int, batch: int, size: int) -> float:
    """The seconds of a call with its gradient."""
    rnn, x = sl.Recurrent(sl.cells.lstm, size, size), torch.randn(steps, batch, size, requires_grad=True)
    dy, best = torch.randn(steps, batch, size), float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        torch.autograd.grad(rnn(x)[0], [x, *rnn.parameters()], dy)
        best = min(best, time.perf_counter() - start)
    return best


kept: list[object] = []
"""What calls read and wrote, so that their addresses stay valid."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", default=SHAPES)
    most = peak()
    print(f"{team.threads()} threads, peak {most:.0f} GFLOP/s")
    for shape in parser.parse_args().shapes:
        steps, batch, size = map(int, shape.replace("x", "×").split("×"))
        plan, ways = recorded(steps, batch, size)
        print(f"\n{shape}")
        whole = 0.0
        for way, (buffer, addresses) in ways.items():
            names, spent = functions(plan, buffer), Counter[str]()
            for function, seconds in times(buffer, addresses):
                spent[names.get(function, "?")] += seconds  # type: ignore[assignment]
            for name, seconds in spent.items():
                products = 2 if name == "train" and plan.kernels.project is None else PRODUCTS.get(name, 0)
                flops = products * 2 * steps * batch * 4 * size * size
                share = f"{flops / seconds / 1e9:8.1f} GFLOP/s {flops / seconds / 1e9 / most:6.0%}" if flops else ""
                print(f"  {way:9}{name:16}{1e3 * seconds:9.3f} ms {share}")
                whole += seconds
        for title, seconds in (("kernels", whole), ("a whole call", called(steps, batch, size))):
            speed = 6 * 2 * steps * batch * 4 * size * size / seconds / 1e9
            print(f"  {title:25}{1e3 * seconds:9.3f} ms {speed:8.1f} GFLOP/s {speed / most:6.0%}")
        kept.clear()


if __name__ == "__main__":
    main()
