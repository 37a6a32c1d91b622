"""A step of a stack exported to C, compiled by the C compiler that is here, beside `Stepper` in the same process.

python benchmarks/exported.py
"""

import ctypes
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

import selfloop as sl

FLAGS = ("-std=c99", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")
STEPS, ROUNDS = 2000, 50


def best(run) -> float:
    """Microseconds of a step, in the fastest of several rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) / STEPS * 1e6)
    return min(times)


def main() -> None:
    version = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    print(f"{version}, {' '.join(FLAGS)}")
    print("LSTM, inputs = units   C, a step   Stepper, a call   code, bytes   largest difference from selfloop")
    for size in (16, 64, 128, 256):
        rnn = sl.LSTM(size, size)
        with tempfile.TemporaryDirectory() as folder:
            made = sl.export(rnn, Path(folder) / "c")
            where = Path(folder) / "c"
            subprocess.run(
                ["cc", *FLAGS, "-shared", "-fPIC", "model.c", "model_weights.c", "-o", "m.so"], cwd=where, check=True
            )
            subprocess.run(["cc", *FLAGS, "-c", "model.c", "-o", "m.o"], cwd=where, check=True)
            text = subprocess.run(["size", "m.o"], cwd=where, capture_output=True, text=True, check=True).stdout
            model = ctypes.CDLL(str(where / "m.so"))
            weights = ctypes.byref(ctypes.c_char.in_dll(model, "model_trained"))
            x = np.random.default_rng(0).standard_normal((STEPS, size), dtype=np.float32)
            y, state = np.zeros((STEPS, size), np.float32), np.zeros(2 * size, np.float32)
            address = [v.ctypes.data_as(ctypes.c_void_p) for v in (state, x, y)]
            native = best(lambda: model.model_run(weights, *address, STEPS))  # noqa: B023
        stepper, row = sl.Stepper(rnn), x[0]

        def steps() -> None:
            for _ in range(STEPS):
                stepper(row)  # noqa: B023

        code = int(text.splitlines()[1].split()[0])
        print(f"{size:20d} {native:11.2f} µs {best(steps):14.2f} µs {code:13,} {made.difference:19.1e}")


if __name__ == "__main__":
    main()
