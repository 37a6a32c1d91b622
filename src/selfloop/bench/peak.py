"""What the processor could do at most: multiplications and additions that never wait for one another."""

import time
from typing import Any

import numpy as np

from selfloop.compiler import targets
from selfloop.compiler.build import build
from selfloop.compiler.emit.loops import Function
from selfloop.compiler.targets import Target
from selfloop.kernels import team

TURNS = 200_000  # 2 ms, where a processor does two vectors a cycle


def peak(repeats: int = 50) -> float:
    """The most GFLOP/s of float32 on all of torch's threads, the best of several runs.

    Raises:
        BackendError: there is no target for this processor.
    """
    target = targets.host()
    chains, lanes = _chains(target), target.lanes(4)
    code = build(f"peak of {chains} chains", target, lambda module: _write(module, target))
    out = np.zeros((team.threads(), chains, lanes), np.float32)
    blocks = np.array([[TURNS, own.ctypes.data, *[0] * 6] for own in out])  # a cache line each
    best = min(_seconds(code.address("peak"), blocks) for _ in range(repeats))
    return float(2 * out.size * TURNS / best / 1e9)


def _chains(target: Target) -> int:
    """As many as fit beside the two factors: four cycles of latency times two a cycle need 8."""
    return target.registers * 3 // 4


def _write(module: Any, target: Target) -> None:
    """``peak([turns, out])``: each chain goes on as v · 0.5 + 1."""
    f = Function(module, "peak", target, 32)
    v = f.vectors
    half, one = v.const(0.5), v.const(1.0)
    start = [v.const(-float(chain)) for chain in range(_chains(target))]  # none at 2, which stays 2: LLVM sees that
    sums = f.fold(0, f.argument(0), start, lambda _, chains: [v.fma(chain, half, one) for chain in chains])
    out = f.pointer(1)
    for chain, value in enumerate(sums):
        f.store(value, f.at(out, chain * v.lanes))
    f.finish()


def _seconds(address: int, blocks: np.ndarray[Any, np.dtype[np.int64]]) -> float:
    start = time.perf_counter()
    team.run(address, blocks)
    return time.perf_counter() - start
