"""Why compiled kernels do not run a problem: its tensors, this processor, or a compiler that failed."""

import traceback
import warnings
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from selfloop.compiler import VARIES, host_target
from selfloop.errors import BackendError
from selfloop.kernels.bfloat16 import pair_products
from selfloop.kernels.compiled import BITS, kernels_of, sizes_of
from selfloop.kernels.problem import Problem, are_plain, has_tangent, have_memory, is_transformed
from selfloop.kernels.torch_internals import (
    DispatchKey,
    FakeTensor,
    FunctionalTensor,
    dispatch_keys,
    is_jit_tracing,
    is_legacy_batched,
)


def _unsupported() -> str | None:
    try:
        host_target()
    except BackendError as error:
        return str(error).rstrip(".")
    return None


UNSUPPORTED = _unsupported()
"""Why this processor has no kernels, or None."""


def may_read(tensors: Collection[Tensor]) -> bool:
    """Whether there are kernels for this processor, and they may read the memory of these: see `are_plain`."""
    return UNSUPPORTED is None and are_plain(tensors) and have_memory(tensors)


def is_batched(v: Tensor) -> bool:
    """Whether this stands for many tensors, under vmap or `is_grads_batched`."""
    return is_transformed() or is_legacy_batched(v)


def _is_foreign(v: Tensor) -> bool:
    """Whether a class that is not torch's own has a say in what operators do."""
    return dispatch_keys(v).has(DispatchKey.Python) and not isinstance(v, FakeTensor | FunctionalTensor)


REFUSED: tuple[tuple[Callable[[Tensor], bool], str], ...] = (
    (lambda v: not v.is_cpu, "compiled kernels run on the CPU"),
    (lambda v: v.layout is not torch.strided or v.is_nested, "compiled kernels read dense tensors"),
    (is_batched, "compiled kernels take no part in torch.func's transforms"),
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
    in_bfloat16 = is_bfloat16(problem)
    if in_bfloat16 and pair_products() is None:
        return "this processor does not multiply bfloat16"
    if torch.is_autocast_enabled("cpu") and not in_bfloat16:
        return "compiled kernels take part in autocast to bfloat16 alone"
    dtype = problem.x.dtype
    if not in_bfloat16 and (dtype not in BITS or not all(t.dtype is dtype for t in problem.tensors)):
        dtypes = ", ".join(sorted({str(t.dtype).removeprefix("torch.") for t in problem.tensors}))
        return f"compiled kernels take float32, float64 or bfloat16, and this is {dtypes}"
    return UNSUPPORTED


def is_bfloat16(problem: Problem) -> bool:
    """Whether a call is to be in bfloat16: by autocast, or since all tensors are."""
    if torch.is_autocast_enabled("cpu"):
        known = (torch.bfloat16, torch.float32)
        return torch.get_autocast_dtype("cpu") is torch.bfloat16 and all(t.dtype in known for t in problem.tensors)
    return problem.x.dtype is torch.bfloat16 and all(t.dtype is torch.bfloat16 for t in problem.tensors)


class Failure(NamedTuple):
    """Why a cell could not be compiled: in words, and the error with its traceback."""

    reason: str
    cause: Exception


FAILED: dict[tuple[str, torch.dtype, bool], Failure] = {}
"""The cells that could not be compiled, by dtype and whether they round to bfloat16. It is tried at one size, since it
takes seconds."""


def compile_or_explain(problem: Problem) -> Failure | None:
    """Compile what the call will need; why that failed, or None."""
    if torch.compiler.is_compiling() or is_jit_tracing():
        return None
    sizes_of(problem.graph.text, problem.shapes)  # raises where a weight does not fit
    in_bfloat16 = is_bfloat16(problem)
    key = problem.graph.text, problem.x.dtype, in_bfloat16
    if key not in FAILED:
        try:
            kernels = kernels_of(as_float(problem) if in_bfloat16 else problem)
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
    if not needs_gradient(problem):
        return "project", "infer"
    forward = ("infer", "train") if problem.recompute else ("train",)
    return "project", *forward, "back", "input_gradient"


def needs_gradient(problem: Problem) -> bool:
    """Whether a gradient may be asked for. A trace of torch.jit serves calls with and without one."""
    is_asked = torch.is_grad_enabled() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return is_asked and any([t.requires_grad for t in problem.tensors])  # noqa: C419, a generator takes 1 µs more


def as_float(problem: Problem) -> Problem:
    """The same in float32, for kernels that round to bfloat16."""
    params = {name: weight.float() for name, weight in problem.params.items()}
    state = tuple(s.float() for s in problem.state)
    return replace(problem, x=problem.x.float(), params=params, state=state, bfloat16=True)
