import doctest
import importlib
from pathlib import Path

import pytest

import selfloop

HOUSE = Path(selfloop.__file__).parent
WITH_EXAMPLES = [
    ".".join(["selfloop", *file.relative_to(HOUSE).with_suffix("").parts])
    for room in ("decoding", "models", "tasks")
    for file in sorted((HOUSE / room).rglob("*.py"))
    if ">>> " in file.read_text()
]


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_in_docstrings_are_true(module):
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0
