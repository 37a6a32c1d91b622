"""A new task is a folder and a row: with these it trains, resumes, evaluates and predicts, like those that ship."""

import csv
import json

import numpy as np
import pytest
from estimate import EstimateConfig, Estimator

import selfloop as sl
from selfloop.errors import ArgumentError, RunError
from selfloop.inspect import gradient_flow_of
from selfloop.tasks.table import TASKS, TaskEntry

ROW = TaskEntry(
    folder="estimate",
    config=EstimateConfig,
    about="Train an estimator: a series goes in, a number comes out.",
    examples={"selfloop train estimate walks.jsonl": "a series and its number a line"},
    usual=("skip_bad",),
    unit="number",
    loss="squared error",
    figures={"loss": "squared error {:.4f}", "deviation": "±{:.3f}"},
    next=("selfloop predict {run} FILE",),
)
SMALL = {"learning_rate": 0.03, "batch_size": 8, "validations": 4}
FLAGS = [word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", str(value))]


@pytest.fixture(autouse=True)
def _registered(monkeypatch, tmp_path):
    monkeypatch.setitem(TASKS, "estimate", ROW)
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    series = [draw.normal(size=int(draw.integers(2, 7))).round(3).tolist() for _ in range(120)]
    lines = [json.dumps({"series": one, "number": sum(one)}) for one in series]
    (tmp_path / "walks.jsonl").write_text("\n".join(lines) + "\n")


class StopsAtOnce:
    def reported(self, report):
        pass

    def validated(self, metrics, best):
        pass

    def stop(self):
        return True


def test_from_python(tmp_path):
    model = sl.train("estimate", "walks.jsonl", steps=200, run="whole", quiet=True, **SMALL)
    assert isinstance(model, Estimator) and type(sl.load("whole")) is Estimator
    score = model.score(model.parts()["valid"])
    assert score.count == 12 and score.metrics()["loss"] < 0.3  # of numbers whose variance is 4
    assert len(model.parts("walks.jsonl")["walks.jsonl"].labels) == 120
    (found,) = model.predict([1.0, 1.0, 0.5])
    assert abs(found.number - 2.5) < 1
    assert gradient_flow_of(model.watched(5, fresh=True), 5).reach() >= 0
    results = json.loads((tmp_path / "whole" / "results.json").read_text())
    assert results["valid"] == pytest.approx(score.metrics())
    assert set(results["data"]) == {"training series", "validation series"}
    with pytest.raises(RunError, match=r"stopped before|is missing"):
        sl.train("estimate", "walks.jsonl", steps=200, run="halves", quiet=True, listener=StopsAtOnce(), **SMALL)
    again = sl.resume("halves", quiet=True)
    for (name, one), other in zip(again.model.state_dict().items(), model.model.state_dict().values(), strict=True):
        assert one.equal(other), name
    with pytest.raises(ArgumentError, match="looks at no images, and has no encoder"):
        sl.load("whole", encoder="x")


def test_from_the_command_line(selfloop, tmp_path):
    said = selfloop("train", "--help")
    assert "estimate" in said.out and "Train an estimator" in said.out
    said = selfloop("train", "estimate", "walks.jsonl", "--steps", 20, "--run", "run", *FLAGS)
    assert said.status == 0, said.err
    assert "squared error" in said.err and "±" in said.err and "nats" not in said.err
    assert "numbers/s" in said.err
    assert "next: selfloop predict run FILE" in said.err
    said = selfloop("train", "estimate", "--resume", "run", "--steps", 10, "--json")
    assert json.loads(said.out)["steps"] == 30 and "numbers_per_second" in json.loads(said.out)
    said = selfloop("evaluate", "run")
    assert (said.status, "12 numbers" in said.out, "squared error" in said.out) == (0, True, True), said.err
    facts = json.loads(selfloop("evaluate", "run", "walks.jsonl", "--json").out)["walks.jsonl"]
    assert facts["numbers"] == 120 and facts["loss"] == pytest.approx(facts["deviation"] ** 2)
    said = selfloop("predict", "run", "walks.jsonl", "--format", "csv")
    header, first, *_ = said.out.splitlines()
    assert header == "input,number" and first.startswith('"walks.jsonl, line 1",')
    assert selfloop("inspect", "run", "--gradient-flow", "--steps", 4, "--json").status == 0
    facts = json.loads(selfloop("inspect", "run", "walks.jsonl", "--json").out)
    assert facts["memory"]["loss_unit"] == "squared error" and facts["memory"]["losses"][-1] >= 0
    for words, able in (("generate run", "lm"), ("predict run x --stream", "label"), ("evaluate run a b", "translate")):
        said = selfloop(*words.split())
        assert said.status == 2 and f"is for runs of {able}. run is of estimate: use selfloop predict run" in said.err
    assert selfloop("predict", "run", "walks.jsonl", "--picture", "x.png").status == 2


def test_by_folds(tmp_path):
    found = sl.train("estimate", "walks.jsonl", steps=4, folds=2, run="cv", quiet=True, **SMALL)
    assert found.results["valid"]["deviation"]["spread"] > 0
    with (tmp_path / "cv" / "valid_predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [*rows[0]] == ["fold", "input", "number"] and len({row["input"] for row in rows}) == len(rows) == 120
