"""Which kernel runs a problem: each way is asked in turn, and a refusal carries its reason."""

from collections.abc import Callable
from dataclasses import dataclass

from selfloop.errors import ArgumentError, BackendError, nearest
from selfloop.kernels import fused, interpret, operators
from selfloop.kernels.problem import Answer, Problem


@dataclass(frozen=True)
class Way:
    """One way to run a problem.

    Attributes:
        description: one line for `explain`.
        refusal: why it cannot, or None.
        run: the answer.
        failure: why it did not succeed in getting ready, or None.
    """

    description: str
    refusal: Callable[[Problem], str | None]
    run: Callable[[Problem], Answer]
    failure: Callable[[Problem], str | None] = lambda _: None


WAYS: dict[str, Way] = {
    "native": Way(
        "machine code compiled for this cell and processor", operators.refusal, operators.run, operators.failure
    ),
    "torch": Way("torch's own function for this cell, the whole sequence in one call", fused.refusal, fused.run),
    "interpret": Way("torch operations, one step at a time", interpret.refusal, interpret.run),
}
"""The fastest first."""

BACKENDS = ("auto", *WAYS)


def check_backend(backend: object) -> None:
    """Raise ArgumentError unless this is the name of a backend."""
    if backend not in BACKENDS:
        stop = nearest(str(backend), BACKENDS) or "."
        raise ArgumentError(f"The 'backend' must be one of {', '.join(BACKENDS)}. Got {backend!r} instead{stop}")


def run(problem: Problem, backend: str) -> Answer:
    """Run the problem: `auto` takes the fastest way that can, a name that way alone.

    Raises:
        ArgumentError: a tensor's memory has been freed.
        BackendError: the named way cannot run it; the message carries the reason.
    """
    if problem.is_memory:
        problem.check_storage()
    return WAYS[choose(problem, backend)[0]].run(problem)


def choose(problem: Problem, backend: str, ready: bool = True) -> tuple[str, dict[str, str]]:
    """The way that runs, and why each faster one does not; it need not get ready where only its name is asked for."""
    reasons: dict[str, str] = {}
    for name in WAYS if backend == "auto" else (backend,):
        way = WAYS[name]
        reason = way.refusal(problem) or (way.failure(problem) if ready else None)
        if reason is None:
            return name, reasons
        reasons[name] = reason
    raise BackendError(
        f"backend='{backend}' cannot run '{problem.graph.name}': {reasons[backend]}. Use backend='auto' instead."
    )
