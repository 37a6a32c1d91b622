"""A corpus that is read as it is trained on, by `datasets` streaming: it may be larger than the disk."""

import gc
import itertools
import weakref
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfloop.data.examples import Origin
from selfloop.data.files.compressed import without_mark
from selfloop.data.files.locate import check_encoding, locate
from selfloop.data.files.names import form_of
from selfloop.data.parts import files_read, of_hub, train_of, with_given
from selfloop.data.reading import Reading
from selfloop.data.tables.arrow import BATCH, next_table, open_files, open_hub_stream, split_among
from selfloop.data.text.corpus import Corpus
from selfloop.data.text.files import splits_of_folder
from selfloop.data.text.pieces import Text, joined
from selfloop.data.text.rows import chosen_column
from selfloop.errors import DataError, first_line
from selfloop.world import ALONE, World

ROWS = 100
"""Examples that are read at once. Where a run goes on, as many are read again at the most."""

MOST_VALID = 5_000_000
"""Characters of a split that are validated or tested with, the first ones."""


@dataclass(frozen=True, kw_only=True)
class StreamedCorpus(Corpus):
    """A corpus whose training text is a stream.

    Attributes:
        train: the text of its first examples, of so many characters as were asked for: to learn the vocabulary from.
        open: the training texts of one of the processes that share them.
    """

    open: "Callable[[World], TextStream]"


class TextStream:
    """The texts of a streamed dataset, one after another, and from the beginning again behind the last: no end.

    Args:
        dataset: of `datasets`, with one column of text.
        where: its name, for errors.
        world: the processes that share it: a shard of it has one process, or, where these do not divide the shards,
            every so-manieth example.
        skip: the first so many examples of each process are left out. What is held out is the dataset's first part, and
            what a process has of it stands before all else that it has.

    Raises:
        DataError: when it is read: it cannot be, or has no text.
    """

    def __init__(self, dataset: Any, where: str, world: World = ALONE, skip: int = 0) -> None:
        self._where = where
        shared = split_among(dataset, world)
        self._dataset = (shared.skip(skip) if skip else shared).with_format("arrow")
        self._epoch, self._before, self._used = 0, None, 0
        self._batches: Generator[Any, None, None] | None = None
        self._rows: Iterator[str | None] = iter(())
        self._found = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while True:
            for row in self._rows:
                self._used += 1
                if row is not None:
                    self._found = True
                    return row
            self._read()

    def position(self) -> dict[str, Any]:
        """Where it is: what JSON holds."""
        return {"epoch": self._epoch, "state": self._before, "used": self._used}

    def go_to(self, position: dict[str, Any]) -> None:
        """Go on where another stream of this dataset, and of this process, was."""
        self._epoch, self._before, self._used = position["epoch"], position["state"], 0
        self._dataset.set_epoch(self._epoch)
        if self._before is not None:
            self._dataset.load_state_dict(self._before)
        self._batches, self._rows, self._found = None, iter(()), True
        if position["used"]:
            self._read()
            self._used = position["used"]
            self._rows = itertools.islice(self._rows, self._used, None)

    def _read(self) -> None:
        """The next rows, with the state of the dataset before them."""
        if self._batches is None:
            self._batches = batches = self._dataset.iter(batch_size=ROWS)
            weakref.finalize(self, _close, batches)
        else:
            self._before = self._dataset.state_dict()
        rows = next_rows(self._batches, self._where)
        if rows is None:
            if not self._found:
                raise DataError(f"{self._where} must hold text for every process. There is too little: give more.")
            self._epoch, self._before, self._batches, self._found = self._epoch + 1, None, None, False
            self._dataset.set_epoch(self._epoch)
        self._rows, self._used = iter(rows or ()), 0


def next_rows(batches: Iterator[Any], where: str) -> list[str | None] | None:
    """The next cells of a stream's one column, None behind the last.

    Raises:
        DataError: it cannot be read.
    """
    try:
        table = next_table(batches)
    except Exception as error:  # the network, the hub and a stranger's files fail in more ways than have a common class
        raise DataError(
            f"{where} cannot be read further ({first_line(error)}): what was saved is whole; see to it, and go on with "
            "--resume."
        ) from error
    return None if table is None else table.column(0).to_pylist()


def read_streamed(
    source: str | Path,
    reading: Reading,
    *,
    valid: str | Path | None = None,
    test: str | Path | None = None,
    valid_examples: int = 1000,
    learn_from: int = 50_000_000,
) -> StreamedCorpus:
    """Opens a corpus as a stream; read are the examples that are held out, and the first ones of each column.

    Args:
        source: the name of a dataset on the Hugging Face hub, or files of text, JSON lines or Parquet.
        reading: how it is read.
        valid: a source for the validation text.
        test: likewise for the test text.
        valid_examples: how many examples, the first ones, are held out where no validation text is given or marked.
        learn_from: characters of `StreamedCorpus.train`.

    Raises:
        DataError: a source is missing or cannot be read, or has no column of text.
    """
    check_encoding(reading.encoding)
    name, splits = _splits(source, reading)
    train_of(splits, str(source))
    splits = with_given(splits, {"valid": valid, "test": test}, lambda other: _splits(other, reading)[1])
    columns = {part: _one_column(split, reading) for part, split in splits.items()}
    train, where = columns.pop("train"), splits["train"].where
    texts = {part: _beginning(column, splits[part].where, characters=MOST_VALID)[0] for part, column in columns.items()}
    skip = 0
    if "valid" not in texts:
        texts["valid"], skip = _beginning(train, where, examples=valid_examples)
        reading.bad.note(f"the first {skip:,} examples are held out for validation")
    for part, text in texts.items():
        if not text:
            raise DataError(f"The {part} text of {source} must hold something. It is empty: give another.")

    def first() -> Iterator[str]:
        counts = list[int]()
        yield from joined(_first_rows(train.skip(skip), where, counts, characters=learn_from))
        reading.bad.note(f"the vocabulary is that of {sum(counts):,} examples, from {skip + 1:,} on")

    files = files_read((source, valid, test), {part: split.files for part, split in splits.items()})
    return StreamedCorpus(
        name,
        Text(first, f"{where}, the beginning"),
        Text.of(texts["valid"]),
        Text.of(texts["test"]) if "test" in texts else None,
        Origin({**files, "valid": files["train"]} if skip else files),
        open=lambda world: TextStream(train, where, world, skip),
    )


@dataclass(frozen=True)
class _Split:
    """A part of a source: its dataset, its name for errors, and its files."""

    dataset: Any
    where: str
    files: tuple[str, ...]


def _splits(source: str | Path, reading: Reading) -> tuple[str, dict[str, _Split]]:
    """A source's name, and its parts."""
    found = locate(source, open_hub_stream)
    if isinstance(found, dict):
        named = {part: (dataset, f"{source} ({part})") for part, dataset in of_hub(found).items()}
        name = str(source).partition(":")[0].rsplit("/", 1)[-1]
        return name, {part: _Split(dataset, where, (where,)) for part, (dataset, where) in named.items()}
    files = splits_of_folder(found, reading.encoding) if found.is_dir() else {"train": [found]}
    return found.resolve().name.partition(".")[0], {
        part: _Split(_open(paths, reading), str(source), tuple(map(str, paths))) for part, paths in files.items()
    }


def _open(paths: list[Path], reading: Reading) -> Any:
    form = form_of(paths[0])
    encoding = without_mark(reading.encoding)
    options: dict[str, Any] = {
        "parquet": {"batch_size": BATCH},
        "text": {"encoding": encoding},
        "json": {"encoding": encoding},
    }
    if form not in options:
        raise DataError(
            f"A corpus that is streamed must be text, JSON lines, Parquet or on the hub. Got {paths[0]}: write it as "
            "one of these, or choose data.streaming=false."
        )
    try:
        return open_files(paths, form, options[form])
    except DataError:
        raise
    except Exception as error:  # pyarrow and fsspec share no class of error
        raise DataError(f"{paths[0]} cannot be read as {form} ({first_line(error)}): give another file.") from error


def _one_column(split: _Split, reading: Reading) -> Any:
    """A dataset without all columns but that of the text."""
    dataset, where = split.dataset, split.where
    batches = dataset.with_format("arrow").iter(batch_size=ROWS)
    try:
        table = next_table(batches)
        _close(batches)
    except Exception as error:
        raise DataError(f"{where} cannot be read ({first_line(error)}): fix it or give another.") from error
    if table is None:
        raise DataError(f"{where} must hold text. It is empty: give another.")
    return dataset.select_columns([chosen_column(table.to_pylist(), reading, where)])


def _beginning(
    dataset: Any, where: str, *, examples: int | None = None, characters: int | None = None
) -> tuple[str, int]:
    """The text of a dataset's first examples, so many or of so many characters, and how many these are."""
    counts = list[int]()
    text = "".join(joined(_first_rows(dataset, where, counts, examples=examples, characters=characters)))
    return text, sum(counts)


def _first_rows(
    dataset: Any, where: str, counts: list[int], *, examples: int | None = None, characters: int | None = None
) -> Iterator[list[str]]:
    """Likewise the rows that hold text, some at a time; how many examples they are of is added to `counts`."""
    batches, size = dataset.with_format("arrow").iter(batch_size=ROWS), 0
    while (examples is None or sum(counts) < examples) and (characters is None or size < characters):
        rows = next_rows(batches, where)
        if rows is None:
            break
        rows = rows[: None if examples is None else examples - sum(counts)]
        counts.append(len(rows))
        found = [row for row in rows if row is not None]
        size += sum(map(len, found))
        yield found
    _close(batches)


def _close(batches: "Generator[Any, None, None]") -> None:
    """Stop to read. Parquet files are read by threads, which abort a process that ends before they do (Arrow 45214)."""
    batches.close()
    gc.collect()
