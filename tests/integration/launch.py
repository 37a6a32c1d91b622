"""`selfloop …`, or a program in Python, in a process of its own, which can be killed.

Processes are forked from a server that has imported everything: they start in a moment, and share nothing.
"""

import multiprocessing
import os
import resource
import runpy
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from selfloop.cli import main

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["accelerate", "datasets", "torch._dynamo", "selfloop.tasks", "selfloop.cli", "selfloop.training.curves"]
)


class Ended(NamedTuple):
    status: int | None
    out: str
    err: str


class Launched:
    """A command line that runs; what it says is kept in files in `folder`.

    Args:
        folder: where it runs.
        arguments: the words after `selfloop`, or after the path of `program`.
        prepare: a function, and its arguments, that is called before.
        program: a file in Python that is run in place of `selfloop`.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: object,
        prepare: tuple[Callable[..., None], ...] = (),
        program: Path | None = None,
    ) -> None:
        self._said = folder / "out", folder / "err"
        words = [str(argument) for argument in arguments]
        self._process = _context.Process(target=_run, args=(folder, words, *self._said, prepare, program))
        self._process.start()

    @property
    def process_id(self) -> int | None:
        return self._process.pid

    def signal(self, number: int) -> None:
        if self._process.is_alive():
            os.kill(self._process.pid, number)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Until the condition holds, or the process has ended."""
        while self._process.is_alive() and not condition():
            time.sleep(0.002)

    def wait_at_most(self, seconds: float) -> None:
        self._process.join(seconds)

    def end(self) -> Ended:
        self._process.join(100)
        assert self._process.exitcode is not None, "still running"
        return Ended(self._process.exitcode, *(path.read_text() for path in self._said))


def die_in_fsync(number: int) -> None:
    """Kill this process while it writes, in its call of that number to fsync."""
    _in_fsync(number, lambda: os.kill(os.getpid(), signal.SIGKILL))


def fill_the_disk(number: int) -> None:
    """Say that the disk is full from the call of that number to fsync on."""

    def fail() -> None:
        raise OSError(28, os.strerror(28))

    _in_fsync(number, fail)


def limit_file_size(size: int) -> None:
    """Let no file grow beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _in_fsync(number: int, act: Callable[[], None]) -> None:
    real, calls = os.fsync, iter(range(1, 10**9))

    def fsync(file: int) -> None:
        if next(calls) >= number:
            act()
        real(file)

    os.fsync = fsync


def _run(folder: Path, words: list[str], out: Path, err: Path, prepare: tuple, program: Path | None) -> None:
    os.chdir(folder)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    if prepare:
        first, *arguments = prepare
        first(*arguments)
    sys.argv = ["selfloop" if program is None else str(program), *words]
    if program is None:
        main()
    else:
        runpy.run_path(str(program), run_name="__main__")
