"""Cells of one's own with matrix states as native code: what words there are, sizes, memory, weights."""

import ctypes
import re
import shutil
import subprocess

import numpy as np
import pytest
import random_matrices
import torch
from combinations import pairs, some
from exported_models import varied
from object_files import undefined

import selfloop as sl
from selfloop import cells, outer, param, state
from selfloop.compiler.lower import lower_inference
from selfloop.compiler.native import OBJECT_TARGETS, native_object
from selfloop.compiler.native.step import updated_in_place
from selfloop.exporting.native import export as native

COMPILER = shutil.which("gcc")
compiled = pytest.mark.skipif(COMPILER is None, reason="there is no gcc here")
FORMS = ("f32", "bf16", "int8")


@sl.cell
def two_memories(
    x,
    h,
    C=state("h k"),
    D=state("k h"),
    *,
    W=param("h x"),
    U=param("k h"),
    M=param("h k"),
    V=param("k k", heads=2),
    a=param(""),
):
    """Two matrices of unequal sizes: each is turned for the other, and weights are multiplied by and forgotten by."""
    key = sl.tanh(U @ h)
    C = 0.5 * C + a * D.T + 0.1 * M * outer(W @ x, key)
    D = sl.tanh(D + outer(V @ key, sl.softmax(h))) - 0.1 * C.T
    h = sl.tanh(C @ key + D.T @ (D @ h) + M @ key)
    return h, C, D


@sl.cell
def cut_and_joined(x, h, C=state("h+k h"), n=state("k"), *, W=param("h x"), U=param("k x")):
    """Vectors that are put together before they multiply, and cut after it."""
    both = sl.concat(sl.tanh(W @ x), n)
    C = 0.9 * C + outer(both, h)
    first, second = sl.split(C @ sl.softmax(h), ("h", "k"))
    turned = C.T @ sl.concat(second, sl.cumsum(first) / 4)
    h = sl.tanh(first + turned + W @ x)
    n = sl.sigmoid(U @ x + second)
    return h, C, n


@sl.cell
def compared(x, h, C=state("h h"), *, W=param("h x"), M=param("h h"), V=param("h h", heads=2)):
    """Comparisons and functions of matrices, those of parameters among them."""
    new = sl.where(M > 0.1, C, sl.minimum(outer(h, W @ x), C.T)) * sl.abs(V)
    C = sl.clip(new - sl.floor(2 * C) / 5, -1, 1) ** 2 + sl.relu(M - M.T) / 3
    h = sl.tanh((C - sl.stop_gradient(C.T)) @ (W @ x) + sl.exp(-sl.abs(C)) @ h)
    return h, C


@sl.cell
def handed_on(x, h, A=state("h h"), B=state("h h"), K=state("h h"), *, W=param("h x"), M=param("h h")):
    """Matrices that change places, and one that is a parameter: old values are read after new ones are there."""
    h = sl.tanh(W @ x + A @ h + K.T @ h)
    return h, B + outer(h, h) / 4, A, M


@sl.cell
def read_late(x, h, C=state("h h"), *, W=param("h x")):
    """The old matrix is read when the new one is there."""
    new = 0.5 * C + outer(W @ x, h) / 4
    return sl.tanh(W @ x + C @ sl.tanh(new @ (W @ x))), new


OWN = (
    (two_memories, {"k": 6}),
    (cut_and_joined, {"k": 3}),
    (compared, {}),
    (handed_on, {}),
    (read_late, {}),
)
EVERY = {
    **{cell.name: lambda cell=cell, s=sizes: sl.Recurrent(cell, 5, 20, **s) for cell, sizes in OWN},
    **{f"{cell.name}, small": lambda cell=cell, s=sizes: sl.Recurrent(cell, 1, 2, **s) for cell, sizes in OWN},
    "one unit": lambda: sl.Recurrent(cut_and_joined, 1, 1, k=1),
    "both ways": lambda: sl.Recurrent(two_memories, 20, 10, 2, k=4, bidirectional=True, residual=True),
    "a start": lambda: sl.Recurrent(two_memories, 5, 20, 2, k=6, learn_state=True, layer_norm=True),
    "a start, both ways": lambda: sl.Recurrent(cells.delta_net, 5, 20, 2, learn_state=True, bidirectional=True),
    "mlstm": lambda: sl.Recurrent(cells.mlstm, 5, 33, 2),
}


def made(name, form):
    torch.manual_seed(0)
    module = native.near(varied(EVERY[name]()).eval(), form)
    source = native.Source(native.described(module, "model", form), name, "")
    return source, native.cases_of(module, source)


@pytest.mark.parametrize(("name", "form"), pairs(EVERY, FORMS))
def test_machine_code_gives_selfloops_numbers(name, form):
    source, cases = made(name, form)
    assert native.in_process(source, cases).difference <= native.rounding(cases)


@compiled
@pytest.mark.parametrize(("name", "form"), pairs(EVERY, FORMS[1:] + FORMS[:1]))
def test_c_gives_selfloops_numbers_and_touches_no_memory_but_its_own(name, form, tmp_path):
    """What it reads before it has written it is no number; the sanitizers stop where it leaves an array."""
    source, cases = made(name, form)
    texts = {"model.h": source.header(source.weights), "model.c": source.source(), "weights.c": source.trained()}
    for file, text in {**texts, "check.c": source.check(cases)}.items():
        (tmp_path / file).write_text(text)
    flags = "-std=c99 -O1 -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=all"
    poison = "-ftrivial-auto-var-init=pattern"  # 0xfe in each byte: -1.7e38
    parts = ("check.c", "model.c", "weights.c")
    subprocess.run([COMPILER, *flags.split(), poison, *parts, "-o", "check"], cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "check"], check=True)


@pytest.mark.parametrize("target", OBJECT_TARGETS, ids=lambda target: target.name)
def test_objects_need_nothing_from_elsewhere(target):
    for name in some(EVERY, target.name, 4):
        source, _ = made(name, "int8")
        assert undefined(native_object(source.model, target)[0]) == set(), name


def test_matrices_are_renewed_where_they_lie_unless_old_ones_are_read():
    def found(cell, **sizes):
        return updated_in_place(lower_inference(cell.graph, cell.bind(3, 4, sizes)))

    assert found(cells.mlstm) == {"C"}
    assert found(cells.delta_net) == {"S"}
    assert found(cells.fast_weights) == {"A"}
    assert found(handed_on) == {"A", "K"}  # the new A is made of the new h and of B
    assert found(read_late) == set()


@compiled
@pytest.mark.parametrize("to", ["c", "object"])
def test_a_session_is_saved_and_steps_are_a_run(to, called, tmp_path):
    rnn = varied(EVERY["a start"]()).eval()
    sl.export(rnn, tmp_path / "made", to=to)
    header = (tmp_path / "made" / "model.h").read_text()
    assert "float C_l0[120];  /* a matrix of 20 rows, one after the other */" in header
    assert "float D_l1[120];  /* a matrix of 6 rows, one after the other */" in header
    floats = 2 * (20 + 120 + 120)
    assert f"MODEL_SAVED {16 + floats} " in header
    own = called(tmp_path / "made")
    model, other = own.Model(), own.Model()
    x = np.random.default_rng(0).standard_normal((9, 5), dtype=np.float32)
    with torch.no_grad():
        y = rnn(torch.from_numpy(x))[0].numpy()
    np.testing.assert_allclose(model.run(x[:4]), y[:4], rtol=1e-4, atol=1e-5)
    other.load(model.save())
    np.testing.assert_allclose(other.run(x[4:]), y[4:], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose([model.step(row) for row in x[4:]], y[4:], rtol=1e-4, atol=1e-5)
    assert (model.state == other.state).all()
    model.reset()
    np.testing.assert_allclose(model.run(x), y, rtol=1e-4, atol=1e-5)
    start = own.Model().state.reshape(2, -1)
    for layer, row in enumerate(start):
        learnt = [rnn.get_parameter(f"{name}_l{layer}").detach().reshape(-1) for name in ("h", "C", "D")]
        assert (row == torch.cat(learnt).numpy()).all()


@compiled
@pytest.mark.parametrize("cell", [read_late, handed_on, cells.fast_weights], ids=lambda cell: cell.name)
@pytest.mark.parametrize("to", ["c", "object"])
def test_a_step_writes_its_state_alone_and_no_number_below_1e_30(to, cell, tmp_path):
    """Whether a matrix is renewed where it lies or copied."""
    sl.export(varied(sl.Recurrent(cell, 3, 5)), tmp_path / "made", to=to)
    suffix = "c" if to == "c" else "o"
    parts = [tmp_path / "made" / f"{part}.{suffix}" for part in ("model", "model_weights")]
    subprocess.run([COMPILER, "-O2", "-shared", "-fPIC", *parts, "-o", tmp_path / "model.so"], check=True)
    model = ctypes.CDLL(str(tmp_path / "model.so"))
    (size,) = map(int, re.findall(r"MODEL_SAVED (\d+)", (tmp_path / "made" / "model.h").read_text()))
    around, floats = 64, size - 16
    memory = np.full(floats + 2 * around, np.nan, np.float32)
    state, x, y = memory[around:-around], np.zeros(3, np.float32), np.full(5, np.nan, np.float32)
    weights = ctypes.byref(ctypes.c_char.in_dll(model, "model_trained"))
    model.model_reset(weights, ctypes.c_void_p(state.ctypes.data))
    state[5:] = 0.9e-30  # the matrices; nothing is added to them, as x and h are zero
    arguments = (ctypes.c_void_p(array.ctypes.data) for array in (state, x, y))
    model.model_step(weights, *arguments)
    assert np.isnan(memory[:around]).all() and np.isnan(memory[-around:]).all()
    assert np.isfinite(state).all() and np.isfinite(y).all()
    assert (state[5:30] == 0).all()


@pytest.mark.parametrize("number", range(12))
def test_random_cells_give_selfloops_numbers(number):
    torch.manual_seed(number)
    rnn = random_matrices.layer(number).float().eval()
    for form in FORMS[:: 1 if not multiplies_by_what_is_made(rnn) else 3]:
        module = native.near(rnn, form)
        source = native.Source(native.described(module, "model", form), "a random cell", "")
        cases = native.cases_of(module, source)
        assert native.in_process(source, cases).difference <= native.rounding(cases), random_matrices.source(number)


def multiplies_by_what_is_made(rnn):
    """Such weights are exported as f32 alone."""
    graph = rnn.cell.graph
    return bool({node.args[0] for node in graph.nodes if node.op == "matmul"} & {*graph.matrices.values()})
