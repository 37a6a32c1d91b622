"""Labels as strings, and which of them are perhaps one."""

import math
from collections.abc import Iterable
from typing import Any
from unicodedata import normalize

from selfloop.data.examples import BadItems
from selfloop.data.tables.separated import is_number

_SHOWN = 5  # pairs of labels that are perhaps one


def label_of(value: Any) -> str | None:
    """A label as a string; what is empty is none.

    >>> label_of(3), label_of(3.0), label_of(" cat "), label_of(True), label_of("")
    ('3', '3', 'cat', 'true', None)
    """
    if isinstance(value, float):
        if math.isnan(value):  # as tables write what is missing
            return None
        value = int(value) if value.is_integer() else value
    if isinstance(value, bool):
        value = str(value).lower()  # as JSON writes it
    return (str(value).strip() or None) if value is not None else None


def note_twins(labels: Iterable[str | None], bad: BadItems) -> None:
    """Say which labels are perhaps one: in two cases, as numbers, or in two forms of Unicode. They stay apart.

    >>> bad = BadItems()
    >>> note_twins(["Pos", "1", "neg", "pos", "1.0"], bad)
    >>> bad.notes
    ["labels '1' and '1.0' are the same number, 'Pos' and 'pos' differ only in case: are they one?"]
    """
    found: dict[str, str] = {}
    twins = []
    for label in sorted({label for label in labels if label is not None}):
        first = found.setdefault(_folded(label), label)
        if first != label:
            how = (
                "look alike and differ in Unicode (NFC, NFD)"
                if normalize("NFC", first) == normalize("NFC", label)
                else "are the same number"
                if first.casefold() != label.casefold() and is_number(label)
                else "differ only in case"
            )
            twins.append(f"'{first}' and '{label}' {how}")
    if twins:
        more = f" and {len(twins) - _SHOWN} more pairs" if len(twins) > _SHOWN else ""
        bad.note(f"labels {', '.join(twins[:_SHOWN])}{more}: are they one?")


def _folded(label: str) -> str:
    """What twins have in common."""
    return str(float(label)) if is_number(label) else normalize("NFC", label).casefold()
