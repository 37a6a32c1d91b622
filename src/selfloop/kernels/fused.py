"""Torch's own fused functions, for the cells that have one: ATen's loops, on the CPU oneDNN's LSTM, cuDNN on a GPU."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from selfloop.cells import gru, lstm, projected_lstm, vanilla, vanilla_relu
from selfloop.kernels.problem import Output, Problem, has_tangent, is_transformed
from selfloop.kernels.torch_internals import onednn_has_bfloat16
from selfloop.language.graph import Graph

CLOSED = 1e4  # where sigmoid is exactly 0 or 1, and a number in every dtype


@dataclass(frozen=True)
class Fused:
    """One of torch's functions.

    Attributes:
        function: the function.
        weights: the weights it wants, from the cell's, in the cell's order.
        hold: what to add to the arguments of the gates, in blocks of size h, beyond a sequence's end: for a cell whose
            state is not all in its output, so that it stays as it is; for one whose state can grow without bound, so
            that it is zero, since infinity there would be NaN in a gradient.
        projects: the output is smaller than the hidden size; torch tells by the sizes alone.
    """

    function: Callable[..., tuple[Tensor, ...]]
    weights: Callable[..., list[Tensor]]
    hold: tuple[float, ...] = ()
    projects: bool = False


def _projected(*arguments: object) -> tuple[Tensor, ...]:
    with warnings.catch_warnings():  # torch says that oneDNN has no projections; `explain` is the place for that
        warnings.filterwarnings("ignore", message="LSTM with projections is not supported")
        return torch.lstm(*arguments)  # type: ignore[no-any-return, call-overload]


def _one_bias(W_xh: Tensor, W_hh: Tensor, b: Tensor, *projection: Tensor) -> list[Tensor]:
    return [W_xh, W_hh, b, torch.zeros_like(b), *projection]


_KEEP_CELL_STATE = (-CLOSED, CLOSED, 0.0, 0.0)
_FUSED = {
    lstm.graph.form: Fused(torch.lstm, _one_bias, _KEEP_CELL_STATE),
    projected_lstm.graph.form: Fused(_projected, _one_bias, _KEEP_CELL_STATE, projects=True),
    gru.graph.form: Fused(torch.gru, lambda *weights: list(weights)),
    vanilla.graph.form: Fused(torch.rnn_tanh, _one_bias),
    vanilla_relu.graph.form: Fused(torch.rnn_relu, _one_bias, hold=(-CLOSED,)),
}


def _row(graph: Graph) -> Fused | None:
    if torch.compiler.is_compiling():
        return _FUSED.get(graph.form)
    return _row_of(graph.text)


@lru_cache(maxsize=256)  # a graph's form takes 4 µs to hash
def _row_of(cell: str) -> Fused | None:
    return _FUSED.get(Graph.read(cell).form)


def refusal(problem: Problem) -> str | None:
    """Why torch has no fused function for this, or None."""
    if is_transformed():
        return "torch's fused functions take no part in torch.func's transforms"
    if has_tangent(problem.tensors):
        return "torch's fused functions have no derivative in forward mode"
    fused = _row(problem.graph)
    if fused is None:
        return "torch has fused functions for its own RNN, LSTM and GRU alone, and these equations are none of them"
    if fused.projects and problem.state[0].shape[-1] >= problem.state[1].shape[-1]:
        return "torch projects to a smaller size only"
    if problem.resets is not None:
        return "torch's fused functions cannot reset the state inside a sequence"
    if fused.function is torch.lstm and problem.x.device.type == "cpu" and not _multiplies(problem.x.dtype):
        return "oneDNN has no bfloat16 LSTM for this processor"
    if problem.x.numel() == 0:
        return "torch's fused functions take no empty input"
    return None


def _multiplies(dtype: torch.dtype) -> bool:
    """Whether oneDNN takes the numbers that an LSTM is given, which autocast may have rounded."""
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
    return dtype != torch.bfloat16 or onednn_has_bfloat16()


def run(problem: Problem) -> Output:
    """The outputs and the final state.

    Ragged sequences run padded, which is faster than torch's packed ones. Where a state does not show in the output,
    as the LSTM's cell state, one more input feature holds the gates so beyond a sequence's end that it stays: exactly,
    since sigmoid(±10,000) is 0 or 1. The same feature switches rectified units off.
    """
    graph, x, active = problem.graph, problem.x, problem.active
    fused = _row(graph)
    assert fused is not None
    weights = fused.weights(*(problem.params[name] for name in graph.params))
    if active is not None:
        x = _from_start(x, problem)
        if fused.hold:
            hidden = problem.state[-1].shape[-1]
            column = torch.tensor(fused.hold, dtype=x.dtype, device=x.device).repeat_interleave(hidden)
            x = torch.cat([x, (~active).to(x.dtype)[:, :, None]], dim=-1)
            weights[0] = torch.cat([weights[0], column[:, None]], dim=-1)
    elif problem.reverse:
        x = x.flip(0)

    first = tuple(s[None] for s in problem.state)
    hx = first if len(first) > 1 else first[0]
    # has_biases, num_layers, dropout, train, bidirectional, batch_first
    y, *last = fused.function(x, hx, weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)
    state = tuple(s[0] for s in last)

    if active is None:
        return (y.flip(0) if problem.reverse else y), state
    y = y.masked_fill(~active[:, :, None], 0)
    assert problem.lengths is not None
    end = (problem.lengths - 1).clamp(min=0)[None, :, None].expand(1, -1, y.shape[-1])
    h = torch.where(problem.lengths[:, None] > 0, y.gather(0, end)[0], problem.state[0])
    return (_from_start(y, problem) if problem.reverse else y), (h, *state[1:])


def _from_start(v: Tensor, problem: Problem) -> Tensor:
    """In reverse, each sequence turned within its own length; forward, as it is."""
    if not problem.reverse or problem.lengths is None:
        return v
    t = torch.arange(v.shape[0], device=v.device)[:, None]
    source = torch.where(t < problem.lengths, problem.lengths - 1 - t, t)
    return v.gather(0, source[:, :, None].expand_as(v))
