"""A stack of layers in ONNX: over whole sequences, and one step of it."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from selfloop.exporting.onnx.recurrence import Call, active, recurrence
from selfloop.exporting.onnx.writer import Writer
from selfloop.kernels.interpret import made_once
from selfloop.layers import Recurrent
from selfloop.version import __version__

FLOAT = ir.DataType.FLOAT
IR_VERSION = 10
"""Of the file's form: that of ONNX 1.16 and ONNX Runtime 1.18."""


def sequence_model(rnn: Recurrent, name: str) -> ir.Model:
    """Whole sequences: `x` and further inputs, (T, B, ·) or as `batch_first` says, and `lengths`, (B,), int64.

    To `y`, laid out as `x`, zero beyond the lengths, and for each state the last, such as `new_state.h.0`, (B, ·).
    """
    w, layout = Writer(), ("batch", "time") if rnn.batch_first else ("time", "batch")
    given = {n: w.unknown(FLOAT, [*layout, size], n) for n, size in rnn._input_sizes.items()}
    lengths = w.unknown(ir.DataType.INT64, ["batch"], "lengths")
    inputs = [w.op("Transpose", x, perm=[1, 0, 2]) if rnn.batch_first else x for x in given.values()]
    steps, batch = (w.op("Shape", inputs[0], start=k, end=k + 1) for k in (0, 1))
    within = w.op("Min", w.op("Max", lengths, w.constant([0])), steps)  # a sequence is as long as x, at most
    first = {}
    for one in rnn._pass_of.values():
        for (k, _), state in zip(one.rows, rnn.cell.graph.states, strict=True):
            shape = rnn._state_shapes[k][1:]
            start = w.constant(np.zeros(shape), np.float32)
            if rnn.learn_state:
                start = w.known(_array(rnn._tensor(state + one.suffix)), f"{state}{one.suffix}")
            first[state + one.suffix] = w.op("Expand", start, w.op("Concat", batch, w.constant(shape), axis=0))
    y, last = _layers(w, rnn, inputs, first, within)
    y = w.op("Transpose", y, perm=[1, 0, 2]) if rnn.batch_first else y
    return _model(w, rnn, name, [*given.values(), lengths], {"y": ([*layout, rnn.output_size], y)}, last)


def step_model(rnn: Recurrent, name: str) -> ir.Model:
    """One step: `x` and further inputs, (B, ·), and states such as `state.h.0`, to `y` and `new_state.h.0`."""
    w = Writer()
    given = {n: w.unknown(FLOAT, ["batch", size], n) for n, size in rnn._input_sizes.items()}
    shapes = state_shapes(rnn)
    first = {own: w.unknown(FLOAT, ["batch", *shape], f"state.{n}") for own, (n, shape) in shapes.items()}
    y, last = _layers(w, rnn, [*given.values()], first, None)
    return _model(w, rnn, name, [*given.values(), *first.values()], {"y": (["batch", rnn.output_size], y)}, last)


def state_shapes(rnn: Recurrent) -> dict[str, tuple[str, tuple[int, ...]]]:
    """By each state with its suffix, ``h_l0_reverse``, its name in ONNX, ``h.0.reverse``, and its shape."""
    found = {}
    for layer, passes in enumerate(rnn._passes):
        for one in passes:
            for (k, _), state in zip(one.rows, rnn.cell.graph.states, strict=True):
                name = f"{state}.{layer}.reverse" if one.reverse else f"{state}.{layer}"
                found[state + one.suffix] = name, rnn._state_shapes[k][1:]
    return found


def _layers(
    w: Writer,
    rnn: Recurrent,
    inputs: Sequence[ir.Value],
    first: Mapping[str, ir.Value],
    lengths: ir.Value | None,
) -> tuple[ir.Value, dict[str, ir.Value]]:
    """What `Recurrent` does from layer to layer, outside of training: the output, and the states."""
    x, *further = inputs
    graph, is_step = rnn.cell.graph.expected.per_step, lengths is None
    y, last = x, dict[str, ir.Value]()
    for layer, passes in enumerate(rnn._passes):
        read = w.op("Concat", y, *further, axis=-1) if further else y
        outputs = []
        for one in passes:
            names = [state + one.suffix for state in graph.states]
            output, final = recurrence(
                w,
                Call(
                    graph=graph,
                    sizes=one.sizes,
                    params=_weights(w, rnn, one.suffix),
                    x=read,
                    state=[first[name] for name in names],
                    dtype=FLOAT,
                    is_step=is_step,
                    lengths=lengths,
                    reverse=one.reverse,
                ),
            )
            outputs.append(output)
            last |= dict(zip(names, final, strict=True))
        below, y = y, w.op("Concat", *outputs, axis=-1) if len(outputs) > 1 else outputs[0]
        if rnn.residual and layer > 0:
            y = w.op("Add", y, below)
        if rnn.layer_norm and layer < rnn.num_layers - 1:
            y = _normalised(w, y, layer, cast(nn.LayerNorm, rnn.get_submodule(f"norm_l{layer}")))
            if lengths is not None:  # beyond a sequence's end all is zero, and its norm is not
                y = w.op("Where", active(w, x, lengths), y, w.constant(0, np.float32))
    return y, last


def _weights(w: Writer, rnn: Recurrent, suffix: str) -> dict[str, ir.Value]:
    """Those of `Graph.per_step`."""
    with torch.no_grad():
        own = made_once(rnn.cell.graph, rnn._cell_weights(suffix), rnn.sizes)
    return {name: w.known(_array(weight), name + suffix) for name, weight in own.items()}


def _array(weight: torch.Tensor) -> np.ndarray:
    array: np.ndarray = weight.detach().float().cpu().numpy()
    return array


def _normalised(w: Writer, y: ir.Value, layer: int, norm: nn.LayerNorm) -> ir.Value:
    weights = [w.known(_array(v), f"norm_l{layer}.{n}") for n, v in norm.named_parameters()]
    return w.op("LayerNormalization", y, *weights, axis=-1, epsilon=norm.eps)


def _model(
    w: Writer,
    rnn: Recurrent,
    name: str,
    inputs: Sequence[ir.Value],
    outputs: Mapping[str, tuple[Sequence[int | str], ir.Value]],
    last: Mapping[str, ir.Value],
) -> ir.Model:
    shapes = state_shapes(rnn)
    named = {**outputs, **{f"new_state.{shapes[own][0]}": (["batch", *shapes[own][1]], v) for own, v in last.items()}}
    values = w.distinct(v for _, v in named.values())
    for (own, (shape, _)), value in zip(named.items(), values, strict=True):
        value.name, value.shape, value.type = own, ir.Shape(shape), ir.TensorType(FLOAT)
    return ir.Model(
        w.graph(name, inputs, values),
        ir_version=IR_VERSION,
        producer_name="selfloop",
        producer_version=__version__,
        doc_string=f"{rnn}\n\n{rnn.cell}",
        metadata_props={
            "cell": rnn.cell.name,
            "input_size": str(rnn.input_size),
            "hidden_sizes": " ".join(map(str, rnn.hidden_sizes)),
            "output_size": str(rnn.output_size),
            "batch_first": str(rnn.batch_first).lower(),
        },
    )
