"""Compiled kernels: any cell as machine code, forward and backward, on the CPU."""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfloop.compiler import targets
from selfloop.compiler.emit import outer
from selfloop.compiler.layout import BY_TABLE, Layout, Panel
from selfloop.compiler.pipeline import Kernels, compile
from selfloop.compiler.step import Place
from selfloop.errors import BackendError
from selfloop.kernels import team
from selfloop.kernels.problem import Answer, Problem
from selfloop.language.graph import Graph

Addresses = NDArray[np.int64]
BITS = {torch.float32: 32, torch.float64: 64}


@dataclass(frozen=True)
class Rows:
    """The sequences in the order in which they run: the longest first, so that those that have ended are the last.

    Attributes:
        steps, batch: T and B.
        order: the user's row of each row; None where they are the same.
        lengths: of each row, in this order; None where all have all steps.
        active: which rows run at each step, (T, B); None where all do.
        counts, starts: how many rows run at each step, and where they start when steps lie one after another.
        time: the user's step of each row at each step, (T, B) or (T, 1).
        resets: before which steps the state is zeroed, (T, B) in the order in which they are walked; None if nowhere.
    """

    steps: int
    batch: int
    order: NDArray[np.int64] | None
    lengths: NDArray[np.int64] | None
    active: NDArray[np.bool_] | None
    counts: Addresses
    starts: Addresses
    time: NDArray[np.int64]
    resets: NDArray[np.bool_] | None

    @property
    def total(self) -> int:
        """The rows of all steps."""
        return int(self.starts[-1])

    @property
    def users(self) -> NDArray[np.int64]:
        """The user's row of each row."""
        return np.arange(self.batch) if self.order is None else self.order

    def table(self, tensor: Tensor) -> Addresses:
        """The address of each row of a (T, B, ·) tensor, (T, B)."""
        time, row = (stride * tensor.element_size() for stride in tensor.stride()[:2])
        return tensor.data_ptr() + self.time * time + (self.users * row)[None, :]

    def rows(self, tensor: Tensor) -> Addresses:
        """The address of each row of a (B, ·) tensor, (B,)."""
        return tensor.data_ptr() + self.users * (tensor.stride(0) * tensor.element_size())

    def packed(self, table: Addresses) -> Addresses:
        """The entries of a (T, B) table for the rows that run, one after another."""
        if self.active is not None:
            return table[self.active]
        return np.ascontiguousarray(table).reshape(-1)


def arrange(problem: Problem) -> Rows:
    """The rows of a problem."""
    steps, batch = problem.x.shape[:2]
    order = lengths = active = None
    counts = np.full(steps, batch, dtype=np.int64)
    t = np.arange(steps)[:, None]
    if problem.lengths is not None:
        own = problem.lengths.numpy().astype(np.int64)
        order = np.argsort(-own, kind="stable")
        lengths = own[order]
        active = t < lengths
        counts = active.sum(1)
    time = t
    if problem.reverse:
        time = steps - 1 - t if lengths is None else np.maximum(lengths - 1 - t, 0)
    starts = np.zeros(steps + 1, dtype=np.int64)
    np.cumsum(counts, out=starts[1:])
    resets = None
    if problem.resets is not None:
        flags = problem.resets.numpy()
        if problem.reverse:  # the same segments, walked from their ends
            flags = np.concatenate([flags[1:], np.zeros_like(flags[:1])])
        users = np.arange(batch) if order is None else order
        resets = flags[np.broadcast_to(time, (steps, batch)), users[None, :]]
    return Rows(steps, batch, order, lengths, active, counts, starts, time, resets)


class Launch:
    """A function's block for each thread, while it is being filled in. Keeps alive what it has addresses of."""

    def __init__(self, layout: Layout, threads: int) -> None:
        self.layout = layout
        self.blocks = np.zeros((threads, len(layout.arguments)), dtype=np.int64)
        self.alive: list[object] = []

    def header(self, name: str, value: int | Addresses) -> None:
        """A number at the start, one for all threads or one for each."""
        self.blocks[:, self.layout.arguments["header", name]] = value

    def array(self, kind: str, name: str, where: int | Addresses | Tensor) -> None:
        """An array: its address, a table of addresses, or a tensor. What the function does not use is left out."""
        place = self.layout.arguments.get((kind, name))
        if place is not None:
            self.alive.append(where)
            if isinstance(where, Tensor):
                where = where.data_ptr()
            self.blocks[:, place] = where if isinstance(where, int) else where.ctypes.data

    def uses(self, kind: str, name: str = "") -> bool:
        """Whether the function uses this array."""
        return (kind, name) in self.layout.arguments

    def weights(self, params: Mapping[str, Tensor]) -> None:
        """Matrices packed, vectors with room beyond their end."""
        lanes = self.layout.target.lanes(self.layout.bits // 8)
        for k, panel in enumerate(self.layout.panels):
            self.array("panel", str(k), pack(panel, params, lanes))
        for kind, name in self.layout.arguments:
            if kind == "param":
                self.array(kind, name, torch.nn.functional.pad(params[name].reshape(-1), (0, lanes)))

    def steps(self, starts: Addresses, counts: Addresses) -> None:
        """The rows of each step."""
        self.alive += [starts, counts]
        self.header("begin", 0)
        self.header("end", len(counts))
        self.header("starts", starts.ctypes.data)
        self.header("counts", counts.ctypes.data)

    def run(self, function: int) -> None:
        """Run it on all threads, which share the rows."""
        threads = len(self.blocks)
        self.header("first", np.arange(threads))
        self.header("stride", threads)
        self.header("part", 0)
        self.header("parts", 1)
        team.run(function, self.blocks)


def pack(panel: Panel, params: Mapping[str, Tensor], lanes: int) -> Tensor:
    """The weights of a panel: [block of units][columns at once][k][vector][lane]."""
    unit = panel.unroll * lanes
    blocks = -(-panel.size // unit)
    parts = []
    for weights, length in zip(panel.terms, panel.lengths, strict=True):
        columns = []
        for w in weights:
            matrix = params[w.name]
            if w.transposed:
                columns.append(matrix[w.row : w.row + length, w.column : w.column + panel.size].T)
            else:
                columns.append(matrix[w.row : w.row + panel.size, w.column : w.column + length])
        stacked = torch.stack(columns)
        stacked = torch.nn.functional.pad(stacked, (0, 0, 0, blocks * unit - panel.size))
        stacked = stacked.view(len(columns), blocks, panel.unroll, lanes, length)
        parts.append(stacked.permute(1, 4, 0, 2, 3).reshape(blocks, length, -1, lanes))
    whole = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
    if len(panel.widths) == 1:
        return whole.contiguous()
    return torch.cat([own.reshape(blocks, -1) for own in whole.split(panel.widths, dim=2)], dim=1)


CHUNK = 96
"""Rows in one go of a product over all steps: a thread's share of the packed weights is read once for so many."""


def _over_all(layout: Layout, threads: int, total: int) -> Launch:
    """A function that has no steps: its rows in chunks."""
    launch = Launch(layout, threads)
    starts = np.arange(0, total + CHUNK * threads, CHUNK * threads, dtype=np.int64).clip(max=total)
    launch.steps(starts, np.diff(starts))
    return launch


@dataclass(frozen=True)
class Record:
    """What the step forward leaves for the step backward: tensors, and tables of addresses in them."""

    record: Tensor
    tables: Mapping[tuple[str, str], Addresses]
    alive: Sequence[Tensor]


def forward(kernels: Kernels, rows: Rows, problem: Problem, keep: bool) -> tuple[Answer, Record | None]:
    """The output and the final state; and the record for `backward`, where it is wanted."""
    x, names = _rows_of_numbers(problem.x), list(kernels.states)
    first = [s.contiguous() for s in problem.state]
    final = tuple(s.clone() for s in first)
    make = torch.zeros if rows.active is not None else torch.empty
    y = make(rows.steps, rows.batch, kernels.states[names[0]], dtype=x.dtype)
    if rows.total == 0:
        return (y, final), None
    layout = kernels.train if keep else kernels.infer
    threads = max(1, min(team.threads(), rows.batch))
    step = Launch(layout, threads)
    tables: dict[tuple[str, str], Addresses] = {("input", problem.graph.input): rows.packed(rows.table(x))}
    alive: list[Tensor] = [x, y, *first, *final]
    for k, (name, size) in enumerate(kernels.states.items()):
        if k == 0:
            new = rows.table(y)
        else:
            new, buffer = _history(rows, size, x.dtype, keep)
            alive.append(buffer)
            _at_end(rows, new, rows.rows(final[k]))
        old = np.concatenate([rows.rows(first[k])[None], new[:-1]])
        if rows.resets is not None:
            zero = torch.zeros(size, dtype=x.dtype)
            alive.append(zero)
            old = np.where(rows.resets, zero.data_ptr(), old)
        tables["new", name], tables["old", name] = rows.packed(new), rows.packed(old)
    fields = layout.fields["record"] if "record" in layout.fields else None
    record = torch.empty(rows.total, fields.stride if fields else 0, dtype=x.dtype)
    for (kind, name), table in tables.items():
        step.array(kind, name, table)
    step.array("record", "", record)
    step.array("scratch", "", _space(layout, "scratch", rows.batch, x.dtype))
    step.weights(problem.params)
    step.steps(rows.starts, rows.counts)
    code = kernels.forward_code
    if kernels.project is not None:
        project = _over_all(kernels.project, team.threads(), rows.total)
        project.weights(problem.params)
        project.array("input", problem.graph.input, tables["input", problem.graph.input])
        project.array("record", "", record)
        project.run(code.address("project"))
    step.run(code.address("train" if keep else "infer"))
    _final_output(rows, y, final[0])
    return (y, final), Record(record, tables, alive) if keep else None


def backward(
    kernels: Kernels,
    rows: Rows,
    problem: Problem,
    record: Record,
    above: Tensor,
    later: Sequence[Tensor],
) -> tuple[Tensor, dict[str, Tensor], tuple[Tensor, ...]]:
    """The gradients of input, weights and first state, given those of output and final state."""
    x, graph, dtype = problem.x, problem.graph, problem.x.dtype
    above = _rows_of_numbers(above)
    threads = max(1, min(team.threads(), rows.batch))
    step = Launch(kernels.back, threads)
    for (kind, name), table in record.tables.items():
        step.array(kind, name, table)
    output = next(iter(kernels.states))
    step.array("above", output, rows.packed(rows.table(above)))
    earlier = []
    for (name, size), own in zip(kernels.states.items(), later, strict=True):
        last = own.contiguous()
        buffers = torch.zeros(2, rows.batch, size, dtype=dtype)
        before = torch.zeros(rows.batch, size, dtype=dtype)
        if rows.lengths is not None:
            ended = torch.from_numpy(rows.users[rows.lengths == 0])
            before[ended] = last[ended]
        zero = torch.zeros(size, dtype=dtype)
        step.alive += [last, buffers, before, zero]
        parity = (np.arange(rows.steps) % 2)[:, None] * (rows.batch * size * x.element_size())
        table = buffers.data_ptr() + parity + (np.arange(rows.batch) * (size * x.element_size()))[None]
        come = np.concatenate([table[1:], table[:1]])
        gone = table.copy()
        gone[0] = rows.rows(before)
        _at_end(rows, come, rows.rows(last))
        if rows.resets is not None:
            nothing = np.zeros_like(rows.resets)
            nothing[:-1] = rows.resets[1:]
            if rows.lengths is not None:
                nothing[np.maximum(rows.lengths - 1, 0), np.arange(rows.batch)] = False
            else:
                nothing[-1] = False
            come = np.where(nothing, zero.data_ptr(), come)
            gone[0] = np.where(rows.resets[0], table[0], gone[0])
        step.array("later", name, rows.packed(come))
        step.array("earlier", name, rows.packed(gone))
        earlier.append(before)
    dx = torch.zeros_like(x) if rows.active is not None or (kernels.below is None and not kernels.direct) else torch.empty_like(x)
    below = rows.packed(rows.table(dx))
    delta = torch.empty(rows.total, kernels.back.fields["delta"].stride, dtype=dtype)
    total = torch.zeros(rows.batch, kernels.back.fields["total"].stride, dtype=dtype)
    step.array("below", graph.input, below)
    step.array("record", "", record.record)
    step.array("delta", "", delta)
    step.array("total", "", total)
    step.array("scratch", "", _space(kernels.back, "scratch", rows.batch, dtype))
    step.weights(problem.params)
    step.steps(rows.starts, rows.counts)
    code = kernels.backward_code
    step.run(code.address("back"))
    if kernels.below is not None:
        last_step = _over_all(kernels.below, team.threads(), rows.total)
        last_step.weights(problem.params)
        last_step.array("below", graph.input, below)
        last_step.array("delta", "", delta)
        last_step.run(code.address("below"))
    gradients = {name: torch.zeros_like(p) for name, p in problem.params.items()}
    _outers(kernels, rows, record, delta, gradients, code.address("outer"))
    for (name, offset), start in kernels.back.fields["total"].offsets.items():
        own = gradients[name].view(-1)
        size = _size_of_total(kernels, Place("total", name, offset))
        own[offset : offset + max(size, 1)] += total[:, start : start + max(size, 1)].sum(0)
    return dx, gradients, tuple(earlier)


def _size_of_total(kernels: Kernels, place: Place) -> int:
    step = kernels.back.program.step
    return next(step.values[s.value].size for s in step.stores if s.place == place)


def _outers(
    kernels: Kernels, rows: Rows, record: Record, delta: Tensor, gradients: dict[str, Tensor], function: int
) -> None:
    """The gradients of matrices."""
    lanes = kernels.target.lanes(kernels.bits // 8)
    offsets = kernels.back.fields["delta"].offsets
    es = delta.element_size()
    for g in kernels.gradients:
        vectors = -(-g.rows // lanes)
        if g.argument.kind in BY_TABLE:
            table, offset = record.tables[g.argument.kind, g.argument.name], g.argument.offset
        else:
            fields = kernels.train.fields[g.argument.kind]
            table = record.record.data_ptr() + np.arange(rows.total) * (fields.stride * es)
            offset = fields.offsets[g.argument.name, g.argument.offset]
        result = torch.zeros(g.columns, vectors * lanes, dtype=delta.dtype)
        height = min(8, (kernels.target.registers - kernels.target.columns - 2) // kernels.target.columns)
        items = -(-g.columns // height) * -(-vectors // kernels.target.columns)
        threads = max(1, min(team.threads(), items))
        blocks = np.zeros((threads, len(outer.BLOCK)), dtype=np.int64)
        share = items * np.arange(threads + 1) // threads
        values: dict[str, Any] = {
            "item": share[:-1],
            "items": share[1:],
            "rows": rows.total,
            "features": g.columns,
            "vectors": vectors,
            "read": table.ctypes.data,
            "offset": offset,
            "delta": delta.data_ptr() + offsets[g.delta, 0] * es,
            "stride": delta.shape[1],
            "result": result.data_ptr(),
            "pitch": vectors * lanes,
        }
        for k, name in enumerate(outer.BLOCK):
            blocks[:, k] = values[name]
        team.run(function, blocks)
        w = g.weight
        gradients[w.name][w.row : w.row + g.rows, w.column : w.column + g.columns] += result[:, : g.rows].T


def _rows_of_numbers(v: Tensor) -> Tensor:
    """The same, with the numbers of a row side by side."""
    return v if v.stride(-1) == 1 or v.shape[-1] == 1 else v.contiguous()


def _history(rows: Rows, size: int, dtype: torch.dtype, keep: bool) -> tuple[Addresses, Tensor]:
    """Where a state lies after each step, (T, B): all of them, or the last two in turn."""
    if keep:
        buffer = torch.empty(rows.total + rows.batch, size, dtype=dtype)
        place = rows.starts[:-1, None] + np.arange(rows.batch)[None, :]
    else:
        buffer = torch.empty(2 * rows.batch, size, dtype=dtype)
        place = (np.arange(rows.steps) % 2)[:, None] * rows.batch + np.arange(rows.batch)[None, :]
    return buffer.data_ptr() + place * (size * buffer.element_size()), buffer


def _at_end(rows: Rows, table: Addresses, where: Addresses) -> None:
    """What belongs to the last step of each sequence lies elsewhere."""
    if rows.lengths is None:
        table[-1] = where
    else:
        some = rows.lengths > 0
        table[rows.lengths[some] - 1, np.arange(rows.batch)[some]] = where[some]


def _final_output(rows: Rows, y: Tensor, final: Tensor) -> None:
    """The last output of each sequence."""
    if rows.lengths is None:
        final.copy_(y[int(rows.time[-1, 0])])
        return
    some = np.flatnonzero(rows.lengths > 0)
    time = rows.time[rows.lengths[some] - 1, some if rows.time.shape[1] > 1 else 0]
    users = torch.from_numpy(rows.users[some])
    final[users] = y[torch.from_numpy(np.asarray(time)), users]


def _space(layout: Layout, kind: str, count: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(count, layout.fields[kind].stride, dtype=dtype)


@lru_cache(maxsize=256)
def _kernels(graph: Graph, sizes: tuple[tuple[str, int], ...], bits: int) -> Kernels:
    return compile(graph, dict(sizes), bits, targets.host())


def kernels_of(problem: Problem) -> Kernels:
    """The kernels for a problem, compiled at the first call."""
    return _kernels(problem.graph, tuple(sorted(_sizes(problem).items())), BITS[problem.x.dtype])


def _sizes(problem: Problem) -> dict[str, int]:
    """The number of each named size, read off the tensors."""
    graph = problem.graph
    shapes = [(graph.shape(graph.input), problem.x.shape[-1:])]
    shapes += [(graph.shape(n), s.shape[-1:]) for n, s in zip(graph.states, problem.state, strict=True)]
    shapes += [(graph.shape(n), p.shape) for n, p in problem.params.items()]
    known: dict[str, int] = {"": 1}
    open_ = [(dict(size.terms), number) for shape, numbers in shapes for size, number in zip(shape, numbers, strict=True)]
    for _ in range(len(open_)):
        for terms, number in open_:
            unknown = [name for name in terms if name not in known]
            if len(unknown) == 1:
                rest = sum(count * known[name] for name, count in terms.items() if name in known)
                known[unknown[0]] = (number - rest) // terms[unknown[0]]
    return {name: number for name, number in known.items() if name}


def refusal(problem: Problem) -> str | None:
    """Why there is no kernel for this, or None."""
    if problem.x.device.type != "cpu":
        return "compiled kernels run on the CPU"
    if problem.x.dtype not in BITS:
        return f"compiled kernels take float32 and float64, not {problem.x.dtype}"
    try:
        targets.host()
    except BackendError as error:
        return str(error)
    return None


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, problem: Problem, keep: bool, *tensors: Tensor) -> Any:
        problem = _with(problem, tensors)
        kernels, rows = kernels_of(problem), arrange(problem)
        (y, final), record = forward(kernels, rows, problem, keep)
        ctx.held = (kernels, rows, problem, record)
        return y, *final

    @staticmethod
    def backward(ctx: Any, above: Tensor, *later: Tensor) -> Any:
        kernels, rows, problem, record = ctx.held
        if record is None:
            return None, None, torch.zeros_like(problem.x), *later, *(torch.zeros_like(p) for p in problem.params.values())
        dx, gradients, earlier = backward(kernels, rows, problem, record, above, later)
        return None, None, dx, *earlier, *(gradients[name] for name in problem.params)


def _with(problem: Problem, tensors: Sequence[Tensor]) -> Problem:
    from dataclasses import replace

    count = len(problem.state)
    params = dict(zip(problem.params, tensors[1 + count :], strict=True))
    return replace(problem, x=tensors[0], state=tuple(tensors[1 : 1 + count]), params=params)


def run(problem: Problem) -> Answer:
    """The outputs and the final state."""
    tensors = (problem.x, *problem.state, *problem.params.values())
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    y, *final = _Run.apply(problem, keep, *tensors)  # type: ignore[no-untyped-call]
    return y, tuple(final)


assert ctypes
