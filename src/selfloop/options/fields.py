"""The fields of a configuration, each by its own name, for the command line and for `selfloop.train`."""

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from selfloop.config import Section, assign, parse, parse_value, read_toml
from selfloop.errors import ConfigError, nearest
from selfloop.options.training import BUDGETS
from selfloop.untrusted import exists

SHORT = {"learning_rate": "lr", "hidden_size": "hidden"}
"""Other names of options, by the field's."""


@dataclass(frozen=True)
class Field:
    """A field of a section. No two sections of a configuration have one of the same name.

    Attributes:
        section: its section: ``training``.
        name: its name in it: ``batch_size``.
        type: what it holds.
        default: where it is not given.
        description: what it is for.
    """

    section: str
    name: str
    type: Any
    default: Any
    description: str

    @property
    def flags(self) -> tuple[str, ...]:
        """The options of the command line: ``--learning-rate`` and ``--lr``."""
        names = [name.replace("_", "-") for name in (self.name, SHORT.get(self.name)) if name]
        if self.is_switch:
            return (f"--{names[0]}/--no-{names[0]}",)
        return tuple(f"--{name}" for name in names)

    @property
    def is_switch(self) -> bool:
        """Whether it is true or false."""
        return bool in self._kinds

    @property
    def shown_default(self) -> str:
        """The default as it would be given; empty where there is none."""
        return "" if self.default is None else str(self.default).lower() if self.is_switch else str(self.default)

    @property
    def metavar(self) -> str:
        """What stands for the value in a help text: its choices, or what kind of value it is."""
        return "" if self.is_switch else "|".join(self.choices) or _METAVARS.get(self._kinds[0], "[VALUE,…]")

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that a field of names takes; empty for other fields."""
        return get_args(self._kinds[0]) if get_origin(self._kinds[0]) is Literal else ()

    def read(self, text: str) -> Any:
        """The value that a text stands for: itself in a field of text, else what TOML reads in it."""
        return text if str in self._kinds or self.choices else parse_value(text)

    @property
    def _kinds(self) -> tuple[Any, ...]:
        kinds = get_args(self.type) if get_origin(self.type) in (Union, types.UnionType) else (self.type,)
        return tuple(get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in kinds)


_METAVARS = {int: "INTEGER", float: "NUMBER", str: "TEXT"}


def fields(config: type[Section]) -> dict[str, Field]:
    """The fields of all sections, by name.

    >>> from selfloop.options import ClassifyConfig
    >>> fields(ClassifyConfig)["learning_rate"].flags
    ('--learning-rate', '--lr')
    """
    found: dict[str, Field] = {}
    for section, holder in config.model_fields.items():
        kind = holder.annotation
        assert isinstance(kind, type) and issubclass(kind, Section)
        for name, field in kind.model_fields.items():
            assert name not in found, name
            found[name] = Field(section, name, field.annotation, field.get_default(call_default_factory=True),
                                _description(kind, name))  # fmt: skip
    return found


def _description(kind: type[Section], name: str) -> str:
    """What is written below a field, or below the one that it replaces."""
    for holder in kind.__mro__:
        own = getattr(holder, "model_fields", {}).get(name)
        if own is not None and own.description:
            return " ".join(own.description.split())
    return ""


def configure(
    config: type[Section],
    given: Mapping[str, Any],
    *,
    file: Path | None = None,
    assignments: Iterable[str] = (),
    source: str = "The command",
) -> Any:
    """A configuration: a file's, changed by what is given, and then by assignments. A new budget replaces the file's.

    Args:
        config: of which task.
        given: values by the field's name, or a mapping of values by the section's.
        file: TOML.
        assignments: ``section.key=value``.
        source: what gives all but the file, for errors.

    Raises:
        ConfigError: a field does not exist, or a value does not fit.
    """
    values: dict[str, Any] = read_toml(file) if file else {}
    parse(config, values, str(file))  # what is wrong with the file alone is said of the file
    changes = _by_section(config, given)
    assigned = assign(changes, assignments).get("training")
    if isinstance(assigned, Mapping) and set(BUDGETS) & assigned.keys():
        values["training"] = {name: v for name, v in values.get("training", {}).items() if name not in BUDGETS}
    for section, own in changes.items():
        values[section] = {**values.get(section, {}), **own}
    values = assign(values, assignments)
    chosen: Any = parse(config, values, source)
    for name in chosen.data.PATHS:
        path = getattr(chosen.data, name)
        if path == "":  # as of a variable that is not set: else it would stand for the folder at hand
            raise ConfigError(f"{source} sets 'data.{name}' wrongly: it must be a path or a name. Got '' instead.")
        if path is not None and exists(Path(path)):  # so that the run can be resumed from anywhere
            values["data"][name] = str(Path(path).resolve())
    return parse(config, values, source)


def filled(chosen: Any, **defaults: Mapping[str, Any]) -> Any:
    """A configuration in which what was left open, its fields of None, is chosen.

    Args:
        chosen: the configuration.
        defaults: of a section, values by the field's name.

    >>> from selfloop.options import ClassifyConfig
    >>> filled(ClassifyConfig(), model={"pooling": "mean", "hidden_size": 7}).model.pooling
    'mean'
    """
    sections = {}
    for name, values in defaults.items():
        section = getattr(chosen, name)
        open_ones = {field: value for field, value in values.items() if getattr(section, field) is None}
        sections[name] = section.model_copy(update=open_ones)
    return chosen.model_copy(update=sections)


def _by_section(config: type[Section], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    known, changes = fields(config), dict[str, dict[str, Any]]()
    for name, value in given.items():
        if name in config.model_fields and isinstance(value, Mapping):
            changes[name] = {**changes.get(name, {}), **value}
        elif name in known:
            changes.setdefault(known[name].section, {})[name] = value
        else:
            hint = nearest(name, [*known, *config.model_fields]) or "; selfloop train TASK --fields lists them."
            raise ConfigError(f"There is no field '{name}'{hint}")
    return changes
