"""A disk without room: one sentence, and what was saved before is good."""

import os
import subprocess

import pytest
from integration.launch import fill_the_disk, limit_file_size

import selfloop
from selfloop.training.checkpoint import read_tensors

LONG = ("--steps", 40, "--set", "training.save_every=0.001")


# Before the first checkpoint: config.json, the folder, tokenizer.json. Then: model, previous, last.
@pytest.mark.parametrize("call", [1, 3, 5, 9, 11])
def test_a_disk_that_is_full_while_something_is_saved(train, play, small, tmp_path, call):
    run = tmp_path / "run"
    ended = train(play, *small, *LONG, "--run", run, "--json", prepare=(fill_the_disk, call))
    assert (ended.status, ended.out) == (2, "")
    said, rest = ended.err.split(" cannot be ", 1)
    assert said.startswith(f"selfloop: {run}/")
    assert rest.endswith("Make room, or choose another folder with --run.\n")
    assert "No space left on device" in rest
    assert rest.count("\n") == 1
    assert not list(run.rglob(".*.tmp"))
    if (run / "model.safetensors").exists():
        assert selfloop.load(run).write(max_tokens=3, seed=1)
    if (run / "resume" / "last.safetensors").exists():
        assert train("--resume", run, "--json").status == 0


@pytest.mark.parametrize("size", [500, 6_000, 20_000])
def test_a_file_that_may_grow_no_further(train, play, small, tmp_path, size):
    """Whichever it is: the tokenizer, the metrics, the events of TensorBoard, the model, a checkpoint, the picture."""
    run = tmp_path / "run"
    ended = train(play, *small, "--steps", 150, "--run", run, "--json", prepare=(limit_file_size, size))
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"selfloop: {run}/")
    assert "File too large" in ended.err
    assert ended.err.count("\n") == 1
    if (run / "model.safetensors").exists():
        assert selfloop.load(run).write(max_tokens=3, seed=1)


@pytest.fixture
def tiny_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    mounted = os.name == "posix" and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(place)], check=False, capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("mounting a file system takes root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_of_128_kilobytes(train, play, small, tiny_disk):
    """The model and two checkpoints do not fit beside the third."""
    run = tiny_disk / "run"
    ended = train(play, *small, *LONG, "--set", "model.hidden_size=24", "--run", run, "--json")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"selfloop: {run}/")
    assert "No space left on device" in ended.err
    assert ended.err.count("\n") == 1
    read_tensors(run / "resume" / "last.safetensors")
