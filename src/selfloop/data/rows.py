"""Rows of text out of Hugging Face `datasets`: the one place that speaks to that library.

A file or a hub name -> a dataset -> Arrow tables -> the strings of one column, a batch at a time.
"""

import gc
import glob
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selfloop.errors import DataError, nearest

_BATCH = 1_000  # rows; Penn Treebank's 42,000 lines read at 110 MB/s, and at 35 with batches of 100
_STRINGS = {"string", "large_string", "string_view"}


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


def rows(dataset: Any, column: str | None, where: str) -> Iterator[list[str]]:
    """The rows of an open dataset's column of text, in batches; rows that hold nothing (null) are left out.

    Raises:
        DataError: `choose_column` finds no column of text.
    """
    with _quiet():
        tables = iter(dataset.with_format("arrow").iter(batch_size=_BATCH))
    chosen = table = None
    try:
        while True:
            with _quiet():
                table = next(tables, None)
            if table is None:
                return
            chosen = chosen or choose_column({field.name: str(field.type) for field in table.schema}, column, where)
            values = table[chosen].cast("string")  # a later block of a CSV may hold nothing but digits
            yield [row for row in values.to_pylist() if row is not None]
    finally:
        if table is not None and dataset.info.builder_name == "csv":
            del tables
            _close_abandoned_csv()


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
    """The column that holds the text: the one that was named, else "text", else the only one of strings.

    Raises:
        DataError: there is no such column, it is not text, or several could be meant.

    >>> choose_column({"id": "int64", "body": "string"}, None, "posts.csv")
    'body'
    """
    strings = [name for name, kind in types.items() if kind in _STRINGS]
    if column is not None and column not in types:
        raise DataError(f"{where} has no column '{column}', only {_listed(types)}{nearest(column, types)}")
    if column is not None and column not in strings:
        raise DataError(f"The column '{column}' of {where} must be text. Got {types[column]} instead.")
    if column is None and not strings:
        got = ", ".join(f"'{name}' ({kind})" for name, kind in types.items())
        raise DataError(f"{where} must have a column of text. Got {got} instead: give another file.")
    if column is None and len(strings) > 1 and "text" not in strings:
        raise DataError(
            f"{where} has several columns of text, {_listed(strings)}: name one with column={strings[0]!r} "
            f"(on the command line --set data.column={strings[0]})."
        )
    return column or ("text" if "text" in strings else strings[0])


def _close_abandoned_csv() -> None:
    """A CSV not read to its end is left open by pandas, in a cycle of which a ResourceWarning would tell much later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


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
