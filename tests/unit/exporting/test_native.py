"""Models as C99 and as object files: they give selfloop's numbers, and call nothing."""

import ctypes
import errno
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from catalogue import EVERY_CELL, STAGES
from combinations import pairs, some
from exported_models import EVERY, varied
from llvmlite import ir
from made_weights import changed
from object_files import undefined
from torch.nn.utils import parametrizations, prune

import selfloop as sl
from selfloop import SelfloopError, cells, models
from selfloop.compiler import TARGETS
from selfloop.compiler.native import (
    OBJECT_TARGETS,
    ModelWriter,
    WeightLayout,
    native_object,
    object_stack,
    structs,
)
from selfloop.compiler.native.llvm import Llvm
from selfloop.decoding import Sampling
from selfloop.exporting import Tried
from selfloop.exporting.native import export as native

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
compiled = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler here")
KINDS, FORMS = ("c", "object"), ("f32", "bf16", "int8")
PARTS = {"c": ["model.c", "model_weights.c"], "object": ["model.o", "model_weights.o"]}


def library(folder, to="c", *flags):
    """What was made as a shared library."""
    path = folder / "model.so"
    parts = [folder / part for part in PARTS[to]]
    subprocess.run([COMPILER, "-std=c99", "-O2", *flags, "-shared", "-fPIC", *parts, "-o", path], check=True)
    return ctypes.CDLL(str(path))


def trained(model):
    return ctypes.byref(ctypes.c_char.in_dll(model, "model_trained"))


def pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


def numbers_of(module, **options):
    """How far the machine code of this processor is from selfloop, without a C compiler."""
    form = options.get("form", "f32")
    module = native.near(module.eval(), form)
    own = native.described(module, "model", form)
    source = native.Source(own, "a stack", "")
    cases = native.cases_of(module, source)
    return native.in_process(source, cases).difference, native.rounding(cases)


def test_no_cell_of_the_zoo_is_left_out():
    assert {str(entry) for entry in EVERY_CELL} >= {*cells.ZOO}


@pytest.mark.parametrize("entry", EVERY_CELL, ids=str)
def test_machine_code_of_every_cell_gives_selfloops_numbers(entry):
    rnn = entry.layer(5, 20, dtype=torch.float32, num_layers=2 if entry.can_stack else 1)
    difference, rounding = numbers_of(rnn)
    assert difference <= rounding


@pytest.mark.parametrize("cell", [cells.mgu, cells.gru_reset_before, cells.time_lstm], ids=str)
def test_products_of_several_arguments_are_summed_in_the_same_blocks(cell):
    """Of many units, where blocks are as long as registers allow."""
    difference, rounding = numbers_of(sl.Recurrent(cell, 5, 200))
    assert difference <= rounding


@pytest.fixture
def quickly(monkeypatch):
    """C compilers optimise less, which takes a third of the time."""
    monkeypatch.setattr(native, "FLAGS", "-std=c99 -O1")


@compiled
@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize("entry", EVERY_CELL, ids=str)
def test_c_of_every_cell_gives_selfloops_numbers(entry, tmp_path):
    rnn = entry.layer(5, 20, dtype=torch.float32, num_layers=2 if entry.can_stack else 1)
    made = sl.export(rnn, tmp_path / "made")
    assert made.tried
    assert [path.name for path in made.files][:3] == ["model.h", "model.c", "model_weights.c"]


@pytest.mark.parametrize(("name", "form"), pairs(EVERY, FORMS))
def test_machine_code_of_every_model_gives_selfloops_numbers(name, form):
    difference, rounding = numbers_of(varied(EVERY[name]()), form=form)
    assert difference <= rounding


@compiled
@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize(("name", "form"), pairs(EVERY, FORMS[1:] + FORMS[:1]))
def test_c_of_every_model_gives_selfloops_numbers(name, form, tmp_path):
    made = sl.export(varied(EVERY[name]()), tmp_path / "made", weights=form)
    assert made.difference <= 1e-5


@sl.cell
def oddly_named(x, w, q, y, int, v1, *, W=sl.param("h x"), U=sl.param("h h"), new_w=sl.param("h")):
    q = 0.5 * q + 0.1 * w
    int = 0.5 * int + 0.1 * y
    v1 = 0.5 * v1 + new_w
    y = 0.9 * y + 0.1 * q + v1
    w = sl.tanh(W @ x + U @ w + y + int)
    return w, q, y, int, v1


@compiled
@pytest.mark.parametrize("to", KINDS)
def test_states_may_have_names_that_the_code_has_too(to, tmp_path):
    rnn = sl.Recurrent(oddly_named, 3, 5, 2)
    assert sl.export(rnn, tmp_path / "made", to=to, weights="int8").difference < 1e-5


@sl.cell
def twice(x, h, *, W=sl.param("h x"), U=sl.param("h h"), V=sl.param("h h+x"), b=sl.param("h")):
    """Matrices that multiply in two sums, beside other matrices each time."""
    return sl.tanh(W @ x + U @ sl.tanh(U @ h + V @ sl.concat(h, x) + b))


@pytest.mark.parametrize("form", FORMS)
def test_a_matrix_that_multiplies_in_two_sums_has_one_value(form):
    difference, rounding = numbers_of(varied(sl.Recurrent(twice, 5, 20)), form=form)
    assert difference <= rounding


@pytest.mark.parametrize("form", ["f32", "int8"])
def test_weights_that_are_made_before_a_call_are_made_for_an_export(form):
    model = varied(models.LanguageModel(23, cells.gru, embedding_size=9, hidden_size=19))
    prune.random_unstructured(model.rnn, "W_hh_l0", 0.5)
    parametrizations.weight_norm(model.readout)
    tokens = torch.randint(23, (5, 2))
    model(tokens)[0].sum().backward()
    changed(model)
    if form == "f32":
        torch.testing.assert_close(native.near(model, form)(tokens)[0], model.eval()(tokens)[0])
    difference, allowed = numbers_of(model, form=form)
    assert difference <= allowed


def test_shorter_weights_are_shorter(tmp_path):
    rnn = sl.LSTM(64, 64)
    sizes = {
        form: sl.export(rnn, tmp_path / form, to="object", weights=form).sizes["weights"]
        for form in ("f32", "bf16", "int8")
    }
    assert sizes["bf16"] < 0.52 * sizes["f32"]
    assert sizes["int8"] < 0.28 * sizes["f32"]


@compiled
@pytest.mark.parametrize(("name", "to"), pairs(STAGES, KINDS))
def test_steps_of_a_library_are_a_sequence(name, to, tmp_path):
    """From Python by ctypes: two sessions with one set of weights, each in its own state."""
    (entry,) = (e for e in EVERY_CELL if str(e) == name)
    rnn = entry.layer(3, 4, dtype=torch.float32).eval()
    sl.export(rnn, tmp_path / "made", to=to)
    model = library(tmp_path / "made", to)
    weights = trained(model)
    x = np.random.default_rng(0).standard_normal((2, 9, 3), dtype=np.float32)
    states = [np.full(1000, np.nan, np.float32) for _ in range(2)]
    got = np.full((2, 9, rnn.output_size), np.nan, np.float32)
    for state in states:
        model.model_reset(weights, pointer(state))
    for t in range(5):
        for row, state in enumerate(states):
            model.model_step(weights, pointer(state), pointer(x[row, t]), pointer(got[row, t]))
    for row, state in enumerate(states):
        model.model_run(weights, pointer(state), pointer(x[row, 5:]), pointer(got[row, 5:]), 4)
    with torch.no_grad():
        y, _ = rnn(torch.from_numpy(x).transpose(0, 1))
    torch.testing.assert_close(torch.from_numpy(got).transpose(0, 1), y, rtol=1e-4, atol=1e-5)


@compiled
@pytest.mark.parametrize("to", KINDS)
def test_a_state_is_saved_and_goes_on_elsewhere(to, tmp_path):
    sl.export(varied(sl.GRU(3, 7, 2)), tmp_path / "made", to=to)
    sl.export(sl.GRU(3, 7, 2), tmp_path / "other", to=to)
    model, other = library(tmp_path / "made", to), library(tmp_path / "other", to)
    weights = trained(model)
    x, y, expected = np.ones(3, np.float32), np.zeros(7, np.float32), np.zeros(7, np.float32)
    state, copy, saved = np.zeros(100, np.float32), np.full(100, np.nan, np.float32), np.zeros(200, np.uint32)
    model.model_reset(weights, pointer(state))
    model.model_step(weights, pointer(state), pointer(x), pointer(y))
    model.model_save(weights, pointer(state), pointer(saved))
    assert other.model_load(trained(other), pointer(copy), pointer(saved)) == 1
    assert np.isnan(copy).all()  # as it was
    assert model.model_load(weights, pointer(copy), pointer(saved)) == 0
    model.model_step(weights, pointer(state), pointer(x), pointer(expected))
    model.model_step(weights, pointer(copy), pointer(x), pointer(y))
    assert (y == expected).all()


@pytest.mark.parametrize(
    ("out", "words"),
    [
        (5, "'out' of export must be a text. Got 5 instead"),
        (None, "'out' of export must be a text. Got None instead"),
        ("o\0x", r"'o\\x00x' is no name of a folder: embedded null byte"),
    ],
)
def test_a_folder_has_a_name(out, words):
    with pytest.raises(SelfloopError, match=words):
        sl.export(sl.LSTM(3, 4), out)


@compiled
@pytest.mark.parametrize(("weights", "to"), pairs(FORMS, KINDS))
def test_a_changed_byte_of_weights_is_noticed(to, weights, tmp_path):
    sl.export(sl.LSTM(3, 7), tmp_path / "made", to=to, weights=weights)
    model = library(tmp_path / "made", to)
    own = np.fromfile(tmp_path / "made" / "model.weights", np.uint8)
    assert model.model_check(pointer(own), len(own)) == 0
    for place in range(len(own)):
        changed = own.copy()
        changed[place] ^= 0x80
        expected = 1 if place < 12 else 3 if place < 24 or place >= 64 else 0
        assert model.model_check(pointer(changed), len(changed)) == expected, place
    signs = own.copy()
    signs[[67, 71]] ^= 0x80  # of two numbers: sums alone would cancel
    assert model.model_check(pointer(signs), len(signs)) == 3


@compiled
@pytest.mark.parametrize("to", KINDS)
def test_weights_are_a_file_to_map(to, tmp_path):
    sl.export(sl.LSTM(3, 7), tmp_path / "made", to=to)
    sl.export(sl.LSTM(3, 8), tmp_path / "other", to=to)
    model = library(tmp_path / "made", to)
    content = (tmp_path / "made" / "model.weights").read_bytes()
    own, other = np.frombuffer(content, np.uint8), np.fromfile(tmp_path / "other" / "model.weights", np.uint8)
    assert model.model_check(pointer(own), len(own)) == 0
    assert model.model_check(pointer(other), len(other)) == 1
    assert model.model_check(pointer(own), len(own) - 1) == 2
    assert model.model_check(pointer(own), 10) == 2
    assert content == ctypes.string_at(trained(model), len(content))


@compiled
@pytest.mark.parametrize("to", KINDS)
def test_tokens_are_drawn_as_the_logits_say(to, tmp_path):
    """By chi-squared of 20,000 draws, at temperature 0.7, of all tokens and of the 3 likeliest."""
    torch.manual_seed(0)
    sl.export(models.LanguageModel(6, cells.gru, embedding_size=4, hidden_size=8), tmp_path / "made", to=to)
    model = library(tmp_path / "made", to)
    sample = model.model_sample
    sample.argtypes = [ctypes.c_void_p, ctypes.c_float, ctypes.c_int32, ctypes.c_void_p]
    logits = np.array([0.1, 2.0, -1.0, 1.5, 0.9, -3.0], np.float32)
    assert sample(pointer(logits), 0.0, 0, pointer(np.zeros(1, np.uint32))) == 1
    for top_k in (0, 3, 6):
        seed = np.array([7], np.uint32)
        draws = [sample(pointer(logits), 0.7, top_k, pointer(seed)) for _ in range(20_000)]
        drawn = Sampling(temperature=0.7, top_k=top_k or None).probabilities(torch.from_numpy(logits[None]))
        expected = 20_000 * drawn[0].double().numpy()
        counts = np.bincount(draws, minlength=6)
        assert counts[expected == 0].sum() == 0
        there = expected > 0
        assert ((counts - expected)[there] ** 2 / expected[there]).sum() < 20.5  # 99.9 % of chi-squared of 5


@compiled
def test_a_token_outside_the_vocabulary_reads_no_foreign_memory(tmp_path):
    torch.manual_seed(0)
    sl.export(models.LanguageModel(6, cells.gru, embedding_size=4, hidden_size=8), tmp_path / "made")
    model = library(tmp_path / "made")
    got = {}
    for token in (0, -1, 6, 2**31 - 1, -(2**31)):
        state, y = np.zeros(100, np.float32), np.zeros(6, np.float32)
        model.model_reset(trained(model), pointer(state))
        model.model_step(trained(model), pointer(state), token, pointer(y))
        got[token] = y
    assert all((y == got[0]).all() for y in got.values())


@compiled
@pytest.mark.skipif(shutil.which("nm") is None, reason="there is no nm here")
@pytest.mark.parametrize("flags", [("-O0",), ("-O2",), ("-O3", "-march=native"), ("-Os",)], ids=" ".join)
def test_nothing_is_called(flags, tmp_path):
    sl.export(sl.Recurrent(cells.layer_norm_lstm, 17, 33, 2, layer_norm=True), tmp_path / "made")
    for source in ("model.c", "model_weights.c"):
        subprocess.run([COMPILER, "-std=c99", *flags, "-c", source, "-o", "one.o"], cwd=tmp_path / "made", check=True)
        done = subprocess.run(["nm", "-u", "one.o"], cwd=tmp_path / "made", capture_output=True, text=True, check=True)
        assert done.stdout.split() == []


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_words_and_short_weights_need_no_library_of_any_processor(target):
    """Hashes are of 64 bits, whose division is a call where registers have 32."""
    words = models.WordEncoder(11, 5, buckets=300)
    model = models.ManyToOne(words, cells.gru, 4, pooling="attention", hidden_size=6)
    for form in ("f32", "bf16", "int8"):
        code, _ = native_object(native.described(model, "model", form).model, target)
        assert undefined(code) == set()


def chain(frames, stack, function):
    """The bytes of the frames of a function and of those that it calls, as a compiler tells of them."""
    called = [chain(frames, stack, one) for one in stack._called[function]]
    return frames.get(function, 0) + frames.get(f"{function}_body", 0) + max(called, default=0)


def is_enough(frames, stack):
    """Whether what the compiler takes fits; functions of mathematics, which all others may call, count together."""
    mathematics = sum(size for name, size in frames.items() if name.startswith("sl_"))
    needed = max(chain(frames, stack, name) for name in stack._own) + mathematics
    assert 0 < needed <= stack.most


STACKED = {
    **{str(e): lambda e=e: e.layer(5, 20, dtype=torch.float32, num_layers=1 + e.can_stack) for e in EVERY_CELL[::12]},
    "matrices, both ways": lambda: sl.Recurrent(cells.mlstm, 5, 20, 2, bidirectional=True),
    **{name: EVERY[name] for name in list(EVERY)[::6]},
    "wide": lambda: sl.LSTM(3, 500, 2),
}


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc here")
@pytest.mark.parametrize("name", some(STACKED, 0, of=2))
def test_the_stack_of_c_is_as_the_header_says(name, tmp_path):
    source = native.Source(native.described(STACKED[name]().eval(), "model", "f32"), name, "")
    (tmp_path / "model.h").write_text(source.header(source.weights))
    (tmp_path / "model.c").write_text(source.source())
    stack = source._written[0].stack
    assert f"#define MODEL_STACK {stack.most} " in source.header(source.weights)
    compilers = ["gcc -O0", "gcc -O2", f"gcc {native.FLAGS} {native.NATIVE}", "gcc -Os", "gcc -O3 -DSL_PLAIN"]
    if shutil.which("arm-none-eabi-gcc"):
        compilers += [f"arm-none-eabi-gcc -O{n} -mthumb -mcpu=cortex-m7 -mfloat-abi=hard" for n in (0, 2)]
    for compiler in compilers:
        command = [*compiler.split(), "-std=c99", "-fstack-usage", "-c", "model.c"]
        subprocess.run(command, cwd=tmp_path, check=True)
        rows = [line.split("\t") for line in (tmp_path / "model.su").read_text().splitlines()]
        assert not any("dynamic" in how for _, _, how in rows if how != "dynamic,bounded")
        is_enough({place.rsplit(":")[-1].partition(".")[0]: int(size) for place, size, _ in rows}, stack)


@pytest.mark.parametrize("name", some(STACKED, 1, of=2))
def test_the_stack_of_objects_is_as_the_header_says(name, capfd):
    model = native.described(STACKED[name]().eval(), "model", "f32").model
    for target in OBJECT_TARGETS[:: 1 if name == "wide" else 3]:
        writer = Llvm(ir.Module(), target, structs(model))
        ModelWriter(model, writer, WeightLayout("f32")).write()
        native_object(model, target, tell_frames)
        said = re.findall(r"stack frame size \((\d+)\) exceeds limit \(0\) in function '(\w+)'", capfd.readouterr().err)
        assert object_stack(model, target) == writer.stack.most
        is_enough({function: int(size) for size, function in said}, writer.stack)


def tell_frames(module):
    """LLVM warns of every frame, with its size."""
    for function in module.functions:
        if not function.is_declaration:
            set.add(function.attributes, '"warn-stack-size"="0"')  # which llvmlite does not know


@compiled
def test_other_compilers_than_gnus_take_it_too(tmp_path):
    """Without vector extensions, as a pedantic compiler of C99 sees it."""
    sl.export(sl.GRU(5, 20), tmp_path / "made")
    subprocess.run(
        [
            COMPILER,
            *native.FLAGS.split(),
            *native.WARNINGS,
            "-pedantic",
            "-DSL_PLAIN",
            "check.c",
            "model.c",
            "model_weights.c",
            "-o",
            "check",
        ],
        cwd=tmp_path / "made",
        check=True,
    )
    subprocess.run([tmp_path / "made" / "check"], check=True)


@compiled
@pytest.mark.parametrize("flag", ["-ffast-math", "-Ofast"])
def test_a_compiler_that_may_reorder_sums_is_stopped(flag, tmp_path):
    """The exponential rounds by adding a large number and taking it away again; without it, answers were 6 % off."""
    sl.export(sl.LSTM(3, 4), tmp_path / "made")
    command = [COMPILER, "-std=c99", "-O2", flag, "-c", "model.c"]
    done = subprocess.run(command, cwd=tmp_path / "made", capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "Compile this file without -ffast-math" in done.stderr


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
    weights = trained(model)
    sizes = np.geomspace(1e-6, 90, 400)
    for x in np.concatenate([sizes, -sizes, [0.0]]).astype(np.float32):
        given, got, state = np.full(13, x), np.zeros(13, np.float32), np.zeros(13, np.float32)
        model.model_step(weights, pointer(state), pointer(given), pointer(got))
        expected = rnn(torch.from_numpy(given)[None])[0][0].numpy()
        np.testing.assert_allclose(got, expected, rtol=3e-6, atol=3e-7, err_msg=str(x))


def test_without_a_compiler_the_model_is_tried_in_this_process_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    made = sl.export(sl.LSTM(3, 4), tmp_path / "made", name="small")
    assert made.difference < 1e-5
    assert "tried by LLVM in this process" in str(made)
    assert "not tried: the source itself: there is no C compiler here" in str(made)
    assert "void small_step(" in (tmp_path / "made" / "small.h").read_text()


def test_a_source_that_is_wrong_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "compiled", lambda *given: Tried("cc", 0.5))
    with pytest.raises(SelfloopError, match="differs from selfloop by 5"):
        sl.export(sl.LSTM(3, 4), tmp_path / "made")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("rnn", "options", "words"),
    [
        (torch.nn.LSTM(3, 4), {}, "There is no native code for LSTM; there is for a Recurrent, LSTM, GRU or RNN, and"),
        (
            models.ManyToOne(models.FrameEncoder(8, 8, 1, 4), cells.gru, 2, hidden_size=3),
            {},
            "no native code for a FrameEnc",
        ),
        (
            sl.LSTM(3, 4, device="meta"),
            {},
            "on the device 'meta', where weights have no numbers. Load its weights first.",
        ),
        (sl.LSTM(3, 4, device="meta"), {"to": "onnx"}, "on the device 'meta', where weights have no numbers."),
        (sl.LSTM(3, 4), {"to": "rust"}, "'to' of export must be one of c, object"),
        (sl.LSTM(3, 4), {"to": ["c"]}, "'to' of export must be one of c, object, wasm, onnx. Got ['c'] instead"),
        (sl.LSTM(3, 4), {"to": "object", "target": 5}, "'target' of export must be a text. Got 5 instead"),
        (sl.LSTM(3, 4), {"to": "onnx", "target": "neon"}, "A 'target' is for object and wasm. Leave it out for onnx."),
        (sl.LSTM(3, 4), {"name": 5}, "'name' of export must be a text. Got 5 instead"),
        (sl.LSTM(3, 4), {"weights": "int4"}, "'weights' of export must be one of f32, bf16, int8. Got 'int4'"),
        (sl.LSTM(3, 4), {"to": "object", "target": "avx513"}, "There is no target 'avx513'"),
        (sl.LSTM(3, 4), {"target": "neon"}, "A 'target' is for object and wasm. Leave it out for c."),
        (sl.Recurrent(cells.antisymmetric, 4, 4), {"weights": "int8"}, "makes a matrix of its parameters before"),
        (sl.LSTM(3, 4), {"name": "My Model"}, "must be a name of C in lower case"),
        (sl.LSTM(3, 4), {"name": "check"}, "cannot be 'check', which is a file of every export"),
        (sl.LSTM(3, 4), {"name": "example", "to": "wasm"}, "cannot be 'example', which is a file of every export"),
        (sl.LSTM(3, 4), {"name": "class"}, "cannot be 'class', which is a word of Python, where class.py is imported"),
        (sl.LSTM(3, 4), {"name": "math"}, "cannot be 'math', which is a module of Python"),
        (sl.LSTM(3, 4), {"name": "numpy", "to": "object"}, "cannot be 'numpy', which is a module of Python"),
        (sl.LSTM(3, 4), {"name": "stdint"}, "cannot be 'stdint', which is a header of C"),
        (sl.LSTM(3, 4), {"name": "play__er"}, "must be a name of C in lower case"),
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


class Doubled(sl.Recurrent):
    """A layer whose outputs are its own."""

    def forward(self, x, *given, **named):
        y, state = super().forward(x, *given, **named)
        return 2 * y, state


@pytest.mark.parametrize("to", ["c", "object", "wasm", "onnx"])
def test_a_forward_of_ones_own_is_not_left_out(to, tmp_path):
    with pytest.raises(SelfloopError, match=r"Doubled has a forward of its own, which an export would leave out."):
        sl.export(Doubled(cells.gru, 3, 4), tmp_path / "made", to=to)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("to", KINDS)
def test_infinite_weights_are_named(to, tmp_path):
    """Gates that are full hide them from the outputs."""
    rnn = sl.LSTM(3, 4)
    with torch.no_grad():
        rnn.bias_ih_l0.fill_(torch.inf)
    with pytest.raises(SelfloopError, match=r"The weights of LSTM.* are not all finite, so it cannot be exported."):
        sl.export(rnn, tmp_path / "made", to=to)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("to", ["object", "onnx"])
def test_half_precision_is_exported_as_float32(to, dtype, tmp_path):
    rnn = sl.LSTM(3, 4).to(dtype)
    assert sl.export(rnn, tmp_path / "made", to=to).difference < 1e-5
    assert rnn.weight_ih_l0.dtype is dtype


def test_a_folder_that_cannot_be_read_is_one_sentence(tmp_path, monkeypatch):
    def refused(self):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "iterdir", refused)
    for to in ("object", "onnx"):
        with pytest.raises(SelfloopError, match="cannot be read: Permission denied"):
            sl.export(sl.LSTM(3, 4), tmp_path, to=to)


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SelfloopError, match="is not empty, and export overwrites nothing"):
        sl.export(sl.LSTM(3, 4), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(SelfloopError, match=r"notes\.txt' is a file\. Give a folder"):
        sl.export(sl.LSTM(3, 4), tmp_path / "notes.txt")
