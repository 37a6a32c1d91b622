"""Rows of text: the strings of one column, a batch at a time.

A file or a hub name -> a dataset -> Arrow tables -> strings       the one place that speaks to Hugging Face `datasets`
separated values -> strings
"""

import glob
import io
import itertools
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfloop.data.examples import BadItems
from selfloop.data.tables.separated import DEFAULT_FORMAT, HEAD, TableFormat, is_number, is_wordless, read_separated
from selfloop.errors import DataError, nearest

_BATCH = 1_000  # rows; Penn Treebank's 42,000 lines read at 110 MB/s, and at 35 with batches of 100
_LOOKED_AT = 100  # rows, to tell what a column holds
_STRINGS = {"string", "large_string", "string_view"}
_WORDLESS = "strings of dates or numbers"


@dataclass(frozen=True)
class TextReading:
    """How texts are read.

    Attributes:
        column: of a table, the one that holds the text; None finds it.
        encoding: of files.
        format: how separated values are written.
        bad: is told which column was taken, and of rows without text.
    """

    column: str | None = None
    encoding: str = "utf-8"
    format: TableFormat = DEFAULT_FORMAT
    bad: BadItems = field(default_factory=BadItems)


def open_file(path: Path, builder: str, options: dict[str, Any]) -> Any:
    """A local file as a streamed dataset: nothing is downloaded and nothing stays in a cache.

    `IterableDataset.from_*` is called, not `load_dataset`, which tells the hub of every file that it opens.
    """
    from datasets import IterableDataset  # noqa: PLC0415  (a second to import, which generating need not wait for)

    try:
        scratch = tempfile.TemporaryDirectory()
    except OSError as error:
        raise DataError(
            f"To read {path} takes a folder for temporary files, and none can be written ({error.strerror or error}): "
            "free some space, or set TMPDIR to another folder."
        ) from error
    with scratch as cache, _quiet():
        open_as = getattr(IterableDataset, f"from_{builder}")
        return open_as(glob.escape(str(path.absolute())), cache_dir=cache, **options)


def open_hub(name: str, config: str | None) -> dict[str, Any]:
    """Every split of a dataset on the hub, downloaded once into the cache of `datasets` and mapped from there."""
    import datasets  # noqa: PLC0415

    with _quiet():
        return dict(datasets.load_dataset(name, config))


def rows(dataset: Any, reading: TextReading, where: str) -> Iterator[list[str]]:
    """The rows of an open dataset's column of text, in batches; those that hold nothing (null) are left out, and noted.

    Raises:
        DataError: `choose_column` finds no column of text.
    """
    with _quiet():
        tables = iter(dataset.with_format("arrow").iter(batch_size=_BATCH))
    chosen, empty = None, 0
    while True:
        with _quiet():
            table = next(tables, None)
        if table is None:
            break
        if chosen is None:
            types = {field.name: str(field.type) for field in table.schema}
            for name in types.keys() & {name for name, kind in types.items() if kind in _STRINGS}:
                if _are_wordless(table[name][:_LOOKED_AT].to_pylist()):
                    types[name] = _WORDLESS
            chosen = _choose(types, reading, where)
        values = table[chosen]
        empty += values.null_count
        yield [row for row in values.to_pylist() if row is not None]
    _note_empty(empty, reading, where)


def separated_rows(file: io.TextIOWrapper, path: Path, reading: TextReading) -> Iterator[list[str]]:
    """Likewise the rows of an open file of separated values; what is left out are lines without such a cell.

    Raises:
        DataError: as `rows` and `read_separated`, or a line has more cells than there are columns.
    """
    names, records = read_separated(file, path, reading.format, reading.bad)
    head = list(itertools.islice(records, HEAD))
    types = {}
    for number, name in enumerate(names):
        cells = [cells[number] for _, cells in head[:_LOOKED_AT] if number < len(cells)]
        numbers = any(cells) and all(is_number(cell) for cell in cells if cell)
        types[name] = "numbers" if numbers else _WORDLESS if _are_wordless(cells) else "string"
    if not head:
        return
    chosen, empty = names.index(_choose(types, reading, str(path))), 0
    records = itertools.chain(head, records)
    while batch := list(itertools.islice(records, _BATCH)):
        for line, cells in batch:
            if len(cells) > len(names):
                raise DataError(
                    f"{path}, line {line} has {len(cells)} cells, and there are {len(names)} columns. Mend it."
                )
        found = [cells[chosen] for _, cells in batch if chosen < len(cells)]
        empty += len(batch) - len(found)
        yield found
    _note_empty(empty, reading, str(path))


def records(dataset: Any) -> Iterator[dict[str, Any]]:
    """The rows of an open dataset as dictionaries of all columns, as they are stored: images as bytes, not decoded."""
    with _quiet():
        tables = iter(dataset.with_format("arrow").iter(batch_size=_BATCH))
    while True:
        with _quiet():
            table = next(tables, None)
        if table is None:
            return
        yield from table.to_pylist()


def choose_column(types: dict[str, str], column: str | None, where: str) -> str:
    """The column that holds the text: the one that was named, else "text", else the only one of strings with words.

    Raises:
        DataError: there is no such column, it is not text, or several could be meant.

    >>> choose_column({"id": "int64", "body": "string"}, None, "posts.csv")
    'body'
    """
    strings = [name for name, kind in types.items() if kind in _STRINGS]
    if column is not None and column not in types:
        raise DataError(f"{where} has no column '{column}', only {_listed(types)}{nearest(column, types)}")
    if column is not None and types[column] not in {*_STRINGS, _WORDLESS}:
        raise DataError(f"The column '{column}' of {where} must be text. Got {types[column]} instead.")
    if column is None and not strings:
        got = ", ".join(f"'{name}' ({kind})" for name, kind in types.items())
        raise DataError(f"{where} must have a column of text. Got {got} instead: give another file.")
    if column is None and len(strings) > 1 and "text" not in strings:
        raise DataError(
            f"{where} has several columns of text, {_listed(strings)}: name one with --column {strings[0]}."
        )
    return column or ("text" if "text" in strings else strings[0])


def _choose(types: dict[str, str], reading: TextReading, where: str) -> str:
    chosen = choose_column(types, reading.column, where)
    reading.bad.note(f"text: '{chosen}'")
    return chosen


def _are_wordless(cells: Iterable[str | None]) -> bool:
    """Whether most of the cells that hold something are dates or numbers."""
    known = [cell for cell in cells if cell and not cell.isspace()]
    return 2 * sum(map(is_wordless, known)) > len(known)


def _note_empty(count: int, reading: TextReading, where: str) -> None:
    if count:
        reading.bad.note(f"{count:,} rows of {where} hold no text (null, or an empty line) and are left out")


def _listed(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in names)


def first_line(error: BaseException) -> str:
    """The first line of what a library said, or the error's name where it said nothing."""
    return next(iter(str(error).splitlines()), "").strip().rstrip(".") or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars and log lines of `datasets` and the hub: a DataError says once what goes wrong."""
    import datasets  # noqa: PLC0415
    from huggingface_hub.utils import logging as hub_logging  # noqa: PLC0415

    asked_for = datasets.config.HF_DATASETS_DISABLE_PROGRESS_BARS is not None  # the user's environment has its way
    bars = not asked_for and not datasets.are_progress_bars_disabled()
    logs = (datasets.logging, hub_logging)
    levels = [log.get_verbosity() for log in logs]
    for log in logs:
        log.set_verbosity(log.CRITICAL)
    if bars:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.set_verbosity(level)
        if bars:
            datasets.enable_progress_bars()
