"""A line for who waits while a compile lasts.

Most cells are compiled in a moment, and then nothing is said. One of many different evaluations takes seconds, once, in
which a script on a terminal would seem to hang; so the terminal is told. A program whose errors go to a file or a pipe
prints nothing that it did not ask for: it finds the same line in the log `selfloop.compiler`, at level INFO.
"""

import logging
import sys
import threading
import time
from contextlib import suppress
from types import TracebackType

AFTER = 1.0
"""Seconds of compiling after which it is said."""

_LOG = logging.getLogger("selfloop.compiler")


class Patience:
    """Says a sentence once, when the blocks that it is entered for have lasted long together.

    Args:
        sentence: what is being done.
    """

    def __init__(self, sentence: str) -> None:
        self._sentence, self._spent, self._is_said = sentence, 0.0, False

    def __enter__(self) -> None:
        self._start = time.monotonic()
        self._timer = threading.Timer(max(0.0, AFTER - self._spent), self._say)
        self._timer.daemon = True
        self._timer.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._timer.cancel()
        self._spent += time.monotonic() - self._start

    def _say(self) -> None:
        if not self._is_said:
            self._is_said = True
            _LOG.info(self._sentence)
            with suppress(OSError, ValueError):  # the terminal has gone
                if sys.stderr is not None and sys.stderr.isatty():  # None where a program has no console
                    sys.stderr.write(f"selfloop: {self._sentence}\n")
                    sys.stderr.flush()
