"""A step of an exported cell, as objects and as C99; and the size of its code. Beside them stands `Stepper` in the same
process, where compiled kernels run the cell.

All read the same memory for their weights: on some processors where it lies changes the time by a factor of two.

python benchmarks/exported.py                                  # an LSTM
python benchmarks/exported.py mlstm delta_net fast_weights     # cells of the zoo
"""

import ctypes
import mmap
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import selfloop as sl
from selfloop import cells
from selfloop.compiler.native import OBJECT_TARGETS, is_of_host
from selfloop.exporting.native.emulated import FLAGS, NATIVE

STEPS, ROUNDS = 500, 60
SIZES = (16, 64, 128, 256)
ON_DISK = ("wasm32", "cortex-m4", "cortex-m7", "cortex-m55", "aarch64", "rv64gc", "x86-64-v2", "x86-64-v3", "x86-64-v4")
HUGE = 2 << 20  # bytes of a large page


def aligned(size: int) -> np.ndarray:
    """Memory in large pages, where the system has them."""
    memory = mmap.mmap(-1, size + 2 * HUGE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    room = np.frombuffer(memory, np.uint8)
    return room[-room.ctypes.data % HUGE :]


def library(folder: Path, rnn: sl.Recurrent, to: str, target: str | None) -> tuple[Callable[[], None], np.ndarray]:
    """What runs STEPS steps, and its weights, which are to be put into `ROOM`."""
    sl.export(rnn, folder, to=to, target=target)
    kind = "c" if to == "c" else "o"
    flags = [*FLAGS.split(), NATIVE, "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, f"model.{kind}", f"model_weights.{kind}", "-o", "m.so"], cwd=folder, check=True)
    model = ctypes.CDLL(str(folder / "m.so"))
    x = np.random.default_rng(0).standard_normal((STEPS, rnn.input_size), dtype=np.float32)
    y = np.zeros((STEPS, rnn.hidden_size), np.float32)
    state = np.zeros(sum(s.numel() for s in rnn.zero_state(1)), np.float32)
    weights, *rest = (v.ctypes.data_as(ctypes.c_void_p) for v in (ROOM, state, x, y))

    def run(kept: tuple[np.ndarray, ...] = (x, y, state)) -> None:
        del kept
        model.model_run(weights, *rest, STEPS)

    return run, np.fromfile(folder / "model.weights", np.uint8)


def times(rnn: sl.Recurrent, folder: Path) -> dict[str, float]:
    """Microseconds of a step, the best of rounds in turns."""
    own = [t.name for t in OBJECT_TARGETS if is_of_host(t)][:2]
    ways = [*((name, "object", name) for name in own), ("C99", "c", None)]
    runs = {title: library(folder / title, rnn, to, target) for title, to, target in ways}
    stepper, row = sl.Stepper(rnn), np.zeros(rnn.input_size, np.float32)

    def steps() -> None:
        for _ in range(STEPS):
            stepper(row)

    if rnn.runs_as != "interpret":
        runs["Stepper"] = (steps, np.zeros(0, np.uint8))
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for title, (run, weights) in runs.items():
            ROOM[: len(weights)] = weights
            run()
            start = time.perf_counter()
            run()
            best[title] = min(best[title], (time.perf_counter() - start) / STEPS * 1e6)
    return best


def code_size(path: Path) -> int:
    """Bytes of code and constants of an object file: all its functions, not the step alone."""
    done = subprocess.run(["llvm-size-14", path], capture_output=True, text=True, check=False)
    if done.returncode:
        return path.stat().st_size
    head, row = (line.split() for line in done.stdout.splitlines()[:2])
    return int(row[head.index("text")]) if "text" in head else int(row[0])


def main() -> None:
    """Print both tables of each cell."""
    version = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    print(f"{version}, {FLAGS} {NATIVE}")
    for name in sys.argv[1:] or ["LSTM"]:
        with tempfile.TemporaryDirectory() as folder:
            tables(name, Path(folder))


def stack(name: str, size: int) -> sl.Recurrent:
    """One layer, of as many inputs as units."""
    return sl.LSTM(size, size) if name == "LSTM" else sl.Recurrent(cells.ZOO[name], size, size)


def tables(name: str, folder: Path) -> None:
    """Times of a cell, and its sizes."""
    for size in SIZES:
        found = times(stack(name, size), folder / str(size))
        if size == SIZES[0]:
            print(f"{name}, inputs = units".ljust(20) + "".join(f"{title:>16}" for title in found))
        print(f"{size:20d}" + "".join(f"{value:13.3f} µs" for value in found.values()))
    print(f"{name} of 64: code and constants of all functions, in bytes")
    for target in ON_DISK:
        made = sl.export(stack(name, 64), folder / target, to="object", target=target)
        print(f"{target:>20} {code_size(folder / target / 'model.o'):7,}   object file {made.sizes['object']:7,}")


ROOM = aligned(8 << 20)

if __name__ == "__main__":
    main()
