"""The compiled kernels as operators of torch, so that autograd, torch.compile and torch.export know them."""

import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from selfloop.compiler import host_target
from selfloop.errors import BackendError
from selfloop.kernels import interpret, native
from selfloop.kernels.amx import multiplies_bfloat16
from selfloop.kernels.problem import Answer, Problem, has_tangent, is_memory, is_transformed
from selfloop.kernels.torch_internals import (
    DispatchKey,
    FakeTensor,
    FunctionalTensor,
    below_autograd,
    dispatch_keys,
    is_jit_tracing,
    is_legacy_batched,
    untraced,
)
from selfloop.language.graph import Graph

ARGUMENTS = (
    "str cell, Tensor x, Tensor[] state, Tensor[] params, Tensor? lengths, Tensor? resets, bool reverse, "
    "int recompute, Tensor? seed, bool bfloat16, bool single"
)
"""What a Problem is made of, as torch's operators take it."""

LIBRARY = torch.library.Library("selfloop", "DEF")
LIBRARY.define(f"forward({ARGUMENTS}, bool needs_gradient) -> Tensor[]")
LIBRARY.define(f"backward({ARGUMENTS}, Tensor[] outputs, Tensor dy, Tensor[] dh_next) -> Tensor[]")
# torch.library.custom_op says the same in fewer words, at 0.4 ms a call and gradient


def _forward(*given: Any) -> list[Tensor]:
    """The output, the final state, and what is saved for the gradient."""
    *problem, needs_gradient = given
    y, final, saved = native.forward(_problem(*problem), needs_gradient)
    return [y, *final, *saved]


def _backward(*given: Any) -> list[Tensor]:
    """The gradients of input, first state and parameters."""
    *problem, outputs, dy, dh_next = given
    states = len(dh_next)
    y, final, saved = outputs[0], outputs[1 : 1 + states], outputs[1 + states :]
    own = _problem(*problem)
    own.check_storage()
    dx, gradients, dh_prev = native.backward(own, y, final, saved, dy, dh_next)
    return [dx, *dh_prev, *gradients.values()]


class _Differentiable(Function):
    """The operator with its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: str,
        states: int,
        options: tuple[bool, int, Tensor | None, bool, bool],
        is_direct: bool,
        lengths: Tensor | None,
        resets: Tensor | None,
        *tensors: Tensor,
    ) -> Any:
        x, state, params = tensors[0], tensors[1 : 1 + states], tensors[1 + states :]
        given = cell, x, state, params, lengths, resets, *options, True
        if is_direct:
            outputs = _forward(*given)
        else:
            with below_autograd():
                outputs = torch.ops.selfloop.forward(*given)
        ctx.save_for_backward(lengths, resets, *tensors, *outputs)
        ctx.given = cell, states, options, is_direct, len(tensors)
        ctx.mark_non_differentiable(*outputs[1 + states :])
        ctx.set_materialize_grads(False)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        cell, states, options, is_direct, count = ctx.given
        lengths, resets, *saved = ctx.saved_tensors
        tensors, outputs = saved[:count], saved[count:]
        x, state, params = tensors[0], tensors[1 : 1 + states], tensors[1 + states :]
        dy, *dh_next = (
            torch.zeros_like(output) if d is None else d.to_dense() if d.layout is not torch.strided else d
            for d, output in zip(gradients[: 1 + states], outputs, strict=False)
        )
        problem = cell, x, state, params, lengths, resets, *options
        found: Sequence[Tensor | None]
        if is_direct and not torch.is_grad_enabled() and is_memory((dy, *dh_next)):
            found = _backward(*problem, outputs, dy, dh_next)
        elif any(_is_batched(d) for d in (dy, *dh_next)):
            found = _interpreted(_problem(*problem), dy, dh_next)
        else:
            found = torch.ops.selfloop.backward(*problem, outputs, dy, dh_next)
        return None, None, None, None, None, None, *found


def _is_batched(v: Tensor) -> bool:
    """Whether this stands for many tensors, under vmap or `is_grads_batched`."""
    return is_transformed() or is_legacy_batched(v)


def _interpreted(problem: Problem, dy: Tensor, dh_next: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradients of input, first state and parameters, by torch's operations, which can take a batch of `dy`."""
    if torch.is_grad_enabled():
        raise BackendError(TWICE)
    with torch.enable_grad():
        y, final = interpret.run(problem)
    pairs = [(v, d) for v, d in zip((y, *final), (dy, *dh_next), strict=True) if v.requires_grad]
    if not pairs:  # no output depends on what needs a gradient
        return [torch.zeros_like(t) for t in problem.tensors]
    outputs, given = zip(*pairs, strict=True)
    leaves = [t for t in problem.tensors if t.requires_grad]
    found = iter(torch.autograd.grad(outputs, leaves, given, allow_unused=True, materialize_grads=True))
    return [next(found) if t.requires_grad else None for t in problem.tensors]


TWICE = "second derivatives are not built into compiled kernels; use backend='interpret'"


class _Once(Function):
    """The operator of the gradient, which has none of its own."""

    @staticmethod
    def forward(ctx: Any, given: tuple[Any, ...], *_: Tensor) -> Any:
        with below_autograd():
            return tuple(torch.ops.selfloop.backward(*given))

    @staticmethod
    def backward(ctx: Any, *_: Tensor | None) -> Any:
        raise BackendError(TWICE)


def _once(*given: Any) -> list[Tensor]:
    if torch.is_grad_enabled():  # create_graph
        _, x, state, params, *_, dy, dh_next = given
        return list(_Once.apply(given, x, *state, *params, dy, *dh_next))  # type: ignore[no-untyped-call]
    with below_autograd():
        return torch.ops.selfloop.backward(*given)  # type: ignore[no-any-return]


def _differentiable(*given: Any, is_direct: bool = False) -> list[Tensor]:
    """The operator as autograd knows it; directly where everything is memory, without torch's dispatcher."""
    cell, x, state, params, lengths, resets, *options, needs_gradient = given
    if needs_gradient:
        given = cell, len(state), tuple(options), is_direct, lengths, resets, x, *state, *params
        return list(_Differentiable.apply(*given))  # type: ignore[no-untyped-call]
    with below_autograd():
        return torch.ops.selfloop.forward(*given)  # type: ignore[no-any-return]


def _forward_shapes(*given: Any) -> list[Tensor]:
    *problem, needs_gradient = given
    _, x, state, *_ = problem
    steps, batch = x.shape[:2]
    outputs = [x.new_empty(steps, batch, state[0].shape[1]), *(s.new_empty(s.shape) for s in state)]
    if needs_gradient:
        own = _problem(*problem)
        kernels = native.kernels_of(own)
        outputs.append(x.new_empty(0 if own.recompute else steps * batch, kernels.train.fields["residual"].stride))
        outputs += [x.new_empty(steps * batch, s.shape[1]) for s in state[1:]]
    return outputs


def _backward_shapes(*given: Any) -> list[Tensor]:
    _, x, state, params, *_ = given
    return [
        native.laid_as(x, x.new_empty),
        *(s.new_empty(s.shape) for s in state),
        *(p.new_empty(p.shape) for p in params),
    ]


@untraced()
def _checked(*given: Any) -> list[Tensor]:
    """The operator as the dispatcher calls it: no one else looks at the numbers that a compiled graph is given."""
    problem = _problem(*given[:-1])
    problem.check_storage()
    problem.check_lengths()
    return _forward(*given)


LIBRARY.impl("forward", _checked, "CPU")
LIBRARY.impl("backward", untraced()(_backward), "CPU")
LIBRARY.impl("forward", _differentiable, "Autograd")
LIBRARY.impl("backward", _once, "Autograd")
torch.library.register_fake("selfloop::forward", _forward_shapes)
torch.library.register_fake("selfloop::backward", _backward_shapes)


def _unsupported() -> str | None:
    try:
        host_target()
    except BackendError as error:
        return str(error).rstrip(".")
    return None


UNSUPPORTED = _unsupported()
"""Why this processor has no kernels, or None."""


def _is_foreign(v: Tensor) -> bool:
    """Whether a class that is not torch's own has a say in what operators do."""
    return dispatch_keys(v).has(DispatchKey.Python) and not isinstance(v, FakeTensor | FunctionalTensor)


REFUSED: tuple[tuple[Callable[[Tensor], bool], str], ...] = (
    (lambda v: not v.is_cpu, "compiled kernels run on the CPU"),
    (lambda v: v.layout is not torch.strided or v.is_nested, "compiled kernels read dense tensors"),
    (_is_batched, "compiled kernels take no part in torch.func's transforms"),
    (lambda v: has_tangent((v,)), "compiled kernels have no derivative in forward mode"),
    (_is_foreign, "compiled kernels do not know what tensors of other classes do"),
)
"""What kernels cannot be given, and why. What is odd but not here, as a negated view or zeros without memory, torch's
dispatcher makes plain before it calls the operator, and of fakes it asks the shapes alone."""


def refusal(problem: Problem) -> str | None:
    """Why there is no kernel for this, or None."""
    if not problem.is_memory and not torch.compiler.is_compiling():
        for is_so, reason in REFUSED:
            if any(is_so(v) for v in problem.given):
                return reason
    rounds = _rounds(problem)
    if rounds and not multiplies_bfloat16():
        return "this processor does not multiply bfloat16"
    if torch.is_autocast_enabled("cpu") and not rounds:
        return "compiled kernels take part in autocast to bfloat16 alone"
    dtype = problem.x.dtype
    if not rounds and (dtype not in native.BITS or not all(t.dtype is dtype for t in problem.tensors)):
        found = ", ".join(sorted({str(t.dtype).removeprefix("torch.") for t in problem.tensors}))
        return f"compiled kernels take float32, float64 or bfloat16, and this is {found}"
    return UNSUPPORTED


def _rounds(problem: Problem) -> bool:
    """Whether this is to be in bfloat16: by autocast, or since all tensors are."""
    if torch.is_autocast_enabled("cpu"):
        known = (torch.bfloat16, torch.float32)
        return torch.get_autocast_dtype("cpu") is torch.bfloat16 and all(t.dtype in known for t in problem.tensors)
    return problem.x.dtype is torch.bfloat16 and all(t.dtype is torch.bfloat16 for t in problem.tensors)


class Failure(NamedTuple):
    """Why a cell could not be compiled: in words, and the error with its traceback."""

    reason: str
    cause: Exception


FAILED: dict[tuple[str, torch.dtype], Failure] = {}
"""The cells that could not be compiled, so that it is tried once."""


def failure(problem: Problem) -> Failure | None:
    """Compile what the call will need; why that failed, or None."""
    if torch.compiler.is_compiling() or is_jit_tracing():
        return None
    key = problem.graph.text, problem.x.dtype
    if key not in FAILED:
        try:
            kernels = native.kernels_of(_as_float(problem) if _rounds(problem) else problem)
            _ = kernels.forward_code, kernels.backward_code if _needs_gradient(problem) else None
        except Exception as error:  # whatever LLVM or a pass says: the other backends need neither
            traceback.clear_frames(error.__traceback__)  # the lines stay, the tensors in their variables do not
            FAILED[key] = Failure(f"it could not be compiled ({type(error).__name__}: {error})", error)
            warnings.warn(
                f"'{problem.graph.name}' runs slowly: {FAILED[key].reason}; backend='native' shows where.",
                RuntimeWarning,
                stacklevel=2,
            )
    return FAILED.get(key)


def _needs_gradient(problem: Problem) -> bool:
    """Whether a gradient may be asked for. A trace of torch.jit serves calls with and without one."""
    is_asked = torch.is_grad_enabled() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return is_asked and any(t.requires_grad for t in problem.tensors)


def run(problem: Problem) -> Answer:
    """The outputs and the final state.

    In bfloat16 the output is, and what the user gave is rounded; states and sums are float32 up to the last step.
    """
    if _rounds(problem):
        dtypes = [s.dtype for s in problem.state]
        y, final = _run(_as_float(problem))
        return y.bfloat16(), tuple(s.to(dtype) for s, dtype in zip(final, dtypes, strict=True))
    return _run(problem)


def _as_float(problem: Problem) -> Problem:
    params = {name: weight.float() for name, weight in problem.params.items()}
    state = tuple(s.float() for s in problem.state)
    return replace(problem, x=problem.x.float(), params=params, state=state, bfloat16=True)


def _run(problem: Problem) -> Answer:
    needs_gradient = _needs_gradient(problem)
    given = (
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
        problem.single,
        needs_gradient,
    )
    if not problem.is_memory:  # else torch's dispatcher, which takes 15 µs each time, can be passed over
        y, *rest = torch.ops.selfloop.forward(*given)
    elif needs_gradient:
        y, *rest = _differentiable(*given, is_direct=True)
    else:
        y, rest, _ = native.forward(problem, needs_gradient)
    return y, tuple(rest[: len(problem.state)])


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
    single: bool,
) -> Problem:
    graph = Graph.read(cell)
    weights = dict(zip(graph.params, params, strict=True))
    return Problem(graph, weights, x, tuple(state), lengths, resets, reverse, recompute, seed, bfloat16, single)
