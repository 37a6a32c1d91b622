"""A stack as ONNX: in ONNX Runtime it gives selfloop's numbers, by the operators that are meant for it."""

import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from catalogue import ANY, WITH_FURTHER_INPUTS
from made_weights import MADE, changed
from random_cells import Call

import selfloop as sl
from selfloop import SelfloopError, cells
from selfloop.exporting.onnx import export_onnx, onnx_translations, recurrence
from selfloop.exporting.onnx.operations import OPERATIONS
from selfloop.language.operations import OPERATIONS as WORDS

ALL = (*ANY, *WITH_FURTHER_INPUTS)


def run(path, **given):
    """The outputs of a model by their names."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = onnxruntime.InferenceSession(path, options)
    arrays = {name: v.numpy() if isinstance(v, torch.Tensor) else np.array(v) for name, v in given.items()}
    return dict(zip((v.name for v in model.get_outputs()), model.run(None, arrays), strict=True))


def nodes(graph):
    """Those of a graph, and of the loops in it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from nodes(attribute.g)


def operators(path):
    """The operators of a model, those in loops among them."""
    return {node.op_type for node in nodes(onnx.load(path).graph)}


def attributes(path, kind):
    """Of the nodes of an operator."""
    found = [node for node in onnx.load(path).graph.node if node.op_type == kind]
    return [{a.name: onnx.helper.get_attribute_value(a) for a in node.attribute} for node in found]


def close(got, expected):
    torch.testing.assert_close(torch.from_numpy(got), expected, rtol=1e-5, atol=1e-5)


def test_every_operation_has_a_row():
    assert OPERATIONS.keys() == WORDS.keys()


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("entry", ALL, ids=str)
def test_every_cell_gives_selfloops_numbers(entry, directions, tmp_path):
    options = {"bidirectional": directions == 2, "num_layers": 2 if entry.can_stack else 1}
    rnn = entry.layer(dtype=torch.float32, **options).requires_grad_(False)
    if entry.cell is cells.phased_lstm:
        for weight in rnn.parameters():
            weight.copy_(weight.abs() + 1)  # a phase is a remainder: a period near 0 magnifies roundings
    made = export_onnx(rnn, tmp_path / "made")
    assert made.difference < 1e-5
    assert [path.name for path in made.files] == ["model.onnx", "step.onnx"][: 3 - directions]
    onnx.checker.check_model(made.files[0], full_check=True)


def test_block_diagonal_matrices_are_whole_where_they_are_no_product(tmp_path):
    @sl.cell
    def fading(x, h, C=sl.state("h h"), *, W=sl.param("h x"), D=sl.param("h h", heads=2)):
        C = sl.sigmoid(D) * C + sl.outer(W @ x, h) + D
        h = sl.tanh(C @ h + D @ h + W @ x)
        return h, C

    assert export_onnx(sl.Recurrent(fading, 3, 4), tmp_path).difference < 1e-5


@pytest.mark.parametrize("number", range(10))
def test_any_cell_gives_selfloops_numbers(number, tmp_path):
    rnn = Call.draw(number).layer().float()
    assert export_onnx(rnn, tmp_path / "made").difference < 1e-5


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        (cells.gru, {"bidirectional": True}),
        (cells.lstm, {"batch_first": True, "bidirectional": True, "num_layers": 2}),
        (cells.peephole_lstm, {"learn_state": True, "residual": True, "num_layers": 3}),
        (cells.slstm, {"layer_norm": True, "residual": True, "num_layers": 3, "heads": 2}),
        (cells.cifg_lstm, {"layer_norm": True, "bidirectional": True, "batch_first": True, "num_layers": 2}),
        (cells.mgu, {"hidden_size": [4, 6], "learn_state": True, "bidirectional": True}),
        (cells.mlstm, {"bidirectional": True, "num_layers": 2}),
    ],
    ids=lambda v: v.name if isinstance(v, sl.language.Cell) else " ".join(v),
)
def test_ragged_batches_of_any_stack(cell, options, tmp_path):
    """Whatever lies beyond the lengths, and whichever lengths."""
    options = {"hidden_size": 4, **options}
    rnn = sl.Recurrent(cell, 3, **options).requires_grad_(False)
    for weight in rnn.parameters():
        weight.normal_(std=0.5)
    export_onnx(rnn, tmp_path)
    for T, lengths in ((7, [7, 0, 3, 1]), (5, [2, 4]), (2, [0])):
        x = torch.randn(T, len(lengths), 3)
        x[torch.arange(T)[:, None] >= torch.tensor(lengths)] = torch.nan
        x = x.transpose(0, 1).contiguous() if rnn.batch_first else x
        y, state = rnn(x, lengths=lengths)
        got = run(tmp_path / "model.onnx", x=x, lengths=lengths)
        close(got.pop("y"), y)
        expected = {f"new_state.{name}": v for name, v in named(rnn, state).items()}
        assert got.keys() == expected.keys()
        for name, v in expected.items():
            close(got[name], v)


def named(rnn, state):
    """A state of a stack with one size, or with one for each layer, by its names in ONNX."""
    found = {}
    for layer in range(rnn.num_layers):
        for name in rnn.cell.graph.states:
            directions = 1 + rnn.bidirectional
            own = state.tensors.get(f"{name}_l{layer}")
            rows = state.tensors[name][layer * directions :] if own is None else own
            for way in range(directions):
                found[f"{name}.{layer}{'.reverse' * way}"] = rows[way]
    return found


def test_steps_go_on_where_a_sequence_ends(tmp_path):
    rnn = sl.Recurrent(cells.lstm, 3, [4, 5], learn_state=True).requires_grad_(False)
    for weight in rnn.parameters():
        weight.normal_(std=0.5)
    made = export_onnx(rnn, tmp_path / "made", name="speech")
    assert [path.name for path in made.files] == ["speech.onnx", "step.onnx"]
    assert made.sizes["state"] == 4 * (4 + 4 + 5 + 5)
    assert f"difference from selfloop {made.difference:.1e}, a step takes" in str(made)
    kept = {one.key: one.value for one in onnx.load(made.files[1]).metadata_props}
    assert kept["cell"] == "lstm"
    assert kept["hidden_sizes"] == "4 5"
    x = torch.randn(6, 2, 3)
    y, state = rnn(x)
    got = run(made.files[0], x=x[:4], lengths=[4, 4])
    assert set(got) == {"y", *(f"new_state.{name}.{layer}" for name in "hc" for layer in (0, 1))}
    for t in (4, 5):
        before = {name.removeprefix("new_"): v for name, v in got.items() if name != "y"}
        got = run(made.files[1], x=x[t], **before)
        close(got["y"], y[t])
    for name, v in named(rnn, state).items():
        close(got[f"new_state.{name}"], v)
    start = run(made.files[0], x=x, lengths=[0, 0])
    close(start["new_state.c.1"], rnn.c_l1.expand(2, -1))


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("made", MADE)
def test_weights_that_are_made_before_a_call_are_made_for_an_export(made, tmp_path):
    rnn, x = sl.LSTM(4, 6), torch.randn(5, 1, 4)
    MADE[made](rnn, "weight_hh_l0")
    rnn(x)[0].sum().backward()
    changed(rnn)
    export_onnx(rnn, tmp_path / "out", name="model")
    y, _ = rnn.eval()(x)
    close(run(tmp_path / "out" / "model.onnx", x=x, lengths=[5])["y"], y.detach())


def test_further_inputs_are_inputs(tmp_path):
    rnn = sl.Recurrent(cells.gru_d, 3, 4).requires_grad_(False)
    made = export_onnx(rnn, tmp_path)
    x, mask, dt = torch.randn(5, 2, 3), torch.rand(5, 2, 3).round(), torch.rand(5, 2, 3)
    y, state = rnn(x, mask=mask, dt=dt)
    got = run(made.files[0], x=x, mask=mask, dt=dt, lengths=[5, 9])  # no sequence is longer than x
    close(got["y"], y)
    close(got["new_state.last.0"], state.last[0])


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (sl.LSTM, "LSTM"),
        (sl.GRU, "GRU"),
        (sl.RNN, "RNN"),
        (cells.peephole_lstm, "LSTM"),
        (cells.gru_reset_before, "GRU"),
        (cells.vanilla_relu, "RNN"),
    ],
)
def test_cells_that_onnx_has_are_its_operators(layer, kind, tmp_path):
    options = {"num_layers": 2, "bidirectional": True}
    rnn = layer(3, 4, **options) if isinstance(layer, type) else sl.Recurrent(layer, 3, 4, **options)
    (path,) = export_onnx(rnn, tmp_path / "both").files
    used = attributes(path, kind)
    assert [a["direction"] for a in used] == [b"forward", b"reverse"] * 2
    if kind == "GRU":
        assert {a["linear_before_reset"] for a in used} == {int(layer is sl.GRU)}
    assert operators(path).isdisjoint({"Scan", "Sigmoid", "Tanh", "MatMul"})


@sl.cell
def mine(seen, out, memory, *, A=sl.param("4h x"), B=sl.param("4h h"), bias=sl.param("4h")):
    i, f, g, o = sl.split(A @ seen + B @ out + bias, 4)
    i, f, g, o = sl.sigmoid(i), sl.sigmoid(f), sl.tanh(g), sl.sigmoid(o)
    memory = f * memory + i * g
    out = o * sl.tanh(memory)
    return out, memory


def test_a_cell_of_the_users_that_is_an_lstm_is_one(tmp_path):
    whole, step = export_onnx(sl.Recurrent(mine, 3, 4), tmp_path).files
    assert len(attributes(whole, "LSTM")) == len(attributes(step, "LSTM")) == 1


def test_all_other_cells_are_a_scan(tmp_path):
    for number, rnn in enumerate((sl.LSTM(3, 4, proj_size=2), sl.Recurrent(cells.cifg_lstm, 3, 4))):
        whole, step = export_onnx(rnn, tmp_path / str(number)).files
        assert "Scan" in operators(whole)
        assert "Scan" not in operators(step)


def test_what_does_not_depend_on_the_state_is_made_before_the_loop(tmp_path):
    """Of a cell with one product of the input and one of the state, the loop has the latter, and turns no weights."""
    (path, _) = export_onnx(sl.Recurrent(cells.cifg_lstm, 3, 4), tmp_path).files
    (body,) = (scan["body"] for scan in attributes(path, "Scan"))
    kinds = [node.op_type for node in body.node]
    assert kinds.count("MatMul") == 1
    assert "Transpose" not in kinds


class Mixed(torch.nn.Module):
    """A module of a user's, with layers of all kinds: operators, loops, a matrix state, single steps."""

    def __init__(self):
        super().__init__()
        self.both = sl.LSTM(3, 4, bidirectional=True, batch_first=True)
        self.gates = sl.GRU(8, 4, num_layers=2, batch_first=True)
        self.heads = sl.Recurrent(cells.slstm, 4, 4, heads=2, batch_first=True, residual=True, layer_norm=True)
        self.memory = sl.Recurrent(cells.mlstm, 4, 4, bidirectional=True, batch_first=True)
        self.last = sl.Recurrent(cells.mgu, 8, 4)
        self.out = torch.nn.Linear(4, 2)

    def forward(self, x, lengths):
        y, _ = self.both(x, lengths=lengths)
        y, (h, *_) = self.gates(y)
        y, _ = self.heads(y, lengths=lengths)
        y, state = self.memory(y, lengths=lengths)
        y, last = self.last.step(y[:, 0])
        return self.out(y), h, state.C, last.h


def drawn(module):
    torch.manual_seed(0)
    for weight in module.requires_grad_(False).parameters():
        weight.normal_(std=0.5)
    return module.eval()


FREE = torch.export.Dim.DYNAMIC


def translated(module, args, shapes, path, **options):
    """A module exported by torch.onnx."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch's own calls of itself
        warnings.simplefilter("ignore", DeprecationWarning)
        program = torch.onnx.export(
            module,
            args,
            dynamo=True,
            dynamic_shapes=shapes,
            custom_translation_table=onnx_translations(),
            verbose=False,
            **options,
        )
    program.save(path)
    return path


def test_torch_exports_a_module_that_holds_layers(tmp_path):
    module = drawn(Mixed())
    given = torch.randn(2, 5, 3), torch.tensor([5, 3])
    path = translated(module, given, ({0: FREE, 1: FREE}, {0: FREE}), tmp_path / "mixed.onnx")
    assert {"LSTM", "GRU", "Scan"} <= operators(path)
    graph = onnx.load(path).graph
    assert {v.name for v in graph.initializer} <= {name for node in nodes(graph) for name in node.input}
    for T, lengths in ((5, [5, 3]), (7, [0, 7, 2]), (3, [1])):
        x = torch.randn(len(lengths), T, 3)
        got = run(path, x=x, lengths=lengths)
        for v, expected in zip(got.values(), module(x, torch.tensor(lengths)), strict=True):
            close(v, expected)


class Reset(torch.nn.Module):
    """Sequences in one row, and a gradient that may be asked for."""

    def __init__(self, **options):
        super().__init__()
        self.rnn = sl.LSTM(3, 4, bidirectional=True, **options)

    def forward(self, x, resets, h, c):
        y, (h, c) = self.rnn(x, (h, c), resets=resets)
        return y, h, c


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_resets_states_and_float64_are_exported_by_a_loop(dtype, tmp_path):
    module = drawn(Reset(dtype=dtype)).requires_grad_()
    x, resets = torch.randn(5, 2, 3, dtype=dtype), torch.rand(5, 2) < 0.4
    h, c = torch.randn(2, 2, 2, 4, dtype=dtype)
    shapes = ({0: FREE, 1: FREE}, {0: FREE, 1: FREE}, {1: FREE}, {1: FREE})
    path = translated(module, (x, resets, h, c), shapes, tmp_path / "reset.onnx")
    assert "LSTM" not in operators(path)
    got = run(path, x=x, resets=resets, h=h, c=c)
    for v, expected in zip(got.values(), module(x, resets, h, c), strict=True):
        close(v, expected.detach())


def test_a_cell_that_draws_is_exported_in_evaluation_alone(tmp_path):
    @sl.cell
    def dropped(x, h, *, W=sl.param("h x"), U=sl.param("h h")):
        h = sl.tanh(W @ x + U @ sl.dropout(h, 0.5))
        return h

    rnn = sl.Recurrent(dropped, 3, 4).requires_grad_(False)
    assert export_onnx(rnn, tmp_path / "made").difference < 1e-5
    with pytest.warns(UserWarning, match="training mode"), pytest.raises(Exception) as error:
        translated(rnn, (torch.randn(4, 2, 3),), None, tmp_path / "dropped.onnx")
    causes = [error.value]
    while causes[-1].__cause__:
        causes.append(causes[-1].__cause__)
    assert "Call eval() before the model is exported" in str(causes[-1])


def test_a_model_that_is_wrong_is_not_written(tmp_path, monkeypatch):
    for row in ("sigmoid", "tanh"):
        with monkeypatch.context() as patch:
            patch.setitem(OPERATIONS, row, lambda o: o.w.op("Identity", *o.values))
            with pytest.raises(SelfloopError, match="differs from selfloop by"):
                export_onnx(sl.Recurrent(cells.cifg_lstm, 3, 4), tmp_path / "made")
    with monkeypatch.context() as patch:
        patch.setattr(recurrence, "IOFC", (0, 1, 2, 3))
        with pytest.raises(SelfloopError, match="so nothing was written"):
            export_onnx(sl.LSTM(3, 4), tmp_path / "made")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("rnn", "options", "words"),
    [
        (torch.nn.LSTM(3, 4), {}, "must be a Recurrent, LSTM, GRU or RNN. Got LSTM"),
        (sl.LSTM(3, 4), {"name": "a/b"}, "must be a name of a file"),
        (sl.LSTM(3, 4), {"name": "step"}, "must be a name of a file"),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_sentence(rnn, options, words, tmp_path):
    with pytest.raises(SelfloopError) as error:
        export_onnx(rnn, tmp_path / "made", **options)
    assert words in str(error.value)
    assert not (tmp_path / "made").exists()


def test_a_stack_that_is_not_finite_is_refused(tmp_path):
    rnn = sl.LSTM(3, 4)
    with torch.no_grad():
        rnn.weight_hh_l0[0, 0] = torch.nan
    with pytest.raises(SelfloopError, match="are not all finite"):
        export_onnx(rnn, tmp_path / "made")


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for out, words in ((tmp_path, "is not empty"), (tmp_path / "notes.txt" / "made", "cannot be written")):
        with pytest.raises(SelfloopError, match=words):
            export_onnx(sl.LSTM(3, 4), out)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for name in ("export", "proof"):
        monkeypatch.delitem(sys.modules, f"selfloop.exporting.onnx.{name}")
    with pytest.raises(SelfloopError, match=r"needs the package 'onnxruntime'.*pip install 'selfloop\[export\]'"):
        export_onnx(sl.LSTM(3, 4), tmp_path)
