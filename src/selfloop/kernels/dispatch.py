"""Which backend runs a problem: each is asked in turn, the fastest first, and a refusal carries its reason."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from selfloop.errors import BackendError, check_one_of
from selfloop.kernels import direct, fused, interpret, operators, refusals
from selfloop.kernels.call import Call
from selfloop.kernels.problem import Output, Problem, are_plain, check_memory, ended
from selfloop.kernels.recent import RecentPlans
from selfloop.kernels.refusals import Failure


def _never(problem: Problem) -> None:
    del problem


@dataclass(frozen=True)
class Backend:
    """What can run a problem.

    Attributes:
        description: one line for `explain`.
        refusal: why it cannot run a problem, or None.
        run: the answer.
        failure: compiles what a call will need; why that failed, or None.
    """

    description: str
    refusal: Callable[[Problem], str | None]
    run: Callable[[Problem], Output]
    failure: Callable[[Problem], Failure | None] = _never


BACKENDS: dict[str, Backend] = {
    "native": Backend(
        "machine code compiled for this cell and processor",
        refusals.refusal,
        direct.run_problem,
        refusals.compile_or_explain,
    ),
    "torch": Backend("torch's own function for this cell, the whole sequence in one call", fused.refusal, fused.run),
    "interpret": Backend("torch operations, one step at a time", interpret.refusal, operators.run_interpreted),
}
"""The fastest first."""

NAMES = ("auto", *BACKENDS)


def check_backend(backend: object) -> None:
    """Raise ArgumentError unless this is the name of a backend."""
    check_one_of(backend, NAMES, "The 'backend'")


def run(call: Call, backend: str, recent: RecentPlans) -> tuple[Float[Tensor, "T B _"], tuple[Tensor, ...]]:
    """Run a call on the backend of this name; `auto` is the fastest that can. Final states have the call's form.

    Args:
        call: what is asked for.
        backend: the name.
        recent: the plans of calls like this one.

    Raises:
        ArgumentError: a tensor's memory has been freed.
        BackendError: the named backend cannot run it; the message has the reason, and the cause is a compiler's error.
    """
    if not torch.compiler.is_compiling() and backend in ("auto", "native"):
        known = direct.run(call, recent)
        if known is not None:
            return known
    if are_plain(call.tensors):
        check_memory(call.graph, call.form.names(call.graph), call.tensors)
    problem = call.problem()
    if call.lengths is not None:
        problem.x = ended(call.x, call.lengths)
    y, final = BACKENDS[choose(problem, backend)[0]].run(problem)
    return y, tuple([s.unsqueeze(0) for s in final]) if call.form.is_stacked else final


def choose(problem: Problem, backend: str, compile: bool = True) -> tuple[str, dict[str, str]]:
    """The name of the backend that runs a problem, and for each faster one the reason why it does not.

    Args:
        problem: what is to be run.
        backend: a name, or `auto`.
        compile: whether to compile what the call will need, which may fail.
    """
    reasons: dict[str, str] = {}
    cause: Exception | None = None
    for name in BACKENDS if backend == "auto" else (backend,):
        own = BACKENDS[name]
        reason = own.refusal(problem)
        failure = own.failure(problem) if compile and reason is None else None
        if failure is not None:
            reason, cause = failure
        if reason is None:
            return name, reasons
        reasons[name] = reason
    raise BackendError(
        f"backend='{backend}' cannot run '{problem.graph.name}': {reasons[backend]}. Use backend='auto' instead."
    ) from cause
