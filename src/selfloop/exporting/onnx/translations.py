"""What torch.onnx makes of our layers inside a module of the user's: the operators of `selfloop.kernels.operators`."""

from collections.abc import Callable
from itertools import count
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import evaluator

from selfloop.errors import ArgumentError
from selfloop.exporting.onnx.recurrence import Call, recurrence
from selfloop.exporting.onnx.writer import Writer
from selfloop.language.graph import Graph

_NUMBERS = count()
"""Of the calls, for names that no other has: a model's names must differ, those inside loops among them."""


def table() -> dict[Callable[..., Any], Callable[..., Any]]:
    """For each operator of ours, the function that writes it."""
    ours = torch.ops.selfloop
    return {ours.forward.default: _recurrence, ours.interpret.default: _recurrence}


def _recurrence(*arguments: Any) -> Any:
    """The output and the final states; where a gradient is asked for, what it would need is left empty.

    Args:
        arguments: those of `selfloop.kernels.operators.ARGUMENTS`, tensors as values of ONNX; and of `forward` whether
            it needs a gradient.
    """
    cell, x, state, params, lengths, resets, reverse, _, seed, _, _, *needs_gradient = arguments
    graph = Graph.read(cell)
    if seed is not None:
        raise ArgumentError(f"'{graph.name}' draws at random while training. Call eval() before the model is exported.")
    w = Writer(f"selfloop{next(_NUMBERS)}_", stores=False)
    names = (graph.input, *graph.states, *graph.params)
    sizes = graph.solve({name: _numbers(v) for name, v in zip(names, (x, *state, *params), strict=True)})
    is_step = x.shape[0] == 1 and lengths is None and resets is None
    first = w.constant([0])
    y, final = recurrence(
        w,
        Call(
            graph=graph,
            sizes=sizes,
            params=dict(zip(graph.params, params, strict=True)),
            x=w.op("Squeeze", x, first) if is_step else x,
            state=state,
            dtype=x.dtype,
            is_step=is_step,
            lengths=lengths,
            resets=resets,
            reverse=reverse,
        ),
    )
    outputs = w.distinct([w.op("Unsqueeze", y, first) if is_step else y, *final])
    evaluator.default().nodes.extend(w.needed(outputs))
    return [*outputs, *(ir.Value() for _ in state if any(needs_gradient))]


def _numbers(v: ir.Value) -> tuple[int, ...]:
    """The shape of an input, state or parameter; of the sizes of batch and time, which may not be numbers, zeros."""
    return tuple(size if isinstance(size, int) else 0 for size in v.shape)
