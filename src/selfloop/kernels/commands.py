"""What a call does, forward and backward, recorded as a command buffer for a Signature and its Rows."""

import numpy as np

from selfloop.compiler import ADD_ROWS_BLOCK
from selfloop.kernels.command_buffer import CommandBuffer, Numbers
from selfloop.kernels.ragged import Rows
from selfloop.kernels.recording import SequenceRecorder, Signature
from selfloop.kernels.weight_gradients import WeightGradients, accumulation


class _ForwardSteps:
    """The forward step, and the products of the input that it reads."""

    def __init__(self, call: SequenceRecorder, function: str) -> None:
        kernels = call.kernels
        self.call = call
        self.step = call.step_launch(getattr(kernels, function), kernels.address(function))
        self.project = call.row_launch(kernels.project, kernels.address("project")) if kernels.project else None
        self.launches = [launch for launch in (self.step, self.project) if launch]

    def record(self, residuals: int, begin: int, end: int) -> None:
        """Record some steps; `residuals` is where those of the first row of all would lie."""
        call = self.call
        for launch in self.launches:
            launch.set("residual", "", residuals)
        if self.project:
            low, high = int(call.rows.starts[begin]), int(call.rows.starts[end])
            self.project.record_rows(call.recorder, low, high, call.rows_at_once)
        self.step.record(call.recorder, call.starts, call.counts, begin, end)


def forward(signature: Signature, rows: Rows) -> CommandBuffer:
    """Chunk by chunk of steps: the products of the input, then the steps."""
    call = SequenceRecorder(signature, rows)
    steps = _ForwardSteps(call, "train" if signature.saves_residuals else "infer")
    call.set_parameters(steps.launches)
    pitch = call.kernels.train.fields["residual"].stride * call.item
    chunks = call.chunks(pitch if call.kernels.project else 0)
    recorder = call.recorder
    saved = signature.saves_residuals
    residuals = recorder.base("residual") if saved else recorder.workspace(call.largest(chunks) * pitch)
    for begin, end in chunks:
        steps.record(residuals - (0 if saved else int(rows.starts[begin]) * pitch), begin, end)
    return recorder.finish()


def backward(signature: Signature, rows: Rows) -> CommandBuffer:
    """Chunk by chunk from the last: the backward steps, then the gradients of the input and of the matrices."""
    call = SequenceRecorder(signature, rows)
    kernels, recorder, item = call.kernels, call.recorder, call.item
    dparam = recorder.workspace(rows.batch * kernels.back.fields["dparam"].stride * item)
    residual_pitch = kernels.train.fields["residual"].stride * item
    pitch = kernels.back.fields["cotangent"].stride * item
    chunks = call.chunks(pitch, signature.recompute)
    sums = accumulation(call, len(chunks))
    recorder.zero_workspace()
    residuals, recomputed = recorder.base("residual"), None
    if signature.recompute:
        residuals = recorder.workspace(call.largest(chunks) * residual_pitch)
        tables = dict(call.tables)
        for name, size in kernels.states.items():  # the states are saved already: recomputed ones go to the workspace
            turns = rows.in_turn(recorder.workspace(2 * rows.batch * size * item), size * item)
            call.table("h_next", name, turns)
        recomputed = _ForwardSteps(call, "train")
        call.tables = tables
    call.table("dy", next(iter(kernels.states)), rows.at_steps(recorder.base("dy"), *signature.dy))
    call.table("dx", kernels.input, rows.at_steps(recorder.base("dx"), *signature.dx))
    for name, size in kernels.states.items():
        _state_cotangents(call, name, size * item)

    step = call.step_launch(kernels.back, kernels.address("back"))
    step.set("dparam", "", dparam)
    for_input = None
    if kernels.input_gradient:
        for_input = call.row_launch(kernels.input_gradient, kernels.address("input_gradient"))
    launches = [step, for_input, *(recomputed.launches if recomputed else ())]
    call.set_parameters([launch for launch in launches if launch])
    cotangents = recorder.workspace(call.largest(chunks) * pitch)
    gradients = WeightGradients(call, cotangents, pitch, sums)
    for k, (begin, end) in enumerate(reversed(chunks)):
        low, high = int(rows.starts[begin]), int(rows.starts[end])
        own = residuals - low * residual_pitch if recomputed else residuals
        if recomputed:
            recomputed.record(own, begin, end)
        step.set("residual", "", own)
        step.set("cotangent", "", cotangents - low * pitch)
        step.record(recorder, call.starts, call.counts, begin, end)
        if for_input:
            for_input.set("cotangent", "", cotangents - low * pitch)
            for_input.record_rows(recorder, low, high, call.rows_at_once)
        gradients.record(own, low, high, k)
    if kernels.back.fields["dparam"].offsets:
        _add_rows(call, dparam)
    return recorder.finish()


def _add_rows(call: SequenceRecorder, dparam: int) -> None:
    """Add the gradients of vectors over the batch. Each thread adds some of the elements."""
    fields, threads, item = call.kernels.back.fields["dparam"], call.signature.threads, call.item
    for (name, offset), start in fields.offsets.items():
        size = call.kernels.dparam_sizes[name, offset]
        share = size * np.arange(threads + 1) // threads
        values: dict[str, int | Numbers] = {
            "rows": dparam + (start + share[:-1]) * item,
            "stride": fields.stride,
            "count": call.rows.batch,
            "size": np.diff(share),
            "goal": call.recorder.base(f"gradient {name}") + (offset + share[:-1]) * item,
        }
        blocks = np.zeros((threads, len(ADD_ROWS_BLOCK)), dtype=np.int64)
        for key, value in values.items():
            blocks[:, ADD_ROWS_BLOCK.index(key)] = value
        call.recorder.launch(call.recorder.tools.address("add_rows"), blocks)


def _state_cotangents(call: SequenceRecorder, name: str, pitch: int) -> None:
    """The tables of a state's cotangent, which goes down the steps by two halves of a workspace in turn.

    At a sequence's last step it comes from the user (`dh_next`), from its first step it goes to the user (`dh_prev`).
    Across a reset none passes.
    """
    rows, recorder = call.rows, call.recorder
    turns = rows.in_turn(recorder.workspace(2 * rows.batch * pitch), pitch)
    to, comes = turns.copy(), np.concatenate([turns[1:], turns[:1]])
    if f"first {name}" not in call.signature.zeros:
        to[0] = rows.at_once(recorder.base(f"dh_prev {name}"), pitch)
    if rows.resets is not None:
        comes[:-1][rows.resets[1:]] = call.zeros
        to[0] = np.where(rows.resets[0], turns[0], to[0])
    rows.put_last(comes, call.of_state(f"dh_next {name}", pitch))
    call.table("dh_next", name, comes)
    call.table("dh_prev", name, to)
