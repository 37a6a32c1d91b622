import json

import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from unit.training.toy import Watcher

from selfloop.errors import RunError
from selfloop.training import Run
from selfloop.training.log import LINES, Log


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "run", "toy", {})


def written(run):
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


def feed(log, steps, of):
    for step in steps:
        log.add(step, elapsed=step / 100, spent=step / of, loss=float(step), targets=8, rate=0.5)


def test_a_run_writes_a_line_for_each_of_its_parts_with_the_mean_of_their_losses(run):
    feed(Log(run, Watcher(), 0, None), range(1, 4 * LINES + 1), of=4 * LINES)
    lines = written(run)
    assert lines[0] | {"targets_per_second": 0} == {
        "step": 1, "elapsed": 0.01, "spent": 1 / 800, "learning_rate": 0.5, "loss": 1, "targets_per_second": 0
    }  # fmt: skip
    assert [line["step"] for line in lines] == [1, *range(4, 801, 4)]
    assert [line["loss"] for line in lines[:4]] == [1, 3, 6.5, 10.5]
    assert all(line["targets_per_second"] > 0 for line in lines)


def test_a_short_run_writes_a_line_a_step(run):
    feed(Log(run, Watcher(), 0, None), range(1, 101), of=100)
    assert [line["loss"] for line in written(run)] == list(range(1, 101))


def test_a_log_that_goes_on_writes_the_lines_of_one_that_never_stopped(run, tmp_path):
    other = Run.create(tmp_path / "other", "toy", {})
    feed(Log(other, Watcher(), 0, None), range(1, 1001), of=1000)
    log = Log(run, Watcher(), 0, None)
    feed(log, range(1, 498), of=1000)
    feed(Log(run, Watcher(), 497, json.loads(json.dumps(log.pending()))), range(498, 1001), of=1000)
    assert [(line["step"], line["loss"]) for line in written(run)] == [
        (line["step"], line["loss"]) for line in written(other)
    ]


def test_a_validation_is_a_line_and_loses_no_training_loss(run):
    watcher = Watcher()
    log = Log(run, watcher, 0, None)
    feed(log, range(1, 7), of=4 * LINES)
    log.validated(6, 0.06, 0.0075, {"loss": 2.0, "perplexity": 7.4}, best=True)
    feed(log, range(7, 9), of=4 * LINES)
    lines = written(run)
    assert lines[2] == {"step": 6, "elapsed": 0.06, "spent": 0.0075, "valid_loss": 2.0, "valid_perplexity": 7.4}
    assert lines[3]["loss"] == 6.5
    assert watcher.validations == [({"step": 6, "loss": 2.0, "perplexity": 7.4}, True)]


def test_tensorboard_reads_the_same_figures_and_where_a_run_went_on(run):
    feed(Log(run, Watcher(), 0, None), range(1, 4), of=3)
    feed(Log(run, Watcher(), 2, None), [3], of=3)
    first, second = (list(EventFileLoader(str(path)).Load()) for path in sorted(run.path.glob("events.out.tfevents.*")))
    figures = [(e.step, v.tag, v.tensor.float_val[0]) for e in first for v in e.summary.value if v.tag == "loss"]
    assert figures == [(1, "loss", 1.0), (2, "loss", 2.0), (3, "loss", 3.0)]
    assert [(e.step, e.session_log.status) for e in second if e.HasField("session_log")] == [(2, 1)]


def test_files_for_tensorboard_are_in_order_though_the_clock_goes_backwards(run, monkeypatch):
    """It reads them by name, and looks no more into one that comes before the last it has seen."""
    made = []
    for now in (1_700_000_000, 1_700_000_000, 1_600_000_000, 1_800_000_000):
        monkeypatch.setattr("time.time_ns", lambda now=now: now * 10**9)
        monkeypatch.setattr("time.time", lambda now=now: float(now))
        (run.path / "events.out.tfevents.not a number").touch()
        feed(Log(run, Watcher(), len(made), None), [len(made) + 1], of=9)
        (new,) = {path.name for path in run.path.glob("events*[0-9]")} - {*made}
        made.append(new)
    assert made == sorted(made)
    assert [name.split(".")[3] for name in made] == ["1700000000", "1700000001", "1700000002", "1800000000"]


def test_a_folder_that_is_gone_is_an_error(run):
    log = Log(run, Watcher(), 0, None)
    for file in run.path.iterdir():
        file.unlink()
    run.path.rmdir()
    with pytest.raises(RunError, match=r"metrics.jsonl cannot be written \(No such file or directory\)"):
        feed(log, [1], of=1)
