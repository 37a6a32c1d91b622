"""Step -> products of the input for all steps at once, and the Step that loads their results."""

from dataclasses import replace
from typing import NamedTuple

from selfloop.compiler.lower.fuse import eliminate_dead_code
from selfloop.compiler.lower.step import Builder, Location, Step, Store, Submatrix
from selfloop.compiler.lower.verify import verified


class InputProduct(NamedTuple):
    """A product that depends on the input alone.

    Attributes:
        result: the residual that holds it.
        size: its number of elements.
        matrix: what multiplies the input.
        argument: the part of the input that is multiplied.
        length: the number of elements of that part.
    """

    result: Location
    size: int
    matrix: Submatrix
    argument: Location
    length: int


@verified
def hoist(step: Step, threshold: int | None) -> tuple[tuple[InputProduct, ...], Step]:
    """Take the products of the input out of the step: each becomes a residual that the step loads.

    Args:
        step: the forward step.
        threshold: hoist where the step's matrices have more elements than this; None for never.
    """
    if threshold is None or _matrix_elements(step) <= threshold:
        return (), step
    builder = Builder()
    new: list[int] = []
    hoisted: dict[tuple[Submatrix, Location, int, int], InputProduct] = {}
    for value in step.values:
        args = tuple(new[a] for a in value.args)
        if value.op != "product":
            new.append(builder.add(replace(value, args=args)))
            continue
        loads, rest = [], []
        for matrix, a in value.terms:
            location = step.values[a].location
            if location and location.buffer == "x":
                key = (matrix, location, step.values[a].size, value.size)
                if key not in hoisted:
                    result = Location("residual", f"input{len(hoisted)}")
                    hoisted[key] = InputProduct(result, value.size, matrix, location, step.values[a].size)
                loads.append(builder.load(hoisted[key].result, value.size))
            else:
                rest.append((matrix, new[a]))
        if rest:
            loads.append(builder.product(value.size, rest))
        new.append(builder.sum(loads))
    stores = (s._replace(value=new[s.value]) for s in step.stores)
    return tuple(hoisted.values()), eliminate_dead_code(builder.finish(stores))


def _matrix_elements(step: Step) -> int:
    return sum(value.size * step.values[a].size for value in step.values for _, a in value.terms)


@verified
def input_products(products: tuple[InputProduct, ...]) -> Step:
    """The hoisted products, as a step that reads the input and stores residuals."""
    builder = Builder()
    return builder.finish(
        [Store(p.result, builder.product(p.size, [(p.matrix, builder.load(p.argument, p.length))])) for p in products]
    )
