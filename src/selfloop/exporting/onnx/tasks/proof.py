"""Whether ONNX files give a network's numbers: they are run, and compared with the network in float64."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfloop.errors import BackendError
from selfloop.exporting.exported import SAMPLES, TOLERANCE, Tried, tolerated
from selfloop.exporting.onnx.tasks.calls import Call, random_calls
from selfloop.exporting.onnx.tasks.parts import Part, copied, parts_of
from selfloop.exporting.validation_data import Array, Arrays
from selfloop.onnx_runtime import import_onnxruntime
from selfloop.tasks.predictor import Predictor

MAGNIFIED = 1e-3
"""How far an output may be from selfloop's at the most, of a network that magnifies roundings."""

TIMED = 5
"""How often a call is timed; the best counts."""


def prove(opened: Predictor[Any, Any, Any, Any], folder: Path, calls: Sequence[Call]) -> list[Tried]:
    """Run the files of a folder, and compare them with the network in float64.

    What is more than `TOLERANCE` away may be rounding that a network magnifies: see `tolerated`, and up to
    `MAGNIFIED`.

    Raises:
        BackendError: one of the files does not give the numbers of the network.
    """
    found = []
    for number, (part, exact) in enumerate(
        zip(parts_of(opened), parts_of(copied(opened, torch.float64, "interpret")), strict=True)
    ):
        own = [call.inputs for call in calls if call.part == number]
        truth = [_computed(exact, inputs) for inputs in own]
        session = session_of(folder / part.file)
        difference = _largest([session.run(list(part.outputs), dict(inputs)) for inputs in own], truth)
        allowed = TOLERANCE
        if difference > TOLERANCE:
            others = [call for seed in range(1, SAMPLES) for call in random_calls([part], seed)]
            inputs_of_all = own + [call.inputs for call in others]
            truth += [_computed(exact, call.inputs) for call in others]
            itself = _largest([_computed(part, inputs) for inputs in inputs_of_all], truth)
            allowed = min(tolerated(itself), MAGNIFIED)
        if not difference <= allowed:
            raise BackendError(
                f"The {part.file} of {opened} differs from selfloop by {difference:.1e} of the largest output, and at "
                f"most {allowed:.1e} is rounding, so nothing was written. Please report this model."
            )
        real = sum(call.real for call in calls if call.part == number)
        calls_made = f"calls with validation data {real}, with random numbers {len(own) - real}"
        longest = max(own, key=lambda inputs: sum(array.size for array in inputs.values()))
        found.append(
            Tried(
                by=f"ONNX Runtime ({part.file}; {calls_made})",
                difference=difference,
                microseconds=min(_timed(session, longest) for _ in range(TIMED)),
                timed=f"an input of {' × '.join(map(str, next(iter(longest.values())).shape))}",
            )
        )
    return found


def session_of(file: Path) -> Any:
    """An ONNX file, opened by ONNX Runtime on as many threads as torch has."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


@torch.no_grad()
def _computed(part: Part, inputs: Arrays) -> list[Array]:
    """What a part itself gives, in the dtype of its weights."""
    dtype = next(part.parameters()).dtype
    with _default(dtype):
        given = {name: torch.from_numpy(array) for name, array in inputs.items()}
        found = part.compute({name: v.to(dtype) if v.is_floating_point() else v for name, v in given.items()})
    return [found[name].numpy() for name in part.outputs]


def _largest(got: Sequence[Sequence[Array]], truth: Sequence[Sequence[Array]]) -> float:
    """The largest difference of calls, each relative to the largest number of its output."""
    pairs = (pair for one, other in zip(got, truth, strict=True) for pair in zip(one, other, strict=True))
    return max(_relative(one, other) for one, other in pairs)


def _relative(got: Array, want: Array) -> float:
    if got.shape != want.shape:
        return float("inf")
    difference = np.abs(got.astype(np.float64) - want.astype(np.float64)).max(initial=0)
    return float(np.nan_to_num(difference, nan=np.inf) / (np.abs(want.astype(np.float64)).max(initial=0) or 1))


def _timed(session: Any, inputs: Arrays) -> float:
    start = time.perf_counter()
    session.run(None, dict(inputs))
    return (time.perf_counter() - start) * 1e6


@contextmanager
def _default(dtype: torch.dtype) -> Iterator[None]:
    """Where bytes become numbers, they become of this dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
