"""Configurations: typed sections, read from TOML and from ``key=value``, with errors that offer the nearest name."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from selfloop.errors import ConfigError, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

S = TypeVar("S", bound="Section")


class Section(BaseModel):
    """A group of typed fields. Unknown fields are errors; values are checked, and not changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            *sections, name = place.split(".")
            known = _fields(kind, sections)
            close = nearest(name, known) or f"; known are: {', '.join(known)}."
            raise ConfigError(f"{source} sets '{place}', which does not exist{close}") from error
        what = first["msg"][:1].lower() + first["msg"][1:]
        got = "" if first["type"] == "missing" else f" Got {first['input']!r} instead."
        raise ConfigError(f"{source} sets '{place}' wrongly: {what}.{got}") from error


def read_toml(path: Path) -> dict[str, Any]:
    """The values in a TOML file.

    Raises:
        ConfigError: there is no such file, or it is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration {path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The configuration {path} is not TOML: {str(error).rstrip('.')}.") from error


def assign(values: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """The values with ``section.key=value`` put in; a value is written as in TOML, and a bare word is a string.

    >>> assign({"model": {"cell": "lstm"}}, ["model.hidden_size=256", "model.cell=gru"])
    {'model': {'cell': 'gru', 'hidden_size': 256}}

    Raises:
        ConfigError: an assignment is not of this form.
    """
    result = {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}
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
        place[name] = _value(text.strip())
    return result


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _fields(kind: type[BaseModel], sections: list[str]) -> list[str]:
    for section in sections:
        inner = kind.model_fields[section].annotation
        assert isinstance(inner, type) and issubclass(inner, BaseModel)
        kind = inner
    return list(kind.model_fields)
