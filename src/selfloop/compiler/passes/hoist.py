"""Step -> the products of the input, for all steps at once, and the step that reads them."""

from typing import NamedTuple

from selfloop.compiler.passes.fuse import reachable
from selfloop.compiler.step import Place, Step, Store, Value, Weight, Writer


class Hoisted(NamedTuple):
    """A product that depends on the input alone: where its result is kept, its size, its weight and what it reads."""

    place: Place
    size: int
    weight: Weight
    argument: Place
    length: int


def hoist(step: Step) -> tuple[tuple[Hoisted, ...], Step]:
    """Take the products of the input out of the step; each result has a field of the record."""
    writer = Writer()
    new: list[int] = []
    hoisted: dict[tuple[Weight, Place, int, int], Hoisted] = {}
    for value in step.values:
        args = tuple(new[a] for a in value.args)
        if value.op != "product":
            new.append(writer.add(Value(value.op, args, value.size, value.detail)))
            continue
        parts, kept = [], []
        for weight, old in value.terms:
            leaf = step.values[old]
            if leaf.place and leaf.place.kind == "input":
                key = (weight, leaf.place, leaf.size, value.size)
                if key not in hoisted:
                    place = Place("record", f"input{len(hoisted)}")
                    hoisted[key] = Hoisted(place, value.size, weight, leaf.place, leaf.size)
                parts.append(writer.load(hoisted[key].place, value.size))
            else:
                kept.append((weight, new[old]))
        if kept:
            parts.append(writer.product(value.size, kept))
        new.append(writer.sum(parts))
    stores = tuple(Store(s.place, new[s.value], s.add) for s in step.stores)
    return tuple(hoisted.values()), reachable(Step(tuple(writer.values), stores))
