"""Step -> the backward step: reverse-mode differentiation of one step.

The loop over time stays outside: the backward step reads the cotangents of the states after the step (`dh_next`) and of
the output (`dy`), and stores those of the states before it (`dh_prev`), of the input (`dx`) and of the parameters
(`dparam`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from selfloop.compiler.lower.derivatives import DERIVATIVES, Context
from selfloop.compiler.lower.step import SCALAR, Builder, Location, Step, Store, Submatrix, Value
from selfloop.compiler.lower.verify import verified


class OuterProduct(NamedTuple):
    """The gradient of a submatrix: the sum over all steps of the outer product `cotangent` × `argument`.

    Attributes:
        matrix: the submatrix.
        rows: its number of rows.
        columns: its number of columns.
        cotangent: of the product, a value of the backward step.
        argument: what the submatrix multiplied, a value of the forward step.
    """

    matrix: Submatrix
    rows: int
    columns: int
    cotangent: int
    argument: int


@dataclass(frozen=True)
class Derivative:
    """The backward step, before it is decided which forward values are saved.

    Attributes:
        step: its values, a copy of the forward step's among them.
        forward: for each value of the forward step, its copy in `step`.
        outer_products: the gradients of matrices.
        hoisted: the cotangent of each hoisted product, a value of `step`, by the residual that holds the product.
    """

    step: Step
    forward: tuple[int, ...]
    outer_products: tuple[OuterProduct, ...]
    hoisted: Mapping[Location, int]


@verified
def differentiate(step: Step, states: Mapping[str, int]) -> Derivative:
    """The backward step.

    Args:
        step: the forward step.
        states: the size of each state; the first is the cell's output, whose cotangent is `dy` plus `dh_next`.
    """
    builder = Builder()
    forward = builder.copy(step.with_stores(Store(Location("h_next", ""), k) for k in range(len(step.values))))
    cotangents = _Cotangents(step, builder)
    for store in step.stores:
        size = step.values[store.value].size
        cotangents.add(store.value, builder.load(store.location._replace(buffer="dh_next"), size))
        if store.location.name == next(iter(states)):
            cotangents.add(store.value, builder.load(store.location._replace(buffer="dy"), size))

    outer_products: list[OuterProduct] = []
    for k in range(len(step.values) - 1, -1, -1):
        value = step.values[k]
        if k not in cotangents.of_values:
            continue
        d = cotangents.total(k)
        if value.op == "product":
            for matrix, a in value.terms:
                outer_products.append(OuterProduct(matrix, value.size, step.values[a].size, d, a))
                cotangents.add_through(matrix, a, d)
        else:
            rule = DERIVATIVES[value.op]
            reached = rule(Context(builder, value.attribute), d, forward[k], tuple(forward[a] for a in value.args))
            for a, cotangent in zip(value.args, reached, strict=True):
                if cotangent is not None:
                    cotangents.add(a, cotangent)

    stores = [
        Store(
            location._replace(buffer=_STORED_TO[location.buffer]), cotangents.at(location), location.buffer == "param"
        )
        for location in cotangents.of_locations
        if location.buffer in _STORED_TO
    ]
    stores += _zeros(builder, stores, states)
    hoisted = {
        location: cotangents.at(location) for location in cotangents.of_locations if location.buffer == "residual"
    }
    return Derivative(
        builder.finish(stores), tuple(forward[k] for k in range(len(step.values))), tuple(outer_products), hoisted
    )


_STORED_TO = {"h_prev": "dh_prev", "x": "dx", "param": "dparam"}
"""The buffer that the cotangent of what was loaded is stored to."""


class _Cotangents:
    """The cotangents that each value has so far, to be added: of loads by location, of other values by index."""

    def __init__(self, step: Step, builder: Builder) -> None:
        self.step, self.builder = step, builder
        self.of_values: dict[int, list[int]] = {}
        self.of_locations: dict[Location, list[int]] = {}
        self.is_variable: list[bool] = []  # depends on a load; what does not has no gradient
        self.bounds: dict[tuple[str, str], set[int]] = {}
        for value in step.values:
            self.is_variable.append(value.op == "load" or any(self.is_variable[a] for a in value.args))
            if value.location:
                buffer, name, offset = value.location
                self.bounds.setdefault((buffer, name), set()).update((offset, offset + value.size))

    def add(self, k: int, d: int) -> None:
        """Add the cotangent d to those of value k."""
        value = self.step.values[k]
        if not self.is_variable[k]:
            return
        if value.location:
            self._add_at(value.location, value.size, d)
        else:
            self.of_values.setdefault(k, []).append(self._unbroadcast(d, value.size))

    def add_through(self, matrix: Submatrix, k: int, d: int) -> None:
        """Add the transposed submatrix times d to the cotangents of value k.

        The input gets its own in `input_gradient`, for all steps at once. A state that the product loads whole and
        other operations load in pieces gets its cotangent in pieces.
        """
        value = self.step.values[k]
        spans = [(0, value.size)]
        if value.location:
            buffer, name, first = value.location
            if buffer == "x":
                return
            bounds = sorted(b - first for b in self.bounds[buffer, name] if first <= b <= first + value.size)
            spans = [(a, b - a) for a, b in pairwise(bounds)]
        for start, size in spans:
            transposed = Submatrix(matrix.name, matrix.row, matrix.column + start, transposed=True)
            part = self.builder.product(size, [(transposed, d)])
            if value.location:
                self._add_at(value.location._replace(offset=value.location.offset + start), size, part)
            else:
                self.add(k, part)

    def total(self, k: int) -> int:
        """The sum of the cotangents of value k."""
        return self._sum(self.of_values[k])

    def at(self, location: Location) -> int:
        """The sum of the cotangents of what was loaded from a location."""
        return self._sum(self.of_locations[location])

    def _sum(self, cotangents: list[int]) -> int:
        """Products first, so that `fuse` can make one product of them."""
        return self.builder.sum(sorted(cotangents, key=lambda d: self.builder.values[d].op != "product"))

    def _add_at(self, location: Location, size: int, d: int) -> None:
        self.of_locations.setdefault(location, []).append(self._unbroadcast(d, size))

    def _unbroadcast(self, d: int, size: int) -> int:
        """The cotangent of a scalar that was broadcast is the sum over the vector; that of a sum is broadcast."""
        own = self.builder.values[d].size
        if (size == SCALAR) == (own == SCALAR):
            return d
        if size == SCALAR:
            return self.builder.reduce("sum", d)
        return self.builder.add(Value("broadcast", (d,), size))


def _zeros(builder: Builder, stores: list[Store], states: Mapping[str, int]) -> list[Store]:
    """Zeros for the parts of states on which nothing depends."""
    zeros: list[Store] = []
    for name, size in states.items():
        known = sorted(
            (s.location.offset, s.location.offset + builder.values[s.value].size)
            for s in stores
            if (s.location.buffer, s.location.name) == ("dh_prev", name)
        )
        ends = [0, *(end for _, end in known)]
        starts = [*(start for start, _ in known), size]
        for end, start in zip(ends, starts, strict=True):
            if end < start:
                zero = builder.add(Value("zeros", (), start - end))
                zeros.append(Store(Location("dh_prev", name, end), zero))
    return zeros
