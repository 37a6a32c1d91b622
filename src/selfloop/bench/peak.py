"""What the processor could do at most: multiplications and additions that never wait for one another."""

import time
from typing import Any

import numpy as np

from selfloop.compiler import host_target, peak_code
from selfloop.kernels import team

TURNS = 200_000  # 2 ms, where a processor does two vectors a cycle


def peak(repeats: int = 50) -> float:
    """The most GFLOP/s of float32 on all of torch's threads, the best of several runs.

    Raises:
        BackendError: there is no target for this processor.
    """
    target = host_target()
    code, accumulators = peak_code(target)
    out = np.zeros((team.threads(), accumulators, target.lanes(4)), np.float32)
    blocks = np.array([[TURNS, own.ctypes.data, *[0] * 6] for own in out])  # a cache line each
    best = min(_seconds(code.address("peak"), blocks) for _ in range(repeats))
    return float(2 * out.size * TURNS / best / 1e9)


def _seconds(address: int, blocks: np.ndarray[Any, np.dtype[np.int64]]) -> float:
    start = time.perf_counter()
    team.run(address, blocks)
    return time.perf_counter() - start
