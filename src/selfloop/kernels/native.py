"""Compiled kernels: any cell as machine code, forward and backward, on the CPU."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray as Array
from torch import Tensor

from selfloop.compiler import targets
from selfloop.compiler.build import Code
from selfloop.compiler.emit import outer
from selfloop.compiler.layout import BY_TABLE, Layout
from selfloop.compiler.pipeline import Kernels, compile, tools
from selfloop.kernels import memory, team
from selfloop.kernels.launch import Launch, give_weights, move
from selfloop.kernels.problem import Problem
from selfloop.kernels.rows import Rows, arrange
from selfloop.language.graph import Graph

BITS = {torch.float32: 32, torch.float64: 64}

CHUNK = 1 << 22
"""Bytes for each thread that products over all steps go through at once, so that what one kernel writes the next one
finds in the second cache."""

CACHE = 3 << 19
"""Bytes of weights above which the threads share the units, so that each reads its own part of the weights at each step
(LSTM of 512 units, 4 MiB: 54 ms instead of 60, and 26 instead of 90 at one sequence)."""

FEW = 1 << 19
"""Bytes of weights above which they also do where there are fewer than two sequences for each thread."""

Tables = dict[tuple[str, str], Int[Array, " R"]]


@dataclass(frozen=True)
class Call:
    """A problem with its kernels and its rows.

    Attributes:
        record: what the step forward keeps for the step backward.
        histories: each state after each step, but for the output.
    """

    kernels: Kernels
    rows: Rows
    problem: Problem

    @classmethod
    def of(cls, problem: Problem) -> "Call":
        """The call that solves a problem."""
        steps, batch = problem.x.shape[:2]
        return cls(
            kernels_of(problem), arrange(steps, batch, problem.lengths, problem.resets, problem.reverse), problem
        )

    @property
    def output(self) -> str:
        """The state that is the output."""
        return next(iter(self.kernels.states))

    def launch(self, layout: Layout, code: Code, function: str) -> Launch:
        """A function that walks the steps: the threads share the rows, or the units of each step."""
        threads, batch = team.threads(), self.rows.batch
        by_units = layout.weight_bytes > (FEW if batch < 2 * threads else CACHE)
        launch = Launch(layout, code, function, threads if by_units else min(threads, batch), by_units)
        if self.problem.seed is not None:
            launch.header("seed", int(self.problem.seed))
        return launch

    def tables(
        self, y: Tensor, final: Sequence[Tensor], histories: Sequence[Tensor], keep: bool = True
    ) -> tuple[Tables, list[Tensor]]:
        """Where input and states lie; and tensors that must live as long as the tables."""
        rows, problem = self.rows, self.problem
        tables: Tables = {("input", problem.graph.input): rows.packed(rows.at_steps(problem.x))}
        alive: list[Tensor] = []
        if problem.seed is not None:
            tables["when", ""] = rows.packed(np.broadcast_to(rows.time, (rows.steps, rows.batch)) + 1)
            tables["who", ""] = rows.users + 1
        for k, (name, first) in enumerate(zip(self.kernels.states, problem.state, strict=True)):
            if k == 0:
                new = rows.at_steps(y)
            else:
                history = histories[k - 1]
                new = rows.one_after_another(history) if keep else rows.in_turn(history)
                rows.put_last(new, rows.at_once(final[k]))
            old = np.concatenate([rows.at_once(first)[None], new[:-1]])
            if rows.resets is not None:
                alive.append(first.new_zeros(first.shape[1]))
                old = np.where(rows.resets, alive[-1].data_ptr(), old)
            tables["new", name], tables["old", name] = rows.packed(new), rows.packed(old)
        return tables, alive

    def elsewhere(self, tables: Tables) -> tuple[Tables, list[Tensor]]:
        """The tables with new states where they harm no one, for steps that are only run again; and the room."""
        rows, again, room = self.rows, dict(tables), []
        for name, first in zip(self.kernels.states, self.problem.state, strict=True):
            room.append(first.new_empty(2 * rows.batch, first.shape[1]))
            again["new", name] = rows.packed(rows.in_turn(room[-1]))
        return again, room

    def most(self, chunks: Sequence[tuple[int, int]]) -> int:
        """The rows of the largest chunk."""
        return max((int(self.rows.starts[b] - self.rows.starts[a]) for a, b in chunks), default=0)

    def chunks(self, row_bytes: int) -> list[tuple[int, int]]:
        """The steps in chunks of so many rows as the cache holds."""
        rows = self.rows
        at_once = max(1, CHUNK * team.threads() // max(1, row_bytes))
        if rows.total <= at_once:
            return [(0, rows.steps)]
        bounds = [0]
        while bounds[-1] < rows.steps:
            end = int(np.searchsorted(rows.starts, rows.starts[bounds[-1]] + at_once, side="right")) - 1
            bounds.append(min(rows.steps, max(end, bounds[-1] + 1)))
        return list(itertools.pairwise(bounds))


def forward(call: Call, keep: bool, checkpoint: int) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The output, the final state, and what is kept for `backward`: the record, and the history of each other state.

    Args:
        call: what to run.
        keep: whether there will be a `backward`.
        checkpoint: keep no record, but make it again in so many steps at a time; 0 to keep it.
    """
    kernels, rows, problem = call.kernels, call.rows, call.problem
    x = problem.x
    final = [s.clone(memory_format=torch.contiguous_format) for s in problem.state]
    shape = (rows.steps, rows.batch, final[0].shape[1])
    y = x.new_empty(shape) if rows.active is None else x.new_zeros(shape)
    is_recorded = keep and not checkpoint
    width = kernels.train.fields["record"].stride
    chunks = call.chunks(width * x.element_size() if kernels.project else 0)
    record = memory.empty(rows.steps * rows.batch if is_recorded else call.most(chunks), width, x.dtype)
    turns = rows.steps if keep else 2
    histories = [memory.empty(turns * rows.batch, s.shape[1], x.dtype) for s in final[1:]]
    kept = [record if is_recorded else record[:0].clone(), *histories]
    if rows.total == 0:
        return y, final, kept

    tables, alive = call.tables(y, final, histories, keep)
    steps = _Steps(call, "train" if is_recorded else "infer", tables)
    for begin, end in chunks:
        steps.run(record, begin, end, is_whole=is_recorded)
    del alive
    _copy_last(rows, y, final[0])
    return y, final, kept if keep else []


class _Steps:
    """The step forward, with the products of the input that it reads."""

    def __init__(self, call: Call, function: str, tables: Tables) -> None:
        self.call = call
        kernels, rows, problem = call.kernels, call.rows, call.problem
        code = kernels.forward_code
        self.step = call.launch(getattr(kernels, function), code, function)
        self.project = Launch(kernels.project, code, "project", team.threads()) if kernels.project else None
        launches = [launch for launch in (self.step, self.project) if launch]
        for launch in launches:
            launch.tables(tables)
        give_weights(launches, problem.params)
        self.step.space("scratch", rows.batch, problem.x)

    def run(self, record: Tensor, begin: int, end: int, is_whole: bool) -> None:
        """Run some steps; the record is of all steps, or of these."""
        rows = self.call.rows
        low, high = int(rows.starts[begin]), int(rows.starts[end])
        shift = 0 if is_whole else -low * record.shape[1] * record.element_size()
        self.step.array("record", "", record, shift)
        if self.project:
            self.project.array("record", "", record, shift)
            self.project.run_rows(low, high, high - low)
        self.step.run(rows.starts, rows.counts, begin, end)


def backward(
    call: Call,
    y: Tensor,
    final: Sequence[Tensor],
    kept: Sequence[Tensor],
    above: Tensor,
    later: Sequence[Tensor],
    checkpoint: int,
) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
    """The gradients of the input, of the weights by name, and of the first state.

    Args:
        call: as for `forward`.
        y: what `forward` returned, as `final` and `kept`.
        final: the final state.
        kept: what was kept.
        above: the gradient of the output.
        later: the gradients of the final state.
        checkpoint: as for `forward`.
    """
    kernels, rows, problem = call.kernels, call.rows, call.problem
    x, input = problem.x, problem.graph.input
    earlier = [d.clone(memory_format=torch.contiguous_format) for d in later]  # it stays so where nothing runs
    complete = rows.active is None and (kernels.below is not None or kernels.direct)
    dx = torch.empty_like(x) if complete else torch.zeros_like(x)
    if rows.total == 0:
        return dx, {name: torch.zeros_like(weight) for name, weight in problem.params.items()}, earlier

    code = kernels.backward_code
    record, *histories = kept
    tables, alive = call.tables(y, final, histories)
    width = kernels.back.fields["delta"].stride
    chunks = call.chunks(width * x.element_size())
    steps = None
    if checkpoint:
        chunks = [(t, min(t + checkpoint, rows.steps)) for t in range(0, rows.steps, checkpoint)]
        record = memory.empty(call.most(chunks), record.shape[1], x.dtype)
        again, room = call.elsewhere(tables)
        alive += room
        steps = _Steps(call, "train", again)
    tables["above", call.output] = rows.packed(rows.at_steps(above))
    tables["below", input] = rows.packed(rows.at_steps(dx))
    step = call.launch(kernels.back, code, "back")
    for name, last, first in zip(kernels.states, later, earlier, strict=True):
        alive += _carry(rows, tables, name, last.contiguous(), first)
    below = Launch(kernels.below, code, "below", team.threads()) if kernels.below else None
    launches = [launch for launch in (step, below) if launch]
    for launch in launches:
        launch.tables(tables)
    give_weights(launches, problem.params)
    step.space("scratch", rows.batch, x)
    total = step.space("total", rows.batch, x)
    delta = memory.empty(call.most(chunks), width, x.dtype)
    products = _Outers(call, tables, record, delta, is_whole=steps is None)
    for begin, end in reversed(chunks):
        low, high = int(rows.starts[begin]), int(rows.starts[end])
        shift = -low * x.element_size()
        if steps:
            steps.run(record, begin, end, is_whole=False)
        step.array("record", "", record, shift * record.shape[1] if steps else 0)
        step.array("delta", "", delta, shift * width)
        step.run(rows.starts, rows.counts, begin, end)
        if below:
            below.array("delta", "", delta, shift * width)
            below.run_rows(low, high, high - low)
        products.add(low, high)
    del alive
    gradients = products.gradients(problem.params)
    sums = total.sum(0)
    for (name, offset), start in kernels.back.fields["total"].offsets.items():
        size = kernels.totals[name, offset]
        gradients[name].view(-1)[offset : offset + size] = sums[start : start + size]
    return dx, gradients, earlier


def _carry(rows: Rows, tables: Tables, name: str, last: Tensor, first: Tensor) -> list[Tensor]:
    """The tables of a state's gradient, which walks down the steps: from where it comes, and where it goes.

    At a sequence's last step it comes from `last`; at its first it goes to `first`. Before a step that resets the state
    nothing comes from it.
    """
    turns, nothing = last.new_empty(2 * rows.batch, last.shape[1]), last.new_zeros(last.shape[1])
    goes = rows.in_turn(turns)
    comes = np.concatenate([goes[1:], goes[:1]])
    goes[0] = rows.at_once(first)
    if rows.resets is not None:
        comes[:-1][rows.resets[1:]] = nothing.data_ptr()
        first[torch.from_numpy(rows.users[rows.resets[0]])] = 0
        goes[0] = np.where(rows.resets[0], rows.in_turn(turns)[0], goes[0])
    rows.put_last(comes, rows.at_once(last))
    tables["later", name], tables["earlier", name] = rows.packed(comes), rows.packed(goes)
    return [last, turns, nothing]


class _Outers:
    """The gradients of matrices: sums of outer products, grown chunk by chunk."""

    def __init__(self, call: Call, tables: Tables, record: Tensor, delta: Tensor, is_whole: bool) -> None:
        kernels = call.kernels
        self.kernels, self.delta, self.is_whole = kernels, delta, is_whole
        self.tools = tools(kernels.bits, kernels.target)
        self.jobs = []
        item = delta.element_size()
        threads = team.threads()
        target, lanes = kernels.target, kernels.target.lanes(item)
        most = max((job.columns for job in kernels.outers), default=0)
        self.room = memory.empty(threads, outer.room(target, item, most), delta.dtype)
        for job in kernels.outers:
            place = job.argument
            if place.kind in BY_TABLE:
                table, offset = tables[place.kind, place.name], place.offset
            else:
                fields = kernels.train.fields[place.kind]
                table = record.data_ptr() + np.arange(len(record)) * (fields.stride * item)
                offset = fields.offsets[place.name, place.offset]
            vectors = job.width // lanes
            result = delta.new_zeros(job.columns, job.width)
            items = outer.tiles(target, job.columns, vectors)
            share = items * np.arange(threads + 1) // threads
            blocks = np.zeros((threads, len(outer.BLOCK)), dtype=np.int64)
            values: dict[str, int | Int[Array, " threads"]] = {
                "item": share[:-1],
                "items": share[1:],
                "features": job.columns,
                "vectors": vectors,
                "offset": offset,
                "room": self.room.data_ptr() + np.arange(threads) * self.room.stride(0) * item,
                "delta": delta.data_ptr() + job.start * item,
                "stride": delta.shape[1],
                "result": result.data_ptr(),
                "pitch": job.width,
            }
            for name, value in values.items():
                blocks[:, outer.BLOCK.index(name)] = value
            self.jobs.append((job, table, result, blocks))
        self.blocks = np.concatenate([blocks for *_, blocks in self.jobs]) if self.jobs else None
        self.threads = threads

    def add(self, low: int, high: int) -> None:
        """Add what the rows from `low` up to `high` owe; delta has them from its start."""
        if self.blocks is None:
            return
        self.blocks[:, outer.BLOCK.index("rows")] = high - low
        for k, (job, table, _, _) in enumerate(self.jobs):
            own = slice(k * self.threads, (k + 1) * self.threads)
            first = low if self.is_whole or job.argument.kind != "record" else 0
            self.blocks[own, outer.BLOCK.index("read")] = table.ctypes.data + first * table.itemsize
        team.run(self.tools.address("outer"), self.blocks)

    def gradients(self, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The gradient of each matrix; of a vector or scalar, room for it."""
        lanes, item = self.kernels.target.lanes(self.delta.element_size()), self.delta.element_size()
        found: dict[str, Tensor] = {}
        moves = []
        for name, weight in params.items():
            parts = [(j, start, rows, w) for j in self.jobs for start, rows, w in j[0].weights if w.name == name]
            if (
                len(parts) == 1
                and weight.shape == (parts[0][2], parts[0][0][0].columns)
                and not weight.shape[1] % lanes
            ):
                (job, _, result, _), start, rows, _ = parts[0]
                found[name] = result.new_empty(weight.shape)
                for k in range(0, rows, TURNED):  # torch's own turning takes ten times as long
                    source = result.data_ptr() + (start + k) * item
                    goal = found[name].data_ptr() + k * job.columns * item
                    length = min(TURNED, rows - k)
                    moves.append((source, job.width, 1, job.columns, 0, lanes, length, goal, lanes, job.columns))
                continue
            found[name] = torch.zeros_like(weight)
            for (job, _, result, _), start, rows, w in parts:
                block = found[name][w.row : w.row + rows, w.column : w.column + job.columns]
                block += result[:, start : start + rows].T
        if moves:
            move(self.tools, np.array(moves, dtype=np.int64), sum(g.numel() for g in found.values()))
        return found


TURNED = 64
"""Rows of a matrix that are turned in one go."""


def _copy_last(rows: Rows, y: Tensor, final: Tensor) -> None:
    """The last output of each sequence."""
    if rows.active is None:
        final.copy_(y[int(rows.time[-1, 0])])
        return
    some = np.flatnonzero(rows.lengths)
    last = rows.lengths[some] - 1
    time = torch.from_numpy(np.broadcast_to(rows.time, (rows.steps, rows.batch))[last, some])
    users = torch.from_numpy(rows.users[some])
    final[users] = y[time, users]


def kernels_of(problem: Problem) -> Kernels:
    """The kernels for a problem, compiled at the first call."""
    shapes = [problem.x.shape[-1:], *(s.shape[-1:] for s in problem.state), *(p.shape for p in problem.params.values())]
    return _kernels(problem.graph.text, tuple(map(tuple, shapes)), BITS[problem.x.dtype], targets.host())


@lru_cache(maxsize=256)
def _kernels(cell: str, shapes: tuple[tuple[int, ...], ...], bits: int, target: targets.Target) -> Kernels:
    graph = Graph.read(cell)
    names = (graph.input, *graph.states, *graph.params)
    return compile(graph, graph.solve(dict(zip(names, shapes, strict=True))), bits, target)
