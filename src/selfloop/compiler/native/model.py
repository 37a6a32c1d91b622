"""What a whole model is: what stands before a recurrent stack, the stack, and what stands after it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from selfloop.compiler.native.spelling import Spelling
from selfloop.compiler.native.writer import Struct
from selfloop.language.graph import Graph

HEAD = 16
"""Words before the weights, and before a saved state: `MAGIC`, the hash of the model's form (2 words), the checksum of
its weights (2, from `SUM` on), the bytes of all, zeros."""

SUM = 3
"""The word of the head where the checksum begins."""

MAGIC = 0x31574C53
"""``SLW1``."""


@dataclass(frozen=True)
class Pass:
    """One layer in one direction.

    Attributes:
        name: of the layer and its direction, such as ``l0`` or ``l0_reverse``.
        graph: of the cell, without anything random.
        sizes: the number of each of its named sizes.
    """

    name: str
    graph: Graph
    sizes: Mapping[str, int]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each state; the first is the output, a vector."""
        return {name: self.graph.shape_at(name, self.sizes) for name in self.graph.states}

    @property
    def states(self) -> dict[str, int]:
        """The elements of each state."""
        return {name: prod(shape) for name, shape in self.shapes.items()}

    @property
    def output(self) -> int:
        """Its size."""
        return next(iter(self.states.values()))


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        passes: forward, and backward where the stack has two directions.
        adds_input: whether what it reads is added to its output.
        norm: the epsilon of the layer norm that follows; None where none does.
    """

    passes: Sequence[Pass]
    adds_input: bool = False
    norm: float | None = None

    @property
    def size(self) -> int:
        """Of its output."""
        return sum(one.output for one in self.passes)


@dataclass(frozen=True)
class Linear:
    """A matrix and a bias: ``name.weight`` and ``name.bias``."""

    name: str
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Model:
    """What is written.

    Attributes:
        name: what all names begin with.
        layers: of the stack.
        input_size: of the vector that layer 0 reads, without the cell's further inputs.
        further: the size of all further inputs of the cell, side by side.
        vocabulary: of tokens that a table gives a vector each; 0 where the input is numbers.
        spelling: how words are read, as `write_word` does; None where the input is no words.
        is_standardised: whether numbers are shifted by ``front.mean`` and divided by ``front.deviation``.
        readouts: one after the other, over the outputs of the stack.
        pooling: of all steps to one vector: ``last``, ``mean``, ``max``, ``attention``; None for an answer a step.
        starts_learnt: whether ``start.LAYER.STATE`` is where sequences begin, instead of zeros.
        form: of the matrices' weights, see `FORMS`.
        samples: whether tokens are drawn from the answers.
    """

    name: str
    layers: Sequence[Layer]
    input_size: int
    further: int = 0
    vocabulary: int = 0
    spelling: Spelling | None = None
    is_standardised: bool = False
    readouts: Sequence[Linear] = ()
    pooling: str | None = None
    starts_learnt: bool = False
    form: str = "f32"
    samples: bool = False

    @property
    def is_two_way(self) -> bool:
        """Whether it must see the end of a sequence before it answers."""
        return len(self.layers[0].passes) > 1

    @property
    def reads(self) -> str:
        """What a step is given: a ``token``, a ``word`` as `Spelling` has it, or ``numbers``."""
        return "token" if self.vocabulary else "word" if self.spelling else "numbers"

    @property
    def numbers(self) -> int:
        """How many numbers a step is given."""
        if self.spelling is not None:
            return self.spelling.row
        return 1 if self.vocabulary else self.further + self.input_size

    @property
    def output_size(self) -> int:
        """Of an answer."""
        return self.readouts[-1].outputs if self.readouts else self.layers[-1].size

    @property
    def states(self) -> dict[str, int]:
        """The fields of a session's state, in floats: of a model in one direction."""
        return {name: prod(shape) for name, shape in self.shapes.items()}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The fields of a session's state: vectors, and matrices, whose elements lie row by row."""
        own = {
            f"{state}_{one.name}": shape
            for layer in self.layers
            for one in layer.passes
            for state, shape in one.shapes.items()
        }
        return own | {name: (size,) for name, size in self.pooled.items()}

    @property
    def pooled(self) -> dict[str, int]:
        """What pooling keeps from step to step."""
        return {name: size or self.layers[-1].size for name, size in POOLED[self.pooling].items()}

    @property
    def room(self) -> int:
        """Floats that a run in two directions needs for each step."""
        return 2 * self.width if self.is_two_way else 0

    @property
    def width(self) -> int:
        """Of the widest vector between layers."""
        return max([self.input_size + self.further, *(layer.size + self.further for layer in self.layers)])


POOLED: dict[str | None, dict[str, int]] = {
    None: {},
    "last": {"pooled": 0},
    "mean": {"pooled": 0, "pooled_steps": 1},
    "max": {"pooled": 0, "pooled_steps": 1},
    "attention": {"pooled": 0, "pooled_score": 1, "pooled_weight": 1},
}
"""What each pooling keeps from step to step, and its size; 0 for that of an output."""


def form(model: Model, kind: str) -> tuple[int, int]:
    """Two words that differ between models whose weights cannot stand for one another.

    Args:
        model: whose weights they are.
        kind: of the writer of the code.
    """
    digest = hashlib.blake2b(repr((model, kind)).encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def structs(model: Model, floats: int = 0) -> dict[str, Struct]:
    """The structs of a model: its weights, of which so many are floats, and a session's state."""
    fields = {"head": (0, "constant_words"), "f": (4 * HEAD, "floats"), "q": (4 * (HEAD + floats), model.form)}
    at, own = 0, {}
    for name, size in model.states.items():
        own[name] = (at, "room")
        at += 4 * size
    return {
        "weights": Struct(f"{model.name}_weights", fields, is_constant=True),
        "state": Struct(f"{model.name}_state", own, is_constant=False),
    }
