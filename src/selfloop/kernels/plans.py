"""What a call does, forward and backward, written as a Plan for a Shape and its Rows.

Calls that have these in common, as those of a training loop have, use one plan.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from selfloop.kernels.draft import Draft, Shape
from selfloop.kernels.products import Products, results
from selfloop.kernels.rows import Rows
from selfloop.kernels.sheet import Plan

REMEMBERED = 1 << 14
"""Rows up to which plans are kept: above, writing one takes less than a fiftieth of the call."""

Writer = Callable[[Shape, Rows], Plan]


def plan(write: Writer, shape: Shape, rows: Rows) -> Plan:
    """The plan that `forward` or `backward` writes; even batches of few rows find the one they had before."""
    return _remembered(write, shape, rows) if rows.is_even and rows.total <= REMEMBERED else write(shape, rows)


@lru_cache(maxsize=64)
def _remembered(write: Writer, shape: Shape, rows: Rows) -> Plan:
    return write(shape, rows)


class _Steps:
    """The step forward, with the products of the input that it reads."""

    def __init__(self, draft: Draft, function: str) -> None:
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


def forward(shape: Shape, rows: Rows) -> Plan:
    """Walk the steps, chunk by chunk, after the products of the input."""
    draft = Draft(shape, rows)
    steps = _Steps(draft, "train" if shape.is_recorded else "infer")
    draft.give_weights(steps.launches)
    pitch = draft.kernels.train.fields["record"].stride * draft.item
    chunks = draft.chunks(pitch if draft.kernels.project else 0)
    record = draft.sheet.base("record") if shape.is_recorded else draft.sheet.room(draft.most(chunks) * pitch)
    for begin, end in chunks:
        steps.run(record - (0 if shape.is_recorded else int(rows.starts[begin]) * pitch), begin, end)
    return draft.sheet.finish()


def backward(shape: Shape, rows: Rows) -> Plan:
    """Walk the chunks from the last to the first: the steps, then the gradients of the input and of the matrices."""
    draft = Draft(shape, rows)
    kernels, sheet, item = draft.kernels, draft.sheet, draft.item
    total = sheet.room(rows.batch * kernels.back.fields["total"].stride * item, "total")
    record_pitch, pitch = kernels.train.fields["record"].stride * item, kernels.back.fields["delta"].stride * item
    chunks = draft.chunks(pitch, shape.checkpoint)
    sums = results(draft, len(chunks))
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
    products = Products(draft, delta, pitch, sums)
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


def _carry(draft: Draft, name: str, pitch: int) -> None:
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
