"""Who waits for a compile on a terminal is told for what; programs are told in the log alone."""

import io
import logging
import sys
import time

import pytest

import selfloop as sl
from selfloop.compiler.cpu import patience
from selfloop.compiler.cpu.kernels import compile
from selfloop.compiler.cpu.patience import Patience
from selfloop.compiler.cpu.targets import host
from selfloop.language import param


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)


def test_a_long_compile_is_said_once_on_a_terminal(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(patience, "AFTER", 0.01)
    waits = Patience("compiling 'ltc'")
    for _ in range(2):
        with waits:
            wait_for(screen.getvalue)
            time.sleep(0.02)
    assert screen.getvalue() == "selfloop: compiling 'ltc'\n"


def test_short_compiles_are_said_when_they_last_long_together(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    waits = Patience("compiling 'ltc'")
    with waits:
        pass
    assert screen.getvalue() == ""
    monkeypatch.setattr(patience, "AFTER", waits._spent)
    with waits:
        wait_for(screen.getvalue)
    assert screen.getvalue() == "selfloop: compiling 'ltc'\n"


def test_a_program_without_a_terminal_finds_it_in_the_log_alone(monkeypatch, capfd, caplog):
    caplog.set_level(logging.INFO, "selfloop.compiler")
    monkeypatch.setattr(patience, "AFTER", 0.0)
    with Patience("compiling 'ltc'"):
        wait_for(lambda: caplog.messages)
    assert caplog.messages == ["compiling 'ltc'"]
    assert tuple(capfd.readouterr()) == ("", "")


@pytest.mark.parametrize(
    ("folder", "kept"),
    [("{tmp_path}/kernels", "kept in {tmp_path}/kernels"), ("off", "not kept: SELFLOOP_CACHE is off")],
)
def test_what_is_compiled_and_where_it_is_kept_is_said(folder, kept, monkeypatch, caplog, tmp_path):
    @sl.cell
    def slow(x, h, *, W=param("h x"), U=param("h h")):
        return sl.tanh(W @ x + U @ h)

    monkeypatch.setenv("SELFLOOP_CACHE", folder.format(tmp_path=tmp_path))
    monkeypatch.setattr(patience, "AFTER", 0.0)
    caplog.set_level(logging.INFO, "selfloop.compiler")
    compile(slow.graph, {"x": 3, "h": 5}, 32, host()).address("infer")
    assert caplog.messages == [f"compiling 'slow' for h = 5, x = 3, once ({kept.format(tmp_path=tmp_path)})"]
