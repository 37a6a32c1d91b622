"""A cell by name: of the zoo, or of the user's own file."""

from selfloop.cells import ZOO
from selfloop.errors import ConfigError, nearest, together
from selfloop.language import Cell
from selfloop.tasks.own_code import run_file


def choose_cell(name: str) -> Cell:
    """A cell for a task: as `find_cell`.

    Raises:
        ConfigError: as of `find_cell`, or the cell has inputs that no task gives.
    """
    return _with_one_input(find_cell(name))


def find_cell(name: str) -> Cell:
    """The cell ``lstm`` of the zoo, or ``FILE.py:NAME``, which runs that file.

    Raises:
        ConfigError: there is no such cell, or the file does not run.
    """
    file, colon, own = name.rpartition(":")
    if not colon:
        if name not in ZOO:
            hint = nearest(name, ZOO) or f"; known are {', '.join(ZOO)}, and FILE.py:NAME for one's own."
            raise ConfigError(f"The cell '{name}' is not in the zoo{hint}")
        return ZOO[name]
    module = run_file("cell", name)
    found = getattr(module, own, None)
    if not isinstance(found, Cell):
        cells = [n for n, value in vars(module).items() if isinstance(value, Cell)]
        raise ConfigError(f"{file} has no cell '{own}'; its cells are: {', '.join(cells) or 'none'}.")
    return found


def _with_one_input(cell: Cell) -> Cell:
    _, *further = cell.inputs
    if further:
        calls = ", ".join(f"{name}=…" for name in further)
        raise ConfigError(
            f"The cell '{cell.name}' reads {together(further)} beside x, which tasks do not give: call a layer of "
            f"it from Python, as rnn(x, {calls})."
        )
    return cell
