"""Nothing reads or writes outside its memory: `make guard` shows it for the whole catalogue, this for a part of it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "guarded.py"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs mprotect")


def run(*arguments):
    return subprocess.run([sys.executable, PROGRAM, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("where", ["start", "end"])
def test_one_number_beyond_a_block_ends_the_process(where):
    assert run(where, "--beyond").returncode == -signal.SIGSEGV


@pytest.mark.parametrize("which", ["reset_before", "--others"])
@pytest.mark.parametrize("where", ["start", "end"])
def test_kernels_stay_within_their_blocks(where, which):
    ended = run(where, which)
    assert (ended.returncode, ended.stdout.splitlines()[-1:]) == (0, ["done"]), ended.stdout[-200:] + ended.stderr
