"""What a run shows where: in terminals, files and notebooks."""

import sys
from types import ModuleType

import pytest
from rich.console import Console

from selfloop.app import screen
from selfloop.tasks.table import TASKS


@pytest.mark.parametrize(
    ("console", "widgets", "moves"),
    [
        ({"force_terminal": True, "force_interactive": True}, False, True),
        ({"force_terminal": True, "force_interactive": True, "quiet": True}, False, False),
        ({"force_terminal": False}, False, False),
        ({"force_jupyter": True}, True, True),
        ({"force_jupyter": True}, False, False),  # rich would warn at each move
        ({"force_jupyter": True, "quiet": True}, True, False),
    ],
)
def test_a_bar_is_shown_where_it_can_move(monkeypatch, console, widgets, moves):
    monkeypatch.setattr(screen, "find_spec", lambda name: widgets or None)
    live = screen._live(Console(**console))
    assert live["disable"] != moves
    assert live["auto_refresh"] != console.get("force_jupyter", False)


def test_a_notebook_gets_the_lines_and_nothing_else(monkeypatch):
    """A stand-in for IPython counts what is displayed."""
    shown = []
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    display = ModuleType("IPython.display")
    display.display = shown.append
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(screen, "find_spec", lambda name: None)
    shows = screen.Screen("lm", TASKS["lm"])
    shows.console = Console(force_jupyter=True, highlight=False)
    with shows.status("reading"):
        pass
    with shows.training():
        shows.reported({"step": 1, "loss": 1.0, "spent": 0.5, "elapsed": 1.0, "targets_per_second": 1.0})
        shows.validated({"step": 1, "loss": 1.0, "perplexity": 2.7}, best=True)
    assert len(shown) == 1
    assert "update        1" in repr(vars(shown[0]))
