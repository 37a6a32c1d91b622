"""Attention: at each step a mean of what was read, weighted by what matters now."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from selfloop.errors import ArgumentError, check_one_of
from selfloop.layers.layout import Lengths, arrange
from selfloop.layers.typed_call import typed_as

KINDS = ("dot", "general", "additive")


@dataclass(frozen=True)
class Memory:
    """What is attended to, made ready once by `Attention.remember` and read at every step.

    Several rows may read one memory, as the beams of a sentence do: it is then kept once and not copied to each of
    them.

    Attributes:
        values: what the weighted mean is made of.
        keys: what queries are compared with.
        valid: false beyond each memory's end; None where all are whole.
        beams: how many rows in a row read each memory.
    """

    values: Float[Tensor, "S P M"]
    keys: Float[Tensor, "S P K"]
    valid: Bool[Tensor, "P S"] | None = None
    beams: int = 1

    @property
    def batch_size(self) -> int:
        """How many rows read it."""
        return self.values.shape[1] * self.beams

    def select(self, rows: Int[Tensor, " N"]) -> "Memory":
        """What the rows `rows` read, in that order.

        As long as each memory has as many rows, one after another, which is what beam search asks for, they read the
        same copy of it.
        """
        readers = rows.to(self.values.device) // self.beams
        owners, counts = torch.unique_consecutive(readers, return_counts=True)
        beams = int(counts[0]) if len(counts) and bool((counts == counts[0]).all()) else 1
        if beams == 1:
            owners = readers
        if torch.equal(owners, torch.arange(self.values.shape[1], device=owners.device)):
            return replace(self, beams=beams)
        values = self.values.index_select(1, owners)
        keys = values if self.keys is self.values else self.keys.index_select(1, owners)
        return Memory(values, keys, None if self.valid is None else self.valid[owners], beams)


class Attention(nn.Module):
    r"""Weights over the steps of a memory, and the mean of the memory under them.

    The weights are the softmax over s of a score of query q and memory m[s]: ``"dot"`` is $q^\top m_s$ and
    ``"general"`` $q^\top W m_s$ (Luong et al. 2015, section 3.1, eq. 8), both unscaled as there; ``"additive"`` is
    $v^\top \tanh(W q + U m_s)$ (Bahdanau et al. 2015, appendix A.1.2). The first two are two products for all steps at
    once; the third makes T · B · S · size numbers on its way.

    Args:
        query_size: features of a query.
        memory_size: features of a step of the memory; for ``"dot"`` the same.
        kind: ``"dot"``, ``"general"`` or ``"additive"``.
        size: features inside the score of ``"additive"`` alone; query_size if None.

    Raises:
        ArgumentError: an argument does not fit.

    >>> attention = Attention(4, 6, kind="general")
    >>> context, weights = attention(torch.ones(2, 3, 4), torch.ones(5, 3, 6), lengths=[5, 1, 0])
    >>> context.shape, weights[0]
    (torch.Size([2, 3, 6]),
     tensor([[0.2000, 0.2000, 0.2000, 0.2000, 0.2000],
             [1.0000, 0.0000, 0.0000, 0.0000, 0.0000],
             [0.0000, 0.0000, 0.0000, 0.0000, 0.0000]], grad_fn=<SelectBackward0>))
    """

    def __init__(self, query_size: int, memory_size: int, kind: str = "dot", size: int | None = None) -> None:
        super().__init__()
        check_one_of(kind, KINDS, "The 'kind' of Attention")
        for name, number in (("query_size", query_size), ("memory_size", memory_size), ("size", size)):
            if number is not None and number < 1:
                raise ArgumentError(f"The '{name}' of Attention must be at least 1. Got {number} instead.")
        if kind == "dot" and query_size != memory_size:
            raise ArgumentError(
                "The 'query_size' and 'memory_size' of Attention must be equal for kind='dot'. "
                f"Got {query_size} and {memory_size} instead; kind='general' takes any sizes."
            )
        if size is not None and kind != "additive":
            raise ArgumentError(
                f"The 'size' of Attention is that of the score of kind='additive' alone. Leave it out for '{kind}'."
            )
        self.query_size, self.memory_size, self.kind = query_size, memory_size, kind
        size = query_size if size is None else size
        additive = kind == "additive"
        self.query = nn.Linear(query_size, size, bias=False) if additive else nn.Identity()
        self.key = nn.Identity() if kind == "dot" else nn.Linear(memory_size, size, bias=False)
        self.energy = nn.Linear(size, 1, bias=False) if additive else None

    def forward(
        self, queries: Float[Tensor, "T B Q"], memory: Float[Tensor, "S B M"], lengths: Lengths = None
    ) -> tuple[Float[Tensor, "T B M"], Float[Tensor, "T B S"]]:
        """What each query finds, and the weights it gives.

        Args:
            queries: what is looked for, T of each sequence.
            memory: what is looked at.
            lengths: how many steps each memory has, zero allowed, on any device; all of them if None. What lies beyond
                has no weight, whatever it is; a memory without a step gives zeros.

        Raises:
            ArgumentError: an argument has a wrong shape or value.
        """
        return self.attend(queries, self.remember(memory, lengths))

    if TYPE_CHECKING:

        @typed_as(forward)
        def __call__(self) -> None:
            """As `forward`."""

    def remember(self, memory: Float[Tensor, "S B M"], lengths: Lengths = None) -> Memory:
        """Make a memory ready, once for all the steps that will attend to it.

        Raises:
            ArgumentError: an argument has a wrong shape or value.
        """
        if memory.dim() != 3 or memory.shape[2] != self.memory_size:
            raise ArgumentError(
                f"The 'memory' of Attention must be of shape (S, B, {self.memory_size}), its memory_size last. "
                f"Got {tuple(memory.shape)} instead."
            )
        layout = arrange("Attention", memory, lengths, None, False, self.memory_size, memory)
        valid = None
        if layout.lengths is not None:
            valid = torch.arange(memory.shape[0], device=memory.device) < layout.lengths[:, None]
        return Memory(layout.x, self.key(layout.x), valid)

    def attend(
        self, queries: Float[Tensor, "T B Q"], memory: Memory
    ) -> tuple[Float[Tensor, "T B M"], Float[Tensor, "T B S"]]:
        """What `forward` gives, of a memory made ready.

        Raises:
            ArgumentError: the queries have a wrong shape.
        """
        if queries.dim() != 3 or queries.shape[1:] != (memory.batch_size, self.query_size):
            raise ArgumentError(
                f"The 'queries' of Attention must be of shape (T, {memory.batch_size}, {self.query_size}), steps by "
                f"the memory's batch by query_size. Got {tuple(queries.shape)} instead."
            )
        T, P, k = len(queries), memory.values.shape[1], memory.beams
        q = queries.reshape(T, P, k, self.query_size)
        q = self.query(q.transpose(0, 1).reshape(P, T * k, self.query_size))  # P, T · k, size
        keys = memory.keys.transpose(0, 1)  # P, S, size
        if self.energy is None:
            scores = torch.bmm(q, keys.transpose(1, 2))
        else:
            scores = self.energy(torch.tanh(q[:, :, None] + keys[:, None]))[..., 0]
        if memory.valid is None:
            weights = scores.softmax(-1)
        else:  # the least number and not -inf, which would make NaN of a memory without a step; then zero in any case
            beyond = ~memory.valid[:, None]
            weights = scores.masked_fill(beyond, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(beyond, 0)
        weights = weights.to(memory.values.dtype)
        context = torch.bmm(weights, memory.values.transpose(0, 1))  # P, T · k, M

        def by_time(x: Tensor) -> Tensor:
            y: Tensor = x.unflatten(1, (T, k)).transpose(0, 1).flatten(1, 2)
            return y

        return by_time(context), by_time(weights)

    def extra_repr(self) -> str:
        """The kind and the sizes, for printing."""
        return f"{self.kind}, {self.query_size} over {self.memory_size}"
