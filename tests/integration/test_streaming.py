"""A run on a stream that is killed, in one process or in two, goes on where it was and ends with the same bits."""

import json
import random
import signal

import pytest
from integration.launch import Launched
from integration.test_elastic import pair
from integration.test_kill_and_resume import assert_same, what_is_left
from integration.world import free_port, take_place

STEPS = 100
STREAM = ["--streaming", "--valid-examples", 20, "--set", "model.input_dropout=0.2"]
OFTEN = ["--set", "training.save_every=0.02", "--set", "training.validations=15", "--steps", STEPS]


@pytest.fixture(scope="module")
def corpus(play, tmp_path_factory):
    """Three files of documents of a few lines."""
    folder, lines, draw = tmp_path_factory.mktemp("corpus"), play.read_text().split("\n"), random.Random(1)
    for number in range(3):
        documents = ["\n".join(draw.choices(lines, k=draw.randint(1, 4))) for _ in range(40)]
        path = folder / f"{number}.jsonl"
        path.write_text("".join(json.dumps({"text": text, "url": "…"}) + "\n" for text in documents))
    return folder


@pytest.fixture(scope="module")
def whole(corpus, small, tmp_path_factory):
    """What was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    ended = Launched(folder, "train", "lm", corpus, *small, *STREAM, *OFTEN, "--run", "run").end()
    assert ended.status == 0, ended.err
    assert "a stream to train on" in ended.err
    assert "of unknown length" in " ".join(ended.err.split())
    return folder / "run"


def epochs_of(run, rank=0):
    _, last, _, _ = what_is_left(run)
    return json.loads(last[f"position/{rank}/texts"].numpy().tobytes())["epoch"]


def kill_and_go_on(processes, last, moments):
    """Start the processes again and again, and kill them after their first checkpoint, until the moments are over."""
    written, statuses = 0, []
    for moment in (*moments, 100):
        running = processes()
        running[0].wait_for(lambda written=written: last.exists() and last.stat().st_mtime_ns > written)
        for process in running:
            process.wait_at_most(moment)
        for process in running:
            process.signal(signal.SIGKILL)
        statuses.append([process.end().status for process in running])
        if not any(statuses[-1]):
            break
        written = last.stat().st_mtime_ns
    return statuses


def test_a_run_on_a_stream_that_is_killed_twice_ends_with_the_same_bits(corpus, small, tmp_path, whole):
    run = tmp_path / "run"
    command = ("train", "lm", corpus, *small, *STREAM, *OFTEN, "--run", run, "--resume", "auto")
    statuses = kill_and_go_on(lambda: [Launched(tmp_path, *command)], run / "resume" / "last.safetensors", (0.02, 0.05))
    assert statuses[0] == [-signal.SIGKILL]
    assert statuses[-1] == [0]
    assert epochs_of(run) > 0, "the stream was to begin anew"
    assert_same(run, whole)


def test_two_processes_on_a_stream_that_are_killed_end_with_the_same_bits(corpus, small, tmp_path):
    command = ("train", "lm", corpus, *small, *STREAM, *OFTEN, "--resume", "auto", "--run")
    undisturbed, run = tmp_path / "undisturbed", tmp_path / "run"
    assert [ended.status for ended in pair(tmp_path, *command, undisturbed)] == [0, 0]

    def processes():
        port, found = free_port(), []
        for rank in range(2):
            folder = tmp_path / f"process-{rank}"
            found.append(Launched(folder, *command, run, prepare=(take_place, rank, 2, port)))
        return found

    statuses = kill_and_go_on(processes, run / "resume" / "last.safetensors", (0.05,))
    assert statuses[0][0] == -signal.SIGKILL
    assert statuses[-1] == [0, 0]
    assert_same(run, undisturbed)
    _, last, _, _ = what_is_left(run)
    mine, others = (last[f"position/{rank}/tokens"].tolist() for rank in range(2))
    assert mine != others

    alone = Launched(tmp_path, "train", "lm", "--resume", run, "--steps", 5).end()
    assert alone.status == 2
    assert alone.err.endswith(
        f"selfloop: {run} reads a stream in 2 processes, each of which has its own part of it, and goes on with as "
        "many. Got 1: start 2, or begin another run.\n"
    )
    assert_same(run, undisturbed)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", 3], "a stream has no known length, so its budget must be of --steps or --minutes"),
        (["--set", "data.valid_fraction=0.2", "--steps", 3], "a stream has no known length, of which --valid-fraction"),
    ],
)
def test_what_takes_a_known_length_is_refused(train, corpus, small, tmp_path, words, message):
    status, out, err = train(corpus, "--streaming", *small, *words, "--run", tmp_path / "run")
    assert (status, out) == (2, "")
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_not_trained_longer_by_epochs(train, whole):
    status, _, err = train("--resume", whole, "--epochs", 2)
    assert status == 2
    assert "a stream has no known length, so its budget must be of --steps or --minutes. Got epochs=2 instead." in err


def test_a_stream_needs_a_source(train):
    status, _, err = train("--streaming", "--steps", 3)
    assert status == 2
    assert "--streaming reads a source; name one" in err
