"""What opening a run needs, whatever its task: its configuration, and its cell."""

import shlex
from typing import TypeVar

from selfloop import config as configuration
from selfloop.config import Section
from selfloop.errors import ConfigError, RunError
from selfloop.language import Cell
from selfloop.options.sections import RecurrentOptions
from selfloop.tasks.choose_cell import choose_cell
from selfloop.training import Run
from selfloop.untrusted import written

S = TypeVar("S", bound=Section)


def read_config(run: Run, kind: type[S]) -> S:
    """The configuration of a run.

    Raises:
        RunError: it does not hold what a configuration holds.
    """
    values = {name: value for name, value in run.config().items() if name not in ("selfloop", "format", "task")}
    try:
        return configuration.parse(kind, values, str(run.path / "config.json"))
    except ConfigError as error:
        raise RunError(f"{error} It was changed since the run was made: restore it from a copy.") from error


def cell_of(run: Run, model: RecurrentOptions, cell: Cell | str | None) -> Cell:
    """The cell of a run: of the zoo, or the one that is given.

    Raises:
        RunError: the run was trained with the user's own, and none is given.
    """
    if isinstance(cell, Cell):
        return cell
    if cell is None and model.is_own_cell:
        name = written(model.cell)
        raise RunError(
            f"{run.path} was trained with the cell '{name}', and code is never loaded from a run. "
            f"Give the cell: --cell {shlex.quote(name)}, or load(…, cell=…)."
        )
    return choose_cell(cell or model.cell)
