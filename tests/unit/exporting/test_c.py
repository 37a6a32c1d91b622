"""A stack as C99: compiled by what C compiler there is, it gives selfloop's numbers, and calls nothing."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest
import torch
from catalogue import CELLS, STAGES

import selfloop as sl
from selfloop import SelfloopError, cells
from selfloop.exporting import c

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
compiled = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler here")
FILES = ["model.h", "model.c", "model_weights.c", "check.c", "Makefile"]


def library(folder, *flags):
    """The source of a folder as a shared library."""
    path = folder / "model.so"
    sources = [folder / "model.c", folder / "model_weights.c"]
    subprocess.run([COMPILER, *c.FLAGS, *flags, "-shared", "-fPIC", *sources, "-o", path], check=True)
    return ctypes.CDLL(str(path))


def pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


@compiled
@pytest.mark.parametrize("entry", CELLS, ids=str)
def test_every_cell_gives_selfloops_numbers(entry, tmp_path):
    rnn = entry.layer(5, 20, dtype=torch.float32, num_layers=2 if entry.can_stack else 1)
    made = sl.export(rnn, tmp_path / "made")
    assert made.difference is not None and made.difference < 1e-5
    assert [path.name for path in made.files] == FILES


@compiled
@pytest.mark.parametrize("name", STAGES)
def test_steps_of_a_library_are_a_sequence(name, tmp_path):
    """From Python by ctypes: two sessions with one set of weights, each in its own state."""
    (entry,) = (e for e in CELLS if str(e) == name)
    rnn = entry.layer(3, 4, dtype=torch.float32).eval()
    sl.export(rnn, tmp_path / "made")
    model = library(tmp_path / "made")
    weights = ctypes.byref(ctypes.c_char.in_dll(model, "model_trained"))
    x = np.random.default_rng(0).standard_normal((2, 9, 3), dtype=np.float32)
    states = [np.full(1000, np.nan, np.float32) for _ in range(2)]
    got = np.full((2, 9, rnn.output_size), np.nan, np.float32)
    for state in states:
        model.model_reset(pointer(state))
    for t in range(5):
        for row, state in enumerate(states):
            model.model_step(weights, pointer(state), pointer(x[row, t]), pointer(got[row, t]))
    for row, state in enumerate(states):
        model.model_run(weights, pointer(state), pointer(x[row, 5:]), pointer(got[row, 5:]), 4)
    with torch.no_grad():
        y, _ = rnn(torch.from_numpy(x).transpose(0, 1))
    torch.testing.assert_close(torch.from_numpy(got).transpose(0, 1), y, rtol=1e-4, atol=1e-5)


@compiled
@pytest.mark.skipif(shutil.which("nm") is None, reason="there is no nm here")
@pytest.mark.parametrize("flags", [("-O0",), ("-O2",), ("-O3", "-march=native"), ("-Os",)], ids=" ".join)
def test_nothing_is_called(flags, tmp_path):
    sl.export(sl.Recurrent(cells.layer_norm_lstm, 17, 33, 2), tmp_path / "made")
    for source in ("model.c", "model_weights.c"):
        subprocess.run([COMPILER, "-std=c99", *flags, "-c", source, "-o", "one.o"], cwd=tmp_path / "made", check=True)
        done = subprocess.run(["nm", "-u", "one.o"], cwd=tmp_path / "made", capture_output=True, text=True, check=True)
        assert done.stdout.split() == []


@compiled
def test_other_compilers_than_gnus_take_it_too(tmp_path):
    """Without vector extensions, as a pedantic compiler of C99 sees it."""
    sl.export(sl.GRU(5, 20), tmp_path / "made")
    source = tmp_path / "made" / "model.c"
    source.write_text(source.read_text().replace("defined(__GNUC__)", "0"))
    subprocess.run(
        [COMPILER, *c.FLAGS, "-pedantic", "check.c", "model.c", "model_weights.c", "-o", "check"],
        cwd=tmp_path / "made",
        check=True,
    )
    subprocess.run([tmp_path / "made" / "check"], check=True)


@compiled
def test_functions_are_right_over_their_range(tmp_path):
    """Every function of the language, of numbers large, small and special."""
    names = ("exp", "sigmoid", "tanh", "log", "softplus", "gelu", "erf", "sin", "cos", "sqrt", "abs", "floor", "relu")

    @sl.cell
    def all_functions(x=sl.given("13"), h=sl.state("13")):
        parts = [sl.abs(v) if name in ("log", "sqrt") else v for name, v in zip(names, sl.split(x, 13), strict=True)]
        h = sl.concat(*(getattr(sl, name)(v) for name, v in zip(names, parts, strict=True)))
        return h

    rnn = sl.Recurrent(all_functions, 13, 1, backend="interpret").requires_grad_(False)
    sl.export(rnn, tmp_path / "made")
    model = library(tmp_path / "made")
    weights = ctypes.byref(ctypes.c_char.in_dll(model, "model_trained"))
    sizes = np.geomspace(1e-6, 90, 400)
    for x in np.concatenate([sizes, -sizes, [0.0]]).astype(np.float32):
        given, got, state = np.full(13, x), np.zeros(13, np.float32), np.zeros(13, np.float32)
        model.model_step(weights, pointer(state), pointer(given), pointer(got))
        expected = rnn(torch.from_numpy(given)[None])[0][0].numpy()
        np.testing.assert_allclose(got, expected, rtol=3e-6, atol=3e-7, err_msg=str(x))


def test_without_a_compiler_the_source_is_written_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    made = sl.export(sl.LSTM(3, 4), tmp_path / "made", name="small")
    assert made.difference is None
    assert "not tried, since there is no C compiler here" in str(made)
    assert "void small_step(" in (tmp_path / "made" / "small.h").read_text()


def test_a_source_that_is_wrong_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(c, "_tried", lambda files: 0.5)
    with pytest.raises(SelfloopError, match="differs from selfloop by 5"):
        sl.export(sl.LSTM(3, 4), tmp_path / "made")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("rnn", "options", "words"),
    [
        (torch.nn.LSTM(3, 4), {}, "must be a Recurrent, LSTM, GRU or RNN. Got LSTM"),
        (sl.LSTM(3, 4, bidirectional=True), {}, "LSTM with bidirectional=True cannot be exported to C yet"),
        (sl.Recurrent(cells.gru, 4, 4, 2, residual=True), {}, "residual=True cannot"),
        (sl.Recurrent(cells.mlstm, 4, 4), {}, "a matrix that differs from step to step, C"),
        (sl.Recurrent(cells.gru_d, 4, 4), {}, "takes further inputs"),
        (sl.LSTM(3, 4), {"name": "My Model"}, "must be a name of C in lower case"),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_sentence(rnn, options, words, tmp_path):
    with pytest.raises(SelfloopError) as error:
        sl.export(rnn, tmp_path / "made", **options)
    assert words in str(error.value)
    assert not (tmp_path / "made").exists()


def test_a_stack_that_is_not_finite_is_refused(tmp_path):
    rnn = sl.LSTM(3, 4)
    with torch.no_grad():
        rnn.weight_hh_l0[0, 0] = torch.nan
    with pytest.raises(SelfloopError, match="are not all finite"):
        sl.export(rnn, tmp_path / "made")


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SelfloopError, match="is not empty, and export overwrites nothing"):
        sl.export(sl.LSTM(3, 4), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(SelfloopError, match="is not empty"):
        sl.export(sl.LSTM(3, 4), tmp_path / "notes.txt")
