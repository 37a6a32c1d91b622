"""Derivative -> what the forward step saves, and the backward step that loads or recomputes the rest.

States are saved anyway. Of the other forward values that the backward step needs, those are saved as residuals that are
expensive to recompute; the rest is rematerialised.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from selfloop.compiler.lower.differentiate import Derivative
from selfloop.compiler.lower.fuse import fuse
from selfloop.compiler.lower.operations import COMPARISONS, LEAVES, OPERATIONS
from selfloop.compiler.lower.step import Builder, Location, Step, Store, Submatrix, ancestors
from selfloop.compiler.lower.verify import verified

SAVE_ABOVE = 10.0
"""The cost, in instructions, from which a value is saved: the `tanh(c)` of an LSTM, which costs 8, is recomputed."""


class MatrixGradient(NamedTuple):
    """The gradient of a submatrix: the sum over all steps of the outer product of two vectors in memory.

    Attributes:
        matrix: the submatrix.
        rows: its number of rows.
        columns: its number of columns.
        cotangent: the field of the buffer `cotangent` that has an element for each row.
        argument: what the submatrix multiplied, an element for each column.
    """

    matrix: Submatrix
    rows: int
    columns: int
    cotangent: str
    argument: Location


@dataclass(frozen=True)
class Backward:
    """The backward step, and what the forward step saves for it.

    Attributes:
        step: the backward step; it stores the cotangents of products in the buffer `cotangent`.
        residuals: the stores of values that the forward step saves.
        gradients: of the submatrices that the forward step multiplies by.
        hoisted: for each hoisted product, by the name of its residual, the field of `cotangent` with its cotangent.
    """

    step: Step
    residuals: tuple[Store, ...]
    gradients: tuple[MatrixGradient, ...]
    hoisted: Mapping[str, str]


@verified
def rematerialise(step: Step, derivative: Derivative) -> Backward:
    """Choose what the forward step saves, and load it in the backward step."""
    arguments = {o.argument for o in derivative.outer_products if step.values[o.argument].op not in LEAVES}
    saved = _saved(step, _needed(derivative) | arguments, arguments)

    builder = Builder()
    replaced = {derivative.forward[k]: builder.load(location, step.values[k].size) for k, location in saved.items()}
    # Fields lie in the order of the matrix's rows, so that adjacent ones can become one product.
    outer_products = sorted(derivative.outer_products, key=lambda o: (o.matrix.name, o.matrix.row))
    fields: dict[int, str] = {}
    for d in [*(o.cotangent for o in outer_products), *derivative.hoisted.values()]:
        fields.setdefault(d, f"d{len(fields)}")
    stores = [*derivative.step.stores, *(Store(Location("cotangent", name), d) for d, name in fields.items())]
    new = builder.copy(derivative.step.with_stores(stores), replaced)
    backward = builder.finish(s._replace(value=new[s.value]) for s in stores)

    def location_of(argument: int) -> Location:
        location = saved.get(argument) or step.values[argument].location
        assert location is not None, "the argument of a product is saved, or a leaf"
        return location

    return Backward(
        fuse(backward),
        tuple(Store(location, k) for k, location in saved.items() if location.buffer == "residual"),
        tuple(
            MatrixGradient(o.matrix, o.rows, o.columns, fields[o.cotangent], location_of(o.argument))
            for o in outer_products
        ),
        {location.name: fields[d] for location, d in derivative.hoisted.items()},
    )


def _needed(derivative: Derivative) -> set[int]:
    """The values of the forward step that the backward step uses or stores."""
    forward = {b: f for f, b in enumerate(derivative.forward)}
    step = derivative.step
    roots = [
        *(s.value for s in step.stores),
        *(o.cotangent for o in derivative.outer_products),
        *derivative.hoisted.values(),
    ]
    needed = {forward[r] for r in roots if r in forward}
    for k in ancestors(step, roots, stop=forward):
        if k not in forward:
            needed |= {forward[a] for a in step.values[k].args if a in forward}
    return needed


def _saved(step: Step, needed: set[int], arguments: set[int]) -> dict[int, Location]:
    """Where each needed value lies that is not recomputed.

    A comparison is never saved, since it is no number: what it compares is needed in its place.
    """
    states = {s.value: s.location for s in step.stores}
    open_ = [k for k in needed if step.values[k].op in COMPARISONS]
    needed = set(needed)
    while open_:
        compared = {a for a in step.values[open_.pop()].args if a not in needed}
        needed |= compared
        open_ += [a for a in compared if step.values[a].op in COMPARISONS]

    saved: dict[int, Location] = {}
    costs: list[float] = []  # of computing each value from what is saved
    for k, value in enumerate(step.values):
        if k in states and value.op not in LEAVES:
            costs.append(0.0)
            if k in needed:
                saved[k] = states[k]
            continue
        cost = _cost(step, k, costs)
        if k in arguments or (k in needed and cost > SAVE_ABOVE and value.op not in COMPARISONS):
            saved[k] = Location("residual", f"saved{k}")
            cost = 0.0
        costs.append(cost)
    return saved


def _cost(step: Step, k: int, costs: list[float]) -> float:
    """What it costs to recompute a value."""
    value = step.values[k]
    if value.location and value.location.buffer == "residual":
        return inf
    return OPERATIONS[value.op].cost + sum(costs[a] for a in value.args)
