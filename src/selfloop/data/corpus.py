"""A corpus: what the user names (a file, a folder, a dataset on the hub, nothing) as texts to train and test with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfloop.data.files import SPLITS, splits_of_folder, text_of_files
from selfloop.data.rows import rows
from selfloop.data.sources import check_encoding, locate
from selfloop.data.text import Text, hold_out, joined
from selfloop.errors import ConfigError, DataError


@dataclass(frozen=True)
class Corpus:
    """The texts of a language: to train on, to choose by, and, where there is one, to report on."""

    name: str
    train: Text
    valid: Text
    test: Text | None = None


def read_corpus(
    source: str | Path | None,
    *,
    valid: str | Path | None = None,
    test: str | Path | None = None,
    column: str | None = None,
    valid_fraction: float = 0.1,
    encoding: str = "utf-8",
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
            or marked by name: above 0 and below 1.
        encoding: of files; "utf-8" also accepts a byte order mark.

    Raises:
        DataError: the source is missing, empty, binary, of another encoding, malformed, or without such a column. What
            lies beyond the first block of a file shows when it is read.
        ConfigError: the fraction or the encoding does not exist.

    >>> corpus = read_corpus(None, valid_fraction=0.1)
    >>> corpus.name, corpus.test
    ('python', None)
    """
    if not 0 < valid_fraction < 1:
        raise ConfigError(
            f"The 'valid_fraction' of a corpus must be above 0 and below 1. Got {valid_fraction} instead."
        )
    check_encoding(encoding)
    name, texts = _splits(source, column, encoding)
    for role, other in (("valid", valid), ("test", test)):
        if other is not None:
            parts = _splits(other, column, encoding)[1]
            texts[role] = parts.get(role) or parts["train"]
    for role, text in texts.items():
        if not any(text):
            where = {"valid": valid, "test": test}.get(role) or source
            raise DataError(f"The {role} text of {where} must hold something. It is empty: give another file.")
    if "valid" not in texts:
        texts["train"], texts["valid"] = hold_out(texts["train"], valid_fraction)
    return Corpus(name, texts["train"], texts["valid"], texts.get("test"))


def read_text(source: str | Path, *, column: str | None = None, encoding: str = "utf-8") -> Text:
    """The one text of a source, to score: of one with splits the test text, or the validation text; else all of it.

    Raises:
        DataError: as `read_corpus`.
    """
    texts = _splits(source, column, encoding)[1]
    return texts.get("test") or texts.get("valid") or texts["train"]


def _splits(source: str | Path | None, column: str | None, encoding: str) -> tuple[str, dict[str, Text]]:
    """A source's name and its texts: always "train", and "valid" and "test" where it marks them."""
    if source is None:
        return "python", {"train": _language_reference()}
    found = locate(source)
    if isinstance(found, dict):
        hub_name = str(source).partition(":")[0].rsplit("/", 1)[-1]
        return hub_name, _hub_texts(str(source), found, column)
    if found.is_dir():
        files = splits_of_folder(found, encoding)
        return found.resolve().name, {role: text_of_files(paths, column, encoding) for role, paths in files.items()}
    return Path(found.name.removesuffix(".gz")).stem, {"train": text_of_files([found], column, encoding)}


def _hub_texts(name: str, found: dict[str, Any], column: str | None) -> dict[str, Text]:
    texts = {SPLITS[split]: _hub_text(found[split], column, f"{name} ({split})") for split in found if split in SPLITS}
    if "train" not in texts:
        listed = ", ".join(f"'{split}'" for split in found)
        raise DataError(f"The dataset '{name}' must have a split 'train'. Got {listed} instead: give another dataset.")
    return texts


def _hub_text(dataset: Any, column: str | None, where: str) -> Text:
    return Text(lambda: joined(rows(dataset, column, where)), f"{where} {dataset._fingerprint} {column}")


def _language_reference() -> Text:
    from pydoc_data.topics import topics  # noqa: PLC0415  (half a megabyte, only where nothing else is given)

    return Text.of("".join(topics[name] for name in sorted(topics)))
