import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from selfloop.cli import main


class Said(NamedTuple):
    status: object
    out: str
    err: str


@pytest.fixture
def selfloop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs a command line, and gives its exit status and what it has printed."""

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["selfloop", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return Said(stopped.value.code, *capsys.readouterr())

    return run
