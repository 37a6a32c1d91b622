"""What a call does, forward and backward, recorded as a command buffer for a Signature and its Rows."""

from collections.abc import Sequence

import numpy as np

from selfloop.compiler import ADD_ROWS_BLOCK
from selfloop.kernels import team
from selfloop.kernels.command_buffer import CommandBuffer
from selfloop.kernels.ragged import Chunk, Rows
from selfloop.kernels.recording import SequenceRecorder, Signature
from selfloop.kernels.relocations import Numbers
from selfloop.kernels.row_tables import Once, RowTable
from selfloop.kernels.weight_gradients import WeightGradients, accumulation


class _ForwardSteps:
    """The forward step, and the products of the input that it reads."""

    def __init__(self, call: SequenceRecorder, function: str) -> None:
        kernels = call.kernels
        self.call = call
        self.step = call.step_launch(getattr(kernels, function), kernels.address(function))
        self.project = call.row_launch(kernels.project, kernels.address("project")) if kernels.project else None
        self.launches = [launch for launch in (self.step, self.project) if launch]

    def record(self, residuals: int, chunk: Chunk) -> None:
        """Record some steps; `residuals` is where those of the first row of all would lie."""
        call = self.call
        for launch in self.launches:
            launch.set("residual", "", residuals)
        if self.project:
            self.project.record_rows(call.recorder, chunk, call.rows_at_once)
        self.step.record(call.recorder, call.starts, call.counts, chunk.begin, chunk.end)


def forward(signature: Signature, rows: Rows, names: Sequence[str]) -> CommandBuffer:
    """Chunk by chunk of steps: the products of the input, then the steps. Its bases are in the order of `names`."""
    call = SequenceRecorder(signature, rows, names)
    steps = _ForwardSteps(call, "train" if signature.saves_residuals else "infer")
    call.set_parameters(steps.launches)
    pitch = call.kernels.train.fields["residual"].stride * call.item
    chunks = call.chunks(pitch if call.kernels.project else 0)
    recorder = call.recorder
    saved = signature.saves_residuals
    residuals = recorder.base("residual") if saved else recorder.workspace(_largest(chunks) * pitch)
    for chunk in chunks:
        steps.record(residuals - (0 if saved else chunk.low * pitch), chunk)
    return recorder.finish()


def backward(signature: Signature, rows: Rows, names: Sequence[str]) -> CommandBuffer:
    """Chunk by chunk from the last: the backward steps, then the gradients of the input and of the matrices."""
    call = SequenceRecorder(signature, rows, names)
    kernels, recorder, item = call.kernels, call.recorder, call.item
    dparam = recorder.workspace(rows.batch * kernels.back.fields["dparam"].stride * item)
    residual_pitch = kernels.train.fields["residual"].stride * item
    pitch = kernels.back.fields["cotangent"].stride * item
    chunks = call.chunks(pitch, signature.recompute)
    sums = accumulation(call, len(chunks))
    recorder.zero_workspace()
    residuals, recomputed = recorder.base("residual"), None
    if signature.recompute:
        residuals = recorder.workspace(_largest(chunks) * residual_pitch)
        tables = dict(call.tables)
        for name, size in kernels.states.items():  # the states are saved already: recomputed ones go to the workspace
            start = recorder.workspace(2 * rows.batch * size * item)
            call.table("h_next", name, RowTable(start, turn=size * item))
        recomputed = _ForwardSteps(call, "train")
        call.tables = tables
    call.table("dy", next(iter(kernels.states)), call.at_steps("dy", *signature.dy))
    call.table("dx", kernels.input, call.at_steps("dx", *signature.dx))
    for name, size in kernels.states.items():
        _state_cotangents(call, name, size * item)

    step = call.step_launch(kernels.back, kernels.address("back"))
    step.set("dparam", "", dparam)
    for_input = None
    if kernels.input_gradient:
        for_input = call.row_launch(kernels.input_gradient, kernels.address("input_gradient"))
    launches = [step, for_input, *(recomputed.launches if recomputed else ())]
    call.set_parameters([launch for launch in launches if launch])
    cotangents = recorder.workspace(_largest(chunks) * pitch)
    gradients = WeightGradients(call, cotangents, pitch, sums)
    for k, chunk in enumerate(reversed(chunks)):
        own = residuals - chunk.low * residual_pitch if recomputed else residuals
        if recomputed:
            recomputed.record(own, chunk)
        step.set("residual", "", own)
        step.set("cotangent", "", cotangents - chunk.low * pitch)
        step.record(recorder, call.starts, call.counts, chunk.begin, chunk.end)
        if for_input:
            for_input.set("cotangent", "", cotangents - chunk.low * pitch)
            for_input.record_rows(recorder, chunk, call.rows_at_once)
        gradients.record(own, chunk, k)
    if kernels.back.fields["dparam"].offsets:
        _add_rows(call, dparam)
    return recorder.finish()


def _add_rows(call: SequenceRecorder, dparam: int) -> None:
    """Add the gradients of vectors over the batch. Each thread adds some of the elements."""
    fields, threads, item = call.kernels.back.fields["dparam"], call.signature.threads, call.item
    for (name, offset), start in fields.offsets.items():
        size = call.kernels.dparam_sizes[name, offset]
        share = team.shares(size, threads)
        values: dict[str, int | Numbers] = {
            "rows": dparam + (start + share[:-1]) * item,
            "stride": fields.stride,
            "count": call.rows.batch,
            "size": np.diff(share),
            "goal": call.recorder.base(f"gradient {name}") + (offset + share[:-1]) * item,
        }
        blocks = team.argument_blocks(ADD_ROWS_BLOCK, threads, values)
        call.recorder.launch(call.recorder.tools.address("add_rows"), blocks)


def _state_cotangents(call: SequenceRecorder, name: str, pitch: int) -> None:
    """The tables of a state's cotangent, which goes down the steps by two halves of a workspace in turn.

    At a sequence's last step it comes from the user (`dh_next`), from its first step it goes to the user (`dh_prev`).
    Across a reset none passes.
    """
    turn = call.recorder.workspace(2 * call.rows.batch * pitch)
    given = call.of_state(f"dh_next {name}", pitch)
    comes = RowTable(turn, following=pitch, last=given, zeros=call.zeros, is_ahead=True)
    goes = RowTable(turn, turn=pitch)
    if f"first {name}" not in call.signature.zeros:  # where the first step is reset, it is made zero afterwards
        goes = goes._replace(first=Once(call.recorder.base(f"dh_prev {name}"), pitch))
    call.table("dh_next", name, comes)
    call.table("dh_prev", name, goes)


def _largest(chunks: Sequence[Chunk]) -> int:
    """The most rows of a chunk."""
    return max(chunk.most for chunk in chunks)
