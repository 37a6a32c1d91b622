"""A user's script with types: `make check` has mypy and pyright look at it, and here it runs."""

from pathlib import Path

from integration.launch import Launched

SCRIPT = Path(__file__).parents[1] / "user" / "user_script.py"


def test_the_script_that_type_checkers_look_at_runs(tmp_path):
    ended = Launched(tmp_path, program=SCRIPT).end()
    assert ended.status == 0, ended.err
    assert {run.name for run in (tmp_path / "runs").iterdir()} == {"reviews", "play", "tags"}
    assert (tmp_path / "flow.png").read_bytes().startswith(b"\x89PNG")
