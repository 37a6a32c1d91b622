"""The compiled kernels as operators of torch, so that autograd, torch.compile and torch.export know them.

    dispatch key    selfloop::forward       selfloop::backward
    Autograd        _forward_autograd       _backward_autograd
    CPU             _forward_cpu            _backward_cpu
    fake tensors    _forward_shapes         _backward_shapes

`selfloop::interpret` is the interpreter, for programs of torch.export.
"""

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.autograd import Function

from selfloop.errors import BackendError
from selfloop.kernels import interpret, native, refusals
from selfloop.kernels.call import call_of
from selfloop.kernels.compiled import kernels_of
from selfloop.kernels.plan import laid_as
from selfloop.kernels.plans import plan_of
from selfloop.kernels.problem import Output, Problem
from selfloop.kernels.torch_internals import below_autograd, untraced
from selfloop.language.graph import Graph

ARGUMENTS = (
    "str cell, Tensor x, Tensor[] state, Tensor[] params, Tensor? lengths, Tensor? resets, bool reverse, "
    "int recompute, Tensor? seed, bool bfloat16, str kind"
)
"""What a Problem is made of, as torch's operators take it."""

LIBRARY = torch.library.Library("selfloop", "DEF")
LIBRARY.define(f"forward({ARGUMENTS}, bool needs_gradient) -> Tensor[]")
LIBRARY.define(f"interpret({ARGUMENTS}) -> Tensor[]")
LIBRARY.define(f"backward({ARGUMENTS}, Tensor[] outputs, Tensor dy, Tensor[] dh_next) -> Tensor[]")
# torch.library.custom_op would be shorter, but adds 0.4 ms to a call with its gradient


@untraced()
def _forward_cpu(*arguments: Any) -> list[Tensor]:
    """The output, the final states, and what is saved for the gradient.

    A compiled graph calls this, so its numbers are checked here and nowhere else.
    """
    *given, needs_gradient = arguments
    problem = _problem(*given)
    problem.check_storage()
    problem.check_lengths()
    plan = plan_of(call_of(problem), needs_gradient)
    y, final, saved = native.forward(plan, problem.tensors, problem.seed)
    return [y, *final, *saved]


@untraced()
def _backward_cpu(*arguments: Any) -> list[Tensor]:
    """The gradients of input, first states and parameters."""
    *given, outputs, dy, dh_next = arguments
    problem = _problem(*given)
    problem.check_storage()
    return native.backward(plan_of(call_of(problem), True), problem.tensors, problem.seed, outputs, dy, dh_next)


Options = tuple[bool, int, Tensor | None, bool, str]


class _Forward(Function):
    """`forward` with its gradient.

    Its arguments are those of the operator in another order, since autograd records only tensors that are arguments by
    themselves: `options` are those from `reverse` to `kind` (the seed, an integer that no one writes, needs no
    `save_for_backward`).
    """

    @staticmethod
    def forward(
        ctx: Any,
        cell: str,
        states: int,
        options: Options,
        lengths: Tensor | None,
        resets: Tensor | None,
        *tensors: Tensor,
    ) -> Any:
        x, state, params = tensors[0], tensors[1 : 1 + states], tensors[1 + states :]
        with below_autograd():
            outputs = torch.ops.selfloop.forward(cell, x, state, params, lengths, resets, *options, True)
        ctx.save_for_backward(lengths, resets, *tensors, *outputs)
        ctx.others = cell, states, options, len(tensors)
        ctx.mark_non_differentiable(*outputs[1 + states :])
        ctx.set_materialize_grads(False)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        cell, states, options, count = ctx.others
        lengths, resets, *saved = ctx.saved_tensors
        tensors, outputs = saved[:count], saved[count:]
        dy, *dh_next = cotangents(gradients[: 1 + states], outputs)
        computed = gradients_of(cell, states, options, lengths, resets, tensors, outputs, dy, dh_next)
        return None, None, None, None, None, *computed


def cotangents(gradients: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> list[Tensor]:
    """The gradients of the outputs, zero for those that do not matter, and dense."""
    return [
        torch.zeros_like(output) if d is None else d.to_dense() if d.layout is not torch.strided else d
        for d, output in zip(gradients, outputs, strict=False)
    ]


def gradients_of(
    cell: str,
    states: int,
    options: Options,
    lengths: Tensor | None,
    resets: Tensor | None,
    tensors: Sequence[Tensor],
    outputs: Sequence[Tensor],
    dy: Tensor,
    dh_next: Sequence[Tensor],
) -> Sequence[Tensor | None]:
    """The gradients of all tensors, whatever the cotangents are."""
    x, state, params = tensors[0], tensors[1 : 1 + states], tensors[1 + states :]
    problem = cell, x, state, params, lengths, resets, *options
    if any(refusals.is_batched(d) for d in (dy, *dh_next)):
        return _interpreted(_problem(*problem), dy, dh_next)
    return torch.ops.selfloop.backward(*problem, outputs, dy, dh_next)  # type: ignore[no-any-return]


def _interpreted(problem: Problem, dy: Tensor, dh_next: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradients of input, first state and parameters, by torch's operations, which can take a batch of `dy`."""
    if torch.is_grad_enabled():
        raise BackendError(NO_SECOND_DERIVATIVE)
    with torch.enable_grad():
        y, final = interpret.run(problem)
    pairs = [(v, d) for v, d in zip((y, *final), (dy, *dh_next), strict=True) if v.requires_grad]
    if not pairs:  # no output depends on what needs a gradient
        return [torch.zeros_like(t) for t in problem.tensors]
    outputs, cotangents = zip(*pairs, strict=True)
    leaves = [t for t in problem.tensors if t.requires_grad]
    gradients = iter(torch.autograd.grad(outputs, leaves, cotangents, allow_unused=True, materialize_grads=True))
    return [next(gradients) if t.requires_grad else None for t in problem.tensors]


NO_SECOND_DERIVATIVE = "second derivatives are not built into compiled kernels; use backend='interpret'"


class _Backward(Function):
    """`backward`, which has no gradient: it raises when one is asked for, as torch's `once_differentiable` does.

    The tensors among its arguments are given a second time, one by one, since autograd records no others.
    """

    @staticmethod
    def forward(ctx: Any, arguments: tuple[Any, ...], *tensors: Tensor) -> Any:
        with below_autograd():
            return tuple(torch.ops.selfloop.backward(*arguments))

    @staticmethod
    def backward(ctx: Any, *_: Tensor | None) -> Any:
        raise BackendError(NO_SECOND_DERIVATIVE)


def _forward_autograd(*arguments: Any) -> list[Tensor]:
    """As `_forward_cpu`."""
    cell, x, state, params, lengths, resets, *options, needs_gradient = arguments
    if needs_gradient:
        arguments = cell, len(state), tuple(options), lengths, resets, x, *state, *params
        return list(_Forward.apply(*arguments))  # type: ignore[no-untyped-call]
    with below_autograd():
        return torch.ops.selfloop.forward(*arguments)  # type: ignore[no-any-return]


def _backward_autograd(*arguments: Any) -> list[Tensor]:
    """As `_backward_cpu`."""
    if torch.is_grad_enabled():  # create_graph
        _, x, state, params, *_, dy, dh_next = arguments  # the outputs depend on these
        return list(_Backward.apply(arguments, x, *state, *params, dy, *dh_next))  # type: ignore[no-untyped-call]
    with below_autograd():
        return torch.ops.selfloop.backward(*arguments)  # type: ignore[no-any-return]


def _forward_shapes(*arguments: Any) -> list[Tensor]:
    """Output [T, B, H] and final states; and, where a gradient is needed, what is saved for it.

    Those are the residuals [T·B, stride], none if they are recomputed, and after each step each state but the first,
    which is the output, [T·B, size].
    """
    *given, needs_gradient = arguments
    problem = _problem(*given)
    x, state = problem.x, problem.state
    steps, batch = x.shape[:2]
    outputs = [x.new_empty(steps, batch, state[0].shape[1]), *(s.new_empty(s.shape) for s in state)]
    if needs_gradient:
        stride = kernels_of(problem).train.fields["residual"].stride
        outputs.append(x.new_empty(0 if problem.recompute else steps * batch, stride))
        outputs += [x.new_empty(steps * batch, s.shape[1]) for s in state[1:]]
    return outputs


def _backward_shapes(*arguments: Any) -> list[Tensor]:
    _, x, state, params, *_ = arguments
    return [
        laid_as(x, x.new_empty),
        *(s.new_empty(s.shape) for s in state),
        *(p.new_empty(p.shape) for p in params),
    ]


def _interpret(*arguments: Any) -> list[Tensor]:
    """The output and the final states, by the interpreter."""
    y, final = interpret.run(_problem(*arguments))
    return [y, *(s.clone() for s in final)]  # without a step they are those that were given


def _interpret_shapes(*arguments: Any) -> list[Tensor]:
    return _forward_shapes(*arguments, False)


def _no_gradient(ctx: Any, *_: Any) -> NoReturn:
    del ctx
    raise BackendError(
        "A cell that only the interpreter runs has no gradient in a program that torch.export made for any number of "
        "steps. Train the layer itself, or export it for one number of steps."
    )


LIBRARY.impl("interpret", _interpret, "CompositeExplicitAutograd")
torch.library.register_fake("selfloop::interpret", _interpret_shapes)
torch.library.register_autograd("selfloop::interpret", _no_gradient)
LIBRARY.impl("forward", _forward_cpu, "CPU")
LIBRARY.impl("backward", _backward_cpu, "CPU")
LIBRARY.impl("forward", _forward_autograd, "Autograd")
LIBRARY.impl("backward", _backward_autograd, "Autograd")
torch.library.register_fake("selfloop::forward", _forward_shapes)
torch.library.register_fake("selfloop::backward", _backward_shapes)


def run(problem: Problem) -> Output:
    """The output and the final states, by torch's dispatcher."""
    y, *rest = torch.ops.selfloop.forward(*arguments_of(problem), refusals.needs_gradient(problem))
    return y, tuple(rest[: len(problem.state)])


def run_interpreted(problem: Problem) -> Output:
    """By the interpreter; as an operator in an export to ONNX, or for any number of steps, which cannot be unrolled."""
    has_any_steps = isinstance(problem.x.shape[0], torch.SymInt)
    if torch.compiler.is_exporting() and (has_any_steps or torch.onnx.is_in_onnx_export()):
        y, *final = torch.ops.selfloop.interpret(*arguments_of(problem))
        return y, tuple(final)
    return interpret.run(problem)


def arguments_of(problem: Problem) -> tuple[Any, ...]:
    """What a Problem is made of, as torch's operators take it."""
    return (
        problem.graph.text,
        problem.x,
        list(problem.state),
        list(problem.params.values()),
        problem.lengths,
        problem.resets,
        problem.reverse,
        problem.recompute,
        problem.seed,
        problem.bfloat16,
        problem.kind,
    )


def _problem(
    cell: str,
    x: Tensor,
    state: Sequence[Tensor],
    params: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    reverse: bool,
    recompute: int,
    seed: Tensor | None,
    bfloat16: bool,
    kind: str,
) -> Problem:
    graph = Graph.read(cell)
    weights = dict(zip(graph.params, params, strict=True))
    return Problem(graph, weights, x, tuple(state), lengths, resets, reverse, recompute, seed, bfloat16, kind)
