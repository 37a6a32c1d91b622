"""What a run was trained with, as its folder keeps it: its configuration, its cell and its tokenizers."""

import shlex
from typing import TypeVar

from selfloop import config as configuration
from selfloop.config import Section
from selfloop.data import Tokenizer
from selfloop.errors import ConfigError, RunError
from selfloop.language import Cell
from selfloop.options.sections import RecurrentOptions
from selfloop.tasks.choose_cell import choose_cell
from selfloop.training import Run
from selfloop.training.checkpoint import writing
from selfloop.untrusted import written

S = TypeVar("S", bound=Section)

TOKENIZER = "tokenizer.json"
"""The file of a run's tokenizer, where it has one."""


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


def save_tokenizer(run: Run, tokenizer: Tokenizer, name: str = TOKENIZER) -> None:
    """Keep a tokenizer in a run's folder."""
    with writing(run.path / name):
        tokenizer.save(run.path / name)


def load_tokenizer(run: Run, name: str = TOKENIZER) -> Tokenizer:
    """As `save_tokenizer` has kept it.

    Raises:
        DataError: it is missing or damaged.
    """
    return Tokenizer.load(run.path / name)
