"""`Plan`: what calls of compiled kernels have in common whose tensors are laid out alike."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from selfloop.compiler import Kernels
from selfloop.kernels import commands, memory, team
from selfloop.kernels.call import Call, Form
from selfloop.kernels.command_buffer import CommandBuffer
from selfloop.kernels.compiled import kernels_of
from selfloop.kernels.memory import Memory
from selfloop.kernels.problem import Problem
from selfloop.kernels.ragged import Rows, arrange
from selfloop.kernels.recording import Signature
from selfloop.kernels.weight_gradients import is_covered
from selfloop.language.graph import Graph

SHORT_BELOW, ONE_THREAD_BELOW = 1 << 20, 3 << 21
"""Multiplications of a call below which it takes microseconds, so that Python's lock is better kept; and below which
one thread does everything, since waking another one that sleeps takes as long as several millions."""

STORED = 16
"""Multiplications that take as long as a number which a step makes and saves."""


class Backward(NamedTuple):
    """A backward pass, for gradients that are laid out in one way.

    Attributes:
        recorded: the command buffer; its bases are the tensors of a call, then `BACKWARD`, and so on.
        gradients: the memory of each parameter's gradient.
        zeroed: the parameters whose gradients must be zero at first.
        partial: the parameters whose gradients are sums of partial sums, with their names.
    """

    recorded: CommandBuffer
    gradients: tuple[Memory, ...]
    zeroed: tuple[int, ...]
    partial: tuple[tuple[int, str], ...]


FORWARD = ("seed", "y")
BACKWARD = ("seed", "y", "dy", "dx")
"""The bases of a command buffer, after those of the tensors of a call."""

MOST_BACKWARD = 4
"""Backward passes of a plan that are kept."""


@dataclass(eq=False, slots=True)
class Plan:
    """What calls have in common whose tensors have the same shapes and strides.

    Attributes:
        graph: the cell.
        options: `reverse`, `recompute`, `bfloat16` and `kind` of the Problem.
        kernels: of the cell.
        rows: of the batch.
        signature: what the command buffers depend on.
        y, final, saved, dx: the memory of the output, of the final states, of what the forward pass saves for the
            gradient, and of the input's gradient.
        form: how tensors are given.
        copied: the tensors that kernels cannot read as they lie.
        is_short: whether a call takes microseconds.
        is_swapped: whether the input's gradient is (B, T, I), transposed, as the input is.
        forward: the command buffer; its bases are the tensors, then `FORWARD`, what is saved and the final states; None
            where nothing is to be done.
        used, seen: when it was last used, and when that was looked at.
        bytes: of the command buffers.
        like: a plan for other lengths, which shares all but tables of rows with this one.
    """

    graph: Graph
    options: Mapping[str, Any]
    kernels: Kernels
    rows: Rows
    signature: Signature
    y: Memory
    final: tuple[Memory, ...]
    saved: tuple[Memory, ...]
    dx: Memory
    form: Form
    copied: tuple[int, ...]
    is_short: bool
    is_swapped: bool
    forward: CommandBuffer | None = None
    used: int = 0
    seen: int = 0
    bytes: int = 0
    like: "Plan | None" = None
    _backward: dict[tuple[object, ...], Backward] = field(default_factory=dict)

    @property
    def states(self) -> int:
        """The number of states."""
        return len(self.final)

    def problem(self, given: Sequence[Tensor], **options: Any) -> Problem:
        """What was run.

        Args:
            given: the tensors of the call, whose memory has been checked.
            options: lengths, resets and seed.
        """
        read = self.form.read(given)
        x, first = read[0], 1 if self.form.starts_at_zero else 1 + self.states
        state = read[1:first] if first > 1 else [x.new_zeros(own.shape) for own in self.final]
        if self.form.is_stacked:
            state = [s.squeeze(0) for s in state]
        params = dict(zip(self.graph.params, read[first:], strict=True))
        return Problem(self.graph, params, x, tuple(state), **self.options, **options)

    def backward(self, params: Sequence[Tensor], dy: Tensor, dx: Tensor, dh_next: Sequence[Tensor | None]) -> Backward:
        """The backward pass for gradients laid out like these."""
        layout = dy.stride(), *[d is None for d in dh_next]
        known = self._backward.get(layout)
        if known is None:
            known = self._of_like(layout)
            if known is None:
                known = _backward(self, params, dy, dx, dh_next)
                if self.like is not None:
                    self.like._keep(layout, known)
            self._keep(layout, known)
        return known

    def _keep(self, layout: tuple[object, ...], known: Backward) -> None:
        if len(self._backward) >= MOST_BACKWARD:
            self._backward.clear()
        self._backward[layout] = known
        self.bytes += known.recorded.bytes

    def of(self, rows: Rows) -> "Plan | None":
        """The same for sequences of other lengths; None where more than tables of rows differs."""
        forward = self.forward and rows.total and self.forward.of(rows)
        if not forward or (self.is_short, self.signature.threads) != _pace(rows, self.kernels):
            return None
        found = copy(self)  # `replace` takes ten times as long
        found.rows, found.forward, found.bytes = rows, forward, forward.bytes
        found.like, found._backward = self.like or self, {}
        return found

    def _of_like(self, layout: tuple[object, ...]) -> Backward | None:
        own = self.like and self.like._backward.get(layout)
        recorded = own and own.recorded.of(self.rows)
        return own._replace(recorded=recorded) if own and recorded else None


def make_plan(call: Call, problem: Problem, needs_gradient: bool) -> Plan:
    """A plan for calls that are laid out like this one; `problem` is that of the call."""
    kernels, form, dtype = kernels_of(problem), call.form, problem.x.dtype
    first = () if form.starts_at_zero else problem.state
    x = contiguous_rows(problem.x)
    is_read = [x is problem.x, *[s.is_contiguous() for s in first]]
    may_stride = kernels.infer.pitches is None
    is_read += [(w.dim() == 2 and may_stride) or w.is_contiguous() for w in call.weights]
    rows = arrange(x.shape[0], x.shape[1], problem.lengths, problem.resets, problem.reverse)
    is_short, threads = _pace(rows, kernels)
    signature = Signature(
        kernels,
        _pitches(x),
        _pitches(x),
        _pitches(x),
        tuple(_matrix(name, w, may_stride) for name, w in problem.params.items() if w.dim() == 2),
        problem.seed is not None,
        needs_gradient,
        problem.recompute,
        threads,
        frozenset(f"first {name}" for name in kernels.states if form.starts_at_zero),
        tuple((name, v.numel()) for (name, v), k in zip(problem.params.items(), form.summed, strict=False) if k == 2),
    )
    saved: list[tuple[int, int]] = []
    if needs_gradient:
        sizes = list(kernels.states.values())
        residuals = rows.steps * rows.batch * signature.saves_residuals
        saved = [(residuals, kernels.train.fields["residual"].stride)]
        saved += [(rows.steps * rows.batch, size) for size in sizes[1:]]
    plan = Plan(
        problem.graph,
        {name: getattr(problem, name) for name in ("reverse", "recompute", "bfloat16", "kind")},
        kernels,
        rows,
        signature,
        y=memory.of_output((rows.steps, rows.batch, problem.state[0].shape[1]), dtype),
        final=tuple(memory.of_output((*[1] * form.is_stacked, *s.shape), dtype) for s in problem.state),
        saved=tuple(memory.of_workspace(shape, dtype) for shape in saved),
        dx=memory.of_output(_in_memory(problem.x), dtype),
        form=form,
        copied=tuple(k for k, is_so in enumerate(is_read) if not is_so),
        is_short=is_short,
        is_swapped=_is_swapped(problem.x),
    )
    if rows.total:
        names = [*_tensors(plan), *FORWARD, *_bases(plan, ("final",))]
        plan.forward = commands.forward(signature, rows, names)
        plan.bytes = plan.forward.bytes
    return plan


def _matrix(name: str, weight: Tensor, may_stride: bool) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """A matrix of a Signature, as kernels are given it."""
    shape = tuple(weight.shape)
    return name, shape, weight.stride() if may_stride else (shape[1], 1)


def _pace(rows: Rows, kernels: Kernels) -> tuple[bool, int]:
    """Whether a call takes microseconds, and on how many threads it runs, by its multiplications: those of a step's
    matrices and of the products for all steps, and what the numbers take that a step saves.
    """
    layouts = [kernels.infer, *([] if kernels.project is None else [kernels.project])]
    weights = sum(layout.weight_bytes for layout in layouts) // (kernels.bits // 8)
    count = rows.total * (weights + STORED * kernels.train.fields["residual"].stride)
    threads = 1 if count < ONE_THREAD_BELOW else team.threads()
    return threads == 1 and count < SHORT_BELOW, threads


def _tensors(plan: Plan) -> list[str]:
    """The bases of the tensors of a call."""
    states = () if plan.form.starts_at_zero else plan.kernels.states
    names = ["x", *(f"first {name}" for name in states)]
    summed = dict(plan.signature.summed)
    for name in plan.graph.params:
        names += [f"param {name}", f"second {name}"] if name in summed else [f"param {name}"]
    return names


def _bases(plan: Plan, of_states: Sequence[str]) -> list[str]:
    """Those of what is saved and of states."""
    states = plan.kernels.states
    saved = ["residual", *(f"history {name}" for name in list(states)[1:])][: len(plan.saved)]
    return saved + [f"{kind} {name}" for kind in of_states for name in states]


def _backward(
    plan: Plan, params: Sequence[Tensor], dy: Tensor, dx: Tensor, dh_next: Sequence[Tensor | None]
) -> Backward:
    """The backward pass for gradients laid out like these."""
    kernels, names = plan.kernels, list(plan.graph.params)
    zero = {f"dh_next {name}" for name, d in zip(kernels.states, dh_next, strict=True) if d is None}
    signature = plan.signature._replace(dy=_pitches(dy), dx=_pitches(dx), zeros=plan.signature.zeros | zero)
    states = _bases(plan, ("final", "dh_next") if plan.form.starts_at_zero else ("final", "dh_next", "dh_prev"))
    bases = [*_tensors(plan), *BACKWARD, *(name for name in states if name not in zero)]
    recorded = commands.backward(signature, plan.rows, [*bases, *(f"gradient {name}" for name in names)])
    covered = {name for name, size, _ in signature.matrices if is_covered(kernels, name, size)}
    for name, own in zip(names, params, strict=True):  # those that `add_rows` writes
        sizes = [size for (of, _), size in kernels.dparam_sizes.items() if of == name]
        if own.dim() != 2 and sum(sizes) == own.numel():
            covered.add(name)
    return Backward(
        recorded,
        tuple(memory.of_output(own.shape, own.dtype) for own in params),
        tuple(k for k, name in enumerate(names) if name not in covered),
        tuple((k, name) for k, name in enumerate(names) if name in recorded.named),
    )


def contiguous_rows(v: Tensor) -> Tensor:
    """The same, with the elements of a row side by side."""
    return v if v.stride(-1) == 1 or v.shape[-1] == 1 else v.contiguous()


def laid_as(x: Tensor, empty: Callable[[Sequence[int]], Tensor]) -> Tensor:
    """Memory for the gradient of an input: (T, B, I), or (B, T, I) transposed where the input is."""
    found = empty(_in_memory(x))
    return found.transpose(0, 1) if _is_swapped(x) else found


def _is_swapped(x: Tensor) -> bool:
    return not x.is_contiguous() and x.transpose(0, 1).is_contiguous()


def _in_memory(x: Tensor) -> tuple[Any, ...]:
    steps, batch, size = x.shape
    return (batch, steps, size) if _is_swapped(x) else (steps, batch, size)


def _pitches(v: Tensor) -> tuple[int, int]:
    item = v.element_size()
    return v.stride(0) * item, v.stride(1) * item
