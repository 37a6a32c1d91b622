import json
import re
from pathlib import Path

import pytest
import torch

import selfloop
from selfloop.errors import ArgumentError, RunError
from selfloop.tasks import load
from selfloop.tasks.choose_cell import choose_cell
from selfloop.tasks.table import TASKS
from selfloop.training import Run

KNOWN = ", ".join(TASKS)
OWN = """
import selfloop as sl
from selfloop import param, tanh

@sl.cell
def mine(x, h, *, W=param("h x"), U=param("h h"), b=param("h")):
    h = tanh(W @ x + U @ h + b)
    return h
"""


@pytest.mark.parametrize(
    "options",
    [{}, {"tied": True, "num_layers": 2}, {"cell": "projected_lstm", "sizes": {"p": 3}}, {"cell": "gru"}],
    ids=str,
)
def test_a_loaded_model_has_the_saved_bits_and_is_ready_to_use(make_run, options):
    run, saved = make_run(**options)
    loaded = selfloop.load(run.path)
    assert loaded.config == saved.config
    assert not loaded.model.training
    for (name, tensor), (other, expected) in zip(
        loaded.model.state_dict().items(), saved.model.state_dict().items(), strict=True
    ):
        assert name == other and torch.equal(tensor, expected)
    assert loaded.write(["the "], max_tokens=9, seed=1) == saved.write(["the "], max_tokens=9, seed=1)


def test_a_run_with_ones_own_cell_needs_that_cell(make_run, tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    run, saved = make_run(cell=f"{file}:mine")
    with pytest.raises(RunError, match=r"code is never loaded from a run. Give the cell: --cell .*own.py:mine, or"):
        load(run.path)
    for cell in (f"{file}:mine", choose_cell(f"{file}:mine")):
        assert load(run.path, cell=cell).score("the cat") == saved.score("the cat")


@pytest.mark.parametrize("task", ["classify", "clasify"])
def test_a_run_of_another_task_than_is_asked_for_is_refused(make_run, task):
    run, saved = make_run()
    assert load(run.path, "lm").config == load(run.path, task="lm").config == saved.config
    said = f"mine is a run of the task 'lm', not '{task}': give task='lm', or leave it out."
    with pytest.raises(RunError, match=re.escape(said)):
        load(run.path, task=task)


def test_a_cell_that_is_not_the_runs_does_not_fit(make_run):
    run, _ = make_run()
    with pytest.raises(RunError, match=r"does not fit the model in config\.json"):
        load(run.path, cell="gru")


def test_the_model_is_on_the_device_that_was_asked_for(make_run):
    run, _ = make_run()
    assert {p.device.type for p in load(run.path, device="meta").model.parameters()} == {"meta"}


@pytest.mark.parametrize("device", ["gpu", "cuda:99", ""])
def test_a_device_that_is_not_there_is_named(make_run, device):
    run, _ = make_run()
    with pytest.raises(
        ArgumentError, match=f"^The 'device' of load must be one that torch has here.* Got '{device}' instead.$"
    ):
        load(run.path, device=device)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "nowhere does not exist. Give the folder that `selfloop train` made"),
        ("runs/nowhere", "runs/nowhere does not exist. Give the folder"),
        ("owner/name", "owner/name is no folder here, and the hub has not given it: "),
        ("own er/name", "own er/name is no folder here, and the hub has not given it: "),
        (".", "has no config.json, so it is not a run."),
    ],
)
def test_what_is_no_run_is_named_in_one_line(path, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match=re.escape(message)) as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "hint"),
    [("lmm", "; did you mean 'lm'?"), ("paint", f"; known are: {KNOWN}."), (None, f"; known are: {KNOWN}.")],
)
def test_a_task_that_is_not_known_is_named(tmp_path, task, hint):
    run = Run.create(tmp_path / "run", task, {})
    with pytest.raises(RunError, match=re.escape(f"was trained for the task '{task}', which is not known{hint}")):
        load(run.path)


@pytest.mark.parametrize(
    ("section", "values"), [("model", {"hiden_size": 7}), ("model", {"hidden_size": 0}), ("data", {"tokenizer": "x"})]
)
def test_a_configuration_that_was_changed_is_refused(make_run, section, values):
    run, _ = make_run()
    file = run.path / "config.json"
    config = json.loads(file.read_text())
    config[section].update(values)
    file.write_text(json.dumps(config))
    with pytest.raises(RunError, match=f"config.json sets '{section}.*It was changed since the run was made"):
        load(run.path)


@pytest.mark.parametrize(
    "pattern",
    [
        r"\btorch\.jit\.load\b|\btorch\.load\b(?!.*weights_only=True)|\bnp\.load\((?!.*allow_pickle=False)",
        r"\b(import|from) (pickle|dill|joblib|shelve|marshal)\b",
        r"\b(beartype|install_import_hook|jaxtyped)\b",
    ],
    ids=["unpickles", "can unpickle", "shows a user jaxtyping's errors"],
)
def test_no_source_of_selfloop(pattern):
    sources = Path(selfloop.__file__).parent.rglob("*.py")
    assert [str(file) for file in sources if re.search(pattern, file.read_text())] == []


@pytest.mark.parametrize("opened", [load, selfloop.resume], ids=["load", "resume"])
@pytest.mark.parametrize("path", [3, None, ["runs/play"]])
def test_what_is_no_path_is_said(opened, path):
    with pytest.raises(ArgumentError, match="A run must be given by its folder"):
        opened(path)
