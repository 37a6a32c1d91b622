"""What a step computes, seen from outside: the values of a cell's states and local variables at every step."""

from collections.abc import Sequence

from selfloop.errors import ArgumentError


def record_names(title: str, record: object) -> tuple[str, ...]:
    """The names that a layer called `title` is to record, each once; none where nothing is given.

    Raises:
        ArgumentError: they are not a sequence of text.
    """
    if record is None:
        return ()
    if isinstance(record, str) or not isinstance(record, Sequence) or not all(isinstance(n, str) for n in record):
        raise ArgumentError(
            f"The 'record' of {title} must be a tuple of names of the cell, as in record=('c', 'f'). "
            f"Got {record!r} instead."
        )
    return tuple(dict.fromkeys(record))
