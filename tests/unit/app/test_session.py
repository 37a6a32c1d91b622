"""Training from Python: what the command line does, with keywords."""

import json
import threading

import pytest
import torch

import selfloop as sl
from selfloop.errors import ArgumentError, ConfigError, RunError
from selfloop.tasks.lm import TextModel
from selfloop.training.checkpoint import read_tensors

SMALL = {"hidden_size": 8, "embedding_size": 4, "batch_size": 4, "window": 8, "quiet": True}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "play.txt").write_text("the cat sat on the mat\n" * 100)


def weights(run):
    return read_tensors(run / "model.safetensors")[0]


def test_a_model_is_trained_and_opened(tmp_path):
    model = sl.train("lm", "play.txt", steps=20, run="mine", **SMALL)
    assert isinstance(model, TextModel)
    assert model.config.model.hidden_size == 8
    assert model.write(max_tokens=5, seed=1) == sl.load("mine").write(max_tokens=5, seed=1) != [""]
    results = json.loads((tmp_path / "mine" / "results.json").read_text())
    assert results["steps"] == 20 and results["finished"]
    assert results["valid"]["loss"] == pytest.approx(model.score(model.parts()["valid"]).loss)
    assert set(results["data"]) == {"training text", "validation text"}


def test_it_is_the_run_that_the_command_line_makes(tmp_path, selfloop):
    sl.train("lm", "play.txt", steps=10, model={"hidden_size": 8, "embedding_size": 4}, batch_size=4, window=8,
             run="python", quiet=True)  # fmt: skip
    options = ("--hidden", 8, "--embedding-size", 4, "--batch-size", 4, "--window", 8, "--steps", 10)
    assert selfloop("train", "lm", "play.txt", *options, "--run", "shell", "--json").status == 0
    one, other = (weights(tmp_path / name) for name in ("python", "shell"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    configs = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("python", "shell")]
    assert configs[0] == configs[1]


class StopsAt:
    def __init__(self, step):
        self.step, self.reports, self.validations = step, [], []

    def reported(self, report):
        self.reports.append(report["step"])

    def validated(self, metrics, best):
        self.validations.append((metrics["step"], best))

    def stop(self):
        return bool(self.validations) and self.validations[-1][0] >= self.step


def test_a_listener_is_told_and_may_stop_and_resume_goes_on(tmp_path):
    listener = StopsAt(4)
    sl.train("lm", "play.txt", steps=20, run="mine", listener=listener, **SMALL)
    assert listener.validations[0] == (2, True) and listener.validations[-1][0] == 4
    assert not (tmp_path / "mine" / "results.json").exists()
    with pytest.raises(RunError, match="mine is a run of the task 'lm', not 'label': give task='lm', or leave it out"):
        sl.resume("mine", task="label", quiet=True)
    model = sl.resume("mine", task="lm", quiet=True)
    assert json.loads((tmp_path / "mine" / "results.json").read_text())["steps"] == 20
    sl.train("lm", "play.txt", steps=20, run="whole", **SMALL)
    assert all(torch.equal(v, weights(tmp_path / "whole")[n]) for n, v in weights(tmp_path / "mine").items())
    assert isinstance(model, TextModel)
    with pytest.raises(RunError, match=r"mine is finished: its budget is spent"):
        sl.resume("mine", quiet=True)


def test_a_cell_of_ones_own_is_given_as_it_is():
    @sl.cell
    def mine(x, h, *, W=sl.param("h x"), U=sl.param("h h")):
        return sl.tanh(W @ x + U @ h)

    model = sl.train("lm", "play.txt", steps=4, cell=mine, run="mine", **SMALL)
    assert model.model.rnn.cell is mine
    assert sl.load("mine", cell=mine).model.rnn.cell is mine
    with pytest.raises(RunError, match=r"was trained with the cell '.*test_session\.py:mine'"):
        sl.load("mine")


OWN = """from selfloop import cell, param, tanh


@cell
def mine(x, h, *, W=param("h x"), U=param("h h")):
    h = tanh(W @ x + U @ h)
    return h
"""


@pytest.mark.parametrize("resume", [None, "auto"])
def test_a_cell_of_ones_own_file_that_a_table_of_settings_names_opens_with_the_model(tmp_path, resume):
    """It was trained to the end, and then could not be opened."""
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "run.toml").write_text('[model]\ncell = "own.py:mine"\n')
    model = sl.train("lm", "play.txt", config="run.toml", steps=4, run="mine", resume=resume, **SMALL)
    assert model.model.rnn.cell.name == "mine"


def test_progress_is_shown_unless_it_is_quiet(capsys):
    sl.train("lm", "play.txt", steps=2, run="shown", **{**SMALL, "quiet": False})
    shown = capsys.readouterr()
    assert "play: 2,070 tokens to train on" in shown.err and "Trained 2 updates" in shown.err
    assert shown.out == ""
    sl.train("lm", "play.txt", steps=2, run="quiet", **SMALL)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "options", "error", "said"),
    [
        (("lmm",), {}, ArgumentError, r"The 'task' must be one of lm, .*\. Got 'lmm' instead; did you mean 'lm'\?"),
        (("lm", "a", "b"), {}, ArgumentError, r"selfloop.train\('lm'\) takes source\. Got 2 sources instead\."),
        (("lm", "play.txt"), {"hiden": 3}, ConfigError, r"There is no field 'hiden'; did you mean 'hidden_size'\?"),
        (("lm", "play.txt"), {"hidden_size": 0}, ConfigError, r"selfloop.train sets 'model.hidden_size' wrongly: .*"),
        (("lm", "play.txt"), {"device": "tpu"}, ArgumentError, r"The device to train on must be cpu or cuda\. .*"),
    ],
)
def test_what_is_wrong_is_one_sentence(arguments, options, error, said, tmp_path):
    with pytest.raises(error, match=said):
        sl.train(*arguments, **options, quiet=True)
    assert not (tmp_path / "runs").exists()


def test_training_works_in_a_thread_where_no_signal_can_be_handled():
    found = []
    thread = threading.Thread(target=lambda: found.append(sl.train("lm", "play.txt", steps=2, run="t", **SMALL)))
    thread.start()
    thread.join()
    assert isinstance(found[0], TextModel)
