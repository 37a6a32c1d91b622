"""A step of an exported LSTM of 64 units in C, and called from Python, beside ONNX Runtime's `run()` of the same step.

All have one thread, and the same weights. `ctypes` is a call with arguments that are made once, as of a program that
keeps its arrays; `NAME.py` is `Model.step`, which checks what it is given. In ONNX Runtime the states that come out are
the next ones that go in.

python benchmarks/exported_step.py
"""

import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import torch

import selfloop as sl
from selfloop.exporting.native.emulated import FLAGS, NATIVE
from selfloop.onnx_runtime import import_onnxruntime

onnxruntime = import_onnxruntime()

SIZE, STEPS, ROUNDS = 64, 500, 60
FLOOR, AIM = 6, 12
"""Times as fast as ONNX Runtime."""

Run = Callable[[], np.ndarray]
"""Takes `STEPS` steps from the start, and gives the last output."""


def of_library(rnn: sl.LSTM, folder: Path, x: np.ndarray) -> dict[str, Run]:
    """The object, by `run` in C, by `step` through ctypes, and by the Python file that lies beside it."""
    sl.export(rnn, folder, to="object")
    subprocess.run(["make", "-s", "libmodel.so", f"CFLAGS={FLAGS} {NATIVE}"], cwd=folder, check=True)
    spec = spec_from_file_location("model", folder / "model.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    model, library = module.Model(), ctypes.CDLL(str(folder / "libmodel.so"))
    weights = ctypes.byref(ctypes.c_char.in_dll(library, "model_trained"))
    state, y, all_y = np.zeros(2 * SIZE, np.float32), np.zeros(SIZE, np.float32), np.zeros((STEPS, SIZE), np.float32)
    state_at, y_at, all_at, x_at = (ctypes.c_void_p(v.ctypes.data) for v in (state, y, all_y, x))
    rows = [ctypes.c_void_p(row.ctypes.data) for row in x]
    reset, step, run = (getattr(library, f"model_{verb}") for verb in ("reset", "step", "run"))
    for function in (reset, step, run):
        function.restype = None

    def in_c() -> np.ndarray:
        reset(weights, state_at)
        run(weights, state_at, x_at, all_at, STEPS)
        return all_y[-1]

    def by_ctypes() -> np.ndarray:
        reset(weights, state_at)
        for row in rows:
            step(weights, state_at, row, y_at)
        return y

    def by_file() -> np.ndarray:
        model.reset()
        for row in x:
            last = model.step(row)
        return np.asarray(last)

    return {"C": in_c, "ctypes": by_ctypes, "NAME.py": by_file}


def of_onnx_runtime(rnn: sl.LSTM, folder: Path, x: np.ndarray) -> Run:
    """The step, one call after the other."""
    sl.export_onnx(rnn, folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "step.onnx", options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    outputs = ["y", *(f"new_{name}" for name in names[1:])]
    rows = [row[None] for row in x]

    def run() -> np.ndarray:
        states = [np.zeros((1, SIZE), np.float32) for _ in names[1:]]
        for row in rows:
            y, *states = session.run(outputs, dict(zip(names, (row, *states), strict=True)))
        return np.asarray(y[0])

    return run


def main() -> None:
    """Print the table."""
    torch.manual_seed(0)
    rnn = sl.LSTM(SIZE, SIZE)
    x = np.random.default_rng(0).standard_normal((STEPS, SIZE), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        peer = f"ONNX Runtime {onnxruntime.__version__}"
        runs = {peer: of_onnx_runtime(rnn, Path(folder) / "onnx", x), **of_library(rnn, Path(folder) / "object", x)}
        truth = rnn(torch.from_numpy(x))[0][-1].detach().numpy()
        for title, run in runs.items():
            assert np.abs(run() - truth).max() < 1e-4, title
        best = dict.fromkeys(runs, float("inf"))
        for _ in range(ROUNDS):
            for title, run in runs.items():
                start = time.perf_counter()
                run()
                best[title] = min(best[title], (time.perf_counter() - start) / STEPS * 1e6)
    print(f"LSTM, inputs = units = {SIZE}: a step, the best of {ROUNDS} rounds of {STEPS} steps in turns, one thread")
    print(f"(floor {FLOOR} times as fast as ONNX Runtime, aim {AIM})")
    for title, value in best.items():
        print(f"{title:>20} {value:8.3f} µs {best[peer] / value:8.1f} times as fast")


if __name__ == "__main__":
    main()
