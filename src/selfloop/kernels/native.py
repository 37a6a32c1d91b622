"""Compiled kernels: any cell as machine code, forward and backward, on the CPU.

What a call does is a Plan, written for what it depends on, a Shape and its Rows; calls that have these in common, as
those of a training loop have, use one plan.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfloop.compiler import targets
from selfloop.compiler.emit import outer, outer_bfloat16
from selfloop.compiler.layout import BY_TABLE, SIDE, Layout
from selfloop.compiler.pipeline import Kernels, Outer, compile, tools
from selfloop.kernels import memory, team
from selfloop.kernels.launch import Launch, Weight, give_weights
from selfloop.kernels.problem import Problem
from selfloop.kernels.rows import Rows, arrange
from selfloop.kernels.sheet import Numbers, Plan, Sheet
from selfloop.language.graph import Graph

BITS = {torch.float32: 32, torch.float64: 64}

CHUNK = 1 << 23
"""Bytes that products over all steps go through at once: enough that sums are seldom stored and loaded again, and no
more workspace than that (on two threads an LSTM of 1024 units trains in 412 ms with a quarter of it, in 387, and in
364 with four times as much; one of 64 in 3.2 ms with any). The same for any number of threads, since the order of the
sums depends on it."""

LONG = 1 << 15
"""Rows from which the gradient of a matrix is a sum of partial sums, one for so many rows, to bound the rounding error
(LSTM of 8 units, 3 million rows: a relative error of 6e-6 with one sum, of 2e-7 with partial ones)."""

PARTIAL = 32
"""Partial sums at most; all of them take at most CHUNK bytes."""

CACHE = 3 << 19
"""Bytes of weights above which the threads share the units, so that each reads its own part of the weights at each step
(LSTM of 512 units, 4 MiB: 54 ms instead of 60, and 26 instead of 90 at one sequence)."""

FEW = 3 << 15
"""Bytes of weights above which they also do where there are at most two sequences for each thread (an LSTM of 256 units
infers 4 sequences in 2.2 ms instead of 3.8; of 64 units, in as long)."""

ALONE = 1 << 20
"""Multiplications in all below which one thread does everything: they take 20 µs, and waking the others takes 5."""

AT_ONCE = 256
"""Rows of a thread that are rounded to bfloat16 before they are multiplied."""

FEW_ROWS = 8
"""Rows that are summed one after another."""

REMEMBERED = 1 << 14
"""Rows up to which plans are kept: above, writing one takes less than a fiftieth of the call."""


class Shape(NamedTuple):
    """What a plan depends on, beside the rows.

    Attributes:
        kernels: the cell's.
        x: the pitches of the input's steps and rows, in bytes.
        above: those of the gradient of the output; of no use forward.
        below: those of the gradient of the input.
        matrices: the shape and the strides of each matrix, by name.
        is_random: whether the cell draws.
        keep: whether there will be a gradient.
        checkpoint: see Problem.
        threads: how many share the work.
    """

    kernels: Kernels
    x: tuple[int, int]
    above: tuple[int, int]
    below: tuple[int, int]
    matrices: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    is_random: bool
    keep: bool
    checkpoint: int
    threads: int

    @property
    def is_recorded(self) -> bool:
        """Whether all that the step backward needs is kept."""
        return self.keep and not self.checkpoint


class Call:
    """A problem with its kernels and its rows; its input and first state in an order that kernels can read."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.kernels = problem, kernels_of(problem)
        self.x, self.first = rows_of_numbers(problem.x), [s.contiguous() for s in problem.state]
        steps, batch = self.x.shape[:2]
        self.rows = arrange(steps, batch, problem.lengths, problem.resets, problem.reverse)

    def shape(self, keep: bool, above: Tensor | None = None, below: Tensor | None = None) -> Shape:
        """What the plan depends on."""
        problem, kernels = self.problem, self.kernels
        x = _pitches(self.x)
        params = problem.params.items()
        return Shape(
            kernels,
            x,
            x if above is None else _pitches(above),
            x if below is None else _pitches(below),
            tuple((name, tuple(w.shape), w.stride()) for name, w in params if w.dim() == 2),
            problem.seed is not None,
            keep,
            problem.checkpoint,
            1 if self.rows.total * kernels.infer.weight_bytes < ALONE * kernels.bits // 8 else team.threads(),
        )

    def addresses(self) -> tuple[dict[str, int], list[Tensor]]:
        """Where input, weights and first states lie; and copies that must live as long as the call."""
        problem = self.problem
        vectors = {name: w if w.dim() == 2 else w.contiguous() for name, w in problem.params.items()}
        found = {f"param {name}": w.data_ptr() for name, w in vectors.items()}
        found |= {f"first {name}": s.data_ptr() for name, s in zip(self.kernels.states, self.first, strict=True)}
        found["x"] = self.x.data_ptr()
        found["seed"] = 0 if problem.seed is None else int(problem.seed)
        return found, list(vectors.values())


def forward(problem: Problem, keep: bool) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The output, the final state, and what is kept for `backward`: the record, and the history of each other state.

    Args:
        problem: what to run.
        keep: whether there will be a `backward`.
    """
    call = Call(problem)
    kernels, rows, x = call.kernels, call.rows, problem.x
    final = [s.clone(memory_format=torch.contiguous_format) for s in problem.state]  # it stays so where nothing runs
    size = (rows.steps, rows.batch, final[0].shape[1])
    y = memory.empty(size, x.dtype)
    if rows.active is not None:
        y.zero_()
    shape = call.shape(keep)
    kept: list[Tensor] = []
    if keep:
        record = (rows.steps * rows.batch * shape.is_recorded, kernels.train.fields["record"].stride)
        sizes = [record, *((rows.steps * rows.batch, s.shape[1]) for s in final[1:])]
        kept = [memory.workspace(size, x.dtype) for size in sizes]
    if rows.total:
        addresses, alive = call.addresses()
        addresses |= {f"final {name}": s.data_ptr() for name, s in zip(kernels.states, final, strict=True)}
        addresses["y"] = y.data_ptr()
        if keep:
            addresses |= _kept_addresses(kernels, kept)
        _run(_plan(_forward, shape, rows), addresses, x.dtype)
        del alive
        _copy_last(rows, y, final[0])
    return y, final, kept


def backward(
    problem: Problem,
    y: Tensor,
    final: Sequence[Tensor],
    kept: Sequence[Tensor],
    above: Tensor,
    later: Sequence[Tensor],
) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
    """The gradients of the input, of the weights by name, and of the first state.

    Args:
        problem: as for `forward`.
        y: what `forward` returned, as `final` and `kept`.
        final: the final state.
        kept: what was kept.
        above: the gradient of the output.
        later: the gradients of the final state.
    """
    call = Call(problem)
    kernels, rows, x = call.kernels, call.rows, problem.x
    above, later = rows_of_numbers(above), [d.contiguous() for d in later]
    earlier = [d.clone() for d in later]  # it stays so where nothing runs
    complete = rows.active is None and (kernels.below is not None or kernels.direct)
    dx = laid_as(x, lambda shape: memory.empty(shape, x.dtype))
    if not complete:
        dx.zero_()
    if rows.total == 0:
        return dx, {name: torch.zeros_like(weight) for name, weight in problem.params.items()}, earlier
    shape = call.shape(True, above, dx)
    plan = _plan(_backward, shape, rows)
    whole = {name for name, size, _ in shape.matrices if _is_whole(kernels, name, size)}
    gradients = {
        name: memory.empty(weight.shape, weight.dtype) if name in whole else weight.new_zeros(weight.shape)
        for name, weight in problem.params.items()
    }
    addresses, alive = call.addresses()
    addresses |= {"y": y.data_ptr(), "above": above.data_ptr(), "below": dx.data_ptr()}
    addresses |= {f"gradient {name}": gradient.data_ptr() for name, gradient in gradients.items()}
    addresses |= _kept_addresses(kernels, kept)
    for name, *own in zip(kernels.states, final, later, earlier, strict=True):
        kinds = ("final", "later", "earlier")
        addresses |= {f"{kind} {name}": tensor.data_ptr() for kind, tensor in zip(kinds, own, strict=True)}
    room = _run(plan, addresses, x.dtype)
    del alive
    if rows.resets is not None:
        for d in earlier:
            d[torch.from_numpy(rows.users[rows.resets[0]])] = 0
    fields = kernels.back.fields["total"]
    if fields.offsets:
        sums = _sum(room, plan, "total", fields.stride)
        flat = {name: gradients[name].view(-1).numpy() for name, _ in fields.offsets}
        for (name, offset), first in fields.offsets.items():
            size = kernels.totals[name, offset]
            flat[name][offset : offset + size] = sums[first : first + size]
    for name in gradients.keys() & plan.places.keys():
        gradient = gradients[name]
        gradient.numpy()[...] = _sum(room, plan, name, gradient.numel()).reshape(gradient.shape)
    return dx, gradients, earlier


def _kept_addresses(kernels: Kernels, kept: Sequence[Tensor]) -> dict[str, int]:
    """Where the record lies, and the history of each state but the first, which is the output."""
    names = ["record", *(f"history {name}" for name in list(kernels.states)[1:])]
    return {name: tensor.data_ptr() for name, tensor in zip(names, kept, strict=True)}


def _sum(room: Tensor, plan: Plan, name: str, size: int) -> Float[np.ndarray, " _"]:
    """The sum of the rows of that name: in pairs while they are many, so that its rounding error is small."""
    place, item = plan.places[name], room.element_size()
    rows = room.numpy()[place.start // item : place.stop // item].reshape(-1, size)
    while len(rows) > FEW_ROWS:
        half = (len(rows) + 1) // 2
        rows[: len(rows) - half] += rows[half:]
        rows = rows[:half]
    return rows.sum(0)  # type: ignore[no-any-return]


def rows_of_numbers(v: Tensor) -> Tensor:
    """The same, with the numbers of a row side by side."""
    return v if v.stride(-1) == 1 or v.shape[-1] == 1 else v.contiguous()


def laid_as(x: Tensor, empty: Callable[[Sequence[int]], Tensor]) -> Tensor:
    """Room for the gradient of an input: (T, B, I), or (B, T, I) transposed where the input is."""
    steps, batch, size = x.shape
    if not x.is_contiguous() and x.transpose(0, 1).is_contiguous():
        return empty((batch, steps, size)).transpose(0, 1)
    return empty((steps, batch, size))


def _pitches(v: Tensor) -> tuple[int, int]:
    item = v.element_size()
    return v.stride(0) * item, v.stride(1) * item


def _run(plan: Plan, addresses: dict[str, int], dtype: torch.dtype) -> Tensor:
    """Run a plan; the room it had."""
    room = memory.workspace((plan.room // dtype.itemsize,), dtype)
    room[: plan.zeros // dtype.itemsize].zero_()
    plan.run({**addresses, "room": room.data_ptr()})
    return room


Writer = Callable[[Shape, Rows], Plan]


def _plan(write: Writer, shape: Shape, rows: Rows) -> Plan:
    return _remembered(write, shape, rows) if rows.is_even and rows.total <= REMEMBERED else write(shape, rows)


@lru_cache(maxsize=64)
def _remembered(write: Writer, shape: Shape, rows: Rows) -> Plan:
    return write(shape, rows)


class _Draft:
    """A plan while it is written: a sheet, and the tables of what is the user's or is kept."""

    def __init__(self, shape: Shape, rows: Rows) -> None:
        self.shape, self.rows, self.kernels = shape, rows, shape.kernels
        self.item = self.kernels.bits // 8
        self.sheet = Sheet(tools(self.kernels.bits, self.kernels.target, self.kernels.bfloat16), shape.threads)
        self.at_once = AT_ONCE * shape.threads if self.kernels.bfloat16 else rows.total
        self.tables: dict[tuple[str, str], int] = {}
        self.zeros = self.sheet.write(np.zeros(max(self.kernels.states.values()), dtype=np.int64))
        self.starts, self.counts = self.sheet.write(rows.starts), self.sheet.write(rows.counts)
        start = self.sheet.base("x")
        self.table("input", self.kernels.input, rows.at_steps(start, *shape.x))
        if shape.is_random:
            self.table("when", "", np.broadcast_to(rows.time, (rows.steps, rows.batch)) + 1)
            self.tables["who", ""] = self.sheet.write(rows.users + 1)
        for k, (name, size) in enumerate(self.kernels.states.items()):
            self._state(name, size * self.item, is_output=k == 0)

    def table(self, kind: str, name: str, table: np.ndarray) -> None:
        """Where rows lie at each step."""
        self.tables[kind, name] = self.sheet.write(self.rows.packed(table))

    def _state(self, name: str, pitch: int, is_output: bool) -> None:
        rows, sheet = self.rows, self.sheet
        if is_output:
            new = rows.at_steps(sheet.base("y"), rows.batch * pitch, pitch)
        else:
            if self.shape.keep:
                new = rows.one_after_another(sheet.base(f"history {name}"), pitch)
            else:
                new = rows.in_turn(sheet.room(2 * rows.batch * pitch), pitch)
            rows.put_last(new, rows.at_once(sheet.base(f"final {name}"), pitch))
        new = np.concatenate([rows.at_once(sheet.base(f"first {name}"), pitch)[None], new])
        if rows.is_even:
            self.tables["old", name] = sheet.write(new.reshape(-1))
            self.tables["new", name] = self.tables["old", name] + rows.batch * 8
        else:
            old = new[:-1] if rows.resets is None else np.where(rows.resets, self.zeros, new[:-1])
            self.table("new", name, new[1:])
            self.table("old", name, old)

    def launch(self, layout: Layout, function: int) -> Launch:
        """A function that walks the steps: the threads share the rows, or the units of each step."""
        by_units = layout.weight_bytes > (FEW if self.rows.batch <= 2 * self.shape.threads else CACHE)
        launch = self.launch_rows(layout, function, by_units)
        if self.rows.active is None:
            launch.share(self.rows.batch)
        stride = layout.fields["scratch"].stride
        launch.give("scratch", "", self.sheet.room(self.rows.batch * stride * self.item))
        if self.shape.is_random:
            launch.give("header", "seed", self.sheet.base("seed"))
        return launch

    def launch_rows(self, layout: Layout, function: int, by_units: bool = False) -> Launch:
        """A function, with the tables."""
        launch = Launch(layout, function, self.shape.threads, by_units)
        for (kind, name), table in self.tables.items():
            launch.give(kind, name, table)
        if layout.bfloat16:
            rows = max(self.rows.batch, AT_ONCE) + 2 * SIDE
            size = rows * layout.rounded[1]
            launch.give(
                "rounded", "", self.sheet.room(size * len(launch.blocks)) + np.arange(len(launch.blocks)) * size
            )
        return launch

    def give_weights(self, launches: Sequence[Launch]) -> None:
        """Pack the weights."""
        strides = {name: strides for name, _, strides in self.shape.matrices}
        names = {name for launch in launches for kind, name in launch.layout.arguments if kind == "param"}
        weights = {
            name: Weight(self.sheet.base(f"param {name}"), strides.get(name, ())) for name in names | strides.keys()
        }
        give_weights(self.sheet, launches, weights)

    def chunks(self, row_bytes: int, steps: int = 0) -> list[tuple[int, int]]:
        """The steps in chunks of CHUNK bytes, or of so many `steps`, up to the last step that has rows."""
        rows = self.rows
        last = int(np.count_nonzero(rows.counts))
        if steps:
            return [(t, min(t + steps, last)) for t in range(0, last, steps)]
        at_once = max(1, CHUNK // max(1, row_bytes))
        bounds = [0]
        while bounds[-1] < last:
            end = int(np.searchsorted(rows.starts, rows.starts[bounds[-1]] + at_once, side="right")) - 1
            bounds.append(min(last, max(end, bounds[-1] + 1)))
        return list(pairwise(bounds))

    def most(self, chunks: Sequence[tuple[int, int]]) -> int:
        """The rows of the largest chunk."""
        return max(int(self.rows.starts[end] - self.rows.starts[begin]) for begin, end in chunks)


class _Steps:
    """The step forward, with the products of the input that it reads."""

    def __init__(self, draft: _Draft, function: str) -> None:
        kernels, code = draft.kernels, draft.kernels.forward_code
        self.draft = draft
        self.step = draft.launch(getattr(kernels, function), code.address(function))
        self.project = draft.launch_rows(kernels.project, code.address("project")) if kernels.project else None
        self.launches = [launch for launch in (self.step, self.project) if launch]

    def run(self, record: int, begin: int, end: int) -> None:
        """Run some steps; `record` is where that of all steps would start."""
        draft = self.draft
        for launch in self.launches:
            launch.give("record", "", record)
        if self.project:
            low, high = int(draft.rows.starts[begin]), int(draft.rows.starts[end])
            self.project.run_rows(draft.sheet, low, high, draft.at_once)
        self.step.run(draft.sheet, draft.starts, draft.counts, begin, end)


def _forward(shape: Shape, rows: Rows) -> Plan:
    draft = _Draft(shape, rows)
    steps = _Steps(draft, "train" if shape.is_recorded else "infer")
    draft.give_weights(steps.launches)
    pitch = draft.kernels.train.fields["record"].stride * draft.item
    chunks = draft.chunks(pitch if draft.kernels.project else 0)
    record = draft.sheet.base("record") if shape.is_recorded else draft.sheet.room(draft.most(chunks) * pitch)
    for begin, end in chunks:
        steps.run(record - (0 if shape.is_recorded else int(rows.starts[begin]) * pitch), begin, end)
    return draft.sheet.finish()


def _backward(shape: Shape, rows: Rows) -> Plan:
    draft = _Draft(shape, rows)
    kernels, sheet, item = draft.kernels, draft.sheet, draft.item
    total = sheet.room(rows.batch * kernels.back.fields["total"].stride * item, "total")
    record_pitch, pitch = kernels.train.fields["record"].stride * item, kernels.back.fields["delta"].stride * item
    chunks = draft.chunks(pitch, shape.checkpoint)
    results = _results(draft, len(chunks))
    sheet.zero_so_far()
    record, steps = sheet.base("record"), None
    if shape.checkpoint:
        record = sheet.room(draft.most(chunks) * record_pitch)
        tables = dict(draft.tables)
        for name, size in kernels.states.items():  # new states where they harm no one
            draft.table("new", name, rows.in_turn(sheet.room(2 * rows.batch * size * item), size * item))
        steps = _Steps(draft, "train")
        draft.tables = tables
    draft.table("above", next(iter(kernels.states)), rows.at_steps(sheet.base("above"), *shape.above))
    draft.table("below", kernels.input, rows.at_steps(sheet.base("below"), *shape.below))
    for name, size in kernels.states.items():
        _carry(draft, name, size * item)

    code = kernels.backward_code
    step = draft.launch(kernels.back, code.address("back"))
    step.give("total", "", total)
    below = draft.launch_rows(kernels.below, code.address("below")) if kernels.below else None
    draft.give_weights([launch for launch in (step, below, *(steps.launches if steps else ())) if launch])
    delta = sheet.room(draft.most(chunks) * pitch)
    products = _Products(draft, delta, pitch, results)
    for k, (begin, end) in enumerate(reversed(chunks)):
        low, high = int(rows.starts[begin]), int(rows.starts[end])
        own = record - low * record_pitch if steps else record
        if steps:
            steps.run(own, begin, end)
        step.give("record", "", own)
        step.give("delta", "", delta - low * pitch)
        step.run(sheet, draft.starts, draft.counts, begin, end)
        if below:
            below.give("delta", "", delta - low * pitch)
            below.run_rows(sheet, low, high, draft.at_once)
        products.add(own, low, high, k)
    return sheet.finish()


def _carry(draft: _Draft, name: str, pitch: int) -> None:
    """The tables of a state's gradient, which walks down the steps: from where it comes, and where it goes.

    At a sequence's last step it comes from `later`; at its first it goes to `earlier`. Before a step that resets the
    state nothing comes from it.
    """
    rows, sheet = draft.rows, draft.sheet
    turns = rows.in_turn(sheet.room(2 * rows.batch * pitch), pitch)
    goes, comes = turns.copy(), np.concatenate([turns[1:], turns[:1]])
    goes[0] = rows.at_once(sheet.base(f"earlier {name}"), pitch)
    if rows.resets is not None:
        comes[:-1][rows.resets[1:]] = draft.zeros
        goes[0] = np.where(rows.resets[0], turns[0], goes[0])
    rows.put_last(comes, rows.at_once(sheet.base(f"later {name}"), pitch))
    draft.table("later", name, comes)
    draft.table("earlier", name, goes)


class _Results(NamedTuple):
    """Where the gradients of matrices grow: in their own places, or in partial sums, which are zero at first.

    Attributes:
        starts: their addresses, or those of the first partial sums.
        sizes: the bytes of each.
        chunks: the chunks of steps that are added.
        partial: the partial sums of each; 1 where it grows in its own place.
    """

    starts: Mapping[str, int]
    sizes: Mapping[str, int]
    chunks: int
    partial: int

    def address(self, name: str, chunk: int) -> int:
        """Where a chunk is added."""
        return self.starts[name] + chunk * self.partial // self.chunks * self.sizes[name]


def _results(draft: _Draft, chunks: int) -> _Results:
    sizes = {name: math.prod(shape) * draft.item for name, shape, _ in draft.shape.matrices}
    partial = min(PARTIAL, chunks, draft.rows.total // LONG, CHUNK // max(1, sum(sizes.values())))
    if partial <= 1:
        return _Results({name: draft.sheet.base(f"gradient {name}") for name in sizes}, sizes, chunks, 1)
    starts = {name: draft.sheet.room(size * partial, name) for name, size in sizes.items()}
    return _Results(starts, sizes, chunks, partial)


class _Products:
    """The gradients of matrices: sums of outer products, grown chunk by chunk."""

    def __init__(self, draft: _Draft, delta: int, pitch: int, results: _Results) -> None:
        self.draft, self.delta, self.results = draft, delta, results
        kernels, sheet, item, threads = draft.kernels, draft.sheet, draft.item, draft.shape.threads
        shapes = {name: shape for name, shape, _ in draft.shape.matrices}
        own = outer_bfloat16 if kernels.bfloat16 else outer
        rooms = [own.room(kernels.target, item, job.rows, job.columns) * item for job in kernels.outers]
        share = max(rooms, default=0)
        room = sheet.room(threads * share) + np.arange(threads) * share
        self.is_zero = {name: results.partial > 1 or not _is_whole(kernels, name, own) for name, own in shapes.items()}
        self.blocks = []
        for job in kernels.outers:
            width = shapes[job.weight.name][1]
            first = job.weight.row * width + job.weight.column
            items = own.tiles(kernels.target, item, job.rows, job.columns)
            shares = items * np.arange(threads + 1) // threads
            values: dict[str, int | Numbers] = {
                "item": shares[:-1],
                "items": shares[1:],
                "owed": job.rows,
                "columns": job.columns,
                "room": room,
                "delta": delta + job.start * item,
                "stride": pitch // item,
                "result": first * item,
                "pitch": width,
            }
            blocks = np.zeros((threads, len(outer.BLOCK)), dtype=np.int64)
            for name, value in values.items():
                blocks[:, outer.BLOCK.index(name)] = value
            self.blocks.append(blocks)

    def add(self, record: int, low: int, high: int, chunk: int) -> None:
        """Add the rows from `low` up to `high`, a chunk; `record` is where that of all steps would start."""
        draft = self.draft
        for job, shared in zip(draft.kernels.outers, self.blocks, strict=True):
            name, blocks = job.weight.name, shared.copy()
            read, offset = self._read(job, record, low, high)
            values = {"rows": high - low, "read": read, "offset": offset}
            values["is_first"] = chunk == 0 and not self.is_zero[name]
            for key, value in values.items():
                blocks[:, outer.BLOCK.index(key)] = value
            blocks[:, outer.BLOCK.index("result")] += self.results.address(name, chunk)
            draft.sheet.launch(draft.sheet.tools.address("outer"), blocks)

    def _read(self, job: Outer, record: int, low: int, high: int) -> tuple[int, int]:
        """The table of what a job reads in these rows, and where in a row it starts."""
        draft, place = self.draft, job.argument
        if place.kind in BY_TABLE:
            return draft.tables[place.kind, place.name] + low * 8, place.offset
        if place.kind == "param":  # the same for all
            return draft.sheet.write(np.full(high - low, draft.sheet.base(f"param {place.name}"))), place.offset
        fields = draft.kernels.train.fields[place.kind]
        rows = record + np.arange(low, high) * (fields.stride * draft.item)
        return draft.sheet.write(rows), fields.offsets[place.name, place.offset]


def _is_whole(kernels: Kernels, name: str, shape: tuple[int, ...]) -> bool:
    """Whether each element of a matrix gets its gradient from one product."""
    own = [job for job in kernels.outers if job.weight.name == name]
    return sum(job.rows * job.columns for job in own) == shape[0] * shape[1] and not any(
        _meet((a.weight.row, a.rows), (b.weight.row, b.rows))
        and _meet((a.weight.column, a.columns), (b.weight.column, b.columns))
        for a, b in combinations(own, 2)
    )


def _meet(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether two spans, each a start and a size, have something in common."""
    return a[0] < b[0] + b[1] and b[0] < a[0] + a[1]


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
    known: Kernels | None = problem.__dict__.get("kernels")  # looked up twice in a call, at 3 µs
    if known is None:
        bits = BITS[problem.x.dtype]
        known = _kernels(problem.graph.text, problem.shapes, bits, targets.host(), problem.single, problem.bfloat16)
        problem.__dict__["kernels"] = known
    return known


@lru_cache(maxsize=256)
def _kernels(
    cell: str, shapes: tuple[tuple[int, ...], ...], bits: int, target: targets.Target, single: bool, bfloat16: bool
) -> Kernels:
    graph = Graph.read(cell)
    names = (graph.input, *graph.states, *graph.params)
    sizes = graph.solve(dict(zip(names, shapes, strict=True)))
    if single:  # the products of the input have as many rows as steps, those of the state one
        return compile(graph, sizes, bits, target, few=True, hoist_from=0, bfloat16=bfloat16)
    return compile(graph, sizes, bits, target, bfloat16=bfloat16)
