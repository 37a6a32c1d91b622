"""Every error that selfloop raises on purpose, as one tree.

    SelfloopError
    ├── CellError          a cell's definition: names the cell, the line and what was expected
    ├── ArgumentError      an argument of a layer, model or function (also a ValueError)
    ├── BackendError       the backend that was asked for cannot run this
    ├── ConfigError        a configuration: a file, a --set, a field
    ├── DataError          the user's data: a file, a column, an item
    └── RunError           a run folder: missing, of another version, damaged, not writable

A message is one sentence that says what was given, what was expected and what to do. The command line prints it and
exits with status 2.
"""

import difflib
from collections.abc import Iterable


class SelfloopError(Exception):
    """The root of selfloop's own errors: catch it to catch them all."""


class CellError(SelfloopError):
    """A cell cannot be understood as written."""


class ArgumentError(SelfloopError, ValueError):
    """An argument has the wrong type, shape, dtype, device or value."""


class BackendError(SelfloopError):
    """The requested backend cannot run this cell or this call."""


class ConfigError(SelfloopError):
    """A configuration names an unknown field or holds a value that does not fit."""


class DataError(SelfloopError):
    """The data cannot be read, or is not what the task needs."""


class RunError(SelfloopError):
    """A run folder cannot be read, written or continued."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause that offers the closest known name: ``"; did you mean 'lstm'?"``, or nothing when none is close.

    >>> nearest("sigmod", ["sigmoid", "tanh"])
    "; did you mean 'sigmoid'?"
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def check_one_of(value: object, known: Iterable[str], what: str) -> None:
    """Raise ArgumentError unless a value is one of the known names; it offers the closest.

    >>> check_one_of("meen", ["mean", "max"], "The 'kind'")
    Traceback (most recent call last):
    selfloop.errors.ArgumentError: The 'kind' must be one of mean, max. Got 'meen' instead; did you mean 'mean'?
    """
    names = list(known)
    if not isinstance(value, str) or value not in names:
        hint = nearest(value, names) if isinstance(value, str) else ""
        raise ArgumentError(f"{what} must be one of {', '.join(names)}. Got {value!r} instead{hint or '.'}")


def together(words: Iterable[str]) -> str:
    """Words as a sentence counts them up; nothing for none.

    >>> together(["c", "object", "wasm"])
    'c, object and wasm'
    """
    *others, last = [*words] or [""]
    return f"{', '.join(others)} and {last}" if others else last


def first_line(error: BaseException) -> str:
    r"""The first line of what a library said, without a full stop, or the error's name where it said nothing.

    >>> first_line(ValueError("no such codec.\nTry another."))
    'no such codec'
    """
    return next(iter(str(error).splitlines()), "").strip().rstrip(".") or type(error).__name__
