"""For the site: examples in docstrings, which begin with `>>>`, are shown as code."""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"(?:^[ ]*>>> .*\n?(?:^[ ]*\S.*\n?)*)+", re.MULTILINE)


class Doctest(griffe.Extension):
    """Puts examples between fences."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change an object's docstring as it is collected."""
        if obj.docstring is not None:
            obj.docstring.value = EXAMPLE.sub(_fenced, obj.docstring.value)


def _fenced(found: re.Match[str]) -> str:
    indent = re.match(" *", found[0])[0]  # type: ignore[index]
    return f"{indent}```pycon\n{found[0].rstrip()}\n{indent}```\n"
