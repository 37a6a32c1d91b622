"""Graph -> Kernels: the machine code of a cell, and how it is called."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from types import ModuleType
from typing import NamedTuple

from llvmlite import ir

from selfloop.compiler.cpu import cache
from selfloop.compiler.cpu.build import Code, Emit, build
from selfloop.compiler.cpu.emit import outer_product, outer_product_amx
from selfloop.compiler.cpu.emit.add_rows import emit_add, emit_add_rows
from selfloop.compiler.cpu.emit.dropout import emit_dropout
from selfloop.compiler.cpu.emit.gemv import NAMES, emit_gemv
from selfloop.compiler.cpu.emit.launches import emit_launches, emit_patch
from selfloop.compiler.cpu.emit.pack import emit_pack
from selfloop.compiler.cpu.emit.peak import accumulators, emit_peak
from selfloop.compiler.cpu.emit.products import emit_tile
from selfloop.compiler.cpu.emit.readout import emit_readout
from selfloop.compiler.cpu.emit.row_tables import emit_row_tables
from selfloop.compiler.cpu.emit.stack import emit_stack
from selfloop.compiler.cpu.emit.step_loop import emit_step_loop
from selfloop.compiler.cpu.emit.table_rows import emit_average_rows, emit_move_rows
from selfloop.compiler.cpu.layout import Fields, KernelLayout, lay_out
from selfloop.compiler.cpu.patience import Patience
from selfloop.compiler.cpu.targets import MOST_ROWS, PairProducts, Target
from selfloop.compiler.cpu.tiles import Tile
from selfloop.compiler.lower import Lowered, lower
from selfloop.compiler.lower.rematerialise import MatrixGradient
from selfloop.compiler.lower.step import Location, Submatrix
from selfloop.language.graph import Graph


class WeightGradient(NamedTuple):
    """The gradient of a submatrix: C[m, n] += AᵀB, where A and B have a row for each sequence at each step.

    Attributes:
        matrix: the submatrix, C.
        m, n: its numbers of rows and columns.
        cotangent_offset: the first of the m elements of A in a row of the buffer `cotangent`.
        multiplied: where the n elements of a row of B lie: what the submatrix was multiplied by.
    """

    matrix: Submatrix
    m: int
    n: int
    cotangent_offset: int
    multiplied: Location


@dataclass(frozen=True, eq=False)
class Kernels:
    """The kernels of a cell.

    Attributes:
        target: the processor.
        bits: the size of an element, 32 or 64.
        bfloat16: how products of numbers rounded to bfloat16 are made; None where they are not rounded.
        project: the products of the input for all steps; None where they stay in the step.
        infer: the forward step.
        train: the forward step that saves residuals.
        back: the backward step.
        input_gradient: the gradient of the input for all steps; None where no matrix multiplies the input.
        weight_gradients: the gradients of the matrices.
        dparam_sizes: the size of each field of `dparam`, the gradients of vectors and scalars.
        covers_dx: whether each element of the input gets a gradient, which those that a cell does not read do not.
        input: the name of the input.
        states: the size of each state; the first is the output.
        title: the cell and its sizes, for people.
        description: a text that is equal for kernels of equal machine code, the target aside.
    """

    target: Target
    bits: int
    bfloat16: PairProducts | None
    project: KernelLayout | None
    infer: KernelLayout
    train: KernelLayout
    back: KernelLayout
    input_gradient: KernelLayout | None
    weight_gradients: tuple[WeightGradient, ...]
    dparam_sizes: Mapping[tuple[str, int], int]
    covers_dx: bool
    input: str
    states: Mapping[str, int]
    title: str
    description: str

    def gradient_workspace(self, gradient: WeightGradient) -> int:
        """The elements of workspace that a thread needs for the gradient of a matrix."""
        return int(_outer_product(self.bfloat16).workspace(self.target, self.bits // 8, gradient.m, gradient.n))

    def gradient_tiles(self, gradient: WeightGradient) -> int:
        """The number of tiles that the threads share for the gradient of a matrix."""
        return int(_outer_product(self.bfloat16).tiles(self.target, self.bits // 8, gradient.m, gradient.n))

    def address(self, name: str) -> int:
        """Where a kernel starts. It is compiled when this is first asked for: few callers need all of them."""
        if name not in self._addresses:  # asked for at every call
            names = next(module for module in _MODULES if name in module)
            called = [(f"{name} {key}", write) for name, key, write in self._called(names)]
            key = f"{' '.join(names)} {self.description}"
            code = build(key, self.target, self._emit(names), called, self._patience)
            self._codes.append(code)
            self._addresses.update({own: code.address(own) for own in names if getattr(self, own) is not None})
        return self._addresses[name]

    def emit(self, *names: str) -> Emit:
        """What writes these kernels into a module, and the functions that they call."""
        write_kernels = self._emit(names)

        def write(module: ir.Module) -> None:
            write_kernels(module)
            for name, _, write_called in self._called(names):
                write_called(module)
                module.globals[name].linkage = "internal"

        return write

    def _emit(self, names: Iterable[str]) -> Emit:
        """What writes these kernels into a module; those that the cell does not need are left out."""

        def write(module: ir.Module) -> None:
            for name in names:
                layout = getattr(self, name)
                if layout is not None:
                    emit_step_loop(module, name, layout, is_reversed=name == "back")

        return write

    def _called(self, names: Iterable[str]) -> list[tuple[str, object, Emit]]:
        """The functions that these kernels call: the name of each, what it depends on, and what writes it."""
        layouts: list[KernelLayout] = [layout for name in names if (layout := getattr(self, name)) is not None]
        tiles = sorted(set[Tile]().union(*(layout.all_tiles for layout in layouts)), key=str)
        found: list[tuple[str, object, Emit]] = [
            (tile.name, tile, partial(emit_tile, tile=tile, target=self.target)) for tile in tiles
        ]
        if any(layout.pitches is not None and layout.panels for layout in layouts):
            for is_transposed, name in enumerate(NAMES):
                write = partial(emit_gemv, is_transposed=bool(is_transposed), target=self.target, bits=self.bits)
                found.append((name, self.bits, write))
        return found

    @cached_property
    def _addresses(self) -> dict[str, int]:
        """Of those that are compiled."""
        return {}

    @cached_property
    def _patience(self) -> Patience:
        """Of who waits for them."""
        return Patience(f"compiling {self.title}, once ({cache.whereabouts()})")

    @cached_property
    def _codes(self) -> list[Code]:
        """What holds their memory."""
        return []


_MODULES = (("project",), ("infer",), ("train",), ("back", "input_gradient"))
"""The kernels, those together of which a call needs both or none."""


HOIST_ABOVE = 1 << 22
"""Bytes. Where the matrices of a step have more, the products of the input are hoisted out of it; else the caches hold
what a step reads, and the results of the products need not be stored and loaded again (training an LSTM of 64, 128, 256
units takes 0.88, 0.91, 0.98 times as long with them in the step, and one of 512, 8 MiB, 1.02 times)."""


def compile(
    graph: Graph,
    sizes: Mapping[str, int],
    bits: int,
    target: Target,
    most_rows: int | None = None,
    hoist_above: int | None = HOIST_ABOVE,
    bfloat16: PairProducts | None = None,
    weights: str = "f32",
    in_place: bool = False,
) -> Kernels:
    """The kernels of a cell. They become machine code when their address is first asked for.

    Args:
        graph: the cell.
        sizes: the number of each of its named sizes.
        bits: the size of an element, 32 or 64.
        target: the processor.
        most_rows: for how many sequences they are, if few: a step is then compiled for no more rows at once, and each
            sum has several accumulators. None for any number.
        hoist_above: where the matrices of a step have more bytes, the products of the input are made for all steps
            at once; None for never.
        bfloat16: how products of numbers rounded to bfloat16 are made; None where they are not rounded.
        weights: what `infer` reads packed weights as, one of `WEIGHT_FORMS`.
        in_place: whether products read the matrices where they lie, which must be contiguous, and no panels are packed:
            for calls of few rows. Not in bfloat16.
    """
    assert not (in_place and bfloat16)
    options = bits, most_rows, hoist_above, bfloat16, weights, in_place
    pitches = None
    if in_place:
        shapes = {name: graph.shape_at(name, sizes) for name in graph.params}
        pitches = {name: shape[1] for name, shape in shapes.items() if len(shape) == 2}
    lowered = lower(graph, sizes, None if hoist_above is None else hoist_above * 8 // bits)  # in elements
    lanes = target.lanes(bits // 8)
    most_rows = most_rows and min(most_rows, MOST_ROWS)
    residual = _residuals(lowered, lanes)
    cotangent = Fields.of(lowered.backward.sizes("cotangent"), lanes)
    forward, backward = {"residual": residual}, {"residual": residual, "cotangent": cotangent}
    project, input_gradient = lowered.project, lowered.input_gradient
    return Kernels(
        target=target,
        bits=bits,
        bfloat16=bfloat16,
        project=lay_out(project, target, bits, forward, None, bfloat16, pitches=pitches) if project else None,
        infer=lay_out(lowered.infer, target, bits, forward, most_rows, bfloat16, weights, pitches),
        train=lay_out(lowered.train, target, bits, forward, most_rows, bfloat16, pitches=pitches),
        back=lay_out(lowered.back, target, bits, backward, most_rows, bfloat16, pitches=pitches),
        input_gradient=(
            lay_out(input_gradient, target, bits, backward, None, bfloat16, pitches=pitches) if input_gradient else None
        ),
        weight_gradients=_merged(lowered.weight_gradients, cotangent),
        dparam_sizes={field: max(1, size) for field, size in lowered.backward.sizes("dparam").items()},  # 0 is a scalar
        covers_dx=_covers_dx(lowered, graph.shape(graph.input)[0].value(sizes)),
        input=lowered.input,
        states=lowered.states,
        title=f"'{graph.name}' for {', '.join(f'{name} = {size}' for name, size in sorted(sizes.items()))}",
        description=repr((graph.form, graph.params, graph.states, sorted(sizes.items()), options)),
    )


def _outer_product(bfloat16: PairProducts | None) -> ModuleType:
    """What makes the gradients of matrices."""
    return outer_product_amx if bfloat16 and bfloat16.has_tiles else outer_product


class Tools:
    """What all cells use: `launches`, `patch`, `pack`, `add`, `row_tables`, `add_rows` and `outer_product`.

    Args:
        bits: of an element, 32 or 64.
        target: the processor.
        bfloat16: how products of numbers rounded to bfloat16 are made; None where they are not rounded.
    """

    def __init__(self, bits: int, target: Target, bfloat16: PairProducts | None) -> None:
        self.bits, self.target, self.bfloat16 = bits, target, bfloat16
        self._addresses: dict[str, int] = {}
        self._codes: list[Code] = []  # what holds their memory

    def address(self, name: str) -> int:
        """Where a function starts. It is compiled when this is first asked for: inference needs half of them."""
        if name not in self._addresses:  # asked for at every call
            names = next(module for module in (_FOR_ALL, _FOR_TRAINING) if name in module)
            write = self._write if names is _FOR_ALL else self._write_for_training
            code = build(f"{' '.join(names)} {self.bits} {self.bfloat16}", self.target, write)
            self._codes.append(code)
            self._addresses.update({own: code.address(own) for own in names})
        return self._addresses[name]

    def _write(self, module: ir.Module) -> None:
        emit_launches(module, "launches", self.target, self.bits)
        emit_patch(module, "patch", self.target, self.bits)
        emit_pack(module, "pack", self.target, self.bits, self.bfloat16)
        emit_add(module, "add", self.target, self.bits)
        emit_row_tables(module, "row_tables", self.target, self.bits)

    def _write_for_training(self, module: ir.Module) -> None:
        emit_add_rows(module, "add_rows", self.target, self.bits)
        own = module, "outer_product", self.target, self.bits, self.bfloat16
        _outer_product(self.bfloat16).emit_outer_product(*own)


_FOR_ALL, _FOR_TRAINING = ("launches", "patch", "pack", "add", "row_tables"), ("add_rows", "outer_product")
"""The functions of `Tools` that are compiled together."""


@lru_cache(maxsize=8)
def tools(bits: int, target: Target, bfloat16: PairProducts | None = None) -> Tools:
    """Those of one kind, once."""
    return Tools(bits, target, bfloat16)


@lru_cache(maxsize=8)
def readout_code(bits: int, target: Target, bfloat16: PairProducts | None = None) -> Code:
    """The functions of `emit.readout`."""
    key = f"readout {bits} {bfloat16}"
    return build(key, target, lambda module: emit_readout(module, target, bits, bfloat16))


@lru_cache(maxsize=8)
def dropout_code(bits: int, target: Target) -> Code:
    """`dropout`."""
    return build(f"dropout {bits}", target, lambda module: emit_dropout(module, "dropout", target, bits))


@lru_cache(maxsize=8)
def table_rows_code(bits: int, target: Target) -> Code:
    """`average_rows` and `move_rows`."""

    def write(module: ir.Module) -> None:
        emit_average_rows(module, "average_rows", target, bits)
        emit_move_rows(module, "move_rows", target, bits)

    return build(f"table rows {bits}", target, write)


def peak_code(target: Target) -> tuple[Code, int]:
    """`peak`, and how many vectors it updates in turns."""
    code = build("peak", target, lambda module: emit_peak(module, "peak", target))
    return code, accumulators(target)


@lru_cache(maxsize=8)
def stack_code(bits: int, target: Target) -> Code:
    """`stack`, which runs one step of several layers."""
    return build(f"stack {bits}", target, lambda module: emit_stack(module, "stack", target, bits))


def _covers_dx(lowered: Lowered, size: int) -> bool:
    """Whether the backward step and the gradient of the input store all elements of an input of this size."""
    steps = [lowered.backward] + ([lowered.input_gradient.step] if lowered.input_gradient else [])
    spans = [(offset, offset + count) for step in steps for (_, offset), count in step.sizes("dx").items()]
    return len({element for start, end in spans for element in range(start, end)}) == size


def _residuals(lowered: Lowered, lanes: int) -> Fields:
    """The residuals and the hoisted products. A residual in `lowered.reused` overwrites the product that it names."""
    sizes = {name: size for name, size in lowered.train.step.sizes("residual").items() if name[0] not in lowered.reused}
    if lowered.project:
        sizes |= lowered.project.step.sizes("residual")
    return Fields.of(sizes, lanes).sharing(lowered.reused)


def _merged(gradients: Iterable[MatrixGradient], cotangent: Fields) -> tuple[WeightGradient, ...]:
    """Submatrices whose rows are adjacent, in the matrix as in the buffer `cotangent`, become one."""
    merged: list[WeightGradient] = []

    def order(g: MatrixGradient) -> tuple[Location, int, int, int]:
        return g.argument, g.columns, g.matrix.column, cotangent.offsets[g.cotangent, 0]

    for g in sorted(gradients, key=order):
        offset = cotangent.offsets[g.cotangent, 0]
        if merged:
            last = merged[-1]
            follows = WeightGradient(
                last.matrix._replace(row=last.matrix.row + last.m),
                g.rows,
                last.n,
                last.cotangent_offset + last.m,
                last.multiplied,
            )
            if follows == (g.matrix, g.rows, g.columns, offset, g.argument):
                merged[-1] = last._replace(m=last.m + g.rows)
                continue
        merged.append(WeightGradient(g.matrix, g.rows, g.columns, offset, g.argument))
    return tuple(merged)
