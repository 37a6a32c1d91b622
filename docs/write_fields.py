"""Writes fields.md, the page of all that can be chosen about a run, from the configurations themselves.

python docs/write_fields.py
"""

from pathlib import Path

from selfloop.options.fields import Field, fields
from selfloop.tasks.table import TASKS

PAGE = Path(__file__).parent / "fields.md"
HEAD = """# All fields

All that can be chosen about a run of each task. A field is an option of `selfloop train TASK`, a keyword of
`selfloop.train`, and an entry of its section in a TOML file (`--config`) and in the run's `config.json`. An empty
default is explained beside it. This page is made by `python docs/write_fields.py`; `selfloop train TASK --fields`
prints the same.
"""


def page() -> str:
    """The page, as it should be."""
    lines = [HEAD]
    for task, entry in TASKS.items():
        lines.append(f"## {task}\n")
        section = ""
        for field in fields(entry.config).values():
            if field.section != section:
                section = field.section
                lines[-1] += "\n" if lines[-1].startswith("| ") else ""
                lines.append(f"### {task}: {section}\n\n| option | default | what it is for |\n| --- | --- | --- |")
            lines.append(_row(field))
        lines[-1] += "\n"
    return "\n".join(lines)


def _row(field: Field) -> str:
    flags = ", ".join(f"`{flag}`" for flag in field.flags)
    choices = f" ({', '.join(f'`{choice}`' for choice in field.choices)})" if field.choices else ""
    default = f"`{field.shown_default}`" if field.shown_default else ""
    return f"| {flags} | {default} | {field.description}{choices} |".replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
