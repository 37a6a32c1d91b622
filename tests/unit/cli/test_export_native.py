"""``selfloop export --to c`` and ``--to object``: what is printed, and what is refused in one sentence."""

import errno
import io
import json
import os
import shutil

import pytest

from selfloop import atomic
from selfloop.compiler import target_table
from selfloop.exporting import exported


def test_what_was_made_is_said_and_what_short_weights_cost(runs, selfloop, tmp_path):
    run = shutil.copytree(runs / "play", tmp_path / "play")
    said = selfloop("export", run, "--to", "object", "--weights", "int8", "--name", "play")
    assert said.status == 0, said.err
    folder = run / "export-object"
    names = ["play.h", "play.o", "play_weights.o", "play_text.c", "check.c", "example.c", "Makefile", "play.py"]
    assert {path.name for path in folder.iterdir()} == {*names, "play.weights"}
    assert said.out.startswith(f"{folder}: play.h, play.o, ")
    assert "on random numbers and 4 sequences of the validation data: largest difference from selfloop" in said.out
    assert "int8 in the place of float32, over " in said.out
    assert said.out.endswith(f"Try it: make -C {folder} && make -C {folder} example\n")
    again = selfloop("export", run, "--to", "object")
    assert "is not empty, and export overwrites nothing" in again.sentence


def test_json_holds_all_of_it(runs, selfloop, tmp_path):
    out = tmp_path / "out"
    options = ("--cell", f"{runs / 'own.py'}:mine", "--to", "object", "--weights", "bf16", "--out", out, "--json")
    facts = json.loads(selfloop("export", runs / "own", *options).out)
    assert sorted(facts["files"]) == sorted(map(str, out.iterdir()))
    assert facts["difference"] < 1e-5 and facts["tried"][0]["real"] == 4
    assert facts["cost"]["form"] == "bf16" and facts["cost"]["exact"]["loss"] > 0
    assert facts["sizes"]["weights"] == (out / "model.weights").stat().st_size


def test_targets_are_listed_without_a_run(selfloop):
    said = selfloop("export", "--target", "list")
    assert said.status == 0 and all(
        f"{name} " in said.out and about in said.out for name, about in target_table().items()
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Give the folder of a run: selfloop export RUN --to c."),
        (("{runs}/play",), "Give the form with --to: c, object, wasm, onnx"),
        (("gone", "--to", "c"), "gone does not exist. Give the folder"),
        (("{runs}/own", "--to", "c"), "Give the cell: --cell {runs}/own.py:mine"),
        (("{runs}/en-de", "--to", "c"), "There is no native code for models of translate: export to ONNX"),
        (("{runs}/play", "--to", "c", "--weights", "f16"), "The --weights for c must be one of f32, bf16, int8."),
        (("{runs}/play", "--to", "c", "--name", "My play"), "must be a name of C in lower case, such as 'model'."),
        (("{runs}/play", "--to", "onnx", "--name", "play"), "--name is for --to c, --to object and --to wasm"),
        (
            ("{runs}/play", "--to", "c", "--target", "avx2"),
            "--target is for --to object and --to wasm. Leave it out for --to c.",
        ),
        (("{runs}/play", "--to", "object", "--target", "z80"), "There is no target 'z80'"),
        (("{runs}/play", "--to", "c", "--encoder", "small"), "looks at no images, and has no encoder."),
        (("{runs}/play", "--to", "c", "--out", "{runs}"), "is not empty, and export overwrites nothing"),
        (("{runs}/play", "--to", "object", "--out", "{runs}/own.py/new"), "cannot be written: Not a directory."),
        (("{runs}/play", "--to", "object", "--out", "/proc/new"), "'/proc/new' cannot be written: No such file"),
        (("{runs}/play", "--to", "c", "--out", "{runs}/" + "x" * 300), "cannot be written: File name too long."),
        (("{runs}/play", "--to", "onnx", "--out", "{runs}/" + "x" * 300), "cannot be written: File name too long."),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_sentence(runs, selfloop, words, message):
    before = sorted(runs.rglob("*"))
    said = selfloop("export", *(word.format(runs=runs) for word in words)).sentence
    assert message.format(runs=runs) in said
    assert sorted(runs.rglob("*")) == before


@pytest.mark.parametrize("is_there", [True, False])
def test_a_disk_that_is_full_leaves_nothing_behind(is_there, runs, selfloop, tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    written = atomic.replacing  # all files but the last ones find room
    monkeypatch.setattr(exported, "replacing", lambda path: Full() if path.name == "Makefile" else written(path))
    out = tmp_path / "out"
    if is_there:
        out.mkdir()
    said = selfloop("export", runs / "play", "--to", "object", "--out", out).sentence
    assert said == f"The folder '{out}' cannot be written: No space left on device.\n"
    assert [*tmp_path.rglob("*")] == [out] * is_there
