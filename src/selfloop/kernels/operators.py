"""The compiled kernels as operators of torch, so that autograd, torch.compile and torch.export know them.

    dispatch key    selfloop::forward       selfloop::backward
    Autograd        _forward_autograd       _backward_autograd
    CPU             _forward_cpu            _backward_cpu
    fake tensors    _forward_shapes         _backward_shapes

`selfloop::interpret` is the interpreter, for programs of torch.export.

Torch's dispatcher takes 15 µs for each operator. Plain tensors (see `Problem.is_plain`) do without it: `_run` calls the
kernels, or for a gradient `_Direct`, whose backward pass calls them too.
"""

import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor
from torch.autograd import Function

from selfloop.compiler import VARIES, host_target
from selfloop.errors import BackendError
from selfloop.kernels import interpret, native
from selfloop.kernels.bfloat16 import pair_products
from selfloop.kernels.problem import Output, Problem, are_plain, has_tangent, have_memory, is_transformed
from selfloop.kernels.torch_internals import (
    DispatchKey,
    FakeTensor,
    FunctionalTensor,
    apply_of,
    below_autograd,
    dispatch_keys,
    is_jit_tracing,
    is_legacy_batched,
    untraced,
)
from selfloop.language.graph import Graph

ARGUMENTS = (
    "str cell, Tensor x, Tensor[] state, Tensor[] params, Tensor? lengths, Tensor? resets, bool reverse, "
    "int recompute, Tensor? seed, bool bfloat16, bool single_row"
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
    plan = native.plan_of(problem, needs_gradient)
    y, final, saved = native.forward(plan, problem.tensors, problem.seed)
    return [y, *final, *saved]


@untraced()
def _backward_cpu(*arguments: Any) -> list[Tensor]:
    """The gradients of input, first states and parameters."""
    *given, outputs, dy, dh_next = arguments
    problem = _problem(*given)
    problem.check_storage()
    return native.backward(native.plan_of(problem, True), problem.tensors, problem.seed, outputs, dy, dh_next)


Options = tuple[bool, int, Tensor | None, bool, bool]


class _Forward(Function):
    """`forward` with its gradient.

    Its arguments are those of the operator in another order, since autograd records only tensors that are arguments by
    themselves: `options` are those from `reverse` to `single_row` (the seed, an integer that no one writes, needs no
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
        dy, *dh_next = _cotangents(gradients[: 1 + states], outputs)
        computed = _gradients(cell, states, options, lengths, resets, tensors, outputs, dy, dh_next)
        return None, None, None, None, None, *computed


class _Direct(Function):
    """As `_Forward`, without torch's dispatcher, given the plan of such calls; all tensors are plain."""

    @staticmethod
    def forward(
        ctx: Any,
        plan: native.Plan,
        seed: Tensor | None,
        lengths: Tensor | None,
        resets: Tensor | None,
        *tensors: Tensor,
    ) -> Any:
        read = plan.form.read(tensors, plan.states)
        y, final, saved = native.forward(plan, read, seed)
        ctx.save_for_backward(*read, y, *final, *saved, lengths, resets)
        ctx.plan, ctx.seed, ctx.count = plan, seed, len(read)
        ctx.set_materialize_grads(False)
        return y, *final

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        plan, seed = ctx.plan, ctx.seed
        *saved, lengths, resets = ctx.saved_tensors
        read, outputs = saved[: ctx.count], saved[ctx.count :]
        dy, *dh_next = gradients
        if dy is None:
            dy = torch.zeros_like(outputs[0])
        computed: Sequence[Tensor | None]
        given = [d for d in dh_next if d is not None]
        if not torch.is_grad_enabled() and are_plain((dy, *given)):
            if not have_memory(read):
                plan.problem(read).check_storage()
            computed = native.backward(plan, read, seed, outputs, dy, dh_next)
        else:
            computed = _general_gradients(plan, seed, lengths, resets, read, outputs, gradients)
        return None, None, None, None, *plan.form.given(computed)


_apply_direct = apply_of(_Direct)


def _general_gradients(
    plan: native.Plan,
    seed: Tensor | None,
    lengths: Tensor | None,
    resets: Tensor | None,
    read: list[Tensor],
    outputs: list[Tensor],
    gradients: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """What `native.backward` gives, whatever the gradients of the outputs are."""
    problem, end = plan.problem(read, seed=seed, lengths=lengths, resets=resets), 1 + plan.states
    dy, *dh_next = _cotangents(gradients, outputs)
    final = outputs[1:end]
    if plan.form.is_stacked:
        final, dh_next = ([v.squeeze(0) for v in own] for own in (final, dh_next))
    cell, x, state, params, lengths, resets, *options = _arguments(problem)
    given = cell, len(state), tuple(options), lengths, resets, [x, *state, *params]
    computed = list(_gradients(*given, [outputs[0], *final, *outputs[end:]], dy, dh_next))
    if plan.form.starts_at_zero:
        return [computed[0], *computed[end:]]
    if plan.form.is_stacked:
        computed[1:end] = [None if d is None else d.unsqueeze(0) for d in computed[1:end]]
    return computed


def _cotangents(gradients: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> list[Tensor]:
    """The gradients of the outputs, zero for those that do not matter, and dense."""
    return [
        torch.zeros_like(output) if d is None else d.to_dense() if d.layout is not torch.strided else d
        for d, output in zip(gradients, outputs, strict=False)
    ]


def _gradients(
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
    if any(_is_batched(d) for d in (dy, *dh_next)):
        return _interpreted(_problem(*problem), dy, dh_next)
    return torch.ops.selfloop.backward(*problem, outputs, dy, dh_next)  # type: ignore[no-any-return]


def _is_batched(v: Tensor) -> bool:
    """Whether this stands for many tensors, under vmap or `is_grads_batched`."""
    return is_transformed() or is_legacy_batched(v)


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
        stride = native.kernels_of(problem).train.fields["residual"].stride
        outputs.append(x.new_empty(0 if problem.recompute else steps * batch, stride))
        outputs += [x.new_empty(steps * batch, s.shape[1]) for s in state[1:]]
    return outputs


def _backward_shapes(*arguments: Any) -> list[Tensor]:
    _, x, state, params, *_ = arguments
    return [
        native.laid_as(x, x.new_empty),
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
"""What kernels cannot be given, and why. Negated views and zeros without memory are not here: torch's dispatcher makes
plain tensors of them before it calls the operator. Nor are fake tensors, for which it calls `_forward_shapes` alone."""


def refusal(problem: Problem) -> str | None:
    """Why there is no kernel for this, or None."""
    if problem.graph.varying_matrix is not None:
        return f"{problem.graph.varying_matrix} {VARIES}"
    if not problem.is_plain and not torch.compiler.is_compiling():
        for is_so, reason in REFUSED:
            if any(is_so(v) for v in problem.given):
                return reason
    is_bfloat16 = _is_bfloat16(problem)
    if is_bfloat16 and pair_products() is None:
        return "this processor does not multiply bfloat16"
    if torch.is_autocast_enabled("cpu") and not is_bfloat16:
        return "compiled kernels take part in autocast to bfloat16 alone"
    dtype = problem.x.dtype
    if not is_bfloat16 and (dtype not in native.BITS or not all(t.dtype is dtype for t in problem.tensors)):
        dtypes = ", ".join(sorted({str(t.dtype).removeprefix("torch.") for t in problem.tensors}))
        return f"compiled kernels take float32, float64 or bfloat16, and this is {dtypes}"
    return UNSUPPORTED


def _is_bfloat16(problem: Problem) -> bool:
    """Whether a call is to be in bfloat16: by autocast, or since all tensors are."""
    if torch.is_autocast_enabled("cpu"):
        known = (torch.bfloat16, torch.float32)
        return torch.get_autocast_dtype("cpu") is torch.bfloat16 and all(t.dtype in known for t in problem.tensors)
    return problem.x.dtype is torch.bfloat16 and all(t.dtype is torch.bfloat16 for t in problem.tensors)


class Failure(NamedTuple):
    """Why a cell could not be compiled: in words, and the error with its traceback."""

    reason: str
    cause: Exception


FAILED: dict[tuple[str, torch.dtype], Failure] = {}
"""By cell and dtype: the cells that could not be compiled. It is tried at one size, since it takes seconds."""


def compile_or_explain(problem: Problem) -> Failure | None:
    """Compile what the call will need; why that failed, or None."""
    if torch.compiler.is_compiling() or is_jit_tracing():
        return None
    key = problem.graph.text, problem.x.dtype
    if key not in FAILED:
        try:
            kernels = native.kernels_of(_as_float(problem) if _is_bfloat16(problem) else problem)
            for name in _kernels_needed(problem):
                if getattr(kernels, name) is not None:
                    kernels.address(name)  # it compiles now
        except Exception as error:  # whatever LLVM or a pass says: the other backends need neither
            traceback.clear_frames(error.__traceback__)  # the lines stay, the tensors in their variables do not
            FAILED[key] = Failure(f"it could not be compiled ({type(error).__name__}: {error})", error)
            warnings.warn(
                f"'{problem.graph.name}' runs slowly: {FAILED[key].reason}; backend='native' shows where.",
                RuntimeWarning,
                stacklevel=2,
            )
    return FAILED.get(key)


def _kernels_needed(problem: Problem) -> tuple[str, ...]:
    """The kernels that a call and its backward pass run, those that the cell may lack among them."""
    if not _needs_gradient(problem):
        return "project", "infer"
    forward = ("infer", "train") if problem.recompute else ("train",)
    return "project", *forward, "back", "input_gradient"


def _needs_gradient(problem: Problem) -> bool:
    """Whether a gradient may be asked for. A trace of torch.jit serves calls with and without one."""
    is_asked = torch.is_grad_enabled() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return is_asked and any([t.requires_grad for t in problem.tensors])  # noqa: C419, a generator takes 1 µs more


def known_plan(problem: Problem) -> native.Plan | None:
    """The plan of an earlier call like this one, so that nothing speaks against it: its tensors are plain."""
    if UNSUPPORTED or torch.is_autocast_enabled("cpu"):
        return None
    return native.known_plan(native.key_of(problem, _needs_gradient(problem)))


def run_planned(problem: Problem, plan: native.Plan) -> Output:
    """`run` for plain tensors and a plan of such calls."""
    return _planned(plan, problem.tensors, problem.seed, problem.lengths, problem.resets)


def run_plain(
    graph: Graph,
    recompute: int,
    x: Tensor,
    state: Sequence[Tensor] | None,
    sizes: tuple[tuple[int, ...], ...],
    params: Sequence[Tensor],
    form: native.Form,
) -> tuple[Tensor, tuple[Tensor, ...]] | None:
    """`run` without a Problem, where all tensors are plain and kernels can run it; else None.

    Args:
        graph: the cell's, which draws nothing.
        recompute: as in a Problem.
        x: the input, (T, B, I), of sequences that take all steps.
        state: the states before the first step, (1, B, …), which the final ones are, too; None for zeros.
        sizes: the shape of each state, without the batch.
        params: in the cell's order.
        form: how the states and parameters are given.
    """
    tensors = (x, *params) if state is None else (x, *state, *params)
    if not are_plain(tensors) or torch.is_autocast_enabled("cpu") or not have_memory(tensors):
        return None
    needs_gradient = torch.is_grad_enabled() and True in [v.requires_grad for v in tensors]
    key = native.key_of_form(form, sizes, graph, recompute, needs_gradient, x, state or (), params)
    plan = native.known_plan(key)
    if plan is None:
        plan = _plan_of_form(key, form, sizes, graph, recompute, needs_gradient, tensors)
    return None if plan is None else _planned(plan, tensors)


def _plan_of_form(
    key: tuple[object, ...],
    form: native.Form,
    sizes: Sequence[tuple[int, ...]],
    graph: Graph,
    recompute: int,
    needs_gradient: bool,
    tensors: Sequence[Tensor],
) -> native.Plan | None:
    """A plan for calls of this form, unless something speaks against kernels for them."""
    with torch.no_grad():
        x, *others = form.read(tensors, len(sizes))
        state = [x.new_zeros(x.shape[1], *size) for size in sizes]
        if not form.starts_at_zero:
            state = [s.squeeze(0) for s in others[: len(sizes)]]
    params = dict(zip(graph.params, others[-len(graph.params) :] if graph.params else (), strict=True))
    problem = Problem(graph, params, x, tuple(state), recompute=recompute, single_row=x.shape[1] == 1)
    if refusal(problem) is not None or compile_or_explain(problem) is not None:
        return None
    return native.new_plan(key, problem, needs_gradient, form)


def _planned(
    plan: native.Plan,
    tensors: Sequence[Tensor],
    seed: Tensor | None = None,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    if plan.signature.needs_gradient:
        y, *final = _apply_direct(plan, seed, lengths, resets, *tensors)
    else:
        y, final, _ = native.forward(plan, plan.form.read(tensors, plan.states), seed)
    return y, tuple(final)


def run(problem: Problem) -> Output:
    """The output and the final states.

    In bfloat16 the output has the dtype of the input, and each final state that of the first. The kernels take float32
    tensors and round what is multiplied to bfloat16; sums and states stay float32 from step to step.
    """
    if _is_bfloat16(problem):
        dtypes = [s.dtype for s in problem.state]
        y, final = _run(_as_float(problem))
        return y.to(problem.x.dtype), tuple(s.to(dtype) for s, dtype in zip(final, dtypes, strict=True))
    return _run(problem)


def run_interpreted(problem: Problem) -> Output:
    """By the interpreter; as an operator in an export to ONNX, or for any number of steps, which cannot be unrolled."""
    has_any_steps = isinstance(problem.x.shape[0], torch.SymInt)
    if torch.compiler.is_exporting() and (has_any_steps or torch.onnx.is_in_onnx_export()):
        y, *final = torch.ops.selfloop.interpret(*_arguments(problem))
        return y, tuple(final)
    return interpret.run(problem)


def _as_float(problem: Problem) -> Problem:
    """The same in float32, for kernels that round to bfloat16."""
    params = {name: weight.float() for name, weight in problem.params.items()}
    state = tuple(s.float() for s in problem.state)
    return replace(problem, x=problem.x.float(), params=params, state=state, bfloat16=True)


def _run(problem: Problem) -> Output:
    needs_gradient = _needs_gradient(problem)
    if problem.is_plain:
        return run_planned(problem, native.plan_of(problem, needs_gradient))
    y, *rest = torch.ops.selfloop.forward(*_arguments(problem), needs_gradient)
    return y, tuple(rest[: len(problem.state)])


def _arguments(problem: Problem) -> tuple[Any, ...]:
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
        problem.single_row,
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
    single_row: bool,
) -> Problem:
    graph = Graph.read(cell)
    weights = dict(zip(graph.params, params, strict=True))
    return Problem(graph, weights, x, tuple(state), lengths, resets, reverse, recompute, seed, bfloat16, single_row)
