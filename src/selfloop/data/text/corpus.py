"""A corpus: what the user names (a file, a folder, a dataset on the hub, nothing) as texts to train and test with."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfloop.data.examples import BadItems, Origin
from selfloop.data.files.locate import check_encoding, locate
from selfloop.data.parts import files_read, of_hub, score_of, train_of, with_given
from selfloop.data.reading import Reading
from selfloop.data.tables.separated import DEFAULT_FORMAT, TableFormat
from selfloop.data.text.files import splits_of_folder, text_of_files
from selfloop.data.text.pieces import Text, hold_out, joined
from selfloop.data.text.rows import text_of_dataset
from selfloop.errors import ConfigError, DataError


@dataclass(frozen=True)
class Corpus:
    """The texts of a language: to train on, to choose by, and, where there is one, to report on; and their files."""

    name: str
    train: Text
    valid: Text
    test: Text | None = None
    origin: Origin = field(default_factory=Origin)


def read_corpus(
    source: str | Path | None,
    *,
    valid: str | Path | None = None,
    test: str | Path | None = None,
    column: str | None = None,
    valid_fraction: float | None = None,
    encoding: str = "utf-8",
    format: TableFormat = DEFAULT_FORMAT,
    bad: BadItems | None = None,
) -> Corpus:
    """Finds the texts of a corpus; little is read before they are.

    Args:
        source: a file (plain text, JSONL, CSV, TSV or Parquet, any of the first four also as ``.gz``), a folder of
            such files, the name of a dataset on the Hugging Face hub (``owner/name`` or ``owner/name:config``), or
            None for the language reference that Python carries with it.
        valid: a source for the validation text; of one with splits, its validation split.
        test: likewise for the test text.
        column: the column of a table that holds the text, a document a row. Rows are joined by a newline, unless they
            end in one. None takes the column "text", or the only one of strings.
        valid_fraction: how much of the text, in characters, is held out at its end where no validation text is given
            or marked by name: above 0 and below 1. None holds out a tenth, and a million characters at the most.
        encoding: of files; "utf-8" also accepts a byte order mark.
        format: how a table is written.
        bad: is told, when a table is read, which column was taken and how many rows hold no text.

    Raises:
        DataError: the source is missing, empty, binary, of another encoding, malformed, or without such a column. What
            lies beyond the first block of a file shows when it is read.
        ConfigError: the fraction or the encoding does not exist.

    >>> corpus = read_corpus(None, valid_fraction=0.1)
    >>> corpus.name, corpus.test
    ('python', None)
    """
    if valid_fraction is not None and not 0 < valid_fraction < 1:
        raise ConfigError(
            f"The 'valid_fraction' of a corpus must be above 0 and below 1. Got {valid_fraction} instead."
        )
    check_encoding(encoding)
    reading = Reading(input=column, encoding=encoding, format=format, bad=bad or BadItems(can_skip=False))
    name, texts = _splits(source, reading)
    texts = with_given(texts, {"valid": valid, "test": test}, lambda other: _splits(other, reading)[1])
    train_of(texts, str(source))
    for role, text in texts.items():
        if not any(text):
            where = {"valid": valid, "test": test}.get(role) or source
            raise DataError(f"The {role} text of {where} must hold something. It is empty: give another file.")
    if "valid" not in texts:
        texts["train"], texts["valid"] = hold_out(texts["train"], valid_fraction)
    files = files_read((source, valid, test), {role: text.files for role, text in texts.items()})
    return Corpus(name, texts["train"], texts["valid"], texts.get("test"), Origin(files if source is not None else {}))


def read_text(
    source: str | Path, *, column: str | None = None, encoding: str = "utf-8", format: TableFormat = DEFAULT_FORMAT
) -> Text:
    """The one text of a source, to score: of one with splits the test text, or the validation text; else all of it.

    Raises:
        DataError: as `read_corpus`.
    """
    reading = Reading(input=column, encoding=encoding, format=format, bad=BadItems(can_skip=False))
    return score_of(_splits(source, reading)[1], str(source))


def _splits(source: str | Path | None, reading: Reading) -> tuple[str, dict[str, Text]]:
    """A source's name and its texts: "train", "valid" and "test", as it marks them."""
    if source is None:
        return "python", {"train": _language_reference()}
    found = locate(source)
    if isinstance(found, dict):
        hub_name = str(source).partition(":")[0].rsplit("/", 1)[-1]
        parts = of_hub(found)
        return hub_name, {part: _hub_text(rows, reading, f"{source} ({part})") for part, rows in parts.items()}
    if found.is_dir():
        files = splits_of_folder(found, reading.encoding)
        return found.resolve().name, {role: text_of_files(paths, reading) for role, paths in files.items()}
    return Path(found.name.removesuffix(".gz")).stem, {"train": text_of_files([found], reading)}


def _hub_text(dataset: Any, reading: Reading, where: str) -> Text:
    fingerprint = f"{where} {dataset._fingerprint} {reading.input}"
    return Text(lambda: joined(text_of_dataset(dataset, reading, where)), fingerprint, (where,))


def _language_reference() -> Text:
    from pydoc_data.topics import topics  # noqa: PLC0415  (half a megabyte, only where nothing else is given)

    return Text.of("".join(topics[name] for name in sorted(topics)))
