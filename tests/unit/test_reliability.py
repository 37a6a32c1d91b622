"""Every promise of docs/reliability.md names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith(("| fault", "| ---"))
]


def test_there_is_a_row_for_each_fault():
    faults = "\n".join(fault for fault, *_ in ROWS)
    for word in ("kill -9", "SIGTERM", "SIGINT", "full disk", "read-only", "two writers", "damaged", "clock"):
        assert word in faults


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_promise_is_kept_by_tests_that_exist(row):
    _, promise, tests = row
    links = re.findall(r"\]\(([^)#]+)#([^)]+)\)", tests)
    assert promise
    assert len(links) == tests.count("](") > 0
    for file, name in links:
        tree = ast.parse((PAGE.parent / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, file
