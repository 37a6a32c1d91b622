"""`selfloop train lm` from the command line to the folder that it leaves."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from integration.launch import die_in_fsync
from safetensors.torch import load_file

import selfloop
from selfloop.errors import RunError
from selfloop.training.checkpoint import read_tensors, write_tensors


def command(*words, **more):
    """As a user has it: a fresh Python."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, env=env, check=False, **more
    )


def tensors(path):
    return {name: tensor.tolist() for name, tensor in load_file(path).items()}


@pytest.fixture(scope="module")
def finished(play, small, tmp_path_factory):
    """A finished run, made by a fresh Python with ``--json``."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copy(play, folder / "my play.txt")
    ended = command("-m", "selfloop", "train", "lm", "my play.txt", *small, "--steps", 30, "--json", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return folder / "runs" / "my play", ended


@pytest.fixture
def copy(finished, tmp_path):
    """A copy that may be spoilt, of a run that could go on."""
    return shutil.copytree(finished[0], tmp_path / "run")


def test_json_is_one_object_on_stdout_and_nothing_else(finished):
    _, ended = finished
    assert ended.stderr == ""
    assert ended.stdout.count("\n") == 1
    result = json.loads(ended.stdout)
    assert result.keys() == {
        "run",
        "finished",
        "steps",
        "seconds",
        "tokens_per_second",
        "best_step",
        "best_by",
        "stopped_early",
        "scoring_seconds",
        "parameters",
        "files",
        "valid",
    }
    assert result["valid"].keys() == {"loss", "perplexity", "bits_per_character"}
    assert (result["run"], result["finished"], result["steps"]) == ("runs/my play", True, 30)


def test_the_folder_holds_what_the_design_says(finished):
    run, _ = finished
    names = sorted(path.name for path in run.iterdir())
    assert [name for name in names if not name.startswith("events.out.tfevents.")] == [
        *(".lock", "config.json", "curves.png", "metrics.jsonl", "model.safetensors", "results.json", "resume"),
        "tokenizer.json",
    ]
    assert len(names) == 9
    config = json.loads((run / "config.json").read_text())
    assert config["data"]["source"] == str(run.parents[1] / "my play.txt")
    assert config["training"]["steps"] == 30


def test_the_figures_at_the_end_are_those_that_evaluate_prints(finished, play, small, tmp_path, train):
    """In bfloat16 too, which is a way to train."""
    ended = train(play, *small, "--steps", 20, "--precision", "bf16", "--run", "run", "--json")
    assert ended.status == 0, ended.err
    model = selfloop.load(tmp_path / "run")
    score = model.score(play.read_text()[int(len(play.read_text()) * 0.9) :])
    assert json.loads(ended.out)["valid"]["loss"] == pytest.approx(score.loss, rel=1e-6)


def test_a_name_that_is_taken_gets_a_number(train, play, small, tmp_path):
    for _ in range(3):
        assert train(play, *small, "--steps", 2).status == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["play", "play-2", "play-3"]


def test_a_file_is_changed_by_options_and_these_by_assignments_and_a_new_budget_replaces_its_own(
    train, play, small, tmp_path
):
    (tmp_path / "a.toml").write_text(
        "[model]\ncell = 'gru'\nhidden_size = 99\n[training]\nepochs = 9\nseed = 4\n[data]\ntokenizer = 'byte'\n"
    )
    given = ("--config", "a.toml", "--steps", 2, "--seed", 5, "--tokenizer", "char", "--set", "data.tokenizer=word")
    ended = train(play, *given, *small, "--run", "run", "--set", "data.window=2")
    assert ended.status == 0, ended.err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["model"]["cell"], config["model"]["hidden_size"]) == ("gru", 16)
    assert (config["training"]["steps"], config["training"]["epochs"], config["training"]["seed"]) == (2, None, 5)
    assert (config["data"]["tokenizer"], config["data"]["window"]) == ("word", 2)


def change(run, **values):
    config = json.loads((run / "config.json").read_text())
    for key, value in values.items():
        section, _, name = key.partition("_0_")
        (config[section] if name else config)[name or section] = value
    (run / "config.json").write_text(json.dumps(config))


def unfinish(run):
    """The checkpoint of a run that could go on."""
    last = run / "resume" / "last.safetensors"
    kept, facts = read_tensors(last)
    write_tensors(last, kept, {**facts, "progress": {**facts["progress"], "finished": False, "step": 29}})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"training_0_steps": "many"},
            "config.json sets 'training.steps' wrongly: it must be a whole number. Got 'many' ",
        ),
        (
            {"training_0_stepz": 1},
            "config.json sets 'training.stepz', which does not exist; did you mean 'steps'? It was ",
        ),
        ({"model": 3}, "config.json sets 'model' wrongly: it must be a section. Got 3 instead. It was changed since"),
        (
            {"extra": 3},
            "config.json sets 'extra', which does not exist; known are: data, model, loss, training. It was",
        ),
        ({"model_0_hidden_size": 24}, "config.json was changed since the run was begun: model.hidden_size was 16 and"),
        (
            {"model_0_cell": "gru"},
            "config.json was changed since the run was begun: model.cell was 'lstm' and is",
        ),
        ({"training_0_seed": 9}, "config.json was changed since the run was begun: training.seed was 1 and is 9. Put"),
        ({"data_0_window": 9}, "config.json was changed since the run was begun: data.window was 8 and is 9. Put"),
        ({"data_0_source": "/nowhere.txt"}, "There is no file or folder /nowhere.txt"),
        ({"format": 1}, "is a run of format 1, and this selfloop"),
    ],
)
def test_a_run_whose_configuration_was_changed_is_not_resumed(train, copy, changed, message):
    unfinish(copy)
    change(copy, **changed)
    files = [path for path in copy.rglob("*") if path.is_file() and path.name != ".lock"]
    before = [path.read_bytes() for path in files]
    ended = train("--resume", copy, "--json")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("selfloop: ")
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert before == [path.read_bytes() for path in files]
    assert {*files} == {path for path in copy.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_run_whose_text_was_changed_is_not_resumed(train, finished, copy, tmp_path):
    unfinish(copy)
    content = (finished[0].parents[1] / "my play.txt").read_text()
    other = tmp_path / "other.txt"
    other.write_text(content[1] + content[1:])
    change(copy, data_0_source=str(other))
    ended = train("--resume", copy, "--json")
    assert ended.status == 2
    assert f"selfloop: The training text of {copy} changed since it was trained: the hash was '" in ended.err


@pytest.mark.parametrize("name", ["tokenizer.json", "resume/last.safetensors"])
@pytest.mark.parametrize("spoil", ["missing", "empty", "cut"])
def test_a_run_that_misses_a_part_is_not_resumed(train, copy, name, spoil):
    unfinish(copy)
    path = copy / name
    content = path.read_bytes()
    path.unlink()
    if spoil != "missing":
        path.write_bytes(b"" if spoil == "empty" else content[:-20])
    ended = train("--resume", copy, "--json")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("selfloop: ")
    assert path.name in ended.err
    assert ended.err.count("\n") == 1


def test_after_a_damaged_checkpoint_the_one_before_goes_on(train, play, small, tmp_path):
    run = tmp_path / "run"
    options = (play, *small, "--steps", 20, "--set", "training.save_every=0.001", "--json")
    assert train(*options, "--run", run).status == 0
    assert train(*options, "--run", tmp_path / "whole").status == 0
    last, previous = (run / "resume" / f"{name}.safetensors" for name in ("last", "previous"))
    last.write_bytes(last.read_bytes()[:-1] + b"\0\0")
    ended = train("--resume", run, "--json")
    assert ended.status == 2
    assert f"Rename {previous} to last.safetensors to go on" in ended.err
    assert selfloop.load(run).write(max_tokens=3, seed=1)
    previous.rename(last)
    assert train("--resume", run, "--json").status == 0
    for name in ("model.safetensors", "resume/last.safetensors"):
        assert tensors(run / name) == tensors(tmp_path / "whole" / name)


OWN = """import selfloop as sl
from selfloop import param, tanh

@sl.cell
def mine(x, h, *, W=param("h x"), U=param("h h")):
    h = tanh(W @ x + U @ h)
    return h
"""


def test_a_cell_of_ones_own_is_trained_resumed_and_opened_with_the_cell_alone(train, play, small, tmp_path):
    (tmp_path / "cells.py").write_text(OWN)
    options = (play, *small, "--cell", "cells.py:mine", "--steps", 40, "--json")
    assert train(*options, "--run", "whole").status == 0
    assert train(*options, "--run", "run", prepare=(die_in_fsync, 12)).status == -9
    ended = train("--resume", "run", "--json")
    assert ended.status == 2
    assert ended.err == "selfloop: run was trained with your own cell; give it again: --cell cells.py:mine.\n"
    ended = train("--resume", "run", "--cell", "cells.py:mine", "--json")
    assert ended.status == 0, ended.err
    assert tensors(tmp_path / "run" / "model.safetensors") == tensors(tmp_path / "whole" / "model.safetensors")
    with pytest.raises(
        RunError, match=r"was trained with the cell 'cells.py:mine', and code is never loaded from a run"
    ):
        selfloop.load(tmp_path / "run")
    assert selfloop.load(tmp_path / "run", cell=f"{tmp_path / 'cells.py'}:mine").write(max_tokens=3, seed=1)


def test_help_imports_nothing_that_takes_time():
    ended = command(
        "-c",
        "import sys; sys.argv = ['selfloop', '--help']\n"
        "from selfloop.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "slow = {'torch', 'pydantic', 'datasets', 'numpy', 'matplotlib', 'accelerate'}\n"
        "print(slow & {*sys.modules}, file=sys.stderr)",
    )
    assert "selfloop train lm" in ended.stdout
    assert ended.stderr == "set()\n"


def test_ctrl_c_before_training_begins_ends_quietly(play, small, tmp_path):
    ended = command(
        "-c",
        "import sys, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which a job in the background has not
        f"sys.argv = ['selfloop', 'train', 'lm', {str(play)!r}, '--run', 'run', '--steps', '3']\n"
        "from selfloop.cli import main\n"
        "import selfloop.tasks.lm.text_model as text_model\n"
        "text_model.read_corpus = lambda *a, **k: signal.raise_signal(signal.SIGINT)\n"
        "main()",
        cwd=tmp_path,
    )
    assert ended.returncode == 130
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "run").exists()
