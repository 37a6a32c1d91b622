"""Derivative -> what the step forward keeps for it, and the step backward that reads this.

States are kept anyway. Of the rest, what the step backward needs is kept, unless it is cheaper made again.
"""

from dataclasses import dataclass
from typing import NamedTuple

from selfloop.compiler.passes.differentiate import Derivative
from selfloop.compiler.passes.fuse import fuse
from selfloop.compiler.step import (
    CHEAP,
    COMPARISONS,
    LEAVES,
    REDUCTIONS,
    Place,
    Step,
    Store,
    Weight,
    Writer,
    copy,
    reached,
)

WORTH = 10.0
"""The price at which keeping a value beats making it again: `tanh(c)` of an LSTM is made again."""

PRICES = dict.fromkeys(CHEAP, 1.0) | {
    "div": 3.0,
    "sqrt": 3.0,
    "exp": 7.0,
    "sigmoid": 8.0,
    "tanh": 8.0,
    "log": 9.0,
}
"""Prices of operations, in about their instructions; the others cost too much to be made again."""


class Gradient(NamedTuple):
    """A weight's gradient: its rows and columns, the field of `delta`, and where what was read lies."""

    weight: Weight
    rows: int
    columns: int
    delta: str
    argument: Place


@dataclass(frozen=True)
class Kept:
    """What is kept.

    Attributes:
        stores: values of the step forward that go to the record.
        step: the step backward; its `delta` places hold the gradients of products.
        gradients: those of weights within the step.
        projected: for each hoisted product, the field of `delta` that holds its gradient.
    """

    stores: tuple[Store, ...]
    step: Step
    gradients: tuple[Gradient, ...]
    projected: dict[str, str]


def keep(step: Step, derivative: Derivative) -> Kept:
    """Choose what to keep, and read it in the step backward."""
    arguments = {o.argument for o in derivative.outers if step.values[o.argument].op not in LEAVES}
    places = _places(step, _needed(derivative) | arguments, arguments)

    writer = Writer()
    change = {derivative.forward[f]: writer.load(place, step.values[f].size) for f, place in places.items()}
    outers = sorted(derivative.outers, key=lambda o: (o.weight.name, o.weight.row))  # fields lie as rows do
    fields: dict[int, str] = {}
    for d in [*(o.delta for o in outers), *derivative.projected.values()]:
        fields.setdefault(d, f"delta{len(fields)}")
    stores = [*derivative.step.stores, *(Store(Place("delta", name), d) for d, name in fields.items())]
    new = copy(Step(derivative.step.values, tuple(stores)), writer, change)
    back = Step(tuple(writer.values), tuple(Store(s.place, new[s.value], s.add) for s in stores))

    def read(argument: int) -> Place:
        place = places.get(argument) or step.values[argument].place
        assert place is not None, "what a product reads is kept, or a leaf"
        return place

    return Kept(
        tuple(Store(place, f) for f, place in places.items() if place.kind == "record"),
        fuse(back),
        tuple(Gradient(o.weight, o.rows, o.columns, fields[o.delta], read(o.argument)) for o in outers),
        {place.name: fields[d] for place, d in derivative.projected.items()},
    )


def _needed(derivative: Derivative) -> set[int]:
    """The values of the step forward that the step backward uses or stores."""
    forward = {b: f for f, b in enumerate(derivative.forward)}
    back = derivative.step
    roots = [*(s.value for s in back.stores), *(o.delta for o in derivative.outers), *derivative.projected.values()]
    needed = {forward[r] for r in roots if r in forward}
    for k in reached(back, roots, stop=forward):
        if k not in forward:
            needed |= {forward[a] for a in back.values[k].args if a in forward}
    return needed


def _places(step: Step, needed: set[int], arguments: set[int]) -> dict[int, Place]:
    """Where each needed value lies that is not made again. Comparisons are always made again, so what they compare is
    needed in their place.
    """
    states = {s.value: s.place for s in step.stores}
    open_ = [k for k in needed if step.values[k].op in COMPARISONS]
    needed = set(needed)
    while open_:
        compared = {a for a in step.values[open_.pop()].args if a not in needed}
        needed |= compared
        open_ += [a for a in compared if step.values[a].op in COMPARISONS]

    places: dict[int, Place] = {}
    prices: list[float] = []
    for k, value in enumerate(step.values):
        if k in states and value.op not in LEAVES:
            prices.append(0.0)
            if k in needed:
                places[k] = states[k]
            continue
        price = _price(step, k, prices)
        if k in arguments or (k in needed and price > WORTH and value.op not in COMPARISONS):
            places[k] = Place("record", f"kept{k}")
            price = 0.0
        prices.append(price)
    return places


def _price(step: Step, k: int, prices: list[float]) -> float:
    """What it costs to make a value again."""
    value = step.values[k]
    if value.op in LEAVES:
        return float("inf") if value.place and value.place.kind == "record" else 0.0
    if value.op == "product" or value.op in REDUCTIONS:
        return float("inf")
    return PRICES.get(value.op, WORTH + 1) + sum(prices[a] for a in value.args)
