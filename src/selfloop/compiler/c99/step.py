"""Program -> C99: one time step of a cell as a function of plain loops, which C compilers vectorise."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby

from selfloop.compiler.c99.mathematics import LANES
from selfloop.compiler.c99.operations import OPERATIONS
from selfloop.compiler.lower.operations import COMPARISONS
from selfloop.compiler.lower.operations import OPERATIONS as LOWERED
from selfloop.compiler.lower.program import Program, ReductionLoop, TileLoop
from selfloop.compiler.lower.step import SCALAR, Location, Store, Submatrix


@dataclass(frozen=True)
class Panel:
    """Weights in the order in which a step reads them: for each block of units, for each column, `LANES` units of each
    product; zeros where there are no more units.

    Attributes:
        start: where it begins in the weights, in floats.
        rows: the units.
        products: for each product its submatrices, one for each argument.
        lengths: of the arguments.
    """

    start: int
    rows: int
    products: tuple[tuple[Submatrix, ...], ...]
    lengths: tuple[int, ...]

    @property
    def size(self) -> int:
        """Floats."""
        return -(-self.rows // LANES) * LANES * len(self.products) * sum(self.lengths)


@dataclass
class StepSource:
    """One step in C, and where its weights lie.

    Attributes:
        text: the function.
        panels: of matrices.
        vectors: where each vector or scalar parameter begins in the weights, in floats, and its size.
        size: of the weights, in floats.
        functions: of real numbers that it calls.
    """

    text: str
    panels: list[Panel]
    vectors: dict[str, tuple[int, int]]
    size: int
    functions: set[str]


def step_source(name: str, program: Program, states: Mapping[str, int], params: Mapping[str, int]) -> StepSource:
    """The step of a layer.

    Args:
        name: of the function ``void name(const float *w, const float *x, const float *h, …, float *new_h, …)``.
        program: the step, for inference, in one piece.
        states: the size of each state.
        params: the size of each vector or scalar parameter.
    """
    return _Step(name, program, states, params).source()


@dataclass
class _Step:
    name: str
    program: Program
    states: Mapping[str, int]
    params: Mapping[str, int]
    lines: list[str] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)
    size: int = 0

    def source(self) -> StepSource:
        vectors = {}
        for name, size in self.params.items():
            vectors[name] = (self.size, size)
            self.size += -(-size // LANES) * LANES
        self.vectors = vectors
        body: list[str] = []
        for number, stage in enumerate(self.program.stages):
            for loop in stage if isinstance(stage, tuple) else (stage,):
                body += self.reductions(number, loop) if isinstance(loop, ReductionLoop) else self.tiles(number, loop)
        old = "".join(f", const float *restrict old_{s}" for s in self.states)
        new = "".join(f", float *restrict new_{s}" for s in self.states)
        fields = sorted({s.location[1:] for s in self.program.step.stores if s.location.buffer == "workspace"})
        sizes = self.program.step.sizes("workspace")
        room = [f"    float {_field(name, at)}[{max(1, sizes[name, at])}];" for name, at in fields]
        head = f"static void {self.name}(const float *restrict w, const float *restrict x{old}{new}) {{"
        text = "\n".join(
            [head, *room, "    (void)w, (void)x;", *(f"    (void)old_{s};" for s in self.states), *body, "}", ""]
        )
        return StepSource(text, self.panels, vectors, self.size, self.functions)

    # Loops

    def tiles(self, stage: int, loop: TileLoop) -> list[str]:
        """For each block of units the products, then what follows from them."""
        values = self.program.step.values
        lines = [f"    for (int u = 0; u < {loop.size}; u += {LANES}) {{"]
        groups = groupby(sorted(loop.products, key=self._arguments), key=self._arguments)
        sums: dict[int, str] = {}
        for _, group in groups:
            products = list(group)
            terms = [tuple(matrix for matrix, _ in values[k].terms) for k in products]
            arguments = [a for _, a in values[products[0]].terms]
            panel = Panel(self.size, loop.size, tuple(terms), tuple(values[a].size for a in arguments))
            self.panels.append(panel)
            self.size += panel.size
            count, depth = len(products), sum(panel.lengths)
            sums |= {k: f"((const float *)s{k})[j]" for k in products}
            p = f"p{products[0]}"
            lines += [f"        SL_SUM(s{k});" for k in products]
            lines.append(f"        const float *{p} = w + {panel.start} + u * {count * depth};")
            for a, length in zip(arguments, panel.lengths, strict=True):
                lines += [
                    f"        for (int k = 0; k < {length}; k++, {p} += {count * LANES}) {{",
                    f"            const float v = {self._element(self._place(a), 'k')};",
                    *(f"            SL_ADD(s{k}, v, {p} + {n * LANES});" for n, k in enumerate(products)),
                    "        }",
                ]
        last = f"{loop.size} - u < {LANES} ? {loop.size} - u : {LANES}" if loop.size % LANES else str(LANES)
        lines += [f"        const int lanes = {last};", "        for (int j = 0; j < lanes; j++) {"]
        found = _Values(self, stage, "u + j", sums)
        results = [found[s.value] for s in loop.stores]
        lines += [f"            {line}" for line in found.lines]
        lines += [f"            {self._stored(s, 'u + j', r)}" for s, r in zip(loop.stores, results, strict=True)]
        return [*lines, "        }", "    }"]

    def reductions(self, stage: int, loop: ReductionLoop) -> list[str]:
        """Sweeps over vectors, then the scalars that follow."""
        values = self.program.step.values
        lines: list[str] = ["    {"]
        scalars: dict[int, str] = {}
        for sweep in loop.sweeps:
            size = values[values[sweep[0]].args[0]].size
            operations = [LOWERED[values[k].op] for k in sweep]
            identities = [OPERATIONS["const"](o.identity) for o in operations]
            lines += [f"        float r{k} = {start};" for k, start in zip(sweep, identities, strict=True)]
            step = f"int u = {size - 1}; u >= 0; u--" if operations[0].is_reversed else f"int u = 0; u < {size}; u++"
            lines.append(f"        for ({step}) {{")
            found = _Values(self, stage, "u", {}, scalars)
            own = [found[values[k].args[0]] for k in sweep]
            lines += [f"            {line}" for line in found.lines]
            for k, operation, value in zip(sweep, operations, own, strict=True):
                lines.append(f"            r{k} = {OPERATIONS[operation.combine](f'r{k}', value)};")
                stores = [s for s in loop.stores if s.value == k and operation.kind == "scan"]
                lines += [f"            {self._stored(s, 'u', f'r{k}')}" for s in stores]
            lines.append("        }")
            scalars |= {k: f"r{k}" for k, o in zip(sweep, operations, strict=True) if o.kind == "reduction"}
        found = _Values(self, stage, "0", {}, scalars)
        own_stores = [s for s in loop.stores if values[s.value].size == SCALAR]
        results = [found[s.value] for s in own_stores]
        lines += [f"        {line}" for line in found.lines]
        lines += [f"        {self._stored(s, '0', r)}" for s, r in zip(own_stores, results, strict=True)]
        return [*lines, "    }"]

    # Memory

    def _arguments(self, k: int) -> tuple[int, ...]:
        return tuple(a for _, a in self.program.step.values[k].terms)

    def _place(self, k: int) -> Location:
        """Where the argument of a product lies."""
        location = self.program.step.values[k].location
        return location or self.program.stored[k][1]

    def _element(self, location: Location, index: str) -> str:
        buffer, name, offset = location
        base = {
            "x": "x",
            "h_prev": f"old_{name}",
            "h_next": f"new_{name}",
            "workspace": _field(name, offset),
        }.get(buffer)
        if buffer == "param":
            base, offset = "w", offset + self.vectors[name][0]
        assert base is not None, buffer
        at = 0 if buffer == "workspace" else offset
        return f"{base}[{f'{at} + ' if at else ''}{index}]"

    def _stored(self, store: Store, index: str, value: str) -> str:
        assert not store.accumulate
        return f"{self._element(store.location, index)} = {value};"


def _field(name: str, offset: int) -> str:
    return f"t{name}_{offset}" if offset else f"t{name}"


class _Values:
    """The values of one unit: loaded where they are stored, else computed, each in a line of its own."""

    def __init__(
        self, step: _Step, stage: int, index: str, sums: Mapping[int, str], scalars: Mapping[int, str] | None = None
    ) -> None:
        self.step, self.stage, self.index, self.sums = step, stage, index, sums
        self.known = dict(scalars or {})
        self.lines: list[str] = []

    def __getitem__(self, k: int) -> str:
        if k not in self.known:
            self.known[k] = self._compute(k)
        return self.known[k]

    def _compute(self, k: int) -> str:
        program = self.step.program
        value = program.step.values[k]
        if k in self.sums:
            return self.sums[k]
        first, location = program.stored.get(k, (len(program.stages) + 1, None))
        place = value.location or (location if first <= self.stage else None)
        if place is not None:
            return self.step._element(place, "0" if value.size == SCALAR else self.index)
        if value.op == "const":
            return f"({OPERATIONS['const'](value.attribute)})"
        extra = () if value.attribute is None else (value.attribute,)
        expression = OPERATIONS[value.op](*(self[a] for a in value.args), *extra)
        if value.op in LOWERED and f"sl_{value.op}(" in expression:
            self.step.functions.add(value.op)
        self.lines.append(f"const {'int' if value.op in COMPARISONS else 'float'} v{k} = {expression};")
        return f"v{k}"
