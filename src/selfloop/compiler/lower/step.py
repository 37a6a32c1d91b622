"""`Step`: one time step of a cell, with sizes as numbers. It is what every pass of `lower` reads and writes.

A Graph has vectors that are split and concatenated. A Step has `Value`s, each a scalar or one contiguous vector; the
elements of a vector mix only in products, reductions and scans. `split` and `concat` are gone: they say where a value
lies, not what it is. A matrix that differs from step to step is a vector of its rows, one after the other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import NamedTuple, cast

from selfloop.compiler.lower.operations import LEAVES

SCALAR = 0
"""The size of a scalar, which is broadcast to vectors of any size. A vector of one element has size 1."""

BUFFERS = {
    "x": "the input",
    "h_prev": "a state before the step",
    "h_next": "a state after the step",
    "param": "a parameter",
    "residual": "what the forward step saves for the backward step, and hoisted products: a row per step and sequence",
    "workspace": "intermediate values of one step: a row per sequence",
    "dy": "the cotangent (gradient) of the output",
    "dx": "the cotangent of the input",
    "dh_next": "the cotangent of a state after the step",
    "dh_prev": "the cotangent of a state before the step",
    "cotangent": "the cotangents of matrix products: a row per step and sequence",
    "dparam": "the gradients of vector and scalar parameters, summed over the steps: a row per sequence",
}
"""The buffers that a step reads and writes. A cell may have several states: `h` stands for each of them."""


class Location(NamedTuple):
    """Where a value lies: a buffer, a name within it, and the index of its first element in a row."""

    buffer: str
    name: str
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.buffer} {self.name}[{self.offset}:]"


class Submatrix(NamedTuple):
    """A block of a matrix parameter, from its first row and column on; `transposed` if its transpose multiplies."""

    name: str
    row: int
    column: int
    transposed: bool = False

    def __str__(self) -> str:
        return f"{self.name}{'ᵀ' if self.transposed else ''}[{self.row}:, {self.column}:]"


class Bernoulli(NamedTuple):
    """A random leaf of zeros and ones.

    Attributes:
        rate: the probability of 1.
        stream: the number of its random stream.
        per_step: whether each step draws anew, or one draw serves the whole sequence.
        offset: the index of its first element in the vector that is drawn.
    """

    rate: float
    stream: int
    per_step: bool
    offset: int


class Matvec(NamedTuple):
    """Which elements of a matrix-vector product: those from `first` on; `transposed` if the transpose multiplies."""

    first: int
    transposed: bool

    def __str__(self) -> str:
        return f"{'ᵀ' if self.transposed else ''}[{self.first}:]"


Attribute = Location | Bernoulli | Matvec | tuple[Submatrix, ...] | float | int | None


@dataclass(frozen=True)
class Value:
    """One value: an operation on earlier values.

    Attributes:
        op: its name, a row of `operations.OPERATIONS`.
        args: the indices of its arguments in the Step.
        size: its number of elements, or SCALAR.
        attribute: the Location of a `load`, the number of a `const`, the Submatrix that each argument of a `product` is
            multiplied by, the rate and stream of a `bernoulli`, the exponent of a `pow`, which elements a `matvec` has.
        rows: of a matrix that differs from step to step, whose elements lie row by row; 1 for all others.
    """

    op: str
    args: tuple[int, ...]
    size: int
    attribute: Attribute = None
    rows: int = 1

    @property
    def columns(self) -> int:
        """Of a matrix."""
        return self.size // self.rows

    @property
    def location(self) -> Location | None:
        """Where it is loaded from, if it is a load."""
        return self.attribute if isinstance(self.attribute, Location) else None

    @property
    def terms(self) -> tuple[tuple[Submatrix, int], ...]:
        """The terms of a product, each a submatrix and the argument that it multiplies; empty for other values."""
        matrices = cast(tuple[Submatrix, ...], self.attribute) if self.op == "product" else ()
        return tuple(zip(matrices, self.args[: len(matrices)], strict=True))

    def __str__(self) -> str:
        if self.op == "product":
            text = " + ".join(f"{matrix} @ %{a}" for matrix, a in self.terms)
        elif self.op in LEAVES:
            text = f"{self.op} {'' if self.attribute is None else self.attribute}".rstrip()
        else:
            given = [f"%{a}" for a in self.args] + ([] if self.attribute is None else [str(self.attribute)])
            text = f"{self.op} {', '.join(given)}"
        return f"{text} : {f'{self.rows} × {self.columns}' if self.rows > 1 else self.size or 'scalar'}"


class Store(NamedTuple):
    """Write a value to a location, or add it to what is there."""

    location: Location
    value: int
    accumulate: bool = False

    def __str__(self) -> str:
        return f"{self.location} {'+=' if self.accumulate else '='} %{self.value}"


@dataclass(frozen=True)
class Step:
    """Values in an order in which they can be computed, and the stores that make up the step's result."""

    values: tuple[Value, ...]
    stores: tuple[Store, ...]

    def __str__(self) -> str:
        lines = [f"%{k} = {value}" for k, value in enumerate(self.values)]
        return "\n".join([*lines, *map(str, self.stores)])

    def with_stores(self, stores: Iterable[Store]) -> "Step":
        """The same values with other stores."""
        return Step(self.values, tuple(stores))

    def sizes(self, buffer: str) -> dict[tuple[str, int], int]:
        """The size of each field of a buffer that is stored, by name and offset."""
        return {s.location[1:]: self.values[s.value].size for s in self.stores if s.location.buffer == buffer}


@dataclass
class Builder:
    """Builds a Step value by value. Equal values are written once (common-subexpression elimination)."""

    values: list[Value] = field(default_factory=list)
    _known: dict[Value, int] = field(default_factory=dict)

    def add(self, value: Value) -> int:
        """The index of this value."""
        index = self._known.setdefault(value, len(self.values))
        if index == len(self.values):
            self.values.append(value)
        return index

    def const(self, number: float) -> int:
        """A number."""
        return self.add(Value("const", (), SCALAR, number))

    def load(self, location: Location, size: int, rows: int = 1) -> int:
        """What lies at a location."""
        return self.add(Value("load", (), size, location, rows))

    def apply(self, op: str, *args: int, attribute: Attribute = None) -> int:
        """An elementwise operation, of the size of its largest argument."""
        own = [self.values[a] for a in args]
        return self.add(Value(op, args, max(v.size for v in own), attribute, max(v.rows for v in own)))

    def reduce(self, op: str, value: int) -> int:
        """A reduction of a vector to a scalar."""
        return self.add(Value(op, (value,), SCALAR))

    def scan(self, op: str, value: int) -> int:
        """A scan of a vector."""
        return self.add(Value(op, (value,), self.values[value].size))

    def product(self, size: int, terms: Iterable[tuple[Submatrix, int]]) -> int:
        """The sum of matrix-vector products."""
        matrices, args = zip(*terms, strict=True)
        return self.add(Value("product", args, size, matrices))

    def sum(self, values: Iterable[int]) -> int:
        """The sum of several values, at least one."""
        return reduce(lambda total, value: self.apply("add", total, value), values)

    def copy(self, step: Step, replaced: Mapping[int, int] | None = None) -> dict[int, int]:
        """Copy what the stores of a step need; the new index of each value.

        Args:
            step: the step.
            replaced: values of the step that are not copied, and the index here of what takes their place.
        """
        new = dict(replaced or {})
        needed = ancestors(step, [store.value for store in step.stores], stop=new)
        for k, value in enumerate(step.values):
            if k in needed and k not in new:
                new[k] = self.add(replace(value, args=tuple(new[a] for a in value.args)))
        return new

    def finish(self, stores: Iterable[Store]) -> Step:
        """The Step."""
        return Step(tuple(self.values), tuple(stores))


def ancestors(step: Step, roots: Iterable[int], stop: Iterable[int] = ()) -> set[int]:
    """The roots and all values that they depend on; the arguments of `stop` are not followed."""
    stops, found, open_ = set(stop), set(), list(roots)
    while open_:
        k = open_.pop()
        if k not in found:
            found.add(k)
            if k not in stops:
                open_.extend(step.values[k].args)
    return found


def use_counts(step: Step) -> list[int]:
    """How often each value is used, by values and by stores."""
    count = [0] * len(step.values)
    for value in step.values:
        for a in value.args:
            count[a] += 1
    for store in step.stores:
        count[store.value] += 1
    return count
