"""The README and the pages show the examples as they are, and they run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from selfloop.errors import CellError
from selfloop.tasks.choose_cell import choose_cell

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [README, *(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("*.md")))]
SHOWN = [found for page in PAGES for found in re.findall(r"<!-- (\S+) -->\n```python\n(.*?)```", page, flags=re.DOTALL)]


def test_examples_are_shown():
    assert len(SHOWN) == 4


@pytest.mark.parametrize(("name", "code"), SHOWN)
def test_code_that_is_shown_stands_in_its_file(name, code):
    assert code in (ROOT / name).read_text(encoding="utf-8")


def test_the_example_runs():
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "use_it.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "torch.Size([20, 3, 32])" in done.stdout
    assert "native" in done.stdout


def test_the_example_of_a_stream_runs():
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "stream.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "(32,) State(h=(2, 1, 32), c=(2, 1, 32))" in done.stdout


def test_the_error_in_the_readme_is_the_one_that_is_raised(tmp_path):
    """The example's line with h in the place of x."""
    wrong = tmp_path / "own_cell.py"
    code = (ROOT / "examples" / "own_cell.py").read_text(encoding="utf-8")
    wrong.write_text(code.replace("W @ x", "W @ h"), encoding="utf-8")
    with pytest.raises(CellError) as caught:
        choose_cell(f"{wrong}:peephole")
    shown = re.search(r"```\n(In cell .*?)```", README, flags=re.DOTALL)
    assert shown is not None
    assert str(caught.value) == " ".join(shown[1].split())


def test_links_in_the_readme_lead_somewhere():
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
