"""``--resume`` of a finished run with a budget: it is trained so much longer."""

import json
import signal

import pytest

from selfloop.training.checkpoint import read_tensors

SMALL = ("model.hidden_size=8", "model.embedding_size=4", "training.batch_size=4")


@pytest.fixture
def train(selfloop, tmp_path):
    """Trains a run of a small text, and gives its result."""
    (tmp_path / "play.txt").write_text("the cat sat on the mat and the dog sat on the log\n" * 20)
    options = [word for assignment in SMALL for word in ("--set", assignment)]

    def train(name, *words, new=True):
        path = tmp_path / name
        begin = ("--run", path, tmp_path / "play.txt", *options) if new else ("--resume", path)
        said = selfloop("train", "lm", *begin, *words, "--json")
        return said, json.loads(said.out) if said.out else None, path

    return train


def test_a_finished_run_is_trained_longer_by_what_is_given(train):
    _, result, path = train("run", "--steps", 6)
    assert (result["finished"], result["steps"]) == (True, 6)
    config = (path / "config.json").read_bytes()
    for more, steps in ((4, 10), (5, 15)):
        said, result, _ = train("run", "--steps", more, new=False)
        assert said.status == 0, said.err
        assert (result["finished"], result["steps"]) == (True, steps)
    assert (path / "config.json").read_bytes() == config
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    validated = [line for line in lines if "valid_loss" in line]
    assert [line["step"] for line in validated][-1] == 15 and validated[-1]["spent"] == 1
    assert {10, 15} <= {line["step"] for line in validated}
    assert [line["step"] for line in lines if "learning_rate" in line and line["step"] > 6] == [*range(7, 16)]


@pytest.mark.parametrize(("option", "amount"), [("--epochs", 0.5), ("--minutes", 0.003)])
def test_it_may_be_given_in_another_unit(train, option, amount):
    before = train("run", "--steps", 6)[1]
    said, result, _ = train("run", option, amount, new=False)
    assert said.status == 0, said.err
    assert result["finished"] and result["steps"] > before["steps"]


def test_stopped_meanwhile_and_resumed_it_ends_with_the_same_bits(train, monkeypatch):
    whole, parted = (train(name, "--steps", 6)[2] for name in ("whole", "parted"))
    assert train("whole", "--steps", 6, new=False)[1]["steps"] == 12
    calls = iter([0] * 3 + [signal.SIGINT] * 100)

    def stop(screen):
        screen.stopped_by = next(calls)
        return bool(screen.stopped_by)

    with monkeypatch.context() as patch:
        patch.setattr("selfloop.app.screen.Screen.stop", stop)
        said, result, _ = train("parted", "--steps", 6, new=False)
        assert (said.status, result["finished"], result["steps"]) == (130, False, 10)
    said, _, _ = train("parted", "--steps", 6, new=False)
    assert said.status == 2 and f"{parted} is not finished: resume it without --steps" in said.err
    assert train("parted", new=False)[1]["steps"] == 12
    for file in ("model.safetensors", "resume/last.safetensors"):
        one, other = (read_tensors(path / file)[0] for path in (whole, parted))
        assert all(one[name].equal(other[name]) for name in one)


def test_what_makes_no_budget_is_refused(train):
    train("run", "--steps", 2)
    for words, message in (
        ((), "is finished: its budget is spent. Train it longer with --minutes, --epochs or --steps"),
        (("--steps", 0), "sets 'training.steps' wrongly"),
        (("--steps", 1, "--epochs", 1), "a run has one budget, but it gives epochs and steps"),
        (("--steps", 1, "--seed", 3), "takes no other choices. Got --seed too: leave it out."),
    ):
        said, _, _ = train("run", *words, new=False)
        assert (said.status, said.out) == (2, ""), words
        assert message in said.err
