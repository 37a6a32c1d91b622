"""What every kernel is asked: one cell over one sequence, in one direction."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd import forward_ad

from selfloop.errors import ArgumentError
from selfloop.kernels.torch_internals import (
    FakeTensor,
    dispatch_keys,
    dispatch_modes,
    guard_or_false,
    is_forward_mode,
    is_jit_tracing,
    transform,
)
from selfloop.language.graph import Graph


@dataclass(eq=False)  # frozen, it would take 2 µs more
class Problem:
    """One cell, its weights, and a batch of sequences.

    Attributes:
        graph: the step.
        params: the weights by the cell's names.
        x: the input; what lies beyond a sequence's length has been set to zero.
        state: the states before the first step that is taken, in the order of `graph.states`; vectors, or matrices.
        lengths: how many steps each sequence has; None means all of them.
        resets: where true, the state is zeroed before the step, so that a sequence can hold several; nowhere true
            beyond a sequence's length. In reverse the same segments are walked from their ends.
        reverse: walk from the last step to the first.
        recompute: activation checkpointing: save the states only, and recompute the residuals in segments of so many
            steps; 0 to save the residuals. Only compiled kernels heed it.
        bfloat16: make products of rounded numbers, and their sums in float32. Only compiled kernels heed it.
        seed: of what the graph draws; None where it draws nothing.
        kind: which kernels are run, one of `KINDS`; fixed when a call is traced, so not read from `x`, see `kind_of`.
            Only compiled kernels heed it.
    """

    graph: Graph
    params: Mapping[str, Tensor]
    x: Float[Tensor, "T B I"]
    state: tuple[Float[Tensor, "B ..."], ...]
    lengths: Int[Tensor, " B"] | None = None
    resets: Bool[Tensor, "T B"] | None = None
    reverse: bool = False
    recompute: int = 0
    seed: Int[Tensor, ""] | None = None
    bfloat16: bool = False
    kind: str = "batch"

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Input, state and weights."""
        return (self.x, *self.state, *self.params.values())

    @property
    def given(self) -> tuple[Tensor, ...]:
        """All tensors that the user gave."""
        if self.lengths is None and self.resets is None:
            return self.tensors
        return (*self.tensors, *[v for v in (self.lengths, self.resets) if v is not None])

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of the tensors, without time and batch; numbers, also where a trace has symbols."""
        known: tuple[tuple[int, ...], ...] | None = self.__dict__.get("_shapes")  # see `is_plain`
        if known is None:
            states = [s.shape[1:] for s in self.state]
            known = ((self.x.shape[-1],), *states, *[tuple(w.shape) for w in self.params.values()])
            if isinstance(self.x, FakeTensor):
                known = tuple(tuple(map(int, shape)) for shape in known)
            self.__dict__["_shapes"] = known
        return known

    @property
    def sizes(self) -> dict[str, int]:
        """The number of each named size."""
        names = (self.graph.input, *self.graph.states, *self.params)
        return self.graph.solve(dict(zip(names, self.shapes, strict=True)))

    @property
    def is_plain(self) -> bool:
        """Whether kernels can be called directly, without torch's dispatcher: see `are_plain`."""
        if torch.compiler.is_compiling():
            return False
        known: bool | None = self.__dict__.get("_is_plain")  # cached_property takes a lock: 2 µs, and no trace
        if known is None:
            known = self.__dict__["_is_plain"] = are_plain(self.given)
        return known

    def check_storage(self) -> None:
        """See `check_memory`."""
        check_memory(self.graph, (self.graph.input, *self.graph.states, *self.params), self.tensors)

    def check_lengths(self) -> None:
        """Raise ArgumentError where a length is not one, which would have a kernel write beyond its output."""
        steps, lengths = self.x.shape[0], self.lengths
        if lengths is not None and bool(((lengths < 0) | (lengths > steps)).any()):
            raise ArgumentError(
                f"The 'lengths' of {self.graph.name} must lie between 0 and {steps}, the number of steps. "
                f"Got {lengths.tolist()} instead."
            )

    @property
    def active(self) -> Bool[Tensor, "T B"] | None:
        """Which steps lie within their sequences, or None where all do."""
        if self.lengths is None:
            return None
        steps = torch.arange(self.x.shape[0], device=self.x.device)
        return steps[:, None] < self.lengths[None, :]


Output = tuple[Float[Tensor, "T B _"], tuple[Float[Tensor, "B ..."], ...]]
"""The output at each step, zero beyond a sequence's length, and the states after the last step that is taken, which is
step 0 in reverse."""


PLAIN = {Tensor, nn.Parameter, nn.Buffer}
"""Tensor classes without a __torch_function__ or __torch_dispatch__ of their own."""


def _plain_keys() -> frozenset[int]:
    tensor = torch.empty(0, device="cpu")
    with torch.inference_mode():  # its tensors lack autograd's keys
        return frozenset(dispatch_keys(v).raw_repr() for v in (tensor, torch.empty(0, device="cpu")))


PLAIN_KEYS = _plain_keys()
"""Torch's dispatch keys of a dense tensor in the CPU's memory. Any others mean a negated view, zeros without memory, a
fake, sparse, quantised, nested or batched tensor, or one on another device."""


def are_plain(tensors: Iterable[Tensor]) -> bool:
    """Whether all are dense tensors of the CPU whose memory kernels may read, and no mode, trace or transform is on."""
    if torch.compiler.is_compiling() or is_jit_tracing() or dispatch_modes():
        return False
    if is_forward_mode() or transform() is not None:
        return False
    for v in tensors:  # noqa: SIM110, a tensor takes 0.7 µs; all(…) would add 1 µs
        if dispatch_keys(v).raw_repr() not in PLAIN_KEYS or type(v) not in PLAIN:
            return False
    return True


def have_memory(tensors: Iterable[Tensor]) -> bool:
    """Whether each has the memory of its numbers, and has some."""
    return 0 not in [v.untyped_storage().nbytes() for v in tensors]


def check_memory(graph: Graph, names: Iterable[str], tensors: Iterable[Tensor]) -> None:
    """Raise ArgumentError where a tensor has lost its memory: torch's own functions would read at address 0."""
    for name, v in zip(names, tensors, strict=True):
        if not v.untyped_storage().nbytes() and v.numel():
            raise ArgumentError(
                f"The '{name}' of {graph.name} must have memory. Its storage has been freed; give it back its "
                "size with untyped_storage().resize_() and its numbers, until its gradient has been taken."
            )


def check_shape(graph: Graph, name: str, shape: tuple[int, ...], sizes: Mapping[str, int]) -> None:
    """Raise ArgumentError where a tensor has another shape than the numbers of its cell's named sizes give it."""
    try:
        expected = graph.shape_at(name, sizes)
    except KeyError:  # of a size that this one alone tells, by as many axes
        expected = None
    if shape != expected:
        terms = " × ".join(map(str, graph.shape(name))) or "one number"
        raise ArgumentError(
            f"The '{name}' of {graph.name} must be of shape {expected or terms}, as its other tensors are. Got "
            f"{shape} instead."
        )


def ended(x: Float[Tensor, "T B ..."], lengths: Int[Tensor, " B"]) -> Float[Tensor, "T B ..."]:
    """The same, zero beyond the lengths: what lies there may be anything, NaN too."""
    beyond = torch.arange(x.shape[0], device=x.device)[:, None] >= lengths
    return x.masked_fill(beyond.view(*beyond.shape, *[1] * (x.dim() - 2)), 0)


def has_numbers(v: Tensor) -> bool:
    """Whether numbers can be read from a tensor now: not while it is traced or batched, nor if it is a shape alone."""
    if torch.compiler.is_compiling() or is_jit_tracing() or is_transformed():
        return False
    return not (v.is_meta or isinstance(v, FakeTensor))


def is_transformed() -> bool:
    """Whether a transform of torch.func is under way, as vmap and jacrev are."""
    return not torch.compiler.is_compiling() and transform() is not None


def has_tangent(tensors: Iterable[Tensor]) -> bool:
    """Whether a derivative is taken in forward mode."""
    if torch.compiler.is_compiling() or not is_forward_mode():
        return False
    return any(forward_ad.unpack_dual(v).tangent is not None for v in tensors)


KINDS = ("batch", "sequence", "step")
"""Kernels for any number of sequences; for one, whose sums have several accumulators; and for one step of few
sequences. In float32 and float64 the last read matrices where they lie: packing them would take longer than the
products."""

FEW = 8
"""The most sequences of a step for which matrices are not packed."""


def kind_of(x: Float[Tensor, "T B I"]) -> str:
    """The kind of kernels that an input needs; in a trace that for any, unless its sizes are fixed at one."""
    if torch.compiler.is_compiling():
        if not guard_or_false(x.shape[1] == 1):
            return "batch"
        return "step" if guard_or_false(x.shape[0] == 1) else "sequence"
    steps, batch = x.shape[:2]
    if is_jit_tracing():
        return "batch"
    if steps == 1 and batch <= FEW:
        return "step"
    return "sequence" if batch == 1 else "batch"
