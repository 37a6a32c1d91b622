"""``NAME.py``: `called_library.py`, with the names and sizes of a model in the place of those between two lines."""

from pathlib import Path

BEGIN, END = "# The model.\n", "# What follows is the same for every model.\n"


def python_library(**constants: object) -> str:
    """A module that calls a shared library by ctypes, with NumPy and nothing else.

    Args:
        constants: what `called_library.py` holds between `BEGIN` and `END`.
    """
    text = Path(__file__).with_name("called_library.py").read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    lines = "".join(f"{name} = {_literal(value)}\n" for name, value in constants.items())
    return f"{before}{BEGIN}{lines}\n{END}{after}"


def _literal(value: object) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if isinstance(value, str) else repr(value)
