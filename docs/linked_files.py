"""For the site: files of the repository that pages link to, such as results of benchmarks, become part of it."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

LINK = re.compile(r"(?<=\]\()([^):#]+)")
HOME = "repository"


def on_files(files: Files, *, config: Any) -> Files:
    """Add what is linked to, and what is linked to from there."""
    docs = Path(config.docs_dir)
    pages = [Path(file.abs_src_path) for file in files.documentation_pages() if file.abs_src_path]
    while pages:
        page = pages.pop()
        for link in LINK.findall(page.read_text(encoding="utf-8")):
            target = (page.parent / link).resolve()
            if target.is_relative_to(docs) or not target.is_file():
                continue
            uri = f"{HOME}/{target.relative_to(docs.parent)}"
            if files.get_file_from_path(uri) is None:
                file = File.generated(config, uri, abs_src_path=str(target), inclusion=InclusionLevel.INCLUDED)
                files.append(file)
                pages += [target] if target.suffix == ".md" else []
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Let the links lead there."""
    return markdown if page.file.src_uri.startswith(HOME) else markdown.replace("](../", f"]({HOME}/")
