"""Parquet files and datasets on the hub, as Arrow tables: the one place that speaks to Hugging Face `datasets`."""

import glob
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selfloop.errors import DataError
from selfloop.world import World

BATCH = 1_000  # rows; Penn Treebank's 42,000 lines read at 110 MB/s, and at 35 with batches of 100


def open_file(path: Path, builder: str, options: dict[str, Any]) -> Any:
    """A local file as a streamed dataset: nothing is downloaded and nothing stays in a cache.

    `IterableDataset.from_*` is called, not `load_dataset`, which tells the hub of every file that it opens.
    """
    return open_files([path], builder, options)


def open_hub_stream(name: str, config: str | None) -> dict[str, Any]:
    """Every split of a dataset on the hub as a stream, of which nothing is kept."""
    import datasets  # noqa: PLC0415

    with _quiet():
        return dict(datasets.load_dataset(name, config, streaming=True))


def split_among(dataset: Any, world: World) -> Any:
    """This process's part of a stream."""
    from datasets.distributed import split_dataset_by_node  # noqa: PLC0415

    return dataset if world.size == 1 else split_dataset_by_node(dataset, world.rank, world.size)


def next_table(tables: Iterator[Any]) -> Any:
    """The next of a stream's Arrow tables, None behind the last."""
    with _quiet():
        return next(tables, None)


def open_files(paths: list[Path], builder: str, options: dict[str, Any]) -> Any:
    """Likewise several files of one kind as one dataset, of which each is a shard."""
    from datasets import IterableDataset  # noqa: PLC0415  (a second to import, which generating need not wait for)

    try:
        scratch = tempfile.TemporaryDirectory()
    except OSError as error:
        raise DataError(
            f"To read {paths[0]} takes a folder for temporary files, and none can be written "
            f"({error.strerror or error}): free some space, or set TMPDIR to another folder."
        ) from error
    with scratch as cache, _quiet():
        open_as = getattr(IterableDataset, f"from_{builder}")
        return open_as([glob.escape(str(path.absolute())) for path in paths], cache_dir=cache, **options)


def open_hub(name: str, config: str | None) -> dict[str, Any]:
    """Every split of a dataset on the hub, downloaded once into the cache of `datasets` and mapped from there."""
    import datasets  # noqa: PLC0415

    with _quiet():
        return dict(datasets.load_dataset(name, config))


def arrow_tables(dataset: Any) -> Iterator[Any]:
    """The rows of an open dataset as Arrow tables, of at most `BATCH` rows each."""
    with _quiet():
        tables = iter(dataset.with_format("arrow").iter(batch_size=BATCH))
    while (table := next_table(tables)) is not None:
        yield table


def records(dataset: Any) -> Iterator[dict[str, Any]]:
    """The rows of an open dataset as dictionaries of all columns, as they are stored: images as bytes, not decoded."""
    for table in arrow_tables(dataset):
        yield from table.to_pylist()


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
