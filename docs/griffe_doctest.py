"""For the site: examples in docstrings, which begin with `>>>`, are shown as code."""

import logging
import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"(?:^[ ]*>>> .*\n?(?:^[ ]*\S.*\n?)*)+", re.MULTILINE)

# It reads code without running it, and so does not know what words the language has; they have a page of their own.
logging.getLogger("mkdocs.plugins.griffe").addFilter(lambda record: "__all__: WORDS" not in record.getMessage())


class Doctest(griffe.Extension):
    """Puts examples between fences."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change an object's docstring as it is collected."""
        if obj.docstring is not None:
            obj.docstring.value = EXAMPLE.sub(_fenced, obj.docstring.value)


def _fenced(found: re.Match[str]) -> str:
    indent = re.match(" *", found[0])[0]  # type: ignore[index]
    return f"{indent}```pycon\n{found[0].rstrip()}\n{indent}```\n"
