"""Calls of compiled kernels, forward and backward: what a `Plan` lays out, with the tensors of one call."""

import ctypes
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfloop.kernels.command_buffer import CommandBuffer
from selfloop.kernels.plan import Plan, contiguous_rows
from selfloop.kernels.ragged import Rows

SUMMED_IN_TURN = 8
"""Rows of gradients that are summed one after another; more are first summed in pairs."""


def forward(plan: Plan, given: Sequence[Tensor], seed: Tensor | None) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The output, the final state, and what `backward` needs: the residuals, and each other state at all steps.

    Args:
        plan: of such calls.
        given: the tensors of the call.
        seed: of what the cell draws.
    """
    rows = plan.rows
    y = plan.y.take()
    saved = [own.take() for own in plan.saved]
    if rows.is_ragged:
        y.zero_()
    if rows.is_even and plan.forward is not None:
        final = [own.take() for own in plan.final]
    elif plan.form.starts_at_zero:
        final = [own.take().zero_() for own in plan.final]
    else:  # it stays so where nothing runs
        final = [s.clone(memory_format=torch.contiguous_format) for s in given[1 : 1 + plan.states]]
    if plan.forward is None:
        return y, final, saved
    if plan.copied:
        given = [v.contiguous() if k in plan.copied else v for k, v in enumerate(given)]
    start = y.data_ptr()
    addresses = [v.data_ptr() for v in given]
    addresses += (0 if seed is None else int(seed), start)
    addresses += [v.data_ptr() for v in (*saved, *final)]
    plan.forward.run(addresses, y.dtype, plan.is_short)
    if not rows.is_ragged:
        size = plan.final[0].size
        ctypes.memmove(addresses[-len(final)], start + (0 if rows.reverse else rows.steps - 1) * size, size)
    else:
        _copy_last(rows, y, final[0])
    return y, final, saved


def backward(
    plan: Plan,
    given: Sequence[Tensor],
    seed: Tensor | None,
    outputs: Sequence[Tensor],
    dy: Tensor,
    dh_next: Sequence[Tensor | None],
) -> list[Tensor]:
    """The gradients of the input, of the first states, unless they start at zero, and of the parameters.

    Args:
        plan: as for `forward`.
        given: as for `forward`.
        seed: as for `forward`.
        outputs: what `forward` returned: the output, the final states, and what was saved.
        dy: the gradient of the output.
        dh_next: the gradients of the final state; None stands for zeros.
    """
    rows = plan.rows
    params = plan.form.first_terms(given[1 if plan.form.starts_at_zero else 1 + plan.states :])
    dx = plan.dx.take()
    if plan.is_swapped:
        dx = dx.transpose(0, 1)
    if rows.is_ragged or not plan.kernels.covers_dx:
        dx.zero_()
    is_even = rows.is_even and plan.forward is not None
    if not is_even:
        dh_next = [own.take().zero_() if d is None else d for d, own in zip(dh_next, plan.final, strict=True)]
    last = [d.contiguous() for d in dh_next if d is not None]
    dh_prev: list[Tensor] = []
    if not plan.form.starts_at_zero:  # it stays so where nothing runs
        dh_prev = [own.take() for own in plan.final] if is_even else [d.clone() for d in last]
    if plan.forward is None:
        return [dx, *dh_prev, *map(torch.zeros_like, params)]
    dy = contiguous_rows(dy)
    known = plan.backward(params, dy, dx, dh_next)
    gradients = [own.take() for own in known.gradients]
    for k in known.zeroed:
        gradients[k].zero_()
    if plan.copied:
        given = [v.contiguous() if k in plan.copied else v for k, v in enumerate(given)]
    count = len(plan.final)
    y, final, saved = outputs[0], outputs[1 : 1 + count], outputs[1 + count :]
    addresses = [v.data_ptr() for v in given]
    addresses.append(0 if seed is None else int(seed))
    addresses += [v.data_ptr() for v in (y, dy, dx, *saved, *final, *last, *dh_prev, *gradients)]
    workspace = known.recorded.run(addresses, dy.dtype, plan.is_short)
    if rows.resets is not None:
        for d in dh_prev:
            d.view(rows.batch, -1)[torch.from_numpy(rows.users[rows.resets[0]])] = 0
    for k, name in known.partial:
        gradient = gradients[k]
        gradient.numpy()[...] = _sum(workspace, known.recorded, name, gradient.numel()).reshape(gradient.shape)
    return [dx, *dh_prev, *gradients]


def _sum(workspace: Tensor, recorded: CommandBuffer, name: str, size: int) -> Float[np.ndarray, " _"]:
    """The sum of the workspace's rows of a name: in pairs while they are many, which keeps its rounding error small."""
    place, item = recorded.named[name], workspace.element_size()
    rows = workspace.numpy()[place.start // item : place.stop // item].reshape(-1, size)
    while len(rows) > SUMMED_IN_TURN:
        half = (len(rows) + 1) // 2
        rows[: len(rows) - half] += rows[half:]
        rows = rows[:half]
    return rows.sum(0)  # type: ignore[no-any-return]


def _copy_last(rows: Rows, y: Tensor, final: Tensor) -> None:
    """The last output of each sequence, of a ragged batch."""
    some = np.flatnonzero(rows.lengths)
    users, last = rows.users[some], 0 if rows.reverse else rows.lengths[some] - 1
    final.view(rows.batch, -1).numpy()[users] = y.numpy()[last, users]
