"""Of two that train one run, the second is told who the first is, and leaves no trace."""

import json
import os
import signal

from integration.launch import Launched

import selfloop


def test_a_run_that_is_being_trained_is_read_and_not_resumed_until_its_process_is_dead(train, play, small, tmp_path):
    run = tmp_path / "run"
    first = Launched(tmp_path, "train", "lm", play, *small, "--minutes", 9, "--set", "training.save_every=0.1",
                     "--set", "training.validations=900", "--run", run)  # fmt: skip
    first.wait_for(lambda: (run / "model.safetensors").exists() and (run / "resume" / "last.safetensors").exists())
    half = run / ".model.safetensors.0123.tmp"
    half.write_bytes(b"what a living writer has written")
    (tmp_path / "elsewhere").mkdir()
    files = {path.name for path in run.rglob("*") if not path.name.endswith(".tmp")}

    second = Launched(tmp_path / "elsewhere", "train", "lm", "--resume", run).end()
    holder = json.loads((run / ".lock").read_text())
    assert (second.status, second.out) == (2, "")
    assert second.err == (
        f"selfloop: {run} is being trained by process {first.process_id} on {holder['host']} since {holder['since']}: "
        "wait until that has ended, or stop it, and resume the run then.\n"
    )
    assert selfloop.load(run).write(max_tokens=3, seed=1)
    assert half.exists()
    assert {path.name for path in run.rglob("*") if not path.name.endswith(".tmp")} >= files

    first.signal(signal.SIGKILL)
    first.end()
    third = Launched(tmp_path, "train", "lm", "--resume", run)
    third.wait_for(lambda: not half.exists() and len([*run.glob("events.*")]) == 2)
    third.signal(signal.SIGTERM)
    ended = third.end()
    assert ended.status == 128 + signal.SIGTERM, ended.err
    assert json.loads((run / ".lock").read_text())["process"] == third.process_id != os.getpid()
