"""The ONNX files of each task in ONNX Runtime, in turns with selfloop itself, and with torch's own export of nn.LSTM.

    python benchmarks/exported_tasks.py

A model of each task, an LSTM of 128 units, on 32 sequences. torch's export is of the same model and weights, with
torch.nn.LSTM in the place of each recurrent stack, which takes no lengths, so all sequences are whole.
"""

import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir
import torch
from torch import Tensor, nn

import selfloop as sl
from selfloop.exporting.onnx.tasks.parts import Part, copied, parts_of
from selfloop.exporting.onnx.tasks.program import program
from selfloop.exporting.onnx.tasks.proof import session_of
from selfloop.layers import Recurrent, State
from selfloop.onnx_runtime import import_onnxruntime

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from small_runs import make

onnxruntime = import_onnxruntime()

HIDDEN, BATCH, STEPS, ROUNDS = 128, 32, 64, 40


class Theirs(nn.Module):
    """torch.nn.LSTM, called as a Recurrent of the same weights."""

    def __init__(self, rnn: Recurrent) -> None:
        super().__init__()
        self.ours = [rnn]  # in a list it is no part of this module
        self.lstm = nn.LSTM(rnn.input_size, rnn.hidden_size, rnn.num_layers, bidirectional=rnn.bidirectional)
        weights = {}
        for layer in range(rnn.num_layers):
            for suffix in rnn._suffixes(layer):
                own = {name: getattr(rnn, name + suffix).detach() for name in ("W_xh", "W_hh", "b")}
                weights |= {f"weight_ih{suffix}": own["W_xh"], f"weight_hh{suffix}": own["W_hh"]}
                weights |= {f"bias_ih{suffix}": own["b"], f"bias_hh{suffix}": torch.zeros_like(own["b"])}
        self.lstm.load_state_dict(weights)

    def __getattr__(self, name: str) -> object:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["ours"][0], name)

    def forward(self, x: Tensor, state: State | None = None, *, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        del lengths
        y, (h, c) = self.lstm(x) if state is None else self.lstm(x, (state.h, state.c))
        return y, State(h=h, c=c)

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        y, state = self(x[None], state)
        return y[0], state


def with_theirs(opened: object) -> object:
    """The same model with torch.nn.LSTM."""
    theirs = copied(opened, torch.float32, "auto")
    for module in [*theirs.model.modules()]:
        for name, child in module.named_children():
            if isinstance(child, Recurrent):
                setattr(module, name, Theirs(child))
    return theirs


def by_torch(part: Part, inputs: dict[str, np.ndarray], file: Path) -> bool:
    """torch's own export; whether it leaves all sizes free, or the number of steps had to be fixed."""
    tensors = tuple(map(torch.from_numpy, inputs.values()))
    for free in (("batch", "time"), ("batch",)):
        shapes = tuple(
            {k: torch.export.Dim.DYNAMIC for k, axis in enumerate(port.shape) if axis in free}
            for port in part.inputs.values()
        )
        names = {"input_names": [*inputs], "output_names": [*part.outputs]}
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                made = torch.onnx.export(
                    part.eval(), tensors, dynamo=True, verbose=False, dynamic_shapes=(shapes,), **names
                )
        except Exception:  # torch has several for it
            continue
        made.save(file)
        given = zip(part.inputs.values(), made.model.graph.inputs, strict=True)
        return not any("time" in port.shape and isinstance(v.shape[port.shape.index("time")], int) for port, v in given)
    raise SystemExit(f"torch exports no {part.file}")


def models(folder: Path) -> Iterator[tuple[str, object]]:
    """A model of each task, with fresh weights."""
    small = {"hidden_size": HIDDEN, "embedding_size": 64}
    for task in ("lm", "classify", "label", "translate", "caption"):
        make(task, folder / task, model={**small, **({"feature_size": 64} if task == "caption" else {})})
        yield task, sl.load(folder / task)


def best(runs: dict[str, object]) -> dict[str, float]:
    """Milliseconds of each in its fastest round; they take turns."""
    times = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name] = min(times[name], 1e3 * (time.perf_counter() - start))
    return times


def difference(some: list[np.ndarray], others: list[np.ndarray]) -> float:
    pairs = ((a, b) for a, b in zip(some, others, strict=True) if a.dtype.kind == "f")
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


def main() -> None:
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # torch.onnx tells what it does not fold
    print(f"onnxruntime {onnxruntime.__version__}, one thread; an LSTM of H {HIDDEN}, B {BATCH}, T {STEPS}")
    print(f"milliseconds of a call, the best of {ROUNDS} in turns; load of the machine {os.getloadavg()[0]:.1f}")
    print(f"{'':28}{'ONNX':>8}{'selfloop':>10}{'torch':>9}{'ONNX / torch':>14}   largest difference")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for task, opened in models(folder):
            pairs = zip(parts_of(copied(opened, torch.float32, "auto")), parts_of(with_theirs(opened)), strict=True)
            for ours, theirs in pairs:
                draw, sizes = np.random.default_rng(0), {"time": STEPS, "batch": BATCH}
                inputs = {name: port.random(draw, sizes) for name, port in ours.inputs.items()}
                if "lengths" in inputs:
                    inputs["lengths"] = np.full(BATCH, STEPS)
                onnx_ir.save(program(ours), folder / "ours.onnx")
                is_free = by_torch(theirs, inputs, folder / "theirs.onnx")
                one, other = session_of(folder / "ours.onnx"), session_of(folder / "theirs.onnx")
                taken = {v.name: inputs[v.name] for v in other.get_inputs()}
                tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}

                @torch.inference_mode()
                def itself(part: Part = ours, tensors: dict[str, Tensor] = tensors) -> list[np.ndarray]:
                    return [v.numpy() for v in part.compute(tensors).values()]

                runs = {
                    "onnx": lambda: one.run(None, inputs),  # noqa: B023
                    "selfloop": itself,
                    "torch": lambda: other.run(None, taken),  # noqa: B023
                }
                found = difference(runs["onnx"](), runs["torch"]())
                times = best(runs)
                fixed = "" if is_free else "   torch's has T fixed"
                print(
                    f"{task + ', ' + ours.file:28}{times['onnx']:8.3f}{times['selfloop']:10.3f}{times['torch']:9.3f}"
                    f"{times['onnx'] / times['torch']:14.2f}   {found:.1e}{fixed}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
