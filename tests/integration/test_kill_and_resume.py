"""A run that was stopped, in whatever way, and went on is a run that never stopped."""

import json
import random
import shutil
import signal

import pytest
import torch
from combinations import some
from integration.launch import Launched, die_in_fsync
from safetensors.torch import load_file

from selfloop.training.checkpoint import read_tensors

STEPS = 150
OFTEN = ("--set", "training.save_every=0.02", "--set", "training.validations=15", "--steps", STEPS)
DROPOUT = [f"model.{place}_dropout=0.2" for place in ("embedding", "input", "output")]
PLATEAU = ["training.schedule=plateau", "training.learning_rate=2", "training.momentum=0.9"]
AVERAGE = ["training.schedule=constant", "training.learning_rate=160"]  # it averages, from 140 to 200
WAYS = {
    "adamw": [*DROPOUT, "model.num_layers=2", "model.hidden_dropout=0.2", "model.weight_drop=0.2"],
    "sgd": ["training.optimizer=sgd", "training.weight_decay=0", *PLATEAU],
    "asgd": [*DROPOUT, "training.optimizer=asgd", "training.weight_decay=0", *AVERAGE],
    "average": [*DROPOUT, "training.average=true"],
    "bf16": [*DROPOUT, "training.precision=bf16", "model.cell=gru"],
}


def options(assignments):
    return [*OFTEN, *(word for assignment in assignments for word in ("--set", assignment))]


def what_is_left(run):
    """Everything of a run but the clock: weights, checkpoint, progress, and the losses by step."""
    model = load_file(run / "model.safetensors")
    last, facts = read_tensors(run / "resume" / "last.safetensors")
    progress = {name: value for name, value in facts["progress"].items() if name != "elapsed"}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    timed = ("elapsed", "targets_per_second")
    return model, last, progress, [{k: v for k, v in line.items() if k not in timed} for line in lines]


def assert_same(run, other):
    (*tensors, progress, lines), (*others, other_progress, other_lines) = what_is_left(run), what_is_left(other)
    for mine, theirs in zip(tensors, others, strict=True):
        assert mine.keys() == theirs.keys()
        different = [name for name in mine if not torch.equal(mine[name], theirs[name])]
        assert not different
    assert progress == other_progress
    assert lines == other_lines


def saved(run):
    return (run / "resume" / "last.safetensors").exists()


@pytest.fixture(scope="module")
def whole(play, small, tmp_path_factory):
    """The run of each way that was never stopped, made once."""
    made = {}

    def run(way):
        if way not in made:
            folder = tmp_path_factory.mktemp(way)
            ended = Launched(folder, "train", "lm", play, *small, *options(WAYS[way]), "--run", "run").end()
            assert ended.status == 0, ended.err
            made[way] = folder / "run"
        return made[way]

    return run


@pytest.mark.parametrize("way", some(WAYS, 0, of=2))
def test_killed_at_random_moments_it_ends_with_the_same_bits(whole, train, play, small, tmp_path, way):
    run, draw = tmp_path / "run", random.Random(way)
    last = run / "resume" / "last.safetensors"
    command, written = (play, *small, *options(WAYS[way]), "--run", run), 0
    statuses = []
    for moment in (*(draw.uniform(0, 0.1) for _ in range(3)), 100):
        process = Launched(tmp_path, "train", "lm", *command)
        process.wait_for(lambda written=written: last.exists() and last.stat().st_mtime_ns > written)
        process.wait_at_most(moment)
        process.signal(signal.SIGKILL)
        statuses.append(process.end().status)
        if statuses[-1] == 0:
            break
        command, written = ("--resume", run), last.stat().st_mtime_ns
    assert statuses == [*[-signal.SIGKILL] * (len(statuses) - 1), 0]
    assert len(statuses) > 1, "it was never killed"
    assert_same(run, whole(way))


def test_the_ways_reach_what_they_are_to_test(whole):
    last, facts = read_tensors(whole("asgd") / "resume" / "last.safetensors")
    assert facts["groups"][0]["t0"] < STEPS, "averaging has not begun"
    assert facts["progress"]["best_step"] > facts["groups"][0]["t0"], "the best weights are no averages"
    assert not torch.equal(last["optimizer/0/ax"], last["model/embedding.embedding.weight"])
    _, facts = read_tensors(whole("sgd") / "resume" / "last.safetensors")
    assert facts["progress"]["scale"] < 1, "no plateau was met"


# Calls of fsync: config.json 1, its folder 2, tokenizer.json 3 and 4; a first checkpoint or model 5 and 6, and then
# previous, last and model in turn, each with its folder.
@pytest.mark.parametrize("call", [7, 8, 9, 11])
def test_killed_while_it_writes_it_ends_with_the_same_bits(whole, train, play, small, tmp_path, call):
    run = tmp_path / "run"
    command = (play, *small, *options(WAYS["adamw"]), "--run", run)
    assert train(*command, prepare=(die_in_fsync, call)).status == -signal.SIGKILL
    assert list(tmp_path.rglob(".*.tmp")) or call % 2 == 0, "it was to be killed in the middle of a file"
    assert saved(run)
    read_tensors(run / "resume" / "last.safetensors")
    assert train("--resume", run).status == 0
    assert_same(run, whole("adamw"))
    assert not list(tmp_path.rglob(".*.tmp"))


@pytest.mark.parametrize("call", [1, 3, 5])
def test_killed_before_its_first_checkpoint_it_says_so(train, play, small, tmp_path, call):
    run = tmp_path / "run"
    assert train(play, *small, *OFTEN, "--run", run, prepare=(die_in_fsync, call)).status == -signal.SIGKILL
    ended = train("--resume", run)
    assert (ended.status, ended.out) == (2, "")
    what = "checkpoint to resume from: it stopped before its first" if call > 1 else "config.json, so it is not a run"
    assert ended.err.startswith(f"selfloop: {run} has no {what}. ")
    assert ended.err.count("\n") == 1


def test_what_is_finished_is_not_resumed(whole, train, tmp_path):
    run = shutil.copytree(whole("adamw"), tmp_path / "run")
    ended = train("--resume", run)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == (
        f"selfloop: {run} is finished: its budget is spent. Train it longer with --minutes, --epochs or --steps, "
        "or start a new run.\n"
    )
    assert_same(run, whole("adamw"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_saves_and_ends_with_the_same_bits_later(whole, train, play, small, tmp_path, number):
    run = tmp_path / "run"
    process = Launched(tmp_path, "train", "lm", play, *small, *options(WAYS["adamw"]), "--run", run)
    process.wait_for(lambda: saved(run))
    process.signal(number)
    ended = process.end()
    assert ended.status == 128 + number
    assert f"next: selfloop train lm --resume {run}" in ended.err
    assert "Traceback" not in ended.err
    assert train("--resume", run).status == 0
    assert_same(run, whole("adamw"))


def test_stopped_with_json_it_prints_how_far_it_came(train, play, small, tmp_path):
    process = Launched(tmp_path, "train", "lm", play, *small, "--minutes", 5, "--run", "run", "--json")
    process.wait_for((tmp_path / "run" / "metrics.jsonl").exists)
    process.signal(signal.SIGINT)
    ended = process.end()
    assert (ended.status, ended.err) == (130, "")
    result = json.loads(ended.out)
    assert result["finished"] is False
    assert result["steps"] >= 1
