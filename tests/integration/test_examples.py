"""The programs of examples/ that take time, for a few updates."""

import json
from pathlib import Path

import pytest
from integration.launch import Launched

LONG_MEMORY = Path(__file__).parents[2] / "examples" / "long_memory.py"


@pytest.mark.parametrize("task", ["adding", "copy"])
def test_long_memory_is_learnt_from_and_drawn(task, tmp_path):
    options = (task, "--steps", 12, "--cell", "lstm", "vanilla", "--hidden", 8)
    more = ("--minutes", 0.005, "--chrono", "--plot", tmp_path / "flow.png", "--json")
    ended = Launched(tmp_path, *options, *more, program=LONG_MEMORY).end()
    assert ended.status == 0, ended.err
    facts = json.loads(ended.out)
    assert set(facts["cells"]) == {"lstm", "vanilla"}
    assert 0 < facts["cells"]["lstm"]["loss"] < 2 * facts["memoryless"]
    assert (tmp_path / "flow.png").read_bytes().startswith(b"\x89PNG")
