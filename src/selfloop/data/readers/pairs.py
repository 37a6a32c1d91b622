"""Parallel text: what the user names (two files line by line, a table, nothing) as a `Dataset` of texts and texts.

An example's input is the source's text, its label the target's.
"""

import re
from dataclasses import replace
from pathlib import Path

from selfloop.data.embedded.dates import read_dates
from selfloop.data.examples import BadItems, Dataset, Examples
from selfloop.data.files.diagnose import explain, is_binary
from selfloop.data.files.locate import check_encoding, locate
from selfloop.data.held_out import hold_out, joined, origin_of
from selfloop.data.parts import by_row, of_hub, score_of, train_of, with_given
from selfloop.data.tables.separated import DEFAULT_FORMAT, TableFormat
from selfloop.data.tables.table import Table, hub_table, opened, read_table
from selfloop.data.text.files import builder_of
from selfloop.errors import DataError, nearest

Columns = tuple[str | None, str | None]
"""The columns of a table that hold the source and the target; None finds it by its name."""

NAMES = (("source", "src"), ("target", "tgt", "trg"))
_LANGUAGE = re.compile(r"[a-z]{2,3}([-_]\w+)?")
"""A column's name that is a language: ``en``, ``pt_BR``."""


def read_pairs(
    source: str | None,
    target: str | None,
    *,
    valid: str | None = None,
    valid_target: str | None = None,
    test: str | None = None,
    test_target: str | None = None,
    columns: Columns = (None, None),
    valid_fraction: float = 0.05,
    encoding: str = "utf-8",
    format: TableFormat = DEFAULT_FORMAT,
    seed: int = 1,
    bad: BadItems,
) -> Dataset:
    """Finds pairs of texts to train on, to choose by, and to report on.

    Args:
        source: a text file with a sentence a line, plain or .gz, whose translations are the lines of `target`; or,
            without a target, a table (TSV, CSV, JSONL, Parquet) with a column each, or the name of a dataset on the
            Hugging Face hub that is such a table; or None for dates in two languages.
        target: the file of translations.
        valid: likewise, to choose the best weights by.
        valid_target: its translations.
        test: likewise, to report on.
        test_target: its translations.
        columns: of a table.
        valid_fraction: how many are held out where no validation pairs are given: above 0 and below 1.
        encoding: of text files.
        format: how a table is written.
        seed: of what is held out.
        bad: takes the pairs that cannot be used.

    Raises:
        DataError: a file cannot be read, two files differ in their number of lines, a pair cannot be used (unless `bad`
            skips such), or there are too few.
        ConfigError: the encoding does not exist.
    """
    check_encoding(encoding)
    if source is None:
        if target is not None:
            raise DataError(f"The translations of {target} need their source: give its file first.")
        name, parts = "dates", {"train": read_dates()}
    else:
        name, parts = _name(source), _parts(source, target, columns, encoding, format, bad)
    targets = {"valid": (valid, valid_target), "test": (test, test_target)}
    for role, (one, other) in targets.items():
        if one is None and other is not None:
            raise DataError(f"The {role} translations of {other} need their source: give --{role} too.")

        def read(one: str, other: str | None = other) -> dict[str, Examples]:
            return _parts(one, other, columns, encoding, format, bad)

        parts = with_given(parts, {role: one}, read)
    given = {role: one for role, (one, _) in targets.items()}
    train = train_of(parts, str(source))
    if "valid" not in parts:
        kept, held = hold_out(joined(zip(train.inputs, train.labels, strict=True)), valid_fraction, seed, str(source))
        parts["train"], parts["valid"] = _select(train, kept), _select(train, held)
    origin = origin_of((source, *given.values()), parts, by_label=True)
    return Dataset(name, "text", parts["train"], parts["valid"], parts.get("test"), origin=origin)


def read_references(
    source: str,
    target: str | None,
    *,
    columns: Columns = (None, None),
    encoding: str = "utf-8",
    format: TableFormat = DEFAULT_FORMAT,
    bad: BadItems,
) -> Examples:
    """The pairs of a source to score: of one with splits the test or the validation pairs; else all of it.

    Raises:
        DataError: as `read_pairs`.
    """
    check_encoding(encoding)
    return score_of(_parts(source, target, columns, encoding, format, bad), source)


def read_sources(
    source: str,
    *,
    column: str | None = None,
    encoding: str = "utf-8",
    format: TableFormat = DEFAULT_FORMAT,
    bad: BadItems,
) -> Examples:
    """The texts of a source to translate: a line each, also an empty one, or a row of a table each.

    Raises:
        DataError: a file cannot be read, or holds nothing.
    """
    check_encoding(encoding)
    found = locate(source)
    if isinstance(found, Path) and builder_of(found).builder == "text":
        lines = read_lines(found, encoding)
        return Examples(lines, [], [_place(found, n) for n in range(len(lines))])
    tables = [read_table(found, encoding, bad, format)] if isinstance(found, Path) else _tables(found, source).values()
    texts, places = list[str](), list[str]()
    for table in map(_unfolded, tables):
        chosen = _column(table, column, NAMES[0]) or (table.columns[0] if len(table.columns) == 1 else None)
        chosen = chosen or _columns(table, (None, None))[0]
        for row, place in enumerate(table.places):
            text = table.value(row, chosen)
            if isinstance(text, str):
                texts.append(text)
                places.append(place)
            else:
                bad.refuse(place, f"has no text in '{chosen}'")
    return Examples(texts, [], places)


def read_lines(path: Path, encoding: str) -> list[str]:
    r"""The lines of a text file, plain or .gz, of which only "\n" and "\r\n" are the ends: as aligners count them.

    Raises:
        DataError: the file cannot be read, is empty, or is no text of that encoding.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder: give a text file with a sentence a line, and one of their translations.")
    if is_binary(path, encoding):
        raise explain(path, "text", encoding, "it is binary")
    with opened(path, encoding, "text") as file:
        lines = file.read().split("\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise DataError(f"{path} must hold a sentence a line. It is empty: give another file.")
    return [line.removesuffix("\r") for line in lines]


def _parts(
    source: str, target: str | None, columns: Columns, encoding: str, format: TableFormat, bad: BadItems
) -> dict[str, Examples]:
    """The pairs of what the user names, by split."""
    found = locate(source)
    if isinstance(found, Path) and (found.is_dir() or builder_of(found).builder == "text"):
        return {"train": _usable(_of_files(found, target, encoding), source, bad)}
    if target is not None and isinstance(found, Path):
        raise DataError(f"{source} is a table, which holds both languages. Got {target} too: leave it out.")
    tables = (
        by_row(read_table(found, encoding, bad, format), bad, *columns)
        if isinstance(found, Path)
        else _tables(found, source)
    )
    return {part: _usable(_of_table(table, columns, bad), source, bad) for part, table in tables.items()}


def _tables(splits: dict[str, object], source: str) -> dict[str, Table]:
    return {part: hub_table(rows, f"{source} ({part})") for part, rows in of_hub(splits).items()}


def _of_files(source: Path, target: str | None, encoding: str) -> Examples:
    sources = read_lines(source, encoding)
    if target is None:
        raise DataError(f"{source} holds one language, a sentence a line: give the file of the other after it.")
    other = locate(target)
    if not isinstance(other, Path):
        raise DataError(f"There is no file {target}: give the translations of {source}, line by line.")
    targets = read_lines(other, encoding)
    if len(sources) != len(targets):
        raise DataError(
            f"{source} and {target} must be translations line by line. They have {len(sources):,} and {len(targets):,} "
            "lines: align them first."
        )
    return Examples(sources, targets, [_place(source, n) for n in range(len(sources))])


def _place(path: Path, index: int) -> str:
    return f"{path}, line {index + 1}"


def _of_table(table: Table, columns: Columns, bad: BadItems) -> Examples:
    table = _unfolded(table)
    source, target = _columns(table, columns)
    bad.note(f"source: '{source}'; target: '{target}'")
    rows = range(len(table.rows))
    return Examples([table.value(r, source) for r in rows], [table.value(r, target) for r in rows], table.places)


def _unfolded(table: Table) -> Table:
    """A column a language, also where one column holds both, {"en": …, "de": …}, as the hub's translations do."""
    cells = [row.get("translation") for row in table.rows]
    if not isinstance(next(iter(cells), None), dict):
        return table
    rows = [cell if isinstance(cell, dict) else {} for cell in cells]
    return replace(table, columns=list(dict.fromkeys(name for row in rows for name in row)), rows=rows)


def _columns(table: Table, named: Columns) -> tuple[str, str]:
    source, target = (_column(table, name, known) for name, known in zip(named, NAMES, strict=True))
    if source is None and target is None and len(table.columns) == 2 and all(map(_LANGUAGE.fullmatch, table.columns)):
        source, target = table.columns
    if source is None or target is None or source == target:
        listed = ", ".join(f"'{column}'" for column in table.columns)
        raise DataError(
            f"{table.where} must name its columns 'source' and 'target' (.tsv and .csv in their first line). Got "
            f"{listed} instead: say which they are with --source-column and --target-column."
        )
    return source, target


def _column(table: Table, name: str | None, known: tuple[str, ...]) -> str | None:
    if name is None:
        return next((column for column in table.columns if column.lower() in known), None)
    if name not in table.columns:
        listed = ", ".join(f"'{column}'" for column in table.columns)
        raise DataError(f"{table.where} has no column '{name}', only {listed}{nearest(name, table.columns) or '.'}")
    return name


def _usable(pairs: Examples, where: str, bad: BadItems) -> Examples:
    """The pairs with a text on both sides; the others are refused."""
    kept = []
    for row, sides in enumerate(zip(pairs.inputs, pairs.labels, strict=True)):
        empty = [
            name
            for name, text in zip(("source", "target"), sides, strict=True)
            if not isinstance(text, str) or not text.strip()
        ]
        if empty:
            bad.refuse(pairs.places[row], f"has no text in its {' and its '.join(empty)}")
        else:
            kept.append(row)
    if not kept:
        raise DataError(f"{where} must hold pairs of texts. There are none that can be used: give another.")
    return pairs if len(kept) == len(pairs) else _select(pairs, kept)


def _select(pairs: Examples, rows: list[int]) -> Examples:
    return Examples([pairs.inputs[r] for r in rows], [pairs.labels[r] for r in rows], [pairs.places[r] for r in rows])


def _name(source: str) -> str:
    """A run's name, after the data: ``train`` of ``train.en.gz``, ``set`` of ``owner/set:config``."""
    last = source.rstrip("/").rsplit("/", 1)[-1]
    return last.partition(".")[0].partition(":")[0] or last
