"""`WeightLayout`: where the weights of a model lie, in the order in which its code reads them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from selfloop.compiler.lower.step import Submatrix
from selfloop.compiler.native.writer import FORMS, Panel

ALIGNMENT = 16
"""Floats: each piece starts at a multiple, 64 bytes."""


@dataclass(frozen=True)
class Vector:
    """A vector or a table of weights.

    Attributes:
        name: of the weight.
        start: where it begins in the weights of its form, in elements.
        size: elements.
        form: of an element.
        scale: where the scales of its rows begin in the floats; None but for int8.
        rows: of a table; each has its scale.
    """

    name: str
    start: int
    size: int
    form: str = "f32"
    scale: int | None = None
    rows: int = 1


@dataclass
class WeightLayout:
    """Two arrays: floats, and shorter weights (`codes`), of matrices and tables alone.

    Attributes:
        form: of matrices and tables, see `FORMS`.
        floats: how many there are so far.
        codes: likewise.
        vectors: vectors and tables.
        panels: of matrices.
    """

    form: str
    floats: int = 0
    codes: int = 0
    vectors: list[Vector] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)

    @property
    def words(self) -> int:
        """The size of all, in units of 4 bytes."""
        return self.floats + FORMS[self.form] * self.codes // 4

    def vector(self, name: str, size: int) -> int:
        """Room for a vector, in floats; where it begins."""
        start = self._taken("f32", size)
        self.vectors.append(Vector(name, start, size))
        return start

    def table(self, name: str, rows: int, columns: int) -> Vector:
        """Room for a table, of which a row is read at a time."""
        scale = self._taken("f32", rows) if self.form == "int8" else None
        table = Vector(name, self._taken(self.form, rows * columns), rows * columns, self.form, scale, rows)
        self.vectors.append(table)
        return table

    def panel(
        self, products: tuple[tuple[Submatrix, ...], ...], lengths: tuple[int, ...], rows: int, lanes: int
    ) -> Panel:
        """Room for the matrices of products that are summed together."""
        scale = self._taken("f32", rows * len(products)) if self.form == "int8" else None
        panel = Panel(0, scale, rows, lanes, products, lengths, self.form)
        panel = replace(panel, start=self._taken(self.form, panel.size))
        self.panels.append(panel)
        return panel

    def part(self, prefix: str) -> "PartLayout":
        """The same layout for a part of the model, whose weights have names that begin so."""
        return PartLayout(self, prefix)

    def _taken(self, form: str, size: int) -> int:
        """Room for elements; where they begin."""
        size = -(-size // ALIGNMENT) * ALIGNMENT
        if form == "f32":
            self.floats += size
            return self.floats - size
        self.codes += size
        return self.codes - size


@dataclass(frozen=True)
class PartLayout:
    """A part of a model in its layout: see `WeightLayout`."""

    layout: WeightLayout
    prefix: str

    def vector(self, name: str, size: int) -> int:
        """As `WeightLayout.vector`."""
        return self.layout.vector(self.prefix + name, size)

    def vectors(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Where each vector begins."""
        return {name: self.vector(name, size) for name, size in sizes.items()}

    def table(self, name: str, rows: int, columns: int) -> Vector:
        """As `WeightLayout.table`."""
        return self.layout.table(self.prefix + name, rows, columns)

    def panel(
        self, products: tuple[tuple[Submatrix, ...], ...], lengths: tuple[int, ...], rows: int, lanes: int
    ) -> Panel:
        """As `WeightLayout.panel`."""
        own = tuple(tuple(m._replace(name=self.prefix + m.name) for m in terms) for terms in products)
        return self.layout.panel(own, lengths, rows, lanes)
