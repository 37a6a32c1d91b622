"""The programs of examples/ that take time, for a few updates."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

LONG_MEMORY = Path(__file__).parents[2] / "examples" / "long_memory.py"


@pytest.mark.parametrize("task", ["adding", "copy"])
def test_long_memory_is_learnt_from_and_drawn(task, tmp_path):
    command = [sys.executable, LONG_MEMORY, task, "--steps", "12", "--cell", "lstm", "vanilla", "--hidden", "8"]
    more = ["--minutes", "0.005", "--chrono", "--plot", tmp_path / "flow.png", "--json"]
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert set(facts["cells"]) == {"lstm", "vanilla"}
    assert 0 < facts["cells"]["lstm"]["loss"] < 2 * facts["memoryless"]
    assert (tmp_path / "flow.png").read_bytes().startswith(b"\x89PNG")
