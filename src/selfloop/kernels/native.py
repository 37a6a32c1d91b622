"""Compiled kernels: any cell as machine code, forward and backward, on the CPU."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfloop.compiler import Kernels, Target, compile, host_target
from selfloop.kernels import commands, memory, team
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


class Call:
    """A problem with its kernels and its rows; its input and first state with the elements of a row side by side."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.kernels = problem, kernels_of(problem)
        self.x, self.first = contiguous_rows(problem.x), [s.contiguous() for s in problem.state]
        steps, batch = self.x.shape[:2]
        self.rows = arrange(steps, batch, problem.lengths, problem.resets, problem.reverse)

    def signature(self, needs_gradient: bool, dy: Tensor | None = None, dx: Tensor | None = None) -> Signature:
        """What the command buffer depends on."""
        problem, kernels = self.problem, self.kernels
        x = _pitches(self.x)
        params = problem.params.items()
        return Signature(
            kernels,
            x,
            x if dy is None else _pitches(dy),
            x if dx is None else _pitches(dx),
            tuple((name, tuple(w.shape), w.stride()) for name, w in params if w.dim() == 2),
            problem.seed is not None,
            needs_gradient,
            problem.recompute,
            1 if self._is_small else team.threads(),
        )

    @property
    def _is_small(self) -> bool:
        kernels = self.kernels
        return self.rows.total * kernels.infer.weight_bytes < ONE_THREAD_BELOW * kernels.bits // 8

    def addresses(self) -> tuple[dict[str, int], list[Tensor]]:
        """The addresses of input, weights and first states; and copies that must live as long as the call."""
        problem = self.problem
        vectors = {name: w if w.dim() == 2 else w.contiguous() for name, w in problem.params.items()}
        found = {f"param {name}": w.data_ptr() for name, w in vectors.items()}
        found |= {f"first {name}": s.data_ptr() for name, s in zip(self.kernels.states, self.first, strict=True)}
        found["x"] = self.x.data_ptr()
        found["seed"] = 0 if problem.seed is None else int(problem.seed)
        return found, list(vectors.values())


def forward(problem: Problem, needs_gradient: bool) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The output, the final state, and what `backward` needs: the residuals, and each other state at all steps.

    Args:
        problem: what to run.
        needs_gradient: whether there will be a `backward`.
    """
    call = Call(problem)
    kernels, rows, x = call.kernels, call.rows, problem.x
    final = [s.clone(memory_format=torch.contiguous_format) for s in problem.state]  # it stays so where nothing runs
    size = (rows.steps, rows.batch, final[0].shape[1])
    y = memory.empty(size, x.dtype)
    if rows.active is not None:
        y.zero_()
    signature = call.signature(needs_gradient)
    saved: list[Tensor] = []
    if needs_gradient:
        residuals = (rows.steps * rows.batch * signature.saves_residuals, kernels.train.fields["residual"].stride)
        sizes = [residuals, *((rows.steps * rows.batch, s.shape[1]) for s in final[1:])]
        saved = [memory.workspace(size, x.dtype) for size in sizes]
    if rows.total:
        addresses, alive = call.addresses()
        addresses |= {f"final {name}": s.data_ptr() for name, s in zip(kernels.states, final, strict=True)}
        addresses["y"] = y.data_ptr()
        if needs_gradient:
            addresses |= _saved_addresses(kernels, saved)
        _run(commands.commands(commands.forward, signature, rows), addresses, x.dtype)
        del alive
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
    call = Call(problem)
    kernels, rows, x = call.kernels, call.rows, problem.x
    dy, dh_next = contiguous_rows(dy), [d.contiguous() for d in dh_next]
    dh_prev = [d.clone() for d in dh_next]  # it stays so where nothing runs
    is_complete = rows.active is None and kernels.covers_dx
    dx = laid_as(x, lambda shape: memory.empty(shape, x.dtype))
    if not is_complete:
        dx.zero_()
    if rows.total == 0:
        return dx, {name: torch.zeros_like(weight) for name, weight in problem.params.items()}, dh_prev
    signature = call.signature(True, dy, dx)
    recorded = commands.commands(commands.backward, signature, rows)
    covered = {name for name, size, _ in signature.matrices if is_covered(kernels, name, size)}
    gradients = {
        name: memory.empty(weight.shape, weight.dtype) if name in covered else weight.new_zeros(weight.shape)
        for name, weight in problem.params.items()
    }
    addresses, alive = call.addresses()
    addresses |= {"y": y.data_ptr(), "dy": dy.data_ptr(), "dx": dx.data_ptr()}
    addresses |= {f"gradient {name}": gradient.data_ptr() for name, gradient in gradients.items()}
    addresses |= _saved_addresses(kernels, saved)
    for name, *own in zip(kernels.states, final, dh_next, dh_prev, strict=True):
        kinds = ("final", "dh_next", "dh_prev")
        addresses |= {f"{kind} {name}": tensor.data_ptr() for kind, tensor in zip(kinds, own, strict=True)}
    workspace = _run(recorded, addresses, x.dtype)
    del alive
    if rows.resets is not None:
        for d in dh_prev:
            d[torch.from_numpy(rows.users[rows.resets[0]])] = 0
    fields = kernels.back.fields["dparam"]
    if fields.offsets:
        sums = _sum(workspace, recorded, "dparam", fields.stride)
        flat = {name: gradients[name].view(-1).numpy() for name, _ in fields.offsets}
        for (name, offset), first in fields.offsets.items():
            size = kernels.dparam_sizes[name, offset]
            flat[name][offset : offset + size] = sums[first : first + size]
    for name in gradients.keys() & recorded.named.keys():
        gradient = gradients[name]
        gradient.numpy()[...] = _sum(workspace, recorded, name, gradient.numel()).reshape(gradient.shape)
    return dx, gradients, dh_prev


def _saved_addresses(kernels: Kernels, saved: Sequence[Tensor]) -> dict[str, int]:
    """The addresses of the residuals, and of each state at all steps but the first, which is the output."""
    names = ["residual", *(f"history {name}" for name in list(kernels.states)[1:])]
    return {name: tensor.data_ptr() for name, tensor in zip(names, saved, strict=True)}


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


def _run(recorded: CommandBuffer, addresses: dict[str, int], dtype: torch.dtype) -> Tensor:
    """Run a command buffer; its workspace."""
    workspace = memory.workspace((recorded.workspace // dtype.itemsize,), dtype)
    workspace[: recorded.zeros // dtype.itemsize].zero_()
    recorded.run({**addresses, "workspace": workspace.data_ptr()})
    return workspace


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
        known = _kernels(problem.graph.text, problem.shapes, bits, host_target(), problem.single_row, problem.bfloat16)
        problem.__dict__["kernels"] = known
    return known


@lru_cache(maxsize=256)
def _kernels(
    cell: str, shapes: tuple[tuple[int, ...], ...], bits: int, target: Target, single_row: bool, bfloat16: bool
) -> Kernels:
    graph = Graph.read(cell)
    names = (graph.input, *graph.states, *graph.params)
    sizes = graph.solve(dict(zip(names, shapes, strict=True)))
    if single_row:  # the products of the input have as many rows as steps, those of the state one
        return compile(graph, sizes, bits, target, most_rows=1, hoist_above=0, bfloat16=bfloat16)
    return compile(graph, sizes, bits, target, bfloat16=bfloat16)
