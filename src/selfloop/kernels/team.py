"""Runs a compiled function on several threads: torch's own where they can be had.

torch's OpenMP workers spin for a while after every operation of torch and hold the processors; threads of our own would
have to fight them for each kernel. So on Linux the rows run on that same team, through the ``GOMP_parallel`` that torch
itself calls. Where there is none (macOS, Windows), in a forked child, and where OpenMP gives fewer threads than there
are rows that wait for each other, they run on a pool of Python threads. With two threads an empty run takes 3 us on
torch's team and 11 on the pool; a single row takes 1.
"""

import ctypes
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from selfloop import processors
from selfloop.compiler import TEAM_DATA, team_address


def threads() -> int:
    """How many threads share a kernel: torch's, and never more than processors that this process may use."""
    return min(torch.get_num_threads(), processors.count())


ONE_THREAD_BELOW = 1 << 18
"""Numbers that are read once and written, below which one thread does everything, see `plan.ONE_THREAD_BELOW`."""


def threads_for(numbers: int) -> int:
    """How many threads share what reads and writes so many numbers once."""
    return 1 if numbers < ONE_THREAD_BELOW else threads()


def shares(count: int, threads: int) -> NDArray[np.int64]:
    """Where each thread's part of `count` things begins, and where the last one ends. The parts are nearly equal.

    >>> shares(10, 3).tolist()
    [0, 3, 6, 10]
    """
    return count * np.arange(threads + 1) // threads


def argument_blocks(
    names: Sequence[str], threads: int, values: Mapping[str, int | NDArray[np.int64]]
) -> NDArray[np.int64]:
    """An argument block for each thread, zero where nothing is given.

    Args:
        names: of the arguments, in their order.
        threads: how many blocks.
        values: by the name of an argument, a number for all threads, or one for each.

    >>> argument_blocks(("begin", "end", "size"), 2, {"size": 7, "begin": np.array([0, 3])}).tolist()
    [[0, 0, 7], [3, 0, 7]]
    """
    blocks = np.zeros((threads, len(names)), dtype=np.int64)
    for name, value in values.items():
        blocks[:, names.index(name)] = value
    return blocks


def notes() -> list[str]:
    """Where torch's threads do not share the processors well with other processes, and what to do about it."""
    found = []
    given, used = processors.count(), torch.get_num_threads()
    if used > given:
        few = f"{given} processor{'s' * (given > 1)}"
        found.append(
            f"this process may use {few}, as kernels do; torch uses {used} threads: call torch.set_num_threads({given})"
        )
    # Of more threads than processors, libgomp lets none spin long.
    openmp = _openmp() if 1 < used <= processors.affinity() else None
    if openmp is not None and openmp.is_gnu and processors.may_spin():
        found.append(
            "torch's threads spin for milliseconds after each operation, and slow other processes: "
            f"set GOMP_SPINCOUNT={processors.SPINS_OF_LIBRARIES} before torch is imported"
        )
    return found


def run(function: int, blocks: NDArray[np.int64], together: bool = False) -> None:
    """Call ``void function(int64_t *block)`` once for each row of ``blocks`` and return when all have finished.

    Args:
        function: the address of the compiled function. It runs without Python's lock.
        blocks: the arguments, a row for each call: [rows, width], contiguous, int64.
        together: whether the rows wait for each other, so that each needs a thread of its own at the same time; without
            it there are as many threads as torch uses, and a thread may take several rows.

    Raises:
        ValueError: the blocks are not as above.
    """
    if blocks.dtype != _INT64 or blocks.ndim != 2 or not blocks.flags.c_contiguous:
        got = f"{blocks.dtype}, {blocks.ndim} dimensions, strides {blocks.strides}"
        raise ValueError(f"The 'blocks' of a team must be contiguous int64 in two dimensions. Got {got} instead.")
    rows, width = blocks.shape
    if rows == 0:
        return
    # As many threads as torch, be the rows fewer: libgomp makes threads anew when the number changes, up to 1000 us.
    team = max(rows if together else 1, torch.get_num_threads())
    first = ctypes.addressof(ctypes.c_char.from_buffer(blocks.data)) if width else 0  # 0.3 us; .ctypes.data takes 0.8
    if rows == 1 or team == 1:
        call = _callable(function)
        for row in range(rows):
            call(first + row * width * 8)
    elif not _on_openmp(function, first, rows, width, team, together):
        _POOL.run(_callable(function), [first + row * width * 8 for row in range(rows)], team)


@lru_cache(maxsize=1)
def sched_yield() -> int:
    """The address of the system's function by which a thread that waits lets others run."""
    if sys.platform == "win32":
        function = ctypes.WinDLL("kernel32").SwitchToThread
    else:
        function = ctypes.CDLL(None).sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value or 0


_INT64 = np.dtype(np.int64)
_Call = Callable[[int], None]
_Data = ctypes.c_int64 * len(TEAM_DATA)
_REFUSED = TEAM_DATA.index("refused")


@lru_cache(maxsize=1024)
def _callable(function: int) -> _Call:
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)


@lru_cache(maxsize=64)
def short(function: int) -> _Call:
    """The function at an address, of one argument block, which takes microseconds.

    It runs with Python's lock, since a thread that releases the lock may wait for milliseconds to get it back.
    """
    return ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(function)


class _OpenMP(NamedTuple):
    """What the library that torch runs on offers, and the code that its threads run."""

    parallel: Callable[[int, ctypes.Array[ctypes.c_int64], int, int], None]
    thread_num: int
    num_threads: int
    trampoline: int
    is_gnu: bool


def _on_openmp(function: int, first: int, rows: int, width: int, team: int, together: bool) -> bool:
    """Run the rows on torch's threads; False, and no row has run, where that cannot be."""
    openmp = _openmp()
    if openmp is None or _POOL.forked:
        return False
    data = _Data(function, first, rows, width, openmp.thread_num, openmp.num_threads, together, 0)
    openmp.parallel(openmp.trampoline, data, team, 0)
    return data[_REFUSED] == 0


@lru_cache(maxsize=1)
def _openmp() -> _OpenMP | None:
    """The OpenMP that torch calls, if it speaks GNU's dialect.

    Found the way the loader found it for torch: among what is open to all, where a preloaded library comes first, then
    among what torch depends on. Nothing is loaded that was not loaded before.
    """
    if not sys.platform.startswith("linux") or not torch.backends.openmp.is_available():
        return None
    for scope in (None, str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so")):
        try:
            library = ctypes.CDLL(scope)
            parallel, asked = library.GOMP_parallel, (library.omp_get_thread_num, library.omp_get_num_threads)
        except (OSError, AttributeError):
            continue
        if library.omp_get_max_threads() == torch.get_num_threads():
            parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
            parallel.restype = None
            thread_num, num_threads = (ctypes.cast(f, ctypes.c_void_p).value or 0 for f in asked)
            is_gnu = not hasattr(library, "kmp_set_blocktime")  # LLVM's and Intel's speak GNU's dialect too
            return _OpenMP(parallel, thread_num, num_threads, team_address(), is_gnu)
    return None


class _Job:
    """Rows that are handed out to threads: each share is taken once, however often the job is offered."""

    def __init__(self, call: _Call, shares: list[list[int]]) -> None:
        self.call, self.shares, self.count = call, shares, len(shares)
        self.finished: list[None] = []
        self.bell: queue.SimpleQueue[None] = queue.SimpleQueue()

    def work(self) -> None:
        """Take a share, if one is left, and run it."""
        try:
            share = self.shares.pop()
        except IndexError:
            return
        for block in share:
            self.call(block)
        self.finished.append(None)
        self.bell.put(None)


class _Pool:
    """Threads that sleep until there is a job; made when first needed, and again in a forked child."""

    def __init__(self) -> None:
        self.forked = False
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._workers: list[queue.SimpleQueue[_Job]] = []

    def after_fork(self) -> None:
        """In the child there are no threads, and who held the lock is unknown.

        OpenMP's threads are gone as well, but libgomp does not know: it would wait for them for ever, as torch does.
        """
        self.forked = True
        self._forget()

    def run(self, call: _Call, blocks: list[int], team: int) -> None:
        """Call ``call`` on every block, on ``team`` threads or one a block, whichever is less.

        One job at a time, so that the threads of each are there together. An interrupt, which Python raises in the main
        thread between any two of its instructions, must neither leave rows running that use the caller's memory, nor
        keep back a row that others wait for: it is raised when all have finished. So everything here may be done
        again, and the caller's own rows are called and counted within a single instruction.
        """
        own, *shares = (blocks[start::team] for start in range(min(team, len(blocks))))
        job = _Job(call, shares)
        with self._lock:
            self._grow(job.count)
            called: list[None] = []
            interrupt = None
            while len(called) < len(own) or len(job.finished) < job.count:
                try:
                    for worker in self._workers[: job.count]:
                        worker.put(job)
                    called.extend(map(call, own[len(called) :]))
                    while len(job.finished) < job.count:
                        job.bell.get()
                except BaseException as raised:  # a signal's handler may raise anything
                    interrupt = raised
        if interrupt is not None:
            raise interrupt

    def _grow(self, count: int) -> None:
        while len(self._workers) < count:
            jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
            name = f"selfloop-{len(self._workers)}"
            threading.Thread(target=_serve, args=(jobs,), name=name, daemon=True).start()
            self._workers.append(jobs)


def _serve(jobs: queue.SimpleQueue[_Job]) -> None:
    while True:
        jobs.get().work()


_POOL = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_POOL.after_fork)
