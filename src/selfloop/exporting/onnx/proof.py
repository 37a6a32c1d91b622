"""Whether ONNX files give a network's numbers: they are run, and compared with the network in float64."""

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfloop.errors import BackendError
from selfloop.exporting.onnx.calls import Arrays, Call
from selfloop.exporting.onnx.parts import Part, parts_of
from selfloop.layers import Recurrent
from selfloop.tasks.caption.captioner import Captioner
from selfloop.tasks.predictor import Predictor

TOLERANCE = 1e-5
"""How far an output may be from selfloop's, relative to the largest number of it."""

TIMED = 5
"""How often a call is timed; the best counts."""


@dataclass(frozen=True)
class Proof:
    """What came of trying a file.

    Attributes:
        file: its name.
        size: its bytes.
        difference: the largest, relative to the largest number of its output.
        real, random: the calls with data of the run, and with random numbers.
        ms: milliseconds of the largest call.
        shape: of the first input of that call.
    """

    file: str
    size: int
    difference: float
    real: int
    random: int
    ms: float
    shape: tuple[int, ...]


def prove(opened: Predictor[Any, Any, Any, Any], folder: Path, calls: Sequence[Call]) -> list[Proof]:
    """Run the files of a folder.

    Raises:
        BackendError: one of them does not give the numbers of the network.
    """
    found = []
    for number, part in enumerate(parts_of(in_float64(opened))):
        own = [call for call in calls if call.part == number]
        found.append(_prove(part, folder / part.file, own))
        if not found[-1].difference <= TOLERANCE:
            raise BackendError(
                f"The {part.file} of {opened} differs from selfloop by {found[-1].difference:.1e} of the largest "
                f"output, and at most {TOLERANCE} is rounding, so nothing was written. Please report this model."
            )
    return found


def in_float64(opened: Predictor[Any, Any, Any, Any]) -> Predictor[Any, Any, Any, Any]:
    """A copy of a model that computes in float64, by torch's operations."""
    model, inputs = copy.deepcopy(opened.model).cpu().double(), opened.inputs
    for module in model.modules():
        if isinstance(module, Recurrent):
            module.backend = "interpret"
    if isinstance(opened, Captioner):
        inputs = replace(opened.inputs, vision=model._vision)
        inputs.vision.network.double()
    return type(opened)(model, inputs, opened.config)


def _prove(part: Part, file: Path, calls: Sequence[Call]) -> Proof:
    session = session_of(file)
    difference = float(np.max([_difference(part, session, call.inputs) for call in calls]))  # also where one is NaN
    largest = max(calls, key=lambda call: sum(array.size for array in call.inputs.values()))
    ms = min(_timed(session, largest.inputs) for _ in range(TIMED))
    real = sum(call.real for call in calls)
    shape = next(iter(largest.inputs.values())).shape
    return Proof(part.file, file.stat().st_size, difference, real, len(calls) - real, ms, shape)


def session_of(file: Path) -> Any:
    """An ONNX file, opened by ONNX Runtime on as many threads as torch has."""
    import onnxruntime  # noqa: PLC0415  (an extra)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _difference(part: Part, session: Any, inputs: Arrays) -> float:
    with torch.no_grad(), _float64():
        given = {name: torch.from_numpy(array) for name, array in inputs.items()}
        truth = part.compute({name: v.double() if v.is_floating_point() else v for name, v in given.items()})
    differences = [0.0]
    for name, got in zip(part.outputs, session.run(part.outputs, dict(inputs)), strict=True):
        want = truth[name].numpy().astype(np.float64)
        scale = max(np.abs(want).max(initial=0), np.finfo(np.float32).tiny)
        differences.append(float(np.abs(got.astype(np.float64) - want).max(initial=0) / scale))
    return float(np.max(differences))


def _timed(session: Any, inputs: Arrays) -> float:
    start = time.perf_counter()
    session.run(None, dict(inputs))
    return (time.perf_counter() - start) * 1e3


@contextmanager
def _float64() -> Iterator[None]:
    """Where bytes become numbers, they become float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
