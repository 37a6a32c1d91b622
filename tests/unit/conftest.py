import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from selfloop.cli import main


class Said(NamedTuple):
    status: object
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one sentence that says what went wrong, without the program's name."""
        assert (self.status, self.out) == (2, ""), self
        assert self.err.startswith("selfloop: ") and self.err.count("\n") == 1 and "Traceback" not in self.err, self.err
        return self.err.removeprefix("selfloop: ")


@pytest.fixture
def selfloop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs a command line, and gives its exit status and what it has printed."""

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["selfloop", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return Said(stopped.value.code, *capsys.readouterr())

    return run
