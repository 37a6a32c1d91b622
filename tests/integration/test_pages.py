"""The README and the pages of docs, followed line by line, in a folder of their own, with few updates for minutes."""

import re
import shlex
from pathlib import Path

import pytest
from integration.launch import Launched

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"(?<!-->\n)^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)  # examples/ have their own test
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if BLOCK.search(page.read_text(encoding="utf-8"))
]


def test_there_are_pages():
    assert PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_can_be_followed(page, tmp_path):
    for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "python":
            program = tmp_path / "block.py"
            program.write_text(text, encoding="utf-8")
            launched = [Launched(tmp_path, program=program)]
        else:
            quick = re.sub(r"--minutes [\d.]+", "--steps 3", text)
            lines = [shlex.split(line, comments=True) for line in quick.splitlines()]
            assert all(words[0] == "selfloop" for words in lines if words)
            launched = (Launched(tmp_path, *words[1:]) for words in lines if words)
        for process in launched:
            ended = process.end()
            assert ended.status == 0, ended.err
