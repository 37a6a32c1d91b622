"""Compiled kernels: any cell as machine code, forward and backward, on the CPU."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfloop.compiler import targets
from selfloop.compiler.pipeline import Kernels, compile
from selfloop.kernels import memory, plans, team
from selfloop.kernels.draft import Shape
from selfloop.kernels.problem import Problem
from selfloop.kernels.products import is_whole
from selfloop.kernels.rows import Rows, arrange
from selfloop.kernels.sheet import Plan
from selfloop.language.graph import Graph

BITS = {torch.float32: 32, torch.float64: 64}

ALONE = 1 << 20
"""Multiplications in all below which one thread does everything: they take 20 µs, and waking the others takes 5."""

FEW_ROWS = 8
"""Rows that are summed one after another."""


class Call:
    """A problem with its kernels and its rows; its input and first state in an order that kernels can read."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.kernels = problem, kernels_of(problem)
        self.x, self.first = rows_of_numbers(problem.x), [s.contiguous() for s in problem.state]
        steps, batch = self.x.shape[:2]
        self.rows = arrange(steps, batch, problem.lengths, problem.resets, problem.reverse)

    def shape(self, keep: bool, above: Tensor | None = None, below: Tensor | None = None) -> Shape:
        """What the plan depends on."""
        problem, kernels = self.problem, self.kernels
        x = _pitches(self.x)
        params = problem.params.items()
        return Shape(
            kernels,
            x,
            x if above is None else _pitches(above),
            x if below is None else _pitches(below),
            tuple((name, tuple(w.shape), w.stride()) for name, w in params if w.dim() == 2),
            problem.seed is not None,
            keep,
            problem.checkpoint,
            1 if self.rows.total * kernels.infer.weight_bytes < ALONE * kernels.bits // 8 else team.threads(),
        )

    def addresses(self) -> tuple[dict[str, int], list[Tensor]]:
        """Where input, weights and first states lie; and copies that must live as long as the call."""
        problem = self.problem
        vectors = {name: w if w.dim() == 2 else w.contiguous() for name, w in problem.params.items()}
        found = {f"param {name}": w.data_ptr() for name, w in vectors.items()}
        found |= {f"first {name}": s.data_ptr() for name, s in zip(self.kernels.states, self.first, strict=True)}
        found["x"] = self.x.data_ptr()
        found["seed"] = 0 if problem.seed is None else int(problem.seed)
        return found, list(vectors.values())


def forward(problem: Problem, keep: bool) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The output, the final state, and what is kept for `backward`: the record, and the history of each other state.

    Args:
        problem: what to run.
        keep: whether there will be a `backward`.
    """
    call = Call(problem)
    kernels, rows, x = call.kernels, call.rows, problem.x
    final = [s.clone(memory_format=torch.contiguous_format) for s in problem.state]  # it stays so where nothing runs
    size = (rows.steps, rows.batch, final[0].shape[1])
    y = memory.empty(size, x.dtype)
    if rows.active is not None:
        y.zero_()
    shape = call.shape(keep)
    kept: list[Tensor] = []
    if keep:
        record = (rows.steps * rows.batch * shape.is_recorded, kernels.train.fields["record"].stride)
        sizes = [record, *((rows.steps * rows.batch, s.shape[1]) for s in final[1:])]
        kept = [memory.workspace(size, x.dtype) for size in sizes]
    if rows.total:
        addresses, alive = call.addresses()
        addresses |= {f"final {name}": s.data_ptr() for name, s in zip(kernels.states, final, strict=True)}
        addresses["y"] = y.data_ptr()
        if keep:
            addresses |= _kept_addresses(kernels, kept)
        _run(plans.plan(plans.forward, shape, rows), addresses, x.dtype)
        del alive
        _copy_last(rows, y, final[0])
    return y, final, kept


def backward(
    problem: Problem,
    y: Tensor,
    final: Sequence[Tensor],
    kept: Sequence[Tensor],
    above: Tensor,
    later: Sequence[Tensor],
) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
    """The gradients of the input, of the weights by name, and of the first state.

    Args:
        problem: as for `forward`.
        y: what `forward` returned, as `final` and `kept`.
        final: the final state.
        kept: what was kept.
        above: the gradient of the output.
        later: the gradients of the final state.
    """
    call = Call(problem)
    kernels, rows, x = call.kernels, call.rows, problem.x
    above, later = rows_of_numbers(above), [d.contiguous() for d in later]
    earlier = [d.clone() for d in later]  # it stays so where nothing runs
    complete = rows.active is None and (kernels.below is not None or kernels.direct)
    dx = laid_as(x, lambda shape: memory.empty(shape, x.dtype))
    if not complete:
        dx.zero_()
    if rows.total == 0:
        return dx, {name: torch.zeros_like(weight) for name, weight in problem.params.items()}, earlier
    shape = call.shape(True, above, dx)
    plan = plans.plan(plans.backward, shape, rows)
    whole = {name for name, size, _ in shape.matrices if is_whole(kernels, name, size)}
    gradients = {
        name: memory.empty(weight.shape, weight.dtype) if name in whole else weight.new_zeros(weight.shape)
        for name, weight in problem.params.items()
    }
    addresses, alive = call.addresses()
    addresses |= {"y": y.data_ptr(), "above": above.data_ptr(), "below": dx.data_ptr()}
    addresses |= {f"gradient {name}": gradient.data_ptr() for name, gradient in gradients.items()}
    addresses |= _kept_addresses(kernels, kept)
    for name, *own in zip(kernels.states, final, later, earlier, strict=True):
        kinds = ("final", "later", "earlier")
        addresses |= {f"{kind} {name}": tensor.data_ptr() for kind, tensor in zip(kinds, own, strict=True)}
    room = _run(plan, addresses, x.dtype)
    del alive
    if rows.resets is not None:
        for d in earlier:
            d[torch.from_numpy(rows.users[rows.resets[0]])] = 0
    fields = kernels.back.fields["total"]
    if fields.offsets:
        sums = _sum(room, plan, "total", fields.stride)
        flat = {name: gradients[name].view(-1).numpy() for name, _ in fields.offsets}
        for (name, offset), first in fields.offsets.items():
            size = kernels.totals[name, offset]
            flat[name][offset : offset + size] = sums[first : first + size]
    for name in gradients.keys() & plan.places.keys():
        gradient = gradients[name]
        gradient.numpy()[...] = _sum(room, plan, name, gradient.numel()).reshape(gradient.shape)
    return dx, gradients, earlier


def _kept_addresses(kernels: Kernels, kept: Sequence[Tensor]) -> dict[str, int]:
    """Where the record lies, and the history of each state but the first, which is the output."""
    names = ["record", *(f"history {name}" for name in list(kernels.states)[1:])]
    return {name: tensor.data_ptr() for name, tensor in zip(names, kept, strict=True)}


def _sum(room: Tensor, plan: Plan, name: str, size: int) -> Float[np.ndarray, " _"]:
    """The sum of the rows of that name: in pairs while they are many, so that its rounding error is small."""
    place, item = plan.places[name], room.element_size()
    rows = room.numpy()[place.start // item : place.stop // item].reshape(-1, size)
    while len(rows) > FEW_ROWS:
        half = (len(rows) + 1) // 2
        rows[: len(rows) - half] += rows[half:]
        rows = rows[:half]
    return rows.sum(0)  # type: ignore[no-any-return]


def rows_of_numbers(v: Tensor) -> Tensor:
    """The same, with the numbers of a row side by side."""
    return v if v.stride(-1) == 1 or v.shape[-1] == 1 else v.contiguous()


def laid_as(x: Tensor, empty: Callable[[Sequence[int]], Tensor]) -> Tensor:
    """Room for the gradient of an input: (T, B, I), or (B, T, I) transposed where the input is."""
    steps, batch, size = x.shape
    if not x.is_contiguous() and x.transpose(0, 1).is_contiguous():
        return empty((batch, steps, size)).transpose(0, 1)
    return empty((steps, batch, size))


def _pitches(v: Tensor) -> tuple[int, int]:
    item = v.element_size()
    return v.stride(0) * item, v.stride(1) * item


def _run(plan: Plan, addresses: dict[str, int], dtype: torch.dtype) -> Tensor:
    """Run a plan; the room it had."""
    room = memory.workspace((plan.room // dtype.itemsize,), dtype)
    room[: plan.zeros // dtype.itemsize].zero_()
    plan.run({**addresses, "room": room.data_ptr()})
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
        known = _kernels(problem.graph.text, problem.shapes, bits, targets.host(), problem.single, problem.bfloat16)
        problem.__dict__["kernels"] = known
    return known


@lru_cache(maxsize=256)
def _kernels(
    cell: str, shapes: tuple[tuple[int, ...], ...], bits: int, target: targets.Target, single: bool, bfloat16: bool
) -> Kernels:
    graph = Graph.read(cell)
    names = (graph.input, *graph.states, *graph.params)
    sizes = graph.solve(dict(zip(names, shapes, strict=True)))
    if single:  # the products of the input have as many rows as steps, those of the state one
        return compile(graph, sizes, bits, target, few=True, hoist_from=0, bfloat16=bfloat16)
    return compile(graph, sizes, bits, target, bfloat16=bfloat16)
