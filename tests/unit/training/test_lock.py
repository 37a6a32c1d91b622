"""A folder has one writer; others are told who it is."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings

import pytest

from selfloop.errors import RunError
from selfloop.training import lock
from selfloop.training.lock import locked

if os.name != "posix":
    pytest.skip("the other process of these tests locks as POSIX does", allow_module_level=True)

OTHER = """
import fcntl, sys
file = open(sys.argv[1], "a+")
try:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.exit("held")
file.write(sys.argv[2])
file.flush()
print("locked", flush=True)
sys.stdin.read()
"""


def another(folder, says=""):
    """Another process that takes the lock, if it can, and holds it until its input ends."""
    words = [sys.executable, "-S", "-c", OTHER, str(folder / ".lock"), says]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def is_free(folder):
    process = another(folder)
    return process.communicate()[0] == "locked\n"


@pytest.mark.parametrize(
    ("says", "who"),
    [
        (
            '{"process": 12, "host": "far", "since": "2026-01-02 03:04:05+00:00"}',
            "process 12 on far since 2026-01-02 03",
        ),
        ("", "another process: wait"),
        ('{"process"', "another process: wait"),
    ],
)
def test_who_comes_second_is_told_who_holds_the_lock_until_that_dies(tmp_path, says, who):
    (tmp_path / ".lock").write_bytes(b"" if says.endswith("}") else b"\xff")
    with another(tmp_path, says) as process:
        assert process.stdout.readline() == "locked\n"
        for _ in range(2):
            with (
                pytest.raises(RunError, match=f"{tmp_path.name} is being trained by {who}") as caught,
                locked(tmp_path),
            ):
                pass
        assert str(caught.value).endswith(": wait until that has ended, or stop it, and resume the run then.")
        assert (tmp_path / ".lock").read_bytes().lstrip(b"\xff") == says.encode()
        process.send_signal(signal.SIGKILL)
        process.wait()
        with locked(tmp_path):
            assert not is_free(tmp_path)


def test_the_lock_is_held_says_by_whom_and_is_released(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        with locked(tmp_path):  # as training does within the command
            pass
        assert not is_free(tmp_path)
        raise ZeroDivisionError
    facts = json.loads((tmp_path / ".lock").read_text())
    assert (facts["process"], facts["host"]) == (os.getpid(), socket.gethostname())
    assert is_free(tmp_path)


def test_another_thread_is_refused_and_the_lock_survives_that(tmp_path):
    refused = []

    def try_it():
        try:
            with locked(tmp_path):
                pass
        except RunError as error:
            refused.append(str(error))

    with locked(tmp_path):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
        assert not is_free(tmp_path)
    assert f"is being trained by process {os.getpid()} on " in refused[0]


def test_the_folder_is_the_same_by_any_path(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    with locked(tmp_path / "run"), locked(tmp_path / "link"):
        assert not is_free(tmp_path / "run")


def forked(act):
    """A child that runs `act` and then lives on; its id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        child = os.fork()
    if child == 0:
        act()
        time.sleep(60)
        os._exit(0)
    return child


def test_a_forked_child_has_no_lock_and_takes_none_away(tmp_path):
    """A child that inherits the open file, as workers of a DataLoader do, and outlives the run."""
    read, write = os.pipe()

    def act():
        try:
            with locked(tmp_path):
                os.write(write, b"locked")
        except RunError:
            os.write(write, b"refused")

    with locked(tmp_path):
        child = forked(act)
        assert os.read(read, 10) == b"refused"
        assert not is_free(tmp_path)
    free = is_free(tmp_path)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert free


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP])
def test_without_locks_it_goes_on_with_a_warning(tmp_path, monkeypatch, caplog, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(lock, "_lock", refuse)
    with locked(tmp_path):
        pass
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{tmp_path} is on a file system without locks ({os.strerror(code)}): nothing keeps a second process from "
        "training the same run."
    )


def test_a_lock_that_cannot_be_asked_for_is_an_error(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(lock, "_lock", fail)
    with (
        pytest.raises(
            RunError, match=r"\.lock cannot be locked \(Input/output error\)\. Try again, or move the run\.$"
        ),
        locked(tmp_path),
    ):
        pass
    (tmp_path / ".lock").unlink()
    (tmp_path / ".lock").mkdir()
    with pytest.raises(RunError, match=r"\.lock cannot be written \(Is a directory\)"), locked(tmp_path):
        pass
    with pytest.raises(RunError, match="cannot be written"), locked(tmp_path / "gone"):
        pass
