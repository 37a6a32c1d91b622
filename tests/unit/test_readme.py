"""The README and the pages show the examples as they are, and they run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from selfloop.errors import CellError
from selfloop.tasks.choose_cell import choose_cell

ROOT = Path(__file__).parents[2]
PAGES = {
    page: page.read_text(encoding="utf-8")
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
}
SHOWN = [
    found
    for page in PAGES.values()
    for found in re.findall(r"<!-- (\S+) -->\n```python\n(.*?)```", page, flags=re.DOTALL)
]


def test_examples_are_shown():
    recipes = {name for name, _ in SHOWN if name.startswith("examples/recipes/")}
    assert {name for name, _ in SHOWN} - recipes == {
        f"examples/{name}.py" for name in ("own_cell", "use_it", "stream", "patient")
    }
    assert recipes  # each of which `make recipes` runs


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


def test_the_error_that_is_shown_is_the_one_that_is_raised(tmp_path):
    """The example's line with h in the place of x."""
    wrong = tmp_path / "own_cell.py"
    code = (ROOT / "examples" / "own_cell.py").read_text(encoding="utf-8")
    wrong.write_text(code.replace("W @ x", "W @ h"), encoding="utf-8")
    with pytest.raises(CellError) as caught:
        choose_cell(f"{wrong}:peephole")
    (shown,) = re.findall(r"```\n(In cell .*?)```", "\n".join(PAGES.values()), flags=re.DOTALL)
    assert str(caught.value) == " ".join(shown.split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link, place in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]*))?\)", PAGES[page]):
        target = page.parent / link if link else page
        assert target.exists(), link
        if place and target.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert place in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


FIGURE = re.compile(r"(?<![\w.])(\d[\d,]*(?:\.\d+)?)(?![\d,]*\d)")
RESULTS = [
    (str(page.relative_to(ROOT)), text, page.parent / link)
    for page in PAGES
    for text, link in re.findall(r"\[([^\]]*\d[^\]]*)\]\(([^)]*benchmarks/results/[^)]*\.txt)\)", PAGES[page])
]


def figures(text):
    return [figure.replace(",", "") for figure in FIGURE.findall(text.replace("BLEU-1", "").replace("BLEU-4", ""))]


@pytest.mark.parametrize(("page", "text", "result"), RESULTS)
def test_a_figure_stands_in_the_result_that_it_links_to(page, text, result):
    """Or a figure that is rounded to it."""
    found = {float(figure) for figure in figures(result.read_text(encoding="utf-8"))}
    scales = [1.0, *([100.0] if "%" in text else []), *([0.001] if "thousand" in text else [])]
    for figure in figures(text):
        digits = len(figure.partition(".")[2])
        assert float(figure) in {round(value * scale, digits) for value in found for scale in scales}, figure


def test_figures_are_compared():
    assert len(RESULTS) > 20
