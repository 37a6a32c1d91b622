"""Two processes are one with the same batch."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from integration.launch import Launched
from safetensors.torch import load_file

PLAIN = ("--set", "model.input_dropout=0", "--set", "model.output_dropout=0")


class Pair:
    """`selfloop train lm …` on two processes, by torchrun."""

    def __init__(self, folder, *arguments):
        torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--")
        self.process = subprocess.Popen(
            [sys.executable, *torchrun, "selfloop", "train", "lm", *map(str, arguments)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def interrupt(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)

    def end(self):
        out, err = self.process.communicate(timeout=100)
        return self.process.returncode, out, err


def losses(run):
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [(line["step"], line.get("loss", line.get("valid_loss"))) for line in lines]


def assert_close(run, other):
    (steps, mine), (other_steps, theirs) = (zip(*losses(path), strict=True) for path in (run, other))
    assert steps == other_steps
    assert mine == pytest.approx(theirs, rel=1e-4)
    a, b = (load_file(path / "model.safetensors") for path in (run, other))
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def options(play, small):
    return [play, *small, *PLAIN, "--steps", 150, "--set", "training.save_every=0.1", "--json"]


@pytest.fixture
def alone(train, options, tmp_path):
    """What one process makes."""
    assert train(*options, "--run", "alone").status == 0
    return tmp_path / "alone"


def test_two_processes_stopped_and_resumed_by_two_or_by_one_are_one(train, options, alone, tmp_path):
    run = tmp_path / "run"
    pair = Pair(tmp_path, *options, "--run", run)
    while not (run / "metrics.jsonl").exists() and pair.process.poll() is None:
        time.sleep(0.01)
    pair.interrupt()
    status, out, _ = pair.end()
    assert status != 0
    result = json.loads(out)
    assert 1 <= result["steps"] < 150
    assert not result["finished"]
    other = shutil.copytree(run, tmp_path / "other")
    status, out, err = Pair(tmp_path, "--resume", run, "--json").end()
    assert status == 0, err
    assert json.loads(out)["steps"] == 150
    assert err == ""
    assert_close(run, alone)
    assert train("--resume", other).status == 0
    assert_close(other, alone)


def test_one_process_resumed_by_two_is_one(options, alone, tmp_path):
    process = Launched(tmp_path, "train", "lm", *options, "--run", "run")
    process.wait_for((tmp_path / "run" / "resume" / "last.safetensors").exists)
    process.signal(signal.SIGKILL)
    process.end()
    status, _, err = Pair(tmp_path, "--resume", "run", "--json").end()
    assert status == 0, err
    assert_close(tmp_path / "run", alone)


def test_a_batch_that_processes_cannot_share_is_refused(play, small, tmp_path):
    _, out, err = Pair(tmp_path, play, *small, "--set", "training.batch_size=5", "--run", "run").end()
    assert out == ""
    assert "selfloop: The training.batch_size must be a multiple of the number of processes, 2. Got 5 instead.\n" in err
    assert "exitcode  : 2 " in err
    assert not (tmp_path / "run").exists()
