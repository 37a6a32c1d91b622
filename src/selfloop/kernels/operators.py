"""The compiled kernels as operators of torch, so that autograd, torch.compile and torch.export know them."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch._C import DispatchKey
from torch._C import _dispatch_keys as dispatch_keys
from torch._subclasses import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor
from torch.autograd import Function

from selfloop.compiler import targets
from selfloop.errors import BackendError
from selfloop.kernels import interpret, native
from selfloop.kernels.problem import Answer, Problem, has_tangent, is_memory, is_transformed
from selfloop.kernels.tiles import multiplies_bfloat16
from selfloop.language.graph import Graph

GIVEN = (
    "str cell, Tensor x, Tensor[] state, Tensor[] params, Tensor? lengths, Tensor? resets, bool reverse, "
    "int checkpoint, Tensor? seed, bool bfloat16, bool single"
)
"""What a Problem is made of, as torch's operators take it."""

LIBRARY = torch.library.Library("selfloop", "DEF")
LIBRARY.define(f"forward({GIVEN}, bool keep) -> Tensor[]")
LIBRARY.define(f"backward({GIVEN}, Tensor[] outputs, Tensor above, Tensor[] later) -> Tensor[]")
# torch.library.custom_op says the same in fewer words, at 0.4 ms a call and gradient


def _forward(*given: Any) -> list[Tensor]:
    """The output, the final state, and what is kept for the gradient."""
    *problem, keep = given
    y, final, kept = native.forward(_problem(*problem), keep)
    return [y, *final, *kept]


def _backward(*given: Any) -> list[Tensor]:
    """The gradients of input, first state and parameters."""
    *problem, outputs, above, later = given
    states = len(later)
    y, final, kept = outputs[0], outputs[1 : 1 + states], outputs[1 + states :]
    own = _problem(*problem)
    own.check_storage()
    dx, gradients, earlier = native.backward(own, y, final, kept, above, later)
    return [dx, *earlier, *gradients.values()]


@contextmanager
def _untraced() -> Iterator[None]:
    """Keep what kernels do out of a trace of torch.jit: it has the operator itself, and would make tensors of sizes."""
    if not torch._C._is_tracing():
        yield
        return
    state = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch._C._set_tracing_state(state)  # type: ignore[attr-defined]


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
            with torch._C._AutoDispatchBelowAutograd():
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
        above, *later = (
            torch.zeros_like(output) if d is None else d.to_dense() if d.layout is not torch.strided else d
            for d, output in zip(gradients[: 1 + states], outputs, strict=False)
        )
        problem = cell, x, state, params, lengths, resets, *options
        found: Sequence[Tensor | None]
        if is_direct and not torch.is_grad_enabled() and is_memory((above, *later)):
            found = _backward(*problem, outputs, above, later)
        elif any(_is_batched(d) for d in (above, *later)):
            found = _interpreted(_problem(*problem), above, later)
        else:
            found = torch.ops.selfloop.backward(*problem, outputs, above, later)
        return None, None, None, None, None, None, *found


def _is_batched(v: Tensor) -> bool:
    """Whether this stands for many tensors, under vmap or `is_grads_batched`."""
    return is_transformed() or torch._C._functorch.is_legacy_batchedtensor(v)


def _interpreted(problem: Problem, above: Tensor, later: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradients of input, first state and parameters, by torch's operations, which can take a batch of `above`."""
    if torch.is_grad_enabled():
        raise BackendError(TWICE)
    with torch.enable_grad():
        y, final = interpret.run(problem)
    pairs = [(v, d) for v, d in zip((y, *final), (above, *later), strict=True) if v.requires_grad]
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
        with torch._C._AutoDispatchBelowAutograd():
            return tuple(torch.ops.selfloop.backward(*given))

    @staticmethod
    def backward(ctx: Any, *_: Tensor | None) -> Any:
        raise BackendError(TWICE)


def _once(*given: Any) -> list[Tensor]:
    if torch.is_grad_enabled():  # create_graph
        _, x, state, params, *_, above, later = given
        return list(_Once.apply(given, x, *state, *params, above, *later))  # type: ignore[no-untyped-call]
    with torch._C._AutoDispatchBelowAutograd():
        return torch.ops.selfloop.backward(*given)  # type: ignore[no-any-return]


def _differentiable(*given: Any, is_direct: bool = False) -> list[Tensor]:
    """The operator as autograd knows it; directly where everything is memory, without torch's dispatcher."""
    cell, x, state, params, lengths, resets, *options, keep = given
    if keep:
        given = cell, len(state), tuple(options), is_direct, lengths, resets, x, *state, *params
        return list(_Differentiable.apply(*given))  # type: ignore[no-untyped-call]
    with torch._C._AutoDispatchBelowAutograd():
        return torch.ops.selfloop.forward(*given)  # type: ignore[no-any-return]


def _forward_shapes(*given: Any) -> list[Tensor]:
    *problem, keep = given
    _, x, state, *_ = problem
    steps, batch = x.shape[:2]
    outputs = [x.new_empty(steps, batch, state[0].shape[1]), *(s.new_empty(s.shape) for s in state)]
    if keep:
        own = _problem(*problem)
        kernels = native.kernels_of(own)
        outputs.append(x.new_empty(0 if own.checkpoint else steps * batch, kernels.train.fields["record"].stride))
        outputs += [x.new_empty(steps * batch, s.shape[1]) for s in state[1:]]
    return outputs


def _backward_shapes(*given: Any) -> list[Tensor]:
    _, x, state, params, *_ = given
    return [
        native.laid_as(x, x.new_empty),
        *(s.new_empty(s.shape) for s in state),
        *(p.new_empty(p.shape) for p in params),
    ]


@_untraced()
def _checked(*given: Any) -> list[Tensor]:
    """The operator as the dispatcher calls it: no one else looks at the numbers that a compiled graph is given."""
    problem = _problem(*given[:-1])
    problem.check_storage()
    problem.check_lengths()
    return _forward(*given)


LIBRARY.impl("forward", _checked, "CPU")
LIBRARY.impl("backward", _untraced()(_backward), "CPU")
LIBRARY.impl("forward", _differentiable, "Autograd")
LIBRARY.impl("backward", _once, "Autograd")
torch.library.register_fake("selfloop::forward", _forward_shapes)
torch.library.register_fake("selfloop::backward", _backward_shapes)


def _unsupported() -> str | None:
    try:
        targets.host()
    except BackendError as error:
        return str(error).rstrip(".")
    return None


UNSUPPORTED = _unsupported()
"""Why this processor has no kernels, or None."""


def _is_foreign(v: Tensor) -> bool:
    """Whether a class that is not torch's own has a say in what operators do."""
    return dispatch_keys(v).has(DispatchKey.Python) and not isinstance(v, FakeTensor | FunctionalTensor)


ODD: tuple[tuple[Callable[[Tensor], bool], str], ...] = (
    (lambda v: not v.is_cpu, "compiled kernels run on the CPU"),
    (lambda v: v.layout is not torch.strided or v.is_nested, "compiled kernels read dense tensors"),
    (_is_batched, "compiled kernels take no part in torch.func's transforms"),
    (lambda v: has_tangent((v,)), "compiled kernels have no derivative in forward mode"),
    (_is_foreign, "compiled kernels do not know what tensors of other classes do"),
)
"""What kernels cannot be given, and why. What is odd but not here, as a negated view or zeros without memory, torch's
dispatcher makes plain on its way to the operator, and of fakes it asks the shapes alone."""


def refusal(problem: Problem) -> str | None:
    """Why there is no kernel for this, or None."""
    if not problem.is_memory and not torch.compiler.is_compiling():
        for is_so, reason in ODD:
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


FAILED: dict[tuple[str, torch.dtype], str] = {}
"""Why cells could not be compiled, so that it is tried once."""


def failure(problem: Problem) -> str | None:
    """Why the kernels cannot be compiled, or None. What the call will need is compiled here."""
    if torch.compiler.is_compiling() or torch._C._is_tracing():
        return None
    key = problem.graph.text, problem.x.dtype
    if key not in FAILED:
        try:
            kernels = native.kernels_of(_as_float(problem) if _rounds(problem) else problem)
            _ = kernels.forward_code, kernels.backward_code if _is_kept(problem) else None
        except Exception as error:  # whatever LLVM or a pass says: the other ways need neither
            FAILED[key] = f"it could not be compiled ({type(error).__name__}: {error})"
            warnings.warn(f"'{problem.graph.name}' runs slowly: {FAILED[key]}.", RuntimeWarning, stacklevel=2)
    return FAILED.get(key)


def _is_kept(problem: Problem) -> bool:
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
    keep = _is_kept(problem)
    given = (
        problem.graph.text,
        problem.x,
        list(problem.state),
        list(problem.params.values()),
        problem.lengths,
        problem.resets,
        problem.reverse,
        problem.checkpoint,
        problem.seed,
        problem.bfloat16,
        problem.single,
        keep,
    )
    if not problem.is_memory:  # else the way through torch's dispatcher, 15 µs each time, can be saved
        y, *rest = torch.ops.selfloop.forward(*given)
    elif keep:
        y, *rest = _differentiable(*given, is_direct=True)
    else:
        y, rest, _ = native.forward(problem, keep)
    return y, tuple(rest[: len(problem.state)])


def _problem(
    cell: str,
    x: Tensor,
    state: Sequence[Tensor],
    params: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    reverse: bool,
    checkpoint: int,
    seed: Tensor | None,
    bfloat16: bool,
    single: bool,
) -> Problem:
    graph = Graph.read(cell)
    weights = dict(zip(graph.params, params, strict=True))
    return Problem(graph, weights, x, tuple(state), lengths, resets, reverse, checkpoint, seed, bfloat16, single)
