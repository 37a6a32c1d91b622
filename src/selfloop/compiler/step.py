"""A step in numbers: what the passes transform. Sizes are known, vectors are cut into pieces, memory has names.

A Graph speaks of vectors that are split and concatenated; a Step of *values*, each a scalar or one vector whose lanes
never mix but in products and reductions. `split` and `concat` are gone: they say where a value lies, not what it is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, cast

SCALAR = 0
"""The size of a scalar, which fits vectors of any size; a vector of one element has size 1."""


class Place(NamedTuple):
    """Where a value lies in memory: an array's kind and name, and how many elements from the start of a row.

    Kinds: `input`; `old` and `new` states; `param`; `record`, kept from forward to backward; `delta`, the gradients of
    products; `scratch`, for one step; `above`, the gradient of the output; `later` and `earlier`, the gradients of the
    states after and before the step; `below`, the gradient of the input; `total`, sums over the steps.
    """

    kind: str
    name: str
    offset: int = 0


class Weight(NamedTuple):
    """A block of a matrix: its first row and column in the parameter, and whether its transpose multiplies."""

    name: str
    row: int
    column: int
    transposed: bool = False


class Random(NamedTuple):
    """A random leaf: the probability of 1, its stream, whether each step draws anew, and the first place drawn for."""

    rate: float
    stream: int
    per_step: bool
    offset: int


Detail = Place | Random | tuple[Weight, ...] | float | None


@dataclass(frozen=True)
class Value:
    """One value: an operation on earlier ones.

    `load` reads a Place, `const` is a number, `zeros` a vector of them, `product` is the sum of Weights times its
    arguments, `bernoulli` is drawn; every other operation is one of the language's, or of `differentiate`'s own.
    """

    op: str
    args: tuple[int, ...]
    size: int
    detail: Detail = None

    @property
    def place(self) -> Place | None:
        """Where it is loaded from, if it is."""
        return self.detail if isinstance(self.detail, Place) else None

    @property
    def terms(self) -> tuple[tuple[Weight, int], ...]:
        """The weights of a product, each with the argument that it multiplies; of other values, none."""
        weights = cast(tuple[Weight, ...], self.detail) if self.op == "product" else ()
        return tuple(zip(weights, self.args[: len(weights)], strict=True))


LEAVES = ("load", "const", "bernoulli", "zeros")
COMPARISONS = ("lt", "le", "gt", "ge", "eq")
CHEAP = ("add", "sub", "mul", "neg", "minimum", "maximum", "where", "relu", "abs", "spread", *COMPARISONS)
"""Operations of about one instruction."""

REDUCTIONS = ("sum", "amax")


class Store(NamedTuple):
    """A value goes to a place: it replaces what is there, or is added to it."""

    place: Place
    value: int
    add: bool = False


@dataclass(frozen=True)
class Step:
    """Values in an order in which they can be computed, and where the wanted ones go."""

    values: tuple[Value, ...]
    stores: tuple[Store, ...]

    def __str__(self) -> str:
        lines = [f"  {k:3} = {_show(value)}" for k, value in enumerate(self.values)]
        lines += [f"  {_place(s.place)} {'+=' if s.add else '='} {s.value}" for s in self.stores]
        return "\n".join(lines)


@dataclass
class Writer:
    """A Step while it is being written. Equal values are written once; what is trivial is not written at all."""

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

    def load(self, place: Place, size: int) -> int:
        """What lies at a place."""
        return self.add(Value("load", (), size, place))

    def size(self, *values: int) -> int:
        """The size of an elementwise operation on these."""
        return max(self.values[v].size for v in values)

    def apply(self, op: str, *args: int) -> int:
        """An elementwise operation."""
        return self.add(Value(op, args, self.size(*args)))

    def reduce(self, op: str, value: int) -> int:
        """A reduction over the vector; a scalar is its own maximum."""
        return self.add(Value(op, (value,), SCALAR))

    def product(self, size: int, terms: Iterable[tuple[Weight, int]]) -> int:
        """The sum of weights times values."""
        weights, args = zip(*terms, strict=True)
        return self.add(Value("product", args, size, weights))

    def sum(self, values: Iterable[int]) -> int:
        """The sum of several values, at least one."""
        total: int | None = None
        for value in values:
            total = value if total is None else self.apply("add", total, value)
        assert total is not None
        return total


def copy(step: Step, writer: Writer, change: Mapping[int, int] | None = None) -> dict[int, int]:
    """Write what the stores of a step need into a writer; `change` names what stands in for some of its values."""
    place = dict(change or {})
    needed = reached(step, [store.value for store in step.stores], stop=place)
    for k, value in enumerate(step.values):
        if k in needed and k not in place:
            place[k] = writer.add(Value(value.op, tuple(place[a] for a in value.args), value.size, value.detail))
    return place


def reached(step: Step, roots: Iterable[int], stop: Iterable[int] = ()) -> set[int]:
    """The roots and all they are made of, not looking beyond `stop`."""
    stops, found, open_ = set(stop), set(), list(roots)
    while open_:
        k = open_.pop()
        if k not in found:
            found.add(k)
            if k not in stops:
                open_.extend(step.values[k].args)
    return found


def uses(step: Step) -> list[int]:
    """How often each value is used, stores included."""
    count = [0] * len(step.values)
    for value in step.values:
        for a in value.args:
            count[a] += 1
    for store in step.stores:
        count[store.value] += 1
    return count


def _show(value: Value) -> str:
    text = ", ".join(map(str, value.args or (value.detail,)))
    if value.place:
        text = _place(value.place)
    if value.op == "product":
        blocks = ((f"{w.name}{'ᵀ' if w.transposed else ''}[{w.row}:, {w.column}:]", a) for w, a in value.terms)
        text = " + ".join(f"{block} @ {a}" for block, a in blocks)
    return f"{value.op}({text})" + (f" : {value.size}" if value.size else "")


def _place(place: Place) -> str:
    return f"{place.kind} {place.name}[{place.offset}:]"
