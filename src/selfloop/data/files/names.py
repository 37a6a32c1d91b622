"""What the end of a file's name tells; a ``.gz`` there changes nothing."""

from pathlib import Path

TABLES = {".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}
"""The forms of tables."""

TEXTS = {".txt", ".text"}


def suffix_of(path: Path) -> str:
    """The end of a file's name in small letters; that of what is compressed.

    >>> suffix_of(Path("a.JSONL.gz"))
    '.jsonl'
    """
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


def form_of(path: Path) -> str:
    """The form in which a file is read: "csv", "json", "parquet", or, of what is no table, "text"."""
    return TABLES.get(suffix_of(path), "text")
