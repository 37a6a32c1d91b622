"""Runs cells with all their memory between pages that nobody may touch: a kernel that leaves a block ends the process.

    python tests/guarded.py end              # blocks end where such a page begins; `start`: they begin where one ends
    python tests/guarded.py end lstm gru     # these cells alone
    python tests/guarded.py end --others     # what stands before and after cells: dropout, readout and loss
    python tests/guarded.py end --beyond     # reads one number beyond a block, to show that this is noticed

Inputs, states and weights can be read and not written. What a call keeps for its own use is one block, the workspace;
what lies next to each other in it is not told apart.
"""

import ctypes
import faulthandler
import mmap
import sys
import types

import numpy as np
import torch
from catalogue import CELLS, ragged

import selfloop as sl
from selfloop import processors
from selfloop.compiler import KernelLayout
from selfloop.kernels import command_buffer, cross_entropy, dropout, memory, plan, readout, team

PAGE = mmap.PAGESIZE
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
LIBC.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
NOTHING, READ, WRITE = 0, mmap.PROT_READ, mmap.PROT_WRITE


class Guard:
    """Makes blocks at the end of their pages, or at the start."""

    def __init__(self, at_end: bool) -> None:
        self.at_end = at_end

    def array(self, size: int) -> np.ndarray:
        """So many bytes, that are left to the process."""
        inside = -(-max(1, size) // PAGE) * PAGE
        start = LIBC.mmap(None, inside + 2 * PAGE, READ | WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        assert LIBC.mprotect(start, PAGE, NOTHING) == LIBC.mprotect(start + PAGE + inside, PAGE, NOTHING) == 0
        address = start + PAGE + (inside - size if self.at_end else 0)
        return np.frombuffer((ctypes.c_char * size).from_address(address), np.uint8)

    def tensor(self, shape, dtype) -> torch.Tensor:
        size = dtype.itemsize * int(np.prod(shape))
        if size == 0:
            return torch.zeros(shape, dtype=dtype)
        return torch.from_numpy(self.array(size)).view(dtype).view(tuple(shape))

    def copy(self, v: torch.Tensor, may_write: bool = True) -> torch.Tensor:
        made = self.tensor(v.shape, v.dtype).copy_(v.detach())
        if not may_write and v.numel():
            first = made.data_ptr() // PAGE * PAGE
            last = -(-(made.data_ptr() + made.numel() * made.element_size()) // PAGE) * PAGE
            assert LIBC.mprotect(first, last - first, READ) == 0
        return made


def guard_kernels(guard: Guard) -> None:
    """All that kernels write lies between guards: outputs, gradients, residuals, workspaces and tables of addresses."""
    clone, tables = torch.Tensor.clone, {**vars(np), "empty": lambda n, dtype: guard.array(8 * n).view(dtype)}
    memory._empty = lambda shape, dtype, size: guard.tensor(shape, dtype).fill_(torch.nan)
    torch.Tensor.new_zeros = lambda self, *shape: guard.tensor(torch.Size(np.hstack(shape)), self.dtype).zero_()
    torch.Tensor.clone = lambda self, **options: guard.copy(clone(self, **options))
    command_buffer.np = types.SimpleNamespace(**tables)
    processors.count = lambda: 64
    arrays = {
        **vars(np),
        "empty": lambda size, dtype: guard.tensor(size, torch.from_numpy(np.zeros(1, dtype)).dtype).numpy(),
    }
    cross_entropy.np = types.SimpleNamespace(**arrays)
    readout.LOGITS_BYTES = 1
    plan.ONE_THREAD_BELOW = team.ONE_THREAD_BELOW = 0
    cross_entropy.LEAST = readout.LEAST_ROWS = readout.LEAST_WEIGHTS = 1


def run(entry, guard: Guard, dtype: torch.dtype, batch: int, inputs: int, hidden: int, **options) -> None:
    """One call with its gradient, and a stepper."""
    rnn = entry.layer(inputs, hidden, dtype=dtype, backend="native", **options)
    for weight in rnn.parameters():
        weight.data = guard.copy(weight, may_write=False)
    T = 4
    for call in ({}, ragged(T, batch)):
        x = guard.copy(torch.randn(T, batch, inputs, dtype=dtype), may_write=False).requires_grad_()
        states = {n: guard.copy(torch.randn_like(s), may_write=False) for n, s in rnn.zero_state(batch).tensors.items()}
        y, final = rnn(x, sl.State(**{n: s.requires_grad_() for n, s in states.items()}), **call)
        torch.autograd.grad(y.sum() + sum(s.sum() for s in final), [x, *states.values()], allow_unused=True)
        y, final = rnn(x, sl.State(**states), **call)
        (y.sum() + sum(s.sum() for s in final)).backward()
    stepper = sl.Stepper(rnn, batch)
    stepper(guard.copy(torch.randn(batch, inputs, dtype=dtype), may_write=False))


def run_others(guard: Guard) -> None:
    """Dropout, and readout and loss, with their gradients."""
    for threads, dtype in ((1, torch.float32), (3, torch.float32), (2, torch.float64)):
        torch.set_num_threads(threads)
        for rows, features, classes in ((1, 1, 1), (5, 17, 3), (33, 16, 6), (70, 65, 40), (64, 128, 7)):
            print(threads, dtype, rows, features, classes, flush=True)
            shapes = (rows, features), (classes, features), (classes,), (classes,)
            given = [guard.copy(torch.rand(shape, dtype=dtype), may_write=False) for shape in shapes]
            labels = guard.copy(torch.randint(0, classes, (rows,)), may_write=False)
            for tensor in given[:3]:
                tensor.requires_grad_()
            dropout.dropout(given[0], 0.3).sum().backward()
            with torch.no_grad():
                assert readout.linear(*given[:3]).isfinite().all()
            loss = cross_entropy.linear_cross_entropy(*given[:3], labels, class_weights=given[3], label_smoothing=0.1)
            assert loss.isfinite()
            loss.backward()


def main() -> None:
    faulthandler.enable()
    where, *names = sys.argv[1:]
    guard = Guard(at_end=where == "end")
    if names == ["--beyond"]:
        block = guard.array(40)
        print(ctypes.string_at(block.ctypes.data + (40 if guard.at_end else -8), 8))
        return
    guard_kernels(guard)
    if not names or names == ["--others"]:
        run_others(guard)
    whole = KernelLayout.weight_bytes
    for entry in CELLS:
        if names and str(entry) not in names:
            continue
        for by_units in (False, True):
            KernelLayout.weight_bytes = property(lambda self: 1 << 40) if by_units else whole
            for threads, dtype, sizes, options in (
                (2, torch.float32, (3, 3, 7), {}),
                (1, torch.float64, (1, 50, 17), {"recompute": 3}),
                (3, torch.float32, (1, 1, 1), {}),
            ):
                print(entry, "units" if by_units else "rows", threads, dtype, sizes, flush=True)
                torch.set_num_threads(threads)
                run(entry, guard, dtype, *sizes, **options)
    print("done")


if __name__ == "__main__":
    main()
