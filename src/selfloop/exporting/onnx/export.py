"""A stack as files of ONNX, tried before they are written."""

import math
import re
from pathlib import Path

import onnx_ir as ir
import torch

from selfloop.errors import ArgumentError, BackendError
from selfloop.exporting.exported import Exported, check_folder, check_forward, write_files
from selfloop.exporting.onnx.proof import prove
from selfloop.exporting.onnx.stack import sequence_model, state_shapes, step_model
from selfloop.layers import Recurrent
from selfloop.layers.frozen import evaluated

MOST_BYTES = 2**31 - 1
"""Of a file of ONNX, which is one message of protobuf."""


def export_onnx(rnn: Recurrent, out: str | Path, *, name: str) -> Exported:
    """As `selfloop.exporting.onnx.export_onnx`."""
    folder = Path(out)
    _check(rnn, folder, name)
    rnn = evaluated(rnn)
    if any(own.dtype in (torch.float16, torch.bfloat16) for own in rnn.parameters()):
        rnn = rnn.float()
    whole = sequence_model(rnn, name)
    weights = sum(v.const_value.nbytes for v in whole.graph.initializers.values())
    if weights > MOST_BYTES:
        raise ArgumentError(f"The weights of {rnn} have {weights:,} bytes, and a file of ONNX holds {MOST_BYTES:,}.")
    sequence = _bytes(whole)
    step = None if rnn.bidirectional else _bytes(step_model(rnn, "step"))
    tried, allowed = prove(rnn, sequence, step)
    if not tried.difference <= allowed:
        raise BackendError(
            f"{rnn} in ONNX Runtime differs from selfloop by {tried.difference:.1e} of the largest number, and at most "
            f"{allowed:.1e} is rounding, so nothing was written. Please report this cell."
        )
    models = {f"{name}.onnx": sequence} | ({} if step is None else {"step.onnx": step})
    state = 4 * sum(math.prod(shape) for _, shape in state_shapes(rnn).values())
    sizes = {file: len(content) for file, content in models.items()} | {"weights": weights, "state": state}
    return Exported(write_files(folder, models), (tried,), (), sizes)


def _check(rnn: Recurrent, folder: Path, name: str) -> None:
    if not isinstance(rnn, Recurrent):
        raise ArgumentError(
            f"The 'model' of export_onnx must be a Recurrent, LSTM, GRU or RNN. Got {type(rnn).__name__}."
        )
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,40}", name) or name == "step":
        raise ArgumentError(
            f"The 'name' of export_onnx must be a name of a file such as 'model', and not 'step'. Got {name!r} instead."
        )
    check_forward(rnn)
    check_folder(folder)


def _bytes(model: ir.Model) -> bytes:
    content: bytes = ir.to_proto(model).SerializeToString()
    return content
