"""Compiled kernels as a backend. Plain tensors go to them directly; others by torch's dispatcher, see `operators`.

Torch's dispatcher takes 15 µs for each operator. Plain tensors (see `are_plain`) do without it: `run` calls the
kernels, or for a gradient `_Direct`, whose backward pass calls them too.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from selfloop.errors import ArgumentError
from selfloop.kernels import native, operators
from selfloop.kernels.call import Call, call_of
from selfloop.kernels.compiled import BITS
from selfloop.kernels.plan import Plan
from selfloop.kernels.plans import key_of, known_plan, new_plan, plan_of, plan_of_lengths
from selfloop.kernels.problem import Output, Problem, are_plain, check_memory, have_memory
from selfloop.kernels.recent import RecentPlans
from selfloop.kernels.refusals import as_float, compile_or_explain, is_bfloat16, needs_gradient, refusal
from selfloop.kernels.torch_internals import apply_of

Tensors = tuple[Tensor, ...]


def run(call: Call, recent: RecentPlans) -> tuple[Tensor, Tensors] | None:
    """The output and the final states, in the call's form, where all tensors are plain and kernels can run it."""
    if call.x.dtype not in BITS:
        return None
    tensors = call.tensors
    plan = recent.find(call, tensors)
    if plan is None:
        plan = _plan(call, tensors)
        if plan is None:
            return None
        recent.keep(call, tensors, plan)
    elif not have_memory(tensors):
        return None
    return _planned(plan, tensors, call.seed, call.lengths, call.resets)


def _plan(call: Call, tensors: Sequence[Tensor]) -> Plan | None:
    """That of an earlier call, or a new one; None where tensors are not plain or kernels cannot run the call."""
    given = tensors
    if call.lengths is not None or call.resets is not None:
        given = *tensors, *[v for v in (call.lengths, call.resets) if v is not None]
    if not are_plain(given) or torch.is_autocast_enabled("cpu") or not have_memory(tensors):
        return None
    keeps = torch.is_grad_enabled() and True in [v.requires_grad for v in tensors]
    key = key_of(call, keeps)
    plan = known_plan(key) or plan_of_lengths(key, call)
    if plan is None:
        with torch.no_grad():
            problem = call.problem()
        if refusal(problem) is not None or compile_or_explain(problem) is not None:
            return None
        plan = new_plan(key, call, problem, keeps)
    return plan


def run_problem(problem: Problem) -> Output:
    """The output and the final states.

    In bfloat16 the output has the dtype of the input, and each final state that of the first. The kernels take float32
    tensors and round what is multiplied to bfloat16; sums and states stay float32 from step to step.
    """
    if is_bfloat16(problem):
        dtypes = [s.dtype for s in problem.state]
        y, final = _run(as_float(problem))
        return y.to(problem.x.dtype), tuple(s.to(dtype) for s, dtype in zip(final, dtypes, strict=True))
    return _run(problem)


def _run(problem: Problem) -> Output:
    if not problem.is_plain:
        return operators.run(problem)
    plan = plan_of(call_of(problem), needs_gradient(problem))
    return _planned(plan, problem.tensors, problem.seed, problem.lengths, problem.resets)


def _planned(
    plan: Plan, tensors: Sequence[Tensor], seed: Tensor | None, lengths: Tensor | None, resets: Tensor | None
) -> tuple[Tensor, Tensors]:
    if plan.signature.needs_gradient:
        y, *final = _apply_direct(plan, seed, lengths, resets, *tensors)
    else:
        y, final, _ = native.forward(plan, tensors, seed)
    return y, tuple(final)


class _Direct(Function):
    """The kernels with their gradient, given the plan of such calls; all tensors are plain."""

    @staticmethod
    def forward(
        ctx: Any,
        plan: Plan,
        seed: Tensor | None,
        lengths: Tensor | None,
        resets: Tensor | None,
        *tensors: Tensor,
    ) -> Any:
        y, final, saved = native.forward(plan, tensors, seed)
        ctx.save_for_backward(*tensors, y, *final, *saved, lengths, resets)
        ctx.plan, ctx.seed, ctx.count = plan, seed, len(tensors)
        ctx.layouts = [(v.data_ptr(), v.stride(), v.shape) for v in tensors]
        ctx.addresses = [v.data_ptr() for v in (y, *final, *saved)]
        ctx.set_materialize_grads(False)
        return y, *final

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        plan, seed = ctx.plan, ctx.seed
        *saved, lengths, resets = ctx.saved_tensors
        tensors, outputs = saved[: ctx.count], saved[ctx.count :]
        dy, *dh_next = gradients
        if dy is None:
            dy = torch.zeros_like(outputs[0])
        computed: Sequence[Tensor | None]
        given = [d for d in dh_next if d is not None]
        is_as_it_was = ctx.layouts == [(v.data_ptr(), v.stride(), v.shape) for v in tensors]
        is_as_it_was = is_as_it_was and ctx.addresses == [v.data_ptr() for v in outputs]
        if not is_as_it_was:
            _check_saved(plan, tensors, outputs, [shape for *_, shape in ctx.layouts])
        if is_as_it_was and not torch.is_grad_enabled() and are_plain((dy, *given)):
            computed = native.backward(plan, tensors, seed, outputs, dy, dh_next)
        else:
            computed = _general_gradients(plan, seed, lengths, resets, tensors, outputs, gradients)
        return None, None, None, None, *plan.form.given(computed)


def _check_saved(plan: Plan, tensors: list[Tensor], outputs: list[Tensor], shapes: Sequence[torch.Size]) -> None:
    """Raise ArgumentError where what was saved for the gradient is no longer what it was but for its place in memory:
    a weight has been replaced behind autograd's back, say, or hooks have made something else of it.
    """
    names = plan.form.names(plan.graph)
    check_memory(plan.graph, [*names, *["output"] * len(outputs)], [*tensors, *outputs])
    for name, v, shape in zip(names, tensors, shapes, strict=True):
        if v.shape != shape or v.dtype is not plan.y.dtype:
            raise ArgumentError(
                f"The '{name}' of {plan.graph.name} must be as it was in the forward pass, {tuple(shape)} of "
                f"{plan.y.dtype}, until its gradient has been taken. Got {tuple(v.shape)} of {v.dtype} instead."
            )


_apply_direct = apply_of(_Direct)


def _general_gradients(
    plan: Plan,
    seed: Tensor | None,
    lengths: Tensor | None,
    resets: Tensor | None,
    tensors: list[Tensor],
    outputs: list[Tensor],
    gradients: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """What `native.backward` gives, whatever the gradients of the outputs are."""
    problem, end = plan.problem(tensors, seed=seed, lengths=lengths, resets=resets), 1 + plan.states
    outputs = [v.contiguous() for v in outputs]
    dy, *dh_next = operators.cotangents(gradients, outputs)
    final = outputs[1:end]
    if plan.form.is_stacked:
        final, dh_next = ([v.squeeze(0) for v in own] for own in (final, dh_next))
    cell, x, state, params, lengths, resets, *options = operators.arguments_of(problem)
    given = cell, len(state), tuple(options), lengths, resets, [x, *state, *params]
    computed = list(operators.gradients_of(*given, [outputs[0], *final, *outputs[end:]], dy, dh_next))
    if plan.form.starts_at_zero:
        return [computed[0], *computed[end:]]
    if plan.form.is_stacked:
        computed[1:end] = [None if d is None else d.unsqueeze(0) for d in computed[1:end]]
    return computed
