"""For the site: LaTeX between dollars becomes MathML, which browsers draw by themselves."""

import re
from typing import Any

from latex2mathml.converter import convert

BLOCK = re.compile(r"^\$\$\n(.*?)\n\$\$$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"\$([^$]+)\$")
PAGES = ("cells_gallery.md",)
"""Elsewhere a dollar begins a variable of the shell."""


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Put MathML in the place of LaTeX."""
    if page.file.src_uri not in PAGES:
        return markdown
    blocks = BLOCK.sub(lambda found: f'<div class="mathematics">{_mathml(found[1], "block")}</div>', markdown)
    return INLINE.sub(lambda found: _mathml(found[1], "inline"), blocks)


def _mathml(latex: str, display: str) -> str:
    return convert(latex.replace("\n", " "), display=display)
