"""The forms that a run can be exported in, a row each."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class ExportedRun(Protocol):
    """What came of an export, for the command line."""

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""

    def lines(self) -> list[str]:
        """What is printed of it."""


@dataclass(frozen=True)
class Form:
    """A row.

    Attributes:
        about: what it is, for help.
        home: the module whose `export_run` writes it.
        weights: the kinds of numbers that its weights can be.
    """

    about: str
    home: str
    weights: tuple[str, ...]

    def export(self, opened: Any, folder: Path, weights: str) -> ExportedRun:
        """Write a trained model to a new folder."""
        made: ExportedRun = importlib.import_module(self.home).export_run(opened, folder, weights)
        return made


FORMS = {
    "onnx": Form(
        about="ONNX files, and a Python file that runs them without torch and selfloop",
        home="selfloop.exporting.onnx.runs.export",
        weights=("f32",),
    ),
}
