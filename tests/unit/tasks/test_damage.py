"""Damage to any bytes of a run is one sentence or makes no difference: never a traceback, never other numbers."""

import json
import os
import shutil
import subprocess

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from unit.training.toy import Watcher

from selfloop.errors import SelfloopError
from selfloop.inspect import draw_gradient_flow, gradient_flow_of
from selfloop.options import LanguageModelConfig
from selfloop.tasks import load
from selfloop.tasks.lm.task import LanguageModelling
from selfloop.tasks.run_config import read_config
from selfloop.training import Run, train
from selfloop.training.curves import draw_curves

TEXT = "the cat sat on the mat, the dog sat on the log\n" * 60
SIZES = {"model": {"hidden_size": 8, "embedding_size": 8}, "training": {"batch_size": 4, "steps": 6, "validations": 6}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was stopped halfway, with every file that a run may have."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        (folder / "play.txt").write_text(TEXT)
        config = LanguageModelConfig.model_validate(
            {"data": {"source": str(folder / "play.txt"), "window": 8, "vocab_size": 12}, **SIZES}
        )
        run = Run.create(folder / "run", "lm", config.model_dump())
        task = LanguageModelling(config)
        task.save(run)
        run.save_skipped([("play.txt", "is a play")])
        AcceleratorState._reset_state(reset_partial_state=True)
        train(task, run, config.training, Accelerator(cpu=True), Watcher(stop_at=3))
        AcceleratorState._reset_state(reset_partial_state=True)
        draw_curves(run, "token")
    return run.path


@pytest.fixture
def run(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def opened(path):
    """What the run says to a text, and writes; all that evaluate, predict and generate read."""
    model = load(path)
    text = model.config.model_dump(exclude={"data": {"source"}})
    return text, model.score("the cat sat").metrics(), model.write(max_tokens=5, seed=1), *tensors(model.model)


def checkpoint(path):
    """What a run goes on from."""
    run = Run.open(path)
    config = read_config(run, LanguageModelConfig)
    found, facts = run.load_checkpoint()
    task = LanguageModelling.resume(config, run, None)
    return json.dumps(facts), json.dumps(task.facts()), *[(n, t) for n, t in sorted(found.items())]


def tensors(model):
    return [(name, tensor) for name, tensor in model.state_dict().items()]


def same(one, other):
    return len(one) == len(other) and all(
        a[0] == b[0] and torch.equal(a[1], b[1]) if isinstance(a, tuple) else a == b
        for a, b in zip(one, other, strict=True)
    )


def outcome(read, path, whole):
    """One sentence, or what the undamaged run gives; else the test fails."""
    try:
        found = read(path)
    except SelfloopError as error:
        assert "\n" not in str(error)
        return "refused"
    assert same(found, whole)
    return "same"


def spread(content, count):
    """So many places, over the whole of a file."""
    return sorted({round(k * (len(content) - 1) / (count - 1)) for k in range(count)})


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 1 << place % 7]) + content[place + 1 :]


READ = {
    "config.json": (opened, checkpoint),
    "tokenizer.json": (opened, checkpoint),
    "model.safetensors": (opened,),
    "resume/last.safetensors": (checkpoint,),
}
"""The files that are read, and by what."""


@pytest.mark.parametrize("name", READ)
def test_a_changed_byte_anywhere_is_refused_or_makes_no_difference(whole, run, name):
    good = (whole / name).read_bytes()
    for read in READ[name]:
        was, seen = read(whole), []
        for place in spread(good, 250):
            (run / name).write_bytes(flipped(good, place))
            seen.append(outcome(read, run, was))
        (run / name).write_bytes(good)
        assert seen.count("refused") > 150
        assert outcome(read, run, was) == "same"


@pytest.mark.parametrize("name", READ)
def test_a_file_that_is_cut_short_extended_or_of_zeros_is_refused(whole, run, name):
    good = (whole / name).read_bytes()
    damages = [
        *(good[:place] for place in spread(good, 12)[:-1]),
        good[:-1],
        good + b"{",
        bytes(len(good)),
        b"\xff" * 99,
    ]
    if name.endswith(".json"):
        damages[11] = good[:-2]  # without its newline it is the same
    for read in READ[name]:
        was = read(whole)
        for content in damages:
            (run / name).write_bytes(content)
            assert outcome(read, run, was) == "refused", content[-20:]


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("made", ["nothing", "folder"])
def test_nothing_or_a_folder_in_the_place_of_a_file_is_refused(whole, run, name, made):
    (run / name).unlink()
    if made == "folder":
        (run / name).mkdir()
    for read in READ[name]:
        assert outcome(read, run, read(whole)) == "refused"


def test_the_other_files_are_not_read(whole, run):
    others = [path for path in run.rglob("*") if path.is_file() and str(path.relative_to(run)) not in READ]
    assert {path.name.partition(".tfevents")[0] for path in others} == {
        "metrics.jsonl", "skipped.jsonl", "events.out", "curves.png", "previous.safetensors", ".lock"
    }  # fmt: skip
    for path in others:
        path.write_bytes(b"\0{" + path.read_bytes()[5:])
    for read in (opened, checkpoint):
        assert outcome(read, run, read(whole)) == "same"
    for path in others:
        path.unlink()
        path.mkdir()
    for read in (opened, checkpoint):
        assert outcome(read, run, read(whole)) == "same"


def test_with_the_last_checkpoint_damaged_the_one_before_works_and_is_checked_too(whole, run):
    last, previous = (run / "resume" / f"{name}.safetensors" for name in ("last", "previous"))
    good = previous.read_bytes()
    last.write_bytes(good)
    was = checkpoint(run)
    assert not same(was, checkpoint(whole))
    for place in spread(good, 20):
        last.write_bytes(flipped(good, place))
        outcome(checkpoint, run, was)


@pytest.fixture
def read_only(run):
    """The run on a disk that is read only, or in folders that are."""
    if os.geteuid() == 0:
        for options in (["--bind", run, run], ["-o", "remount,ro,bind", run]):
            if subprocess.run(["mount", *map(str, options)], check=False, capture_output=True).returncode:
                pytest.skip("root writes to any folder, and may mount nothing here")
        yield run
        subprocess.run(["umount", str(run)], check=True)
    else:
        folders = [run / "resume", run]
        for folder in folders:
            folder.chmod(0o555)
        (run / ".lock").chmod(0o444)
        yield run
        for folder in folders:
            folder.chmod(0o755)


def test_a_run_that_cannot_be_written_is_read_and_not_resumed(whole, read_only):
    for read in (opened, checkpoint):
        assert outcome(read, read_only, read(whole)) == "same"
    refused = r"cannot be written \((Read-only file system|Permission denied)\)"
    with pytest.raises(SelfloopError, match=rf"\.lock {refused}"), Run.open(read_only).locked():
        pass
    with pytest.raises(SelfloopError, match=r"new cannot be made: (Read-only file system|Permission denied)\. Choose"):
        Run.create(read_only / "new", "lm", {})
    flow = gradient_flow_of(load(read_only).watched(20), 20)
    with pytest.raises(SelfloopError, match=rf"flow\.png {refused}"):
        draw_gradient_flow({"it": flow}, read_only / "flow.png")
