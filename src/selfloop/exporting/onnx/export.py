"""A stack as files of ONNX, tried before they are written."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from selfloop.errors import ArgumentError, BackendError
from selfloop.exporting.folder import check_folder, write_files
from selfloop.exporting.onnx.proof import prove
from selfloop.exporting.onnx.stack import sequence_model, state_shapes, step_model
from selfloop.layers import Recurrent

MOST_BYTES = 2**31 - 1
"""Of a file of ONNX, which is one message of protobuf."""


@dataclass(frozen=True)
class Exported:
    """What `export_onnx` has made.

    Attributes:
        files: that were written.
        weights: bytes of the weights.
        state: bytes of the state of one sequence.
        difference: the largest between ONNX Runtime and selfloop, relative to the largest number of its tensor.
        seconds: of a step of one sequence in ONNX Runtime, on one thread of this machine; None of a bidirectional
            stack, which cannot step.
    """

    files: tuple[Path, ...]
    weights: int
    state: int
    difference: float
    seconds: float | None

    def __str__(self) -> str:
        names = ", ".join(f"{path.name} ({path.stat().st_size:,} bytes)" for path in self.files)
        step = "no step, since it is bidirectional" if self.seconds is None else f"a step {1e6 * self.seconds:.1f} µs"
        return (
            f"{names}: weights {self.weights:,} bytes, state {self.state:,} bytes, {step}; "
            f"largest difference from selfloop {self.difference:.1e}"
        )


def export_onnx(rnn: Recurrent, out: str | Path, *, name: str) -> Exported:
    """As `selfloop.exporting.onnx.export_onnx`."""
    folder = Path(out)
    _check(rnn, folder, name)
    whole = sequence_model(rnn, name)
    weights = sum(v.const_value.nbytes for v in whole.graph.initializers.values())
    if weights > MOST_BYTES:
        raise ArgumentError(f"The weights of {rnn} have {weights:,} bytes, and a file of ONNX holds {MOST_BYTES:,}.")
    sequence = _bytes(whole)
    step = None if rnn.bidirectional else _bytes(step_model(rnn, "step"))
    found = prove(rnn, sequence, step)
    if found.difference > found.allowed:
        raise BackendError(
            f"{rnn} in ONNX Runtime differs from selfloop by {found.difference:.1e} of the largest number, and at most "
            f"{found.allowed:.1e} is rounding, so nothing was written. Please report this cell."
        )
    files = write_files(folder, {f"{name}.onnx": sequence} | ({} if step is None else {"step.onnx": step}))
    state = 4 * sum(math.prod(shape) for _, shape in state_shapes(rnn).values())
    return Exported(files, weights, state, found.difference, found.seconds)


def _check(rnn: Recurrent, folder: Path, name: str) -> None:
    if not isinstance(rnn, Recurrent):
        raise ArgumentError(
            f"The 'rnn' of export_onnx must be a Recurrent, LSTM, GRU or RNN. Got {type(rnn).__name__}."
        )
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,40}", name) or name == "step":
        raise ArgumentError(
            f"The 'name' of export_onnx must be a name of a file such as 'model', and not 'step'. Got {name!r} instead."
        )
    if "lengths" in rnn.cell.inputs:
        raise ArgumentError(
            f"The cell '{rnn.cell.name}' has an input 'lengths', which ONNX needs for another. Rename it."
        )
    check_folder(folder)


def _bytes(model: ir.Model) -> bytes:
    content: bytes = ir.to_proto(model).SerializeToString()
    return content
