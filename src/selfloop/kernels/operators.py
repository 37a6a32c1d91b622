"""The compiled kernels as operators of torch, so that autograd, torch.compile and torch.export know them."""

from typing import Any

import torch
from torch import Tensor

from selfloop.compiler import targets
from selfloop.errors import BackendError
from selfloop.kernels import native
from selfloop.kernels.problem import Answer, Problem
from selfloop.language.graph import Graph


@torch.library.custom_op("selfloop::forward", mutates_args=())
def forward(
    cell: str,
    x: Tensor,
    state: list[Tensor],
    params: list[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    reverse: bool,
    keep: bool,
) -> list[Tensor]:
    """The output, the final state, and what is kept for the gradient."""
    call = native.Call.of(_problem(cell, x, state, params, lengths, resets, reverse))
    y, final, kept = native.forward(call, keep)
    return [y, *final, *kept]


@torch.library.custom_op("selfloop::backward", mutates_args=())
def backward(
    cell: str,
    x: Tensor,
    state: list[Tensor],
    params: list[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    reverse: bool,
    outputs: list[Tensor],
    above: Tensor,
    later: list[Tensor],
) -> list[Tensor]:
    """The gradients of input, first state and parameters."""
    call = native.Call.of(_problem(cell, x, state, params, lengths, resets, reverse))
    y, final, kept = outputs[0], outputs[1 : 1 + len(state)], outputs[1 + len(state) :]
    dx, gradients, earlier = native.backward(call, y, final, kept, _rows_of_numbers(above), later)
    return [dx, *earlier, *gradients.values()]


def _unsupported() -> str | None:
    try:
        targets.host()
    except BackendError as error:
        return str(error).rstrip(".")
    return None


UNSUPPORTED = _unsupported()
"""Why this processor has no kernels, or None."""


def refusal(problem: Problem) -> str | None:
    """Why there is no kernel for this, or None."""
    tensors = (problem.x, *problem.state, *problem.params.values())
    if problem.x.device.type != "cpu":
        return "compiled kernels run on the CPU"
    if torch.is_autocast_enabled("cpu"):
        return "compiled kernels do not take part in autocast"
    dtypes = {t.dtype for t in tensors}
    if len(dtypes) > 1 or problem.x.dtype not in native.BITS:
        found = ", ".join(sorted(str(d).removeprefix("torch.") for d in dtypes))
        return f"compiled kernels take float32 or float64, and this is {found}"
    return UNSUPPORTED


def run(problem: Problem) -> Answer:
    """The outputs and the final state."""
    params = list(problem.params.values())
    tensors = (problem.x, *problem.state, *params)
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    state = [s.contiguous() for s in problem.state]
    y, *rest = forward(
        problem.graph.text,
        _rows_of_numbers(problem.x),
        state,
        params,
        problem.lengths,
        problem.resets,
        problem.reverse,
        keep,
    )
    return y, tuple(rest[: len(state)])


def _problem(
    cell: str,
    x: Tensor,
    state: list[Tensor],
    params: list[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    reverse: bool,
) -> Problem:
    graph = Graph.read(cell)
    return Problem(graph, dict(zip(graph.params, params, strict=True)), x, tuple(state), lengths, resets, reverse)


def _rows_of_numbers(v: Tensor) -> Tensor:
    """The same, with the numbers of a row side by side."""
    return v if v.stride(-1) == 1 or v.shape[-1] == 1 else v.contiguous()


def _setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    cell, x, state, params, lengths, resets, reverse, _ = inputs
    ctx.save_for_backward(x, *state, *params, *output, lengths, resets)
    ctx.given = cell, len(state), len(params), reverse
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, gradients: list[Tensor | None]) -> tuple[Any, ...]:
    cell, states, params, reverse = ctx.given
    x, *rest, lengths, resets = ctx.saved_tensors
    state, weights, outputs = rest[:states], rest[states : states + params], rest[states + params :]
    above, *later = (
        torch.zeros_like(output) if d is None else d for d, output in zip(gradients, outputs[: 1 + states], strict=False)
    )
    dx, *owed = backward(cell, x, state, weights, lengths, resets, reverse, outputs, above, later)
    return None, dx, owed[:states], owed[states:], None, None, None, None


forward.register_autograd(_backward, setup_context=_setup)


@forward.register_fake
def _(
    cell: str,
    x: Tensor,
    state: list[Tensor],
    params: list[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    reverse: bool,
    keep: bool,
) -> list[Tensor]:
    call = native.kernels_of(_problem(cell, x, state, params, lengths, resets, reverse))
    steps, batch = x.shape[:2]
    final = [s.new_empty(s.shape) for s in state]
    kept = [x.new_empty(steps * batch, call.train.fields["record"].stride)] if keep else []
    kept += [x.new_empty(steps * batch, s.shape[1]) for s in state[1:]] if keep else []
    return [x.new_empty(steps, batch, state[0].shape[1]), *final, *kept]


@backward.register_fake
def _(
    cell: str,
    x: Tensor,
    state: list[Tensor],
    params: list[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    reverse: bool,
    outputs: list[Tensor],
    above: Tensor,
    later: list[Tensor],
) -> list[Tensor]:
    return [torch.empty_like(x), *(s.new_empty(s.shape) for s in state), *(torch.empty_like(p) for p in params)]
