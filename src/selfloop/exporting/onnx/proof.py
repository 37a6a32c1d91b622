"""What an exported stack gives in ONNX Runtime, beside the interpreter in float64."""

import copy
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfloop.errors import ArgumentError
from selfloop.exporting.exported import SAMPLES, TOLERANCE, Tried, tolerated
from selfloop.exporting.onnx.stack import state_shapes
from selfloop.layers import Recurrent
from selfloop.onnx_runtime import import_onnxruntime

onnxruntime = import_onnxruntime()

Arrays = dict[str, NDArray[Any]]

CASES: tuple[tuple[int, tuple[int, ...]], ...] = ((6, (6, 0, 4)), (1, (1,)), (9, (9, 5)))
"""The steps of each batch, and the lengths of its sequences."""

TIMED = 200
"""Steps of which the fastest tells the time."""


class Proof(NamedTuple):
    """What was found.

    Attributes:
        tried: by ONNX Runtime; the time is of a step of one sequence.
        allowed: the largest difference that is rounding.
    """

    tried: Tried
    allowed: float


def prove(rnn: Recurrent, sequence: bytes, step: bytes | None) -> Proof:
    """Run the models of a stack on random inputs, and compare: whole ragged batches, and steps one after another.

    Raises:
        ArgumentError: what the stack itself gives is not finite.
    """
    exact, whole = _interpreted(rnn, torch.float64), session(sequence)
    single = None if step is None else session(step)
    random, found = torch.Generator().manual_seed(0), [0.0]
    cases: list[tuple[Arrays, Tensor | None, Arrays]] = []
    for steps, lengths in CASES:
        given = _inputs(rnn, steps, len(lengths), random)
        expected = _answers(exact, given, torch.tensor(lengths))
        laid_out = {name: v.swapaxes(0, 1) if rnn.batch_first else v for name, v in given.items()}
        got = run(whole, {**laid_out, "lengths": np.array(lengths)})
        got["y"] = got["y"].swapaxes(0, 1) if rnn.batch_first else got["y"]
        found.append(_difference(got, expected))
        cases.append((given, torch.tensor(lengths), expected))
        if single is not None:
            expected = _answers(exact, given, None)
            found.append(_difference(stepped(single, rnn, given), expected))
            cases.append((given, None, expected))
    allowed = TOLERANCE
    if max(found) > TOLERANCE:
        plain = _interpreted(rnn, torch.float32)
        for steps, lengths in CASES * (SAMPLES // len(CASES)):
            given = _inputs(rnn, steps, len(lengths), random)
            cases.append((given, None, _answers(exact, given, None)))
        own = (_difference(_answers(plain, given, lengths), expected) for given, lengths, expected in cases)
        allowed = tolerated(max(own))
    microseconds = None if single is None else _timed(single, rnn, random)
    return Proof(Tried(f"ONNX Runtime {onnxruntime.__version__}", max(found), microseconds), allowed)


def _interpreted(rnn: Recurrent, dtype: torch.dtype) -> Recurrent:
    """A copy of a stack that the interpreter runs."""
    own = copy.deepcopy(rnn).to("cpu", dtype).eval()
    own.backend = "interpret"
    return own


def session(model: bytes) -> Any:
    """A model in ONNX Runtime, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(model: Any, given: Mapping[str, NDArray[Any]]) -> Arrays:
    """The outputs by their names."""
    return dict(zip((v.name for v in model.get_outputs()), model.run(None, dict(given)), strict=True))


def stepped(model: Any, rnn: Recurrent, given: Arrays) -> Arrays:
    """The steps of a sequence (T, B, ·), one after another, and the states after the last."""
    steps, batch = next(iter(given.values())).shape[:2]
    state, outputs, got = _first_state(rnn, batch), [], Arrays()
    for t in range(steps):
        got = run(model, {name: v[t] for name, v in given.items()} | state)
        state = {name.removeprefix("new_"): v for name, v in got.items() if name != "y"}
        outputs.append(got["y"])
    return {**got, "y": np.stack(outputs)}


def _first_state(rnn: Recurrent, batch: int) -> Arrays:
    with torch.no_grad():
        return {f"state.{n}": v.float().cpu().numpy() for n, v in _named(rnn, list(rnn.initial_state(batch))).items()}


def _named(rnn: Recurrent, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    """The rows of a State's tensors by their names in ONNX."""
    rows = [tensors[k][row] for one in rnn._pass_of.values() for k, row in one.rows]
    return dict(zip((name for name, _ in state_shapes(rnn).values()), rows, strict=True))


def _inputs(rnn: Recurrent, steps: int, batch: int, random: torch.Generator) -> Arrays:
    """Random inputs, (T, B, ·), further inputs between 0 and 1."""
    x, *further = rnn._input_sizes.items()
    drawn = {x[0]: torch.randn(steps, batch, x[1], generator=random)}
    drawn |= {name: torch.rand(steps, batch, size, generator=random) for name, size in further}
    return {name: v.numpy() for name, v in drawn.items()}


@torch.no_grad()
def _answers(rnn: Recurrent, given: Arrays, lengths: Tensor | None) -> Arrays:
    """What a stack makes of inputs (T, B, ·): its output, (T, B, ·), and its last states, by their names in ONNX."""
    inputs = {name: torch.from_numpy(v).to(rnn._like.dtype) for name, v in given.items()}
    x, *further = (v.transpose(0, 1) if rnn.batch_first else v for v in inputs.values())
    start = rnn.initial_state(next(iter(inputs.values())).shape[1])
    y, state = rnn._over_sequences(x, start, lengths, None, None, dict(zip([*given][1:], further, strict=True)))
    last = {f"new_state.{name}": v for name, v in _named(rnn, list(state)).items()}
    values = {"y": y.transpose(0, 1) if rnn.batch_first else y, **last}
    if not all(bool(v.isfinite().all()) for v in values.values()):
        raise ArgumentError(f"The outputs of {rnn} on random input are not all finite, so its ONNX cannot be checked.")
    return {name: v.numpy() for name, v in values.items()}


def _difference(got: Arrays, expected: Arrays) -> float:
    """The largest of all tensors."""
    return max(_relative(got[name], v) for name, v in expected.items())


def _relative(got: NDArray[Any], expected: NDArray[Any]) -> float:
    if got.shape != expected.shape or not np.isfinite(got).all():
        return float("inf")
    return float(np.abs(got - expected).max() / (np.abs(expected).max() or 1))


def _timed(model: Any, rnn: Recurrent, random: torch.Generator) -> float:
    """Microseconds of a step, the fastest of several."""
    given = {name: v[0] for name, v in _inputs(rnn, 1, 1, random).items()} | _first_state(rnn, 1)
    best = float("inf")
    for _ in range(TIMED):
        start = time.perf_counter()
        model.run(None, given)
        best = min(best, time.perf_counter() - start)
    return 1e6 * best
