"""Figures for TensorBoard.

Events are written at once, and not by a thread as `SummaryWriter` does: what goes wrong with the disk is then an error
of the step that it happened in.
"""

import io
import os
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

from selfloop.training.checkpoint import append_bytes


class Events:
    """A file of events in a folder.

    Args:
        folder: where it is made.
        step: where the run goes on: TensorBoard drops what older files say of later steps.

    Raises:
        RunError: the file cannot be written, here or in `add`.
    """

    def __init__(self, folder: Path, step: int) -> None:
        name = f"events.out.tfevents.{_start(folder):010}.{socket.gethostname()}.{os.getpid()}.{step}"
        self._file = folder / name
        self._write(Event(file_version="brain.Event:2"))
        if step:
            self._write(Event(step=step, session_log=SessionLog(status=SessionLog.START)))

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """The figures of a step, by name."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in figures.items()]
        self._write(Event(step=step, summary=Summary(value=values)))

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        append_bytes(self._file, record.getvalue())


def _start(folder: Path) -> int:
    """Seconds by the clock, but after those of older files: TensorBoard reads a run's files by name, in order."""
    names = (re.match(r"events\.out\.tfevents\.(\d{10})\.", path.name) for path in folder.glob("events.out.tfevents.*"))
    return max([time.time_ns() // 10**9, *(int(name[1]) + 1 for name in names if name)])
