"""Errors advise options of ``selfloop train``; other commands take some of them by --set only. This rewrites advice."""

import re
from collections.abc import Collection, Mapping
from typing import Any

_OPTION = re.compile(r"(?<![\w-])--(?P<no>no-)?(?P<name>[a-z][a-z-]*[a-z])(?P<equals>=?)")


def as_taken_by(command: Any, sentence: str) -> str:
    """A sentence, in which the fields of data that a command of typer's takes by --set alone are named so."""
    from selfloop.options.fields import fields
    from selfloop.tasks.table import TASKS

    flags = {flag for option in getattr(command, "params", ()) for flag in (*option.opts, *option.secondary_opts)}
    if "--set" not in flags:
        return sentence
    found = {name: field for entry in TASKS.values() for name, field in fields(entry.config).items()}
    switches = {name: field.is_switch for name, field in found.items() if field.section == "data"}
    return set_where_lacking(sentence, flags, switches)


def set_where_lacking(sentence: str, flags: Collection[str], data: Mapping[str, bool]) -> str:
    """A sentence, in which --set stands for options that are lacking.

    Args:
        sentence: names options as --label, or with a value as --label=mood.
        flags: the options that there are.
        data: the fields that --set data.… takes, each with whether it is true or false.

    >>> set_where_lacking("give --label=mood, --id or --no-header.", ["--id"], {"label": False, "header": True})
    'give --set data.label=mood, --id or --set data.header=false.'
    """

    def spelt(option: re.Match[str]) -> str:
        name = option["name"].replace("-", "_")
        if f"--{option['no'] or ''}{option['name']}" in flags or name not in data:
            return option[0]
        value = str(option["no"] is None).lower() if data[name] else "" if option["equals"] else "…"
        return f"--set data.{name}={value}"

    return _OPTION.sub(spelt, sentence)
