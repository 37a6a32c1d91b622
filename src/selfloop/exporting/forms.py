"""The forms that a run can be exported in, a row each."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfloop.exporting.exported import Exported


@dataclass(frozen=True)
class Form:
    """A row.

    Attributes:
        about: what it is, for help.
        home: the module whose `export_run` writes it.
        weights: the kinds of numbers that its weights can be.
        next: what to do with the files, where ``{folder}`` stands for theirs.
    """

    about: str
    home: str
    weights: tuple[str, ...]
    next: str

    def export(self, opened: Any, folder: Path, weights: str) -> Exported:
        """Write a trained model to a new folder."""
        made: Exported = importlib.import_module(self.home).export_run(opened, folder, weights)
        return made


FORMS = {
    "onnx": Form(
        about="ONNX files, and a Python file that runs them without torch and selfloop",
        home="selfloop.exporting.onnx.tasks.export",
        weights=("f32", "bf16", "int8"),
        next="\nTry it: python {folder}/run.py --help",
    ),
}
