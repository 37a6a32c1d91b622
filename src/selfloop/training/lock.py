"""One writer at a time: the lock of a run's folder.

The kernel holds it for a process and lets go when the process ends, however it ends. On POSIX it is a record lock, as
of `fcntl.lockf`: NFS asks its server for it, so it holds between machines; and a forked child does not inherit it, so a
worker that outlives a killed run does not keep the run locked. A process loses such a lock when it closes any other
descriptor of the file, so nothing else opens the file, and who holds a lock in this process is kept in `_held`.
"""

import errno
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

from selfloop.errors import RunError
from selfloop.training.checkpoint import writing
from selfloop.untrusted import parse_json

NAME = ".lock"
"""The file that is locked. It stays when the lock is released: to remove it could remove the lock of the next."""

_HELD_ELSEWHERE = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}

_PAUSE = 0.1
"""Seconds between two tries to take a lock that another process holds."""

_held: dict[tuple[int, int, int], tuple[int, str]] = {}
"""The locks of this process: its id (a forked child has another) and the folder, to the thread and its `_holder`."""


@contextmanager
def locked(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """Within it, no other process or thread holds the lock of this folder; the same thread may nest it.

    Where the file system has no locks, a warning is logged and nobody is kept out.

    Args:
        folder: that is locked.
        patience: seconds to wait for a process that holds it.

    Raises:
        RunError: another holds the lock, or its file cannot be written.
    """
    path, me = folder / NAME, threading.get_ident()
    with writing(path):
        about = folder.stat()
    key, mine = (os.getpid(), about.st_dev, about.st_ino), (me, _holder())
    thread, holder = _held.get(key, (None, ""))
    if thread == me:
        yield
        return
    if _held.setdefault(key, mine) is not mine:
        raise RunError(_refusal(folder, holder))
    try:
        with writing(path):
            file = path.open("a+", encoding="utf-8", errors="replace")
        with file:
            _take(folder, file, time.monotonic() + patience)
            with writing(path):
                file.truncate(0)
                file.write(mine[1])
                file.flush()
            yield
    finally:
        del _held[key]


def _take(folder: Path, file: IO[str], until: float) -> None:
    try:
        while not _is_taken(file):
            if time.monotonic() >= until:
                file.seek(0)
                raise RunError(_refusal(folder, file.read()))
            time.sleep(_PAUSE)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise RunError(
                f"{folder / NAME} cannot be locked ({error.strerror or error}). Try again, or move the run."
            ) from error
        logging.getLogger(__name__).warning(
            "%s is on a file system without locks (%s): nothing keeps a second process from training the same run.",
            folder,
            error.strerror,
        )


def _is_taken(file: IO[str]) -> bool:
    """Take the lock, if no other process holds it."""
    try:
        _lock(file.fileno())
    except OSError as error:
        if error.errno not in _HELD_ELSEWHERE:
            raise
        return False
    return True


def _holder() -> str:
    """Who this process is, as the file tells others."""
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    return json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": since})


def _refusal(folder: Path, holder: str) -> str:
    try:
        facts = parse_json(holder)
        who = f"process {facts['process']} on {facts['host']} since {facts['since']}"
    except (ValueError, LookupError, TypeError):  # it has the lock, and has not said yet who it is
        who = "another process"
    return f"{folder} is being trained by {who}: wait until that has ended, or stop it, and resume the run then."


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        os.lseek(file, 1 << 30, os.SEEK_SET)  # far behind the text: others cannot read a byte that is locked
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
