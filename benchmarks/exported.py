"""A step of an exported LSTM, as objects and as C99, beside `Stepper` in the same process; and the size of its code.

All read the same memory for their weights: on some processors where it lies changes the time by a factor of two.

python benchmarks/exported.py
"""

import ctypes
import mmap
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import selfloop as sl
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


def library(folder: Path, rnn: sl.LSTM, to: str, target: str | None) -> tuple[Callable[[], None], np.ndarray]:
    """What runs STEPS steps, and its weights, which are to be put into `ROOM`."""
    sl.export(rnn, folder, to=to, target=target)
    kind = "c" if to == "c" else "o"
    flags = [*FLAGS.split(), NATIVE, "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, f"model.{kind}", f"model_weights.{kind}", "-o", "m.so"], cwd=folder, check=True)
    model = ctypes.CDLL(str(folder / "m.so"))
    x = np.random.default_rng(0).standard_normal((STEPS, rnn.input_size), dtype=np.float32)
    y, state = np.zeros((STEPS, rnn.hidden_size), np.float32), np.zeros(2 * rnn.hidden_size, np.float32)
    weights, *rest = (v.ctypes.data_as(ctypes.c_void_p) for v in (ROOM, state, x, y))

    def run(kept: tuple[np.ndarray, ...] = (x, y, state)) -> None:
        del kept
        model.model_run(weights, *rest, STEPS)

    return run, np.fromfile(folder / "model.weights", np.uint8)


def times(rnn: sl.LSTM, folder: Path) -> dict[str, float]:
    """Microseconds of a step, the best of rounds in turns."""
    own = [t.name for t in OBJECT_TARGETS if is_of_host(t)][:2]
    ways = [*((name, "object", name) for name in own), ("C99", "c", None)]
    runs = {title: library(folder / title, rnn, to, target) for title, to, target in ways}
    stepper, row = sl.Stepper(rnn), np.zeros(rnn.input_size, np.float32)

    def steps() -> None:
        for _ in range(STEPS):
            stepper(row)

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
    """Print both tables."""
    version = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    print(f"{version}, {FLAGS} {NATIVE}")
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            found = times(sl.LSTM(size, size), Path(folder) / str(size))
            if size == SIZES[0]:
                print("LSTM, inputs = units" + "".join(f"{title:>16}" for title in found))
            print(f"{size:20d}" + "".join(f"{value:13.3f} µs" for value in found.values()))
        print("LSTM of 64: code and constants of all functions, in bytes")
        for name in ON_DISK:
            made = sl.export(sl.LSTM(64, 64), Path(folder) / name, to="object", target=name)
            print(f"{name:>20} {code_size(Path(folder) / name / 'model.o'):7,}   object file {made.sizes['object']:7,}")


ROOM = aligned(8 << 20)

if __name__ == "__main__":
    main()
