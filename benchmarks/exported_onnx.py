"""LSTM and GRU exported to ONNX by selfloop and by torch, in ONNX Runtime, in turns.

python benchmarks/exported_onnx.py
"""

import io
import logging
import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch

import selfloop as sl
from selfloop.exporting.onnx import export_onnx
from selfloop.onnx_runtime import import_onnxruntime

onnxruntime = import_onnxruntime()

HIDDEN, BATCH, STEPS, ROUNDS = 128, 32, 100, 200


def session(model: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # beside another session's threads
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def best(runs: dict[str, object], rounds: int = ROUNDS) -> dict[str, float]:
    """Milliseconds of each in its fastest round; they take turns."""
    times = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name] = min(times[name], 1e3 * (time.perf_counter() - start))
    return times


def by_torch(module: torch.nn.Module, x: torch.Tensor) -> bytes:
    """The export that torch itself makes, with batch free; and time, which of both directions it cannot leave free."""
    free = torch.export.Dim.DYNAMIC
    axes = {1: free} if module.bidirectional else {0: free, 1: free}
    written = io.BytesIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(module.eval(), (x,), dynamo=True, dynamic_shapes=(axes,), verbose=False)
    program.save(written)
    return written.getvalue()


def main() -> None:
    print(f"onnxruntime {onnxruntime.__version__}; H = I = {HIDDEN}, B {BATCH}, T {STEPS}")
    print(f"milliseconds of a call, the best of {ROUNDS} in turns; load of the machine {os.getloadavg()[0]:.1f}")
    print("                       threads   selfloop's   torch's   selfloop's / torch's   largest difference")
    x = np.random.default_rng(0).standard_normal((STEPS, BATCH, HIDDEN), dtype=np.float32)
    lengths = np.full(BATCH, STEPS)
    for theirs, ours in ((torch.nn.LSTM, sl.LSTM), (torch.nn.GRU, sl.GRU)):
        for options in ({}, {"bidirectional": True}):
            module, rnn = theirs(HIDDEN, HIDDEN, **options), ours(HIDDEN, HIDDEN, **options)
            rnn.load_state_dict(module.state_dict())
            with tempfile.TemporaryDirectory() as folder:
                export_onnx(rnn, Path(folder) / "made")
                made = (Path(folder) / "made" / "model.onnx").read_bytes()
            exported = by_torch(module, torch.from_numpy(x))
            for threads in (1, 2):
                own, other = session(made, threads), session(exported, threads)
                name = other.get_inputs()[0].name
                runs = {
                    "own": lambda: own.run(["y"], {"x": x, "lengths": lengths}),  # noqa: B023
                    "other": lambda: other.run(None, {name: x}),  # noqa: B023
                }
                y, expected = runs["own"]()[0], runs["other"]()[0]
                difference = np.abs(y - expected).max() / np.abs(expected).max()
                times = best(runs)
                title = f"{theirs.__name__}{', both directions' if options else ''}"
                print(
                    f"{title:22} {threads:7d} {times['own']:12.2f} {times['other']:9.2f} "
                    f"{times['own'] / times['other']:22.2f} {difference:20.1e}"
                )


if __name__ == "__main__":
    main()
