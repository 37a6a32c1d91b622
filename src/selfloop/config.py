"""Configurations: typed sections, read from TOML and from ``key=value``, with errors that offer the nearest name."""

import copy
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from selfloop.errors import ConfigError, nearest, together
from selfloop.untrusted import read_text, short, written

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

S = TypeVar("S", bound="Section")

LARGEST = 1 << 20
"""Bytes of a file of configuration."""


class Section(BaseModel):
    """A group of typed fields. Unknown fields are errors; values are checked, and not changed afterwards."""

    FIXED: ClassVar[tuple[str, ...]] = ()
    """Fields that a trained model keeps as they were."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


def parse(kind: type[S], values: Mapping[str, Any], source: str) -> S:
    """Make a section from nested values.

    Args:
        kind: the class of the section.
        values: field names and values; sections nest.
        source: where they come from, for the error: ``examples/ptb.toml``.

    Raises:
        ConfigError: the first field that is unknown or does not fit, with the nearest name or what was expected.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{source} {_fault(kind, error.errors()[0])}") from error


def read_toml(path: Path) -> dict[str, Any]:
    """The values in a TOML file.

    Raises:
        ConfigError: there is no such file, or it is not TOML.
    """
    try:
        return _parse_toml(read_text(path, LARGEST))
    except OSError as error:
        raise ConfigError(f"The configuration {path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"The configuration {path} is not TOML, which is text in UTF-8.") from error
    except ValueError as error:
        raise ConfigError(f"The configuration {path} is not TOML: {str(error).rstrip('.')}.") from error


def assign(values: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """The values with ``section.key=value`` put in; a value is written as in TOML, and a bare word is a string.

    >>> assign({"model": {"cell": "lstm"}}, ["model.hidden_size=256", "model.cell=gru"])
    {'model': {'cell': 'gru', 'hidden_size': 256}}

    Raises:
        ConfigError: an assignment is not of this form.
    """
    result = copy.deepcopy(dict(values))
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        *sections, name = key.strip().split(".")
        if not equals or not name:
            raise ConfigError(
                f"--set takes section.key=value, such as model.hidden_size=256. Got {assignment!r} instead."
            )
        place = result
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ConfigError(f"--set {assignment} goes through '{section}', which is a value and not a section.")
        place[name] = parse_value(text.strip())
    return result


def changed(section: S, assignments: Iterable[str], sections: tuple[str, ...]) -> S:
    """A section with ``section.key=value`` put into some of its sections.

    Raises:
        ConfigError: an assignment is for another section, does not fit, or changes what its section says is `FIXED`.
    """
    assignments = list(assignments)
    for assignment in assignments:
        if assignment.partition(".")[0].strip() not in sections:
            allowed = together(f"{name}.…" for name in sections if name in type(section).model_fields)
            raise ConfigError(f"--set can change {allowed} here, the rest is as it was trained. Got {assignment!r}.")
    result = parse(type(section), assign(section.model_dump(mode="json"), assignments), "The command")
    for name in sections:
        was, now = getattr(section, name, None), getattr(result, name, None)
        for field in was.FIXED if isinstance(was, Section) else ():
            if getattr(was, field) != getattr(now, field):
                kept = "the default" if getattr(was, field) is None else getattr(was, field)
                raise ConfigError(
                    f"--set cannot change {name}.{field}, which a trained model keeps: {kept}. Got "
                    f"{getattr(now, field)}: leave it out, or train another model with it."
                )
    return result


def parse_value(text: str) -> Any:
    """A value as TOML writes it; what is not TOML is a string.

    >>> parse_value("[24, 40]"), parse_value("lstm")
    ([24, 40], 'lstm')
    """
    try:
        return _parse_toml(f"value = {text}")["value"]
    except ValueError:
        return text


def _parse_toml(text: str) -> dict[str, Any]:
    """The values of TOML; whatever is wrong with it is a ValueError."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None


def _fault(kind: type[Section], fault: Mapping[str, Any]) -> str:
    """What pydantic found, as the end of a sentence."""
    place = written(".".join(map(str, fault["loc"])))
    if fault["type"] == "extra_forbidden":
        *sections, name = map(str, fault["loc"])
        known = _fields(kind, sections)
        close = nearest(name, known) or f"; known are: {', '.join(known)}."
        return f"sets '{place}', which does not exist{close}"
    if fault["type"] == "missing" and isinstance(fault["loc"][-1], int):
        return (
            f"sets '{place.rpartition('.')[0]}' wrongly: it must be a longer list. Got {short(fault['input'])} instead."
        )
    if fault["type"] == "missing":
        return f"sets no '{place}', which is needed."
    if fault["type"] == "value_error":  # a Section's own, of several fields together
        return f"cannot be followed: {fault['ctx']['error']}."
    expected = _EXPECTED.get(fault["type"]) or fault["msg"].removeprefix("Input should be ")
    wrong = f"sets '{place}' wrongly" if place else "is wrong"
    return f"{wrong}: it must be {expected}. Got {short(fault['input'])} instead."


_EXPECTED = {
    **dict.fromkeys(("model_type", "dict_type"), "a section"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "too_long": "a shorter list",
    "int_parsing_size": "a whole number that fits into 64 bits",
    "string_type": "a string",
    "tuple_type": "a list, as [28,28]",
}
"""What pydantic's errors say in terms of its own."""


def _fields(kind: type[BaseModel], sections: list[str]) -> list[str]:
    for section in sections:
        inner = kind.model_fields[section].annotation
        assert isinstance(inner, type) and issubclass(inner, BaseModel)
        kind = inner
    return list(kind.model_fields)
