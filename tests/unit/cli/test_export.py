"""``selfloop export``: a run as files, and what is refused, in one sentence and with exit status 2."""

import errno
import importlib.util
import json
import os
import shutil
from pathlib import Path

import pytest

from selfloop.cli.export import export
from selfloop.data import Tokenizer
from selfloop.exporting.forms import FORMS, WEIGHTS


def test_a_run_is_exported_beside_its_other_files(runs, selfloop, tmp_path):
    run = shutil.copytree(runs / "play", tmp_path / "play")
    said = selfloop("export", run, "--to", "onnx")
    assert said.status == 0, said.err
    folder = run / "export-onnx"
    assert {"model.onnx", "step.onnx", "run.py", "export.json", "tokenizer.json"} == {p.name for p in folder.iterdir()}
    assert said.out.startswith(f"{folder}: ") and f"python {folder}/run.py --help" in said.out
    assert (
        "step.onnx; calls with validation data 4, with random numbers 2): largest difference from selfloop" in said.out
    )
    assert "is not empty, and export overwrites nothing" in selfloop("export", run, "--to", "onnx").sentence
    again = selfloop("generate", run, "--max-tokens", "3", "--seed", "1")  # the run is a run as before
    assert again.status == 0, again.err


def test_a_run_of_ones_own_cell_needs_it(runs, selfloop, tmp_path):
    out = tmp_path / "new" / "folder"
    out.mkdir(parents=True)
    said = selfloop("export", runs / "own", "--to", "onnx", "--out", out)
    assert f"Give the cell: --cell {runs / 'own.py'}:mine" in said.sentence
    said = selfloop("export", runs / "own", "--to", "onnx", "--out", out, "--cell", f"{runs / 'own.py'}:mine", "--json")
    facts = json.loads(said.out)
    assert facts["difference"] < 1e-5 and facts["not_tried"] == [] and len(facts["tried"]) == 2
    assert facts["files"] == sorted(map(str, out.iterdir()))
    assert facts["sizes"] == {name: (out / name).stat().st_size for name in ("model.onnx", "step.onnx")}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("gone", "--to", "onnx"), "gone does not exist. Give the folder"),
        (("{runs}", "--to", "onnx"), "has no config.json, so it is not a run."),
        (("{runs}/play", "--to", "onxx"), "one of c, object, wasm, onnx. Got 'onxx' instead; did you mean 'onnx'?"),
        (("{runs}/play", "--to", "tflite"), "The --to must be one of c, object, wasm, onnx. Got 'tflite' instead."),
        (("{runs}/play", "--to", "onnx", "--weights", "f8"), "The --weights for onnx must be one of f32, bf16, int8."),
        (("{runs}/play", "--to", "onnx", "--encoder", "small"), "looks at no images, and has no encoder."),
        (("{runs}/play", "--to", "onnx", "--out", "{runs}"), "is not empty, and export overwrites nothing"),
        (("{runs}/play", "--to", "onnx", "--out", "{runs}/own.py"), "own.py' is a file. Give a folder that is new."),
        (("{runs}/play", "--to", "onnx", "--out", "{runs}/own.py/new"), "cannot be written: Not a directory."),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_sentence(runs, selfloop, words, message):
    before = sorted(runs.rglob("*"))
    assert message in selfloop("export", *(word.format(runs=runs) for word in words)).sentence
    assert sorted(runs.rglob("*")) == before


def test_a_disk_that_is_full_leaves_nothing_behind(runs, selfloop, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Tokenizer, "save", full)
    said = selfloop("export", runs / "play", "--to", "onnx", "--out", tmp_path / "out").sentence
    assert said == f"The folder '{tmp_path / 'out'}' cannot be written: No space left on device.\n"
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("to", FORMS)
def test_an_empty_current_folder_is_filled(to, runs, selfloop, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    said = selfloop("export", runs / "play", "--to", to, "--out", ".")
    assert said.status == 0, said.err
    made = {path.name for path in here.iterdir()}  # by its name: it is still the folder that it was
    assert made == {str(path) for path in Path().iterdir()}
    assert {"export.json" if to == "onnx" else "model.weights"} < made
    for out in (".", "new/.."):
        again = selfloop("export", runs / "play", "--to", to, "--out", out)
        assert f"The folder '{out}' is not empty, and export overwrites nothing" in again.sentence
    assert made == {path.name for path in here.iterdir()}


@pytest.mark.parametrize("to", FORMS)
def test_a_folder_above_is_not_empty(to, runs, selfloop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for out in ("..", "/", "../.."):
        said = selfloop("export", runs / "play", "--to", to, "--out", out)
        assert f"The folder '{out}' is not empty, and export overwrites nothing" in said.sentence
    assert not [*tmp_path.iterdir()]


def test_a_folder_that_is_filled_is_empty_again_where_that_fails(runs, selfloop, tmp_path, monkeypatch):
    move = shutil.move

    def moved(source, target):
        if source.name == "run.py":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return move(source, target)

    monkeypatch.setattr(shutil, "move", moved)
    out = tmp_path / "out"  # what is imported may keep something in `tmp_path`
    out.mkdir()
    said = selfloop("export", runs / "play", "--to", "onnx", "--out", out).sentence
    assert said == f"The folder '{out}' cannot be written: No space left on device.\n"
    assert not [*out.iterdir()] and not [*tmp_path.glob(".*.tmp")]


def test_a_package_that_is_missing_is_named(runs, selfloop, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else found(name))
    said = selfloop("export", runs / "play", "--to", "onnx", "--out", tmp_path / "out").sentence
    assert said == "Export to ONNX needs onnxruntime, which is not here: pip install 'selfloop[export]'.\n"


def test_the_targets_are_json_where_that_is_asked_for(selfloop):
    said = selfloop("export", "--target", "list", "--json")
    assert "cortex-m7" in json.loads(said.out)


def test_the_help_names_every_form():
    for option, names in (("to", FORMS), ("weights", WEIGHTS)):
        (help_,) = [p.help for p in export.__annotations__[option].__metadata__]
        assert all(name in help_ for name in names)
