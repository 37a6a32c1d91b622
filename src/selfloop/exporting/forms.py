"""The forms that a run can be exported in, a row each."""

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfloop.errors import ArgumentError, together
from selfloop.exporting.exported import Exported


@dataclass(frozen=True)
class Form:
    """A row.

    Attributes:
        name: by which it is chosen.
        about: what it is, for help.
        home: the module whose `export_run` writes it.
        next: what to do with the files, where ``{folder}`` stands for theirs.
        takes: further options of `export_run`; one that writes several forms takes `to`, the name.
    """

    name: str
    about: str
    home: str
    next: str
    takes: tuple[str, ...] = ()

    def export(self, opened: Any, folder: Path, weights: str, **options: Any) -> Exported:
        """Write a trained model to a new folder."""
        module = importlib.import_module(self.home)
        own = {"to": self.name} if "to" in self.takes else {}
        made: Exported = module.export_run(opened, folder, weights, **own, **options)
        return made


WEIGHTS = ("f32", "bf16", "int8")
"""What the matrices of every form can be kept as."""

NATIVE = "selfloop.exporting.native.tasks"

_ROWS = (
    Form(
        "c",
        about="C99 for any compiler",
        home=NATIVE,
        next="\nTry it: make -C {folder} && make -C {folder} example",
        takes=("to", "name"),
    ),
    Form(
        "object",
        about="machine code to link, for a --target",
        home=NATIVE,
        next="\nTry it: make -C {folder} && make -C {folder} example",
        takes=("to", "name", "target"),
    ),
    Form(
        "wasm",
        about="WebAssembly with a JavaScript module and a page",
        home=NATIVE,
        next="\nTry it: python -m http.server -d {folder}, and open http://localhost:8000",
        takes=("to", "name", "target"),
    ),
    Form(
        "onnx",
        about="ONNX files, and a Python file that runs them without torch and selfloop",
        home="selfloop.exporting.onnx.tasks.export",
        next="\nTry it: python {folder}/run.py --help",
    ),
)

FORMS = {row.name: row for row in _ROWS}
"""By name."""


def check_takes(to: str, given: Iterable[str], option: str, form: str) -> None:
    """Raise ArgumentError where a form takes none of the options that were given.

    Args:
        to: the form.
        given: names of options.
        option: how an error writes one, such as ``--{}``.
        form: how it writes a form, such as ``--to {}``.
    """
    for title in given:
        if title not in FORMS[to].takes:
            forms = together(form.format(name) for name, row in FORMS.items() if title in row.takes)
            raise ArgumentError(f"{option.format(title)} is for {forms}. Leave it out for {form.format(to)}.")
