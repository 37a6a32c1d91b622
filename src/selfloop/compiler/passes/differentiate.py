"""Step -> the step backward: what its values owe to the gradients of what it stored.

A derivative is a row of `RULES`: for an operation, what each argument gets of the gradient `d` of the result `y`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from selfloop.compiler.step import SCALAR, Place, Step, Store, Value, Weight, Writer, copy


class Outer(NamedTuple):
    """A weight's gradient: over all steps, the sum of the outer products of `delta` and `argument`.

    `delta` is a value of the step backward, `argument` one of the step forward.
    """

    weight: Weight
    rows: int
    columns: int
    delta: int
    argument: int


@dataclass(frozen=True)
class Derivative:
    """The step backward.

    Attributes:
        step: its values, among them those of the step forward.
        forward: the value here of each value of the step forward.
        outers: the gradients of weights.
        projected: the gradient of each product that was hoisted, a value of `step`.
    """

    step: Step
    forward: tuple[int, ...]
    outers: tuple[Outer, ...]
    projected: dict[Place, int]


class _Maths:
    """Writes arithmetic on values; numbers are welcome."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def __call__(self, op: str, *args: int | float) -> int:
        return self.writer.apply(op, *(self.writer.const(a) if isinstance(a, float) else a for a in args))


Rule = Callable[[_Maths, int, int, tuple[int, ...]], tuple[int | None, ...]]


def _sigmoid(m: _Maths, d: int, y: int, _: tuple[int, ...]) -> tuple[int]:
    return (m("mul", d, m("mul", y, m("sub", 1.0, y))),)


def _tanh(m: _Maths, d: int, y: int, _: tuple[int, ...]) -> tuple[int]:
    return (m("mul", d, m("sub", 1.0, m("mul", y, y))),)


def _gelu(m: _Maths, d: int, y: int, args: tuple[int, ...]) -> tuple[int]:
    (x,) = args
    below = m("mul", 0.5, m("add", 1.0, m("erf", m("mul", x, math.sqrt(0.5)))))
    density = m("mul", 1 / math.sqrt(2 * math.pi), m("exp", m("mul", -0.5, m("mul", x, x))))
    return (m("mul", d, m("add", below, m("mul", x, density))),)


def _abs(m: _Maths, d: int, y: int, args: tuple[int, ...]) -> tuple[int]:
    """The sign times the gradient, so that an infinite one is NaN at zero, as in torch."""
    (x,) = args
    sign = m("where", m("gt", x, 0.0), 1.0, m("where", m("lt", x, 0.0), -1.0, 0.0))
    return (m("mul", d, sign),)


def _extreme(further: str) -> Rule:
    """Nothing for the one that is not taken; of two equals each gets half, beside a NaN each gets all, as in torch."""

    def rule(m: _Maths, d: int, y: int, args: tuple[int, ...]) -> tuple[int, int]:
        a, b = args
        shared = m("where", m("eq", a, b), m("mul", 0.5, d), d)
        return tuple(m("where", m(further, p, q), 0.0, shared) for p, q in ((a, b), (b, a)))  # type: ignore[return-value]

    return rule


def _amax(m: _Maths, d: int, y: int, args: tuple[int, ...]) -> tuple[int]:
    """Equals share."""
    (v,) = args
    taken = m("where", m("eq", v, y), 1.0, 0.0)
    return (m("mul", taken, m("div", d, m.writer.reduce("sum", taken))),)


def _where(m: _Maths, d: int, y: int, args: tuple[int, ...]) -> tuple[None, int, int]:
    return None, m("where", args[0], d, 0.0), m("where", args[0], 0.0, d)


RULES: dict[str, Rule] = {
    "neg": lambda m, d, y, a: (m("neg", d),),
    "add": lambda m, d, y, a: (d, d),
    "sub": lambda m, d, y, a: (d, m("neg", d)),
    "mul": lambda m, d, y, a: (m("mul", d, a[1]), m("mul", d, a[0])),
    "div": lambda m, d, y, a: (m("div", d, a[1]), m("neg", m("mul", d, m("div", y, a[1])))),
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "relu": lambda m, d, y, a: (m("where", m("le", y, 0.0), 0.0, d),),
    "exp": lambda m, d, y, a: (m("mul", d, y),),
    "log": lambda m, d, y, a: (m("div", d, a[0]),),
    "softplus": lambda m, d, y, a: (m("mul", d, m("sigmoid", a[0])),),
    "gelu": _gelu,
    "sin": lambda m, d, y, a: (m("mul", d, m("cos", a[0])),),
    "cos": lambda m, d, y, a: (m("neg", m("mul", d, m("sin", a[0]))),),
    "sqrt": lambda m, d, y, a: (m("div", m("mul", 0.5, d), y),),
    "abs": _abs,
    "minimum": _extreme("gt"),
    "maximum": _extreme("lt"),
    "where": _where,
    "sum": lambda m, d, y, a: (d,),
    "amax": _amax,
}
"""What the arguments get; None where no gradient passes. Comparisons have no row: nothing passes them."""


def differentiate(step: Step, states: Mapping[str, int]) -> Derivative:
    """The step backward.

    Args:
        step: the step forward.
        states: the size of each state; the first is the step's output, whose gradient comes from above too.
    """
    writer = Writer()
    everything = Step(step.values, tuple(Store(Place("new", ""), k) for k in range(len(step.values))))
    forward = copy(everything, writer)
    owed = _Owed(step, writer)
    for store in step.stores:
        size = step.values[store.value].size
        owed.to(store.value, writer.load(store.place._replace(kind="later"), size))
        if store.place.name == next(iter(states)):
            owed.to(store.value, writer.load(store.place._replace(kind="above"), size))

    maths, outers = _Maths(writer), []
    for k in range(len(step.values) - 1, -1, -1):
        value = step.values[k]
        if k not in owed.values:
            continue
        d = owed.total(k)
        if value.op == "product":
            for weight, a in value.terms:
                outers.append(Outer(weight, value.size, step.values[a].size, d, a))
                owed.through(weight, a, d)
        else:
            gets = RULES[value.op](maths, d, forward[k], tuple(forward[a] for a in value.args))
            for a, got in zip(value.args, gets, strict=True):
                if got is not None:
                    owed.to(a, got)

    stores = [
        Store(place._replace(kind=_GRADIENTS[place.kind]), owed.at(place), add=place.kind == "param")
        for place in owed.places
        if place.kind in _GRADIENTS
    ]
    stores += _nothing(writer, stores, states)
    projected = {place: owed.at(place) for place in owed.places if place.kind == "record"}
    return Derivative(
        Step(tuple(writer.values), tuple(stores)),
        tuple(forward[k] for k in range(len(step.values))),
        tuple(outers),
        projected,
    )


_GRADIENTS = {"old": "earlier", "input": "below", "param": "total"}
"""Where the gradient of what was loaded goes."""


class _Owed:
    """What gradients each value has got so far. What was loaded is known by its place, the rest by its number."""

    def __init__(self, step: Step, writer: Writer) -> None:
        self.step, self.writer = step, writer
        self.values: dict[int, list[int]] = {}
        self.places: dict[Place, list[int]] = {}
        self.sizes: dict[Place, int] = {}
        self.matters: list[bool] = []  # it depends on more than numbers, drawn ones included
        self.bounds: dict[tuple[str, str], set[int]] = {}
        for value in step.values:
            self.matters.append(value.op == "load" or any(self.matters[a] for a in value.args))
            if value.place:
                kind, name, offset = value.place
                self.bounds.setdefault((kind, name), set()).update((offset, offset + value.size))

    def to(self, k: int, d: int) -> None:
        """Value k gets d."""
        value = self.step.values[k]
        if not self.matters[k]:
            return
        if value.place:
            self._to_place(value.place, value.size, d)
        else:
            self.values.setdefault(k, []).append(self._fit(d, value.size))

    def through(self, weight: Weight, k: int, d: int) -> None:
        """Value k gets d through the transposed weight.

        The input gets its own for all steps at once, after the last. What was loaded as one for the product and in
        pieces for the rest gets it in pieces.
        """
        value = self.step.values[k]
        spans = [(0, value.size)]
        if value.place:
            kind, name, first = value.place
            if kind == "input":
                return
            bounds = sorted(b - first for b in self.bounds[kind, name] if first <= b <= first + value.size)
            spans = [(a, b - a) for a, b in pairwise(bounds)]
        for start, size in spans:
            back = Weight(weight.name, weight.row, weight.column + start, transposed=True)
            d_part = self.writer.product(size, [(back, d)])
            if value.place:
                self._to_place(value.place._replace(offset=value.place.offset + start), size, d_part)
            else:
                self.to(k, d_part)

    def total(self, k: int) -> int:
        """All that value k has got."""
        return self._sum(self.values[k])

    def at(self, place: Place) -> int:
        """All that a place has got."""
        return self._sum(self.places[place])

    def _sum(self, owed: list[int]) -> int:
        """Products first, so that they can become one."""
        return self.writer.sum(sorted(owed, key=lambda d: self.writer.values[d].op != "product"))

    def _to_place(self, place: Place, size: int, d: int) -> None:
        self.places.setdefault(place, []).append(self._fit(d, size))
        self.sizes[place] = size

    def _fit(self, d: int, size: int) -> int:
        """The gradient of what was spread over a vector is the sum over it, and the other way round."""
        own = self.writer.values[d].size
        if (size == SCALAR) == (own == SCALAR):
            return d
        return self.writer.reduce("sum", d) if size == SCALAR else self.writer.add(Value("spread", (d,), size))


def _nothing(writer: Writer, stores: list[Store], states: Mapping[str, int]) -> list[Store]:
    """Zeros for the parts of states that nothing depends on."""
    zeros: list[Store] = []
    for name, size in states.items():
        known = sorted(
            (s.place.offset, s.place.offset + writer.values[s.value].size)
            for s in stores
            if (s.place.kind, s.place.name) == ("earlier", name)
        )
        ends = [0, *(end for _, end in known)]
        starts = [*(start for start, _ in known), size]
        for end, start in zip(ends, starts, strict=True):
            if end < start:
                zero = writer.add(Value("zeros", (), start - end))
                zeros.append(Store(Place("earlier", name, end), zero))
    return zeros
