"""Compiled kernels: any cell as machine code, forward and backward, on the CPU."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfloop.compiler import Kernels, PairProducts, Target, compile, host_target
from selfloop.kernels import commands, memory, team
from selfloop.kernels.bfloat16 import pair_products
from selfloop.kernels.command_buffer import CommandBuffer
from selfloop.kernels.problem import Problem
from selfloop.kernels.ragged import Rows, arrange
from selfloop.kernels.recording import Signature
from selfloop.kernels.weight_gradients import is_covered
from selfloop.language.graph import Graph

BITS = {torch.float32: 32, torch.float64: 64}

ONE_THREAD_BELOW = 1 << 20
"""Multiplications of a call below which one thread does everything: they take 20 µs, and waking the others takes 5."""

SUMMED_IN_TURN = 8
"""Rows of gradients that are summed one after another; more are first summed in pairs."""


@dataclass(eq=False, slots=True)
class Plan:
    """What calls have in common whose tensors have the same shapes and strides.

    Attributes:
        kernels: of the cell.
        rows: of the batch.
        signature: what the command buffers depend on.
        saved: the shapes of what the forward pass saves for the gradient.
        forward: the command buffer; its bases are `FORWARD`, the parameters, first and final states; None where nothing
            is to be done.
        backward: the last one that was recorded, with its signature; its bases are `BACKWARD`, and so on.
    """

    kernels: Kernels
    rows: Rows
    signature: Signature
    saved: Sequence[tuple[int, int]]
    forward: CommandBuffer | None = None
    backward: tuple[Signature, CommandBuffer, frozenset[str]] | None = None


FORWARD = ("x", "seed", "workspace", "y")
BACKWARD = ("x", "seed", "workspace", "y", "dy", "dx")
"""The bases of a command buffer; those of parameters and states follow."""

CACHED_ROWS = 1 << 14
"""Rows up to which plans are kept: above, recording one takes less than a fiftieth of the call."""

MOST_PLANS = 64

_PLANS: dict[tuple[object, ...], Plan] = {}
"""Of calls without lengths and resets, by all that they depend on; the oldest first."""


def known_plan(problem: Problem, needs_gradient: bool) -> Plan | None:
    """The plan of an earlier call like this one; it is kept with the problem."""
    if problem.lengths is not None or problem.resets is not None:
        return None
    plan = problem.plan = _PLANS.get(_key(problem, needs_gradient))
    return plan


def _key(problem: Problem, needs_gradient: bool) -> tuple[object, ...]:
    key: list[object] = [
        problem.graph.text,
        problem.reverse,
        problem.recompute,
        problem.seed is None,
        problem.bfloat16,
        problem.single_row,
        needs_gradient,
        torch.get_num_threads(),
        host_target(),
    ]
    for v in problem.tensors:
        key += (v.shape, v.stride(), v.dtype)
    return tuple(key)


def _plan(problem: Problem, needs_gradient: bool) -> Plan:
    """That of an earlier call, or a new one."""
    known: Plan | None = problem.plan or known_plan(problem, needs_gradient)
    if known is None:
        known = problem.plan = _new_plan(problem, needs_gradient)
        if known.rows.is_even and known.rows.total <= CACHED_ROWS:
            while len(_PLANS) >= MOST_PLANS:
                _PLANS.pop(next(iter(_PLANS)), None)
            _PLANS[_key(problem, needs_gradient)] = known
    return known


def _new_plan(problem: Problem, needs_gradient: bool) -> Plan:
    kernels, x = kernels_of(problem), contiguous_rows(problem.x)
    rows = arrange(x.shape[0], x.shape[1], problem.lengths, problem.resets, problem.reverse)
    is_small = rows.total * kernels.infer.weight_bytes < ONE_THREAD_BELOW * kernels.bits // 8
    signature = Signature(
        kernels,
        _pitches(x),
        _pitches(x),
        _pitches(x),
        tuple((name, tuple(w.shape), w.stride()) for name, w in problem.params.items() if w.dim() == 2),
        problem.seed is not None,
        needs_gradient,
        problem.recompute,
        1 if is_small else team.threads(),
    )
    saved: list[tuple[int, int]] = []
    if needs_gradient:
        states = list(kernels.states.values())
        residuals = rows.steps * rows.batch * signature.saves_residuals
        saved = [(residuals, kernels.train.fields["residual"].stride)]
        saved += [(rows.steps * rows.batch, size) for size in states[1:]]
    if rows.total == 0:
        return Plan(kernels, rows, signature, saved)
    names = [*FORWARD, *_bases(problem, kernels, len(saved), ("final",))]
    return Plan(kernels, rows, signature, saved, commands.forward(signature, rows).ordered(names))


def _bases(problem: Problem, kernels: Kernels, saved: int, of_states: Sequence[str]) -> list[str]:
    """Of what is saved, of parameters, and of states."""
    names = ["residual", *(f"history {name}" for name in list(kernels.states)[1:])][:saved]
    names += [f"param {name}" for name in problem.params]
    return names + [f"{kind} {name}" for kind in ("first", *of_states) for name in kernels.states]


def forward(problem: Problem, needs_gradient: bool) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The output, the final state, and what `backward` needs: the residuals, and each other state at all steps.

    Args:
        problem: what to run.
        needs_gradient: whether there will be a `backward`.
    """
    plan = _plan(problem, needs_gradient)
    rows, x = plan.rows, contiguous_rows(problem.x)
    dtype, first = x.dtype, problem.state
    y = memory.empty((rows.steps, rows.batch, first[0].shape[1]), dtype)
    if rows.active is not None:
        y.zero_()
    saved = [memory.workspace(shape, dtype) for shape in plan.saved]
    if plan.forward is None:
        return y, [s.clone(memory_format=torch.contiguous_format) for s in first], saved
    given = [
        *[w if w.dim() == 2 else w.contiguous() for w in problem.params.values()],
        *[s.contiguous() for s in first],
    ]
    if rows.is_even:
        final = [s.new_empty(s.shape) for s in first]
    else:
        final = [s.clone(memory_format=torch.contiguous_format) for s in first]  # it stays so where nothing runs
    room = _workspace(plan.forward, dtype)
    seed = 0 if problem.seed is None else int(problem.seed)
    plan.forward.run(
        [x.data_ptr(), seed, room.data_ptr(), y.data_ptr(), *[v.data_ptr() for v in (*saved, *given, *final)]]
    )
    _copy_last(rows, y, final[0])
    return y, final, saved


def backward(
    problem: Problem,
    y: Tensor,
    final: Sequence[Tensor],
    saved: Sequence[Tensor],
    dy: Tensor,
    dh_next: Sequence[Tensor],
) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
    """The gradients of the input, of the weights by name, and of the first state.

    Args:
        problem: as for `forward`.
        y: what `forward` returned, as `final` and `saved`.
        final: the final state.
        saved: what was saved.
        dy: the gradient of the output.
        dh_next: the gradients of the final state.
    """
    plan = _plan(problem, True)
    kernels, rows, x = plan.kernels, plan.rows, problem.x
    dy, dh_next = contiguous_rows(dy), [d.contiguous() for d in dh_next]
    dx = laid_as(x, lambda shape: memory.empty(shape, x.dtype))
    if rows.active is not None or not kernels.covers_dx:
        dx.zero_()
    if plan.forward is None:
        nothing = {name: torch.zeros_like(weight) for name, weight in problem.params.items()}
        return dx, nothing, [d.clone() for d in dh_next]
    dh_prev = [d.new_empty(d.shape) if rows.is_even else d.clone() for d in dh_next]  # it stays so where nothing runs
    recorded, covered = _backward(plan, problem, dy, dx)
    gradients = {
        name: memory.empty(weight.shape, weight.dtype) if name in covered else weight.new_zeros(weight.shape)
        for name, weight in problem.params.items()
    }
    x = contiguous_rows(x)
    given = _given(problem)
    room = _workspace(recorded, x.dtype)
    seed = 0 if problem.seed is None else int(problem.seed)
    own = [x.data_ptr(), seed, room.data_ptr(), y.data_ptr(), dy.data_ptr(), dx.data_ptr()]
    others = (*saved, *given, *final, *dh_next, *dh_prev, *gradients.values())
    recorded.run([*own, *[v.data_ptr() for v in others]])
    if rows.resets is not None:
        for d in dh_prev:
            d[torch.from_numpy(rows.users[rows.resets[0]])] = 0
    fields = kernels.back.fields["dparam"]
    if fields.offsets:
        sums = _sum(room, recorded, "dparam", fields.stride)
        flat = {name: gradients[name].view(-1).numpy() for name, _ in fields.offsets}
        for (name, offset), start in fields.offsets.items():
            size = kernels.dparam_sizes[name, offset]
            flat[name][offset : offset + size] = sums[start : start + size]
    for name in gradients.keys() & recorded.named.keys():
        gradient = gradients[name]
        gradient.numpy()[...] = _sum(room, recorded, name, gradient.numel()).reshape(gradient.shape)
    return dx, gradients, dh_prev


def _given(problem: Problem) -> list[Tensor]:
    """Parameters and first states as kernels read them."""
    weights = [w if w.dim() == 2 else w.contiguous() for w in problem.params.values()]
    return [*weights, *[s.contiguous() for s in problem.state]]


def _backward(plan: Plan, problem: Problem, dy: Tensor, dx: Tensor) -> tuple[CommandBuffer, frozenset[str]]:
    """The command buffer for gradients laid out like these, and the matrices whose gradients it writes as a whole."""
    signature = plan.signature._replace(dy=_pitches(dy), dx=_pitches(dx))
    known = plan.backward
    if known is None or known[0] != signature:
        kernels = plan.kernels
        names = _bases(problem, kernels, len(plan.saved), ("final", "dh_next", "dh_prev"))
        names += [f"gradient {name}" for name in problem.params]
        recorded = commands.backward(signature, plan.rows).ordered([*BACKWARD, *names])
        covered = frozenset(name for name, size, _ in signature.matrices if is_covered(kernels, name, size))
        known = plan.backward = signature, recorded, covered
    return known[1:]


def _sum(workspace: Tensor, recorded: CommandBuffer, name: str, size: int) -> Float[np.ndarray, " _"]:
    """The sum of the workspace's rows of a name: in pairs while they are many, which keeps its rounding error small."""
    place, item = recorded.named[name], workspace.element_size()
    rows = workspace.numpy()[place.start // item : place.stop // item].reshape(-1, size)
    while len(rows) > SUMMED_IN_TURN:
        half = (len(rows) + 1) // 2
        rows[: len(rows) - half] += rows[half:]
        rows = rows[:half]
    return rows.sum(0)  # type: ignore[no-any-return]


def contiguous_rows(v: Tensor) -> Tensor:
    """The same, with the elements of a row side by side."""
    return v if v.stride(-1) == 1 or v.shape[-1] == 1 else v.contiguous()


def laid_as(x: Tensor, empty: Callable[[Sequence[int]], Tensor]) -> Tensor:
    """Memory for the gradient of an input: (T, B, I), or (B, T, I) transposed where the input is."""
    steps, batch, size = x.shape
    if not x.is_contiguous() and x.transpose(0, 1).is_contiguous():
        return empty((batch, steps, size)).transpose(0, 1)
    return empty((steps, batch, size))


def _pitches(v: Tensor) -> tuple[int, int]:
    item = v.element_size()
    return v.stride(0) * item, v.stride(1) * item


def _workspace(recorded: CommandBuffer, dtype: torch.dtype) -> Tensor:
    """The memory of a command buffer for one call."""
    room = memory.workspace((recorded.workspace // dtype.itemsize,), dtype)
    if recorded.zeros:
        room[: recorded.zeros // dtype.itemsize].zero_()
    return room


def _copy_last(rows: Rows, y: Tensor, final: Tensor) -> None:
    """The last output of each sequence."""
    if rows.active is None:
        final.copy_(y[int(rows.time[-1, 0])])
        return
    some = np.flatnonzero(rows.lengths)
    last = rows.lengths[some] - 1
    time = torch.from_numpy(np.broadcast_to(rows.time, (rows.steps, rows.batch))[last, some])
    users = torch.from_numpy(rows.users[some])
    final[users] = y[time, users]


def kernels_of(problem: Problem) -> Kernels:
    """The kernels for a problem, compiled at the first call."""
    known: Kernels | None = problem.__dict__.get("kernels")  # looked up twice in a call, at 3 µs
    if known is None:
        bits = BITS[problem.x.dtype]
        rounds = pair_products() if problem.bfloat16 else None
        known = _kernels(problem.graph.text, problem.shapes, bits, host_target(), problem.single_row, rounds)
        problem.__dict__["kernels"] = known
    return known


@lru_cache(maxsize=256)
def _kernels(
    cell: str,
    shapes: tuple[tuple[int, ...], ...],
    bits: int,
    target: Target,
    single_row: bool,
    bfloat16: PairProducts | None,
) -> Kernels:
    graph = Graph.read(cell)
    names = (graph.input, *graph.states, *graph.params)
    sizes = graph.solve(dict(zip(names, shapes, strict=True)))
    if single_row:  # the products of the input have as many rows as steps, those of the state one
        return compile(graph, sizes, bits, target, most_rows=1, hoist_above=0, bfloat16=bfloat16)
    return compile(graph, sizes, bits, target, bfloat16=bfloat16)
