"""One cell over one sequence, in one direction: ONNX's own operator where there is one, else Scan over a step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from selfloop.cells import gru, gru_reset_before, lstm, peephole_lstm, vanilla, vanilla_relu
from selfloop.exporting.onnx.operations import Operand, evaluate
from selfloop.exporting.onnx.writer import Writer
from selfloop.kernels.interpret import in_loop
from selfloop.language.graph import COMPARISONS, Graph


@dataclass(frozen=True)
class Call:
    """What `selfloop.kernels.problem.Problem` is, in values of ONNX.

    Attributes:
        graph: the step, outside of training, that of `per_step`.
        sizes: the number of each named size.
        params: the weights by the cell's names.
        x: the input, (T, B, I); of a single step, (B, I).
        state: the states before the first step, (B, ·) or (B, rows, columns).
        dtype: of all of these.
        is_step: whether this is a single step.
        lengths: int64, (B,): how many steps each sequence has, from 0 to T; None means all of them.
        resets: bool, (T, B): the state is zeroed before these steps; in reverse the same segments are walked from
            their ends.
        reverse: walk from the last step to the first.
    """

    graph: Graph
    sizes: Mapping[str, int]
    params: Mapping[str, ir.Value]
    x: ir.Value
    state: Sequence[ir.Value]
    dtype: ir.DataType
    is_step: bool = False
    lengths: ir.Value | None = None
    resets: ir.Value | None = None
    reverse: bool = False


Output = tuple[ir.Value, list[ir.Value]]
"""The output at each step, zero beyond a sequence's length, and the states after the last step that is taken."""


def recurrence(w: Writer, call: Call) -> Output:
    """Write a recurrence."""
    standard = STANDARD.get(call.graph.form)
    if standard is not None and call.resets is None and call.dtype == ir.DataType.FLOAT:  # ORT has them in float32
        return _by_operator(w, call, standard)
    return _step(w, call) if call.is_step else _by_scan(w, call)


@dataclass(frozen=True)
class Standard:
    """An operator of ONNX that is a cell.

    Attributes:
        kind: its name.
        inputs: W, R, B and P from the cell's weights, in the cell's order.
        attributes: beside hidden_size and direction.
    """

    kind: str
    inputs: Callable[..., tuple[ir.Value, ir.Value, ir.Value, ir.Value | None]]
    attributes: Mapping[str, Any] = field(default_factory=dict)


IOFC, ZRH = (0, 3, 1, 2), (1, 0, 2)
"""Where ONNX's gates are among the cells'."""


def _gates(w: Writer, h: int, *weights: ir.Value, order: Sequence[int]) -> ir.Value:
    """Blocks of h rows in another order, as the weights of one direction."""
    joint = w.op("Concat", *weights, axis=0) if len(weights) > 1 else weights[0]
    rows = w.constant(np.concatenate([np.arange(k * h, k * h + h) for k in order]))
    return w.op("Unsqueeze", w.op("Gather", joint, rows, axis=0) if len(order) > 1 else joint, w.constant([0]))


def _one_bias(w: Writer, h: int, b: ir.Value, order: Sequence[int], rows: int) -> ir.Value:
    zeros = w.op("Expand", w.constant(0, np.float32), w.constant([1, rows * h]))
    return w.op("Concat", _gates(w, h, b, order=order), zeros, axis=1)


def _lstm(w: Writer, h: int, W: ir.Value, U: ir.Value, b: ir.Value, p: ir.Value | None = None) -> Any:
    peepholes = None if p is None else _gates(w, h, p, order=(0, 2, 1))
    return (*(_gates(w, h, v, order=IOFC) for v in (W, U)), _one_bias(w, h, b, IOFC, 4), peepholes)


def _gru(w: Writer, h: int, W: ir.Value, U: ir.Value, b: ir.Value, c: ir.Value) -> Any:
    biases = w.op("Concat", *(_gates(w, h, v, order=ZRH) for v in (b, c)), axis=1)
    return *(_gates(w, h, v, order=ZRH) for v in (W, U)), biases, None


def _gru_reset_before(w: Writer, h: int, W: ir.Value, U: ir.Value, V: ir.Value, b: ir.Value) -> Any:
    return _gates(w, h, W, order=ZRH), _gates(w, h, U, V, order=ZRH), _one_bias(w, h, b, ZRH, 3), None


def _rnn(w: Writer, h: int, W: ir.Value, U: ir.Value, b: ir.Value) -> Any:
    return _gates(w, h, W, order=(0,)), _gates(w, h, U, order=(0,)), _one_bias(w, h, b, (0,), 1), None


STANDARD = {
    lstm.graph.form: Standard("LSTM", _lstm),
    peephole_lstm.graph.form: Standard("LSTM", lambda w, h, W, U, p, b: _lstm(w, h, W, U, b, p)),
    gru.graph.form: Standard("GRU", _gru, {"linear_before_reset": 1}),
    gru_reset_before.graph.form: Standard("GRU", _gru_reset_before, {"linear_before_reset": 0}),
    vanilla.graph.form: Standard("RNN", _rnn, {"activations": ["Tanh"]}),
    vanilla_relu.graph.form: Standard("RNN", _rnn, {"activations": ["Relu"]}),
}
"""By a cell's form the operator that computes the same."""


def _by_operator(w: Writer, call: Call, standard: Standard) -> Output:
    h, first = call.sizes["h"], w.constant([0])
    W, R, B, P = standard.inputs(w, h, *(call.params[name] for name in call.graph.params))
    x = w.op("Unsqueeze", call.x, first) if call.is_step else call.x
    before = [w.op("Unsqueeze", s, first) for s in call.state]
    lengths = None if call.lengths is None else w.op("Cast", call.lengths, to=ir.DataType.INT32)
    y, *after = w.op(
        standard.kind,
        *(x, W, R, B, lengths, *before, *([P] if P is not None else [])),
        outputs=1 + len(before),
        hidden_size=h,
        direction="reverse" if call.reverse else "forward",
        **standard.attributes,
    )
    final = [w.op("Squeeze", s, first) for s in after]
    if call.lengths is not None:  # of a sequence without a step the operator makes zeros
        has_steps = w.op("Unsqueeze", w.op("Greater", call.lengths, w.constant(0)), w.constant([1]))
        final = [w.op("Where", has_steps, s, old) for s, old in zip(final, call.state, strict=True)]
    return final[0] if call.is_step else w.op("Squeeze", y, w.constant([1])), final


def _leaves(call: Call) -> dict[int, Operand]:
    """The parameters."""
    graph = call.graph
    return {graph.leaves[name]: Operand(v, len(graph.shape(name)), 0) for name, v in call.params.items()}


def _new_states(w: Writer, call: Call, values: Mapping[int, Operand], old: Sequence[ir.Value]) -> list[ir.Value]:
    """Of each row, also where they are the same in all."""
    found = [values[k] for k in call.graph.outputs]
    return [v.value if v.lead else w.op("Expand", v.value, w.op("Shape", s)) for v, s in zip(found, old, strict=True)]


def _states(call: Call, given: Sequence[ir.Value]) -> dict[int, Operand]:
    graph = call.graph
    return {
        graph.leaves[name]: Operand(s, len(graph.shape(name)), 1) for name, s in zip(graph.states, given, strict=True)
    }


def _step(w: Writer, call: Call) -> Output:
    graph, values = call.graph, _leaves(call) | _states(call, call.state)
    values[graph.leaves[graph.input]] = Operand(call.x, 1, 1)
    evaluate(w, graph, call.sizes, range(len(graph.nodes)), values, call.dtype.numpy())
    new = _new_states(w, call, values, call.state)
    return new[0], new


def _by_scan(w: Writer, call: Call) -> Output:
    """What does not depend on the state is made for all steps before the loop."""
    graph, dtype, values = call.graph, call.dtype.numpy(), _leaves(call)
    values[graph.leaves[graph.input]] = Operand(call.x, 1, 2)
    inside = in_loop(graph)
    evaluate(w, graph, call.sizes, sorted({*range(len(graph.nodes))} - {*inside}), values, dtype)
    read = {a for k in inside for a in graph.nodes[k].args} | {*graph.outputs}
    scanned = [k for k in sorted(read) if k in values and values[k].lead]

    body = Writer(outer=w)
    dims = [len(graph.shape(name)) for name in graph.states]
    given = [body.unknown(call.dtype, [None] * (1 + n)) for n in dims]
    kinds = {k: ir.DataType.BOOL if graph.nodes[k].op in COMPARISONS else call.dtype for k in scanned}
    now = {k: body.unknown(kinds[k], [None] * (1 + values[k].dims)) for k in scanned}
    masks = {} if call.lengths is None else {"active": active(w, call.x, call.lengths)}
    masks |= {} if call.resets is None else {"resets": _zeroed(w, call.resets, call.reverse)}
    marks = {name: body.unknown(ir.DataType.BOOL, [None, 1]) for name in masks}

    def where(name: str, yes: Sequence[ir.Value], no: Sequence[ir.Value]) -> list[ir.Value]:
        """Values of each state, by a mark of each row."""
        rows = [marks[name] if n == 1 else body.op("Unsqueeze", marks[name], w.constant([2])) for n in dims]
        return [body.op("Where", *each) for each in zip(rows, yes, no, strict=True)]

    old = where("resets", [w.constant(0, dtype)] * len(dims), given) if "resets" in marks else given
    inner = values | {k: Operand(v, values[k].dims, 1) for k, v in now.items()} | _states(call, old)
    evaluate(body, graph, call.sizes, inside, inner, dtype)
    new = _new_states(body, call, inner, old)
    kept = where("active", new, old) if "active" in marks else new
    scans, elements = [*(values[k].value for k in scanned), *masks.values()], [*now.values(), *marks.values()]
    if not scans:  # a cell that reads nothing takes as many steps
        scans, elements = [call.x], [body.unknown(call.dtype, [None, None])]
    *final, y = w.op(
        "Scan",
        *call.state,
        *scans,
        outputs=len(dims) + 1,
        body=body.graph("step", [*given, *elements], body.distinct([*kept, new[0]]), weights=False),
        num_scan_inputs=len(scans),
        scan_input_directions=[int(call.reverse)] * len(scans),
        scan_output_directions=[int(call.reverse)],
    )
    return w.op("Where", masks["active"], y, w.constant(0, dtype)) if "active" in masks else y, final


def _zeroed(w: Writer, resets: ir.Value, reverse: bool) -> ir.Value:
    """Before which steps, as they are walked, the state is zeroed, (T, B, 1)."""
    if reverse:
        later = w.op("Slice", resets, w.constant([1]), w.constant([np.iinfo(np.int64).max]), w.constant([0]))
        row = w.op("Concat", w.constant([1]), w.op("Shape", resets, start=1), axis=0)
        resets = w.op("Concat", later, w.op("Expand", w.constant(False, np.bool_), row), axis=0)
    return w.op("Unsqueeze", resets, w.constant([2]))


def active(w: Writer, x: ir.Value, lengths: ir.Value) -> ir.Value:
    """Which steps of (T, B, ·) lie within their sequences, (T, B, 1)."""
    steps = w.op("Squeeze", w.op("Shape", x, start=0, end=1), w.constant([0]))
    time = w.op("Range", w.constant(0), steps, w.constant(1))
    before = w.op("Less", w.op("Unsqueeze", time, w.constant([1])), lengths)
    return w.op("Unsqueeze", before, w.constant([2]))
