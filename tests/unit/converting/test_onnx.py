"""ONNX: each node gives, as a layer of selfloop, what ONNX Runtime gives; what no cell computes is refused."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import selfloop as sl
from selfloop.converting import onnx_graph
from selfloop.errors import BackendError, DataError

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
T, B = 7, 2


def node(
    op, inputs=3, hidden=5, *, name="", x="X", out="Y", bias=True, peepholes=False, dtype=np.float32, **attributes
):
    """A recurrent node, and its weights as tensors."""
    rng = np.random.default_rng(len(out) + hidden)
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    gates = GATES[op] * hidden
    shapes = {"W": (gates, inputs), "R": (gates, hidden)}
    shapes |= {"B": (2 * gates,)} if bias else {}
    shapes |= {"P": (3 * hidden,)} if peepholes else {}
    weights = {own: rng.standard_normal((directions, *shape)).astype(dtype) / 2 for own, shape in shapes.items()}
    given = [x, f"{out}_W", f"{out}_R", f"{out}_B" if bias else "", "", "", "", f"{out}_P" if peepholes else ""]
    while not given[-1]:
        given.pop()
    outputs = [out, f"{out}_h", *([f"{out}_c"] if op == "LSTM" else [])]
    made = helper.make_node(op, given, outputs, name=name, hidden_size=hidden, **attributes)
    return made, [numpy_helper.from_array(array, f"{out}_{own}") for own, array in weights.items()]


def save(path, nodes, weights, *, inputs=3, dtype=TensorProto.FLOAT, outputs=("Y",), further=(), opset=14):
    """A model of these nodes, from X to the outputs."""
    x = helper.make_tensor_value_info("X", dtype, ("t", "b", inputs))
    made = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(nodes, "graph", [x, *further], made, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


def run(path, x, name="Y"):
    """A file's output, by ONNX Runtime."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run([name], {session.get_inputs()[0].name: x.numpy()})[0]


def compare(layer, x, y):
    """The output of a layer with that of a node, (T, directions, B, H)."""
    with torch.no_grad():
        own = layer(x)[0]
    torch.testing.assert_close(own, torch.from_numpy(y).transpose(1, 2).flatten(2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("op", "options", "becomes"),
    [
        ("RNN", {}, "RNN(3, 5)"),
        ("RNN", {"activations": ["Relu"]}, "RNN(3, 5, nonlinearity='relu')"),
        ("RNN", {"direction": "bidirectional", "activations": ["Relu", "Relu"]},
         "RNN(3, 5, nonlinearity='relu', bidirectional=True)"),
        ("GRU", {"linear_before_reset": 1}, "GRU(3, 5)"),
        ("GRU", {"linear_before_reset": 1, "direction": "bidirectional"}, "GRU(3, 5, bidirectional=True)"),
        ("GRU", {"linear_before_reset": 1, "bias": False}, "GRU(3, 5, bias=False)"),
        ("GRU", {}, "Recurrent(cells.gru_reset_before, 3, 5)"),
        ("GRU", {"direction": "bidirectional"}, "Recurrent(cells.gru_reset_before, 3, 5, bidirectional=True)"),
        ("GRU", {"bias": False}, "Recurrent(cells.gru_reset_before, 3, 5)"),
        ("LSTM", {}, "LSTM(3, 5)"),
        ("LSTM", {"activations": ["Sigmoid", "Tanh", "Tanh"]}, "LSTM(3, 5)"),
        ("LSTM", {"direction": "bidirectional"}, "LSTM(3, 5, bidirectional=True)"),
        ("LSTM", {"bias": False}, "LSTM(3, 5, bias=False)"),
        ("LSTM", {"peepholes": True}, "Recurrent(cells.peephole_lstm, 3, 5)"),
        ("LSTM", {"peepholes": True, "direction": "bidirectional"},
         "Recurrent(cells.peephole_lstm, 3, 5, bidirectional=True)"),
        ("LSTM", {"input_forget": 1}, "Recurrent(cells.cifg_lstm, 3, 5)"),
    ],
)  # fmt: skip
def test_a_node_becomes_a_layer_with_its_numbers(op, options, becomes, tmp_path):
    made, weights = node(op, **options)
    path = save(tmp_path / "m.onnx", [made], weights)
    converted = sl.convert(path)
    (row,) = converted.rows
    assert (row.code, row.was, row.notes) == (becomes, f"{op} of ONNX", ())
    assert 0 <= row.difference < 1e-6
    x = torch.randn(T, B, 3)
    compare(converted.layer, x, run(path, x))


@given(
    op=st.sampled_from(["RNN", "GRU", "LSTM"]),
    inputs=st.sampled_from([1, 3]),
    hidden=st.sampled_from([1, 5]),
    direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
    bias=st.booleans(),
    before=st.booleans(),
    layout=st.sampled_from([0, 1]),
)
@pytest.mark.filterwarnings("ignore:.*reads from the end")
def test_any_node_gives_the_numbers_of_onnx_runtime(
    tmp_path_factory, op, inputs, hidden, direction, bias, before, layout
):
    """Or of onnx' evaluator, which knows layout=1."""
    options = {"linear_before_reset": int(before)} if op == "GRU" else {}
    made, weights = node(op, inputs, hidden, direction=direction, bias=bias, layout=layout, **options)
    path = save(tmp_path_factory.mktemp("any") / "m.onnx", [made], weights, inputs=inputs)
    layer = sl.convert(path).layer
    assert layer.batch_first == bool(layout)
    x = torch.randn((B, T, inputs) if layout else (T, B, inputs))
    if layout:
        (y,) = onnx.reference.ReferenceEvaluator(onnx.load(path)).run(["Y"], {"X": x.numpy()})
    else:
        y = run(path, x).transpose(0, 2, 1, 3)
    flip = (lambda own: own.flip(int(layout))) if direction == "reverse" else (lambda own: own)
    with torch.no_grad():
        own = flip(layer(flip(x))[0])
    torch.testing.assert_close(own, torch.from_numpy(y).flatten(2), rtol=1e-5, atol=1e-5)


def test_a_node_that_reads_from_the_end_is_said(tmp_path):
    made, weights = node("LSTM", name="back", direction="reverse")
    with pytest.warns(UserWarning, match="back: It reads from the end"):
        converted = sl.convert(save(tmp_path / "m.onnx", [made], weights))
    assert converted.rows[0].notes and "back: It reads from the end" in str(converted)


@pytest.mark.parametrize(("op", "options"), [("RNN", {}), ("GRU", {"linear_before_reset": 1}), ("LSTM", {})])
def test_large_weights_are_no_reason_to_refuse(op, options, tmp_path):
    """Rounding in float32 grows beyond the tolerance then, over a few steps."""
    made, weights = node(op, hidden=64, **options)
    weights = [numpy_helper.from_array(20 * numpy_helper.to_array(own), own.name) for own in weights]
    assert sl.convert(save(tmp_path / "m.onnx", [made], weights)).row().difference < 1e-6


def test_doubles_and_halves(tmp_path):
    made, weights = node("GRU", dtype=np.float64, linear_before_reset=1)
    row = sl.convert(save(tmp_path / "m.onnx", [made], weights, dtype=TensorProto.DOUBLE)).row()
    assert row.code == "GRU(3, 5, dtype=torch.float64)"
    assert row.layer.weight_hh_l0.dtype == torch.float64
    made, weights = node("GRU", dtype=np.float16, linear_before_reset=1)
    assert sl.convert(save(tmp_path / "h.onnx", [made], weights, dtype=TensorProto.FLOAT16)).row().code == "GRU(3, 5)"


def test_weights_may_be_constants_and_what_follows_from_them(tmp_path):
    made, weights = node("LSTM")
    w, r, b = map(numpy_helper.to_array, weights)
    of = helper.make_node
    nodes = [
        of("Constant", [], ["half"], value=numpy_helper.from_array(w[:, :10])),
        of("Concat", ["half", "rest"], ["Y_W"], axis=1),
        of("Transpose", ["turned"], ["flat"], perm=[1, 0]),
        of("Unsqueeze", ["flat", "zero"], ["Y_R"]),
        made,
    ]
    parts = {"rest": w[:, 10:], "turned": r[0].T.copy(), "zero": np.array([0]), "Y_B": b}
    path = save(tmp_path / "m.onnx", nodes, [numpy_helper.from_array(own, name) for name, own in parts.items()])
    x = torch.randn(T, B, 3)
    compare(sl.convert(path).layer, x, run(path, x))


def test_weights_may_lie_in_a_file_beside(tmp_path):
    made, weights = node("LSTM", hidden=20)
    path = save(tmp_path / "m.onnx", [made], weights)
    own = sl.convert(path).layer.state_dict()
    onnx.save(onnx.load(path), tmp_path / "x.onnx", save_as_external_data=True, location="x.data", size_threshold=0)
    beside = sl.convert(tmp_path / "x.onnx").layer.state_dict()
    assert all(torch.equal(own[name], beside[name]) for name in own)


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize(
    ("make", "becomes"),
    [
        (lambda: torch.nn.LSTM(3, 5, 2, bidirectional=True), "LSTM(3, 5, num_layers=2, bidirectional=True)"),
        (lambda: torch.nn.GRU(3, 5, 2, batch_first=True), "GRU(3, 5, num_layers=2)"),
        (lambda: torch.nn.RNN(3, 5, 2, nonlinearity="relu"), "RNN(3, 5, num_layers=2, nonlinearity='relu')"),
    ],
    ids=["lstm", "gru", "rnn"],
)
@pytest.mark.filterwarnings("ignore")
def test_what_torch_exports_comes_back(make, becomes, dynamo, tmp_path):
    module, path = make().eval(), tmp_path / "m.onnx"
    x = torch.randn(T, B, 3)
    torch.onnx.export(module, (x,), str(path), dynamo=dynamo, verbose=False)
    if dynamo and isinstance(module, torch.nn.RNN):
        with pytest.raises(DataError, match="an RNN that was unrolled into products is none"):
            sl.convert(path)
        return
    row = sl.convert(path).row()
    assert row.code.startswith(becomes)
    with torch.no_grad():
        y, own = module(x)[0], row.layer(x.transpose(0, 1) if module.batch_first else x)[0]
    torch.testing.assert_close(own.transpose(0, 1) if module.batch_first else own, y, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_what_torch_exports_with_dynamic_sizes_is_one_stack(tmp_path):
    module = torch.nn.LSTM(3, 5, 2, bidirectional=True).eval()
    sizes = ({0: torch.export.Dim("T"), 1: torch.export.Dim("B")},)
    torch.onnx.export(module, (torch.randn(T, B, 3),), str(tmp_path / "m.onnx"), dynamic_shapes=sizes, verbose=False)
    assert sl.convert(tmp_path / "m.onnx").row().code == "LSTM(3, 5, num_layers=2, bidirectional=True)"


def chain(*between, op="LSTM", hidden=5, second=5, x="x2", options=None, read=()):
    """Two nodes and what is between them."""
    options = options or {}
    first, weights = node(op, name="one", out="Y1", hidden=hidden, **options)
    directions = 2 if options.get("direction") == "bidirectional" else 1
    two, more = node(op, directions * hidden, second, name="two", x=x, out="Y", **options)
    constants = {
        "one_axis": np.array([1]), "whole": np.array([0, 0, -1]), "mixed": np.array([0, -1, hidden * directions])
    }  # fmt: skip
    return [first, *between, two], [
        *weights, *more, *(numpy_helper.from_array(own, name) for name, own in constants.items())
    ]  # fmt: skip


SQUEEZE = helper.make_node("Squeeze", ["Y1", "one_axis"], ["x2"])


def test_nodes_that_stand_on_one_another_are_a_stack(tmp_path):
    path = save(tmp_path / "m.onnx", *chain(SQUEEZE))
    converted = sl.convert(path)
    assert [*converted] == ["one+two"]
    assert converted.row().code == "LSTM(3, 5, num_layers=2)"
    x = torch.randn(T, B, 3)
    compare(converted.layer, x, run(path, x))
    assert [*sl.convert(path, layer="two")] == ["two"]
    assert [*sl.convert(path, layer=["one", "two"])] == ["one+two"]


@pytest.mark.parametrize(
    ("nodes", "weights", "outputs"),
    [
        (*chain(SQUEEZE, second=4), ("Y",)),
        (*chain(SQUEEZE), ("Y", "x2")),
        (*chain(SQUEEZE, helper.make_node("Neg", ["x2"], ["other"])), ("Y", "other")),
        (*chain(helper.make_node("Squeeze", ["Y1", "one_axis"], ["x1"]), helper.make_node("Neg", ["x1"], ["x2"])),
         ("Y",)),
        (*chain(helper.make_node("Transpose", ["Y1"], ["turned"], perm=[1, 2, 0, 3]),
                helper.make_node("Reshape", ["turned", "mixed"], ["x2"])), ("Y",)),
        (*chain(helper.make_node("Reshape", ["Y1", "mixed"], ["x2"]), options={"direction": "bidirectional"}),
         ("Y",)),
        (*chain(helper.make_node("Squeeze", ["Y1_h", "one_axis"], ["x1"]),
                helper.make_node("Unsqueeze", ["x1", "one_axis"], ["x2"])), ("Y",)),
    ],
    ids=["sizes", "a graph's output", "another reader", "an operation", "turned", "directions mixed", "last state"],
)  # fmt: skip
def test_nodes_with_anything_else_between_them_are_layers_by_name(nodes, weights, outputs, tmp_path):
    converted = sl.convert(save(tmp_path / "m.onnx", nodes, weights, outputs=outputs))
    assert [*converted] == ["one", "two"]
    with pytest.raises(sl.SelfloopError, match=r"There are 2 layers: one, two\. Say which one"):
        _ = converted.layer


def test_a_node_in_a_branch_is_found_with_weights_from_outside(tmp_path):
    made, weights = node("GRU", name="inner")
    inner = helper.make_graph([made], "then", [], [helper.make_empty_tensor_value_info("Y")])
    zero = helper.make_node("Identity", ["Z"], ["Y0"])
    other = helper.make_graph([zero], "else", [], [helper.make_empty_tensor_value_info("Y0")])
    nodes = [helper.make_node("If", ["if"], ["Y"], then_branch=inner, else_branch=other)]
    constants = [numpy_helper.from_array(np.array(True), "if"), numpy_helper.from_array(np.zeros(1, np.float32), "Z")]
    path = save(tmp_path / "m.onnx", nodes, [*weights, *constants])
    assert [*sl.convert(path)] == ["inner"]


@pytest.mark.parametrize(
    ("value", "said"), [(np.zeros((1, B, 5)), False), (np.ones((1, B, 5)), True), (None, False)], ids=str
)
def test_a_state_that_is_not_zeros_is_said(value, said, tmp_path):
    made, weights = node("GRU", linear_before_reset=1)
    made.input.extend(["", "h0"])
    further = []
    if value is None:  # the caller's
        further = [helper.make_tensor_value_info("h0", TensorProto.FLOAT, (1, B, 5))]
    else:
        weights.append(numpy_helper.from_array(value.astype(np.float32), "h0"))
    path = save(tmp_path / "m.onnx", [made], weights, further=further)
    if said:
        with pytest.warns(UserWarning, match="gives it a state to start from"):
            sl.convert(path)
    else:
        assert sl.convert(path).row().notes == ()


@pytest.mark.parametrize(
    ("op", "options", "why"),
    [
        ("LSTM", {"activations": ["HardSigmoid", "Tanh", "Tanh"]}, r"its activations are \['HardSigmoid', 'Tanh'"),
        ("GRU", {"activations": ["Sigmoid", "Relu"]}, "its activations are"),
        ("RNN", {"activations": ["Relu", "Tanh"], "direction": "bidirectional"}, "its activations are"),
        ("RNN", {"activations": ["Affine"]}, "its activations are"),
        ("LSTM", {"clip": 3.0}, r"it clips what its gates read at 3\.0"),
        ("LSTM", {"input_forget": 1, "peepholes": True}, "it couples its gates and has peepholes"),
    ],
)
def test_what_no_cell_computes_is_refused(op, options, why, tmp_path):
    made, weights = node(op, name="mine", **options)
    with pytest.raises(DataError, match=f"node mine: {why}.*which no cell of selfloop does"):
        sl.convert(save(tmp_path / "m.onnx", [made], weights))


def replaced(weights, name, array):
    return [numpy_helper.from_array(array, name) if one.name == name else one for one in weights]


@pytest.mark.parametrize(
    ("name", "array", "why"),
    [
        ("Y_W", np.zeros((1, 20), np.float32), r"W must have shape \(1, 20, any\).*Got \(1, 20\)"),
        ("Y_W", np.zeros((1, 19, 3), np.float32), "W must have shape"),
        ("Y_R", np.zeros((1, 20, 6), np.float32), r"R must have shape \(1, 24, 6\)"),
        ("Y_R", np.zeros((2, 20, 5), np.float32), r"R must have shape \(1, any, any\)"),
        ("Y_B", np.zeros((1, 20), np.float32), r"B must have shape \(1, 40\)"),
        ("Y_B", np.full((1, 40), np.nan, np.float32), "B holds numbers that are not finite"),
        ("Y_W", np.zeros((1, 20, 0), np.float32), "W is empty"),
        ("Y_W", np.zeros((1, 20, 3), np.int32), "W must be floating-point numbers. Got int32"),
    ],
)
def test_weights_that_do_not_fit_are_named(name, array, why, tmp_path):
    made, weights = node("LSTM", name="mine")
    with pytest.raises(DataError, match=f"node mine: .*{why}"):
        sl.convert(save(tmp_path / "m.onnx", [made], replaced(weights, name, array)))


def test_weights_that_are_inputs_of_the_graph_are_none(tmp_path):
    made, weights = node("LSTM", name="mine")
    further = [helper.make_tensor_value_info("Y_W", TensorProto.FLOAT, (1, 20, 3))]
    path = save(tmp_path / "m.onnx", [made], weights[1:], further=further)
    with pytest.raises(DataError, match="node mine: its weights W are not constants of the file"):
        sl.convert(path)


def test_a_hidden_size_that_is_not_that_of_the_weights_is_refused(tmp_path):
    made, weights = node("LSTM", name="mine")
    next(one for one in made.attribute if one.name == "hidden_size").i = 6
    with pytest.raises(DataError, match="its hidden_size is 6, and its weights are of 5"):
        sl.convert(save(tmp_path / "m.onnx", [made], weights))


def test_a_wrong_order_of_gates_does_not_pass(tmp_path, monkeypatch):
    made, weights = node("LSTM", name="mine")
    monkeypatch.setitem(onnx_graph.ORDERS, "lstm", (0, 1, 2, 3))
    with pytest.raises(BackendError, match=r"what was made of 'mine' differs from it by .* so it is refused"):
        sl.convert(save(tmp_path / "m.onnx", [made], weights))


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08" * 100, b"PK\x03\x04"])
def test_a_file_that_is_no_model_is_one_sentence(content, tmp_path):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(DataError, match=r"m\.onnx (is no ONNX file|has no LSTM, GRU or RNN)"):
        sl.convert(tmp_path / "m.onnx")


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "missing.data"])
def test_weights_elsewhere_than_beside_the_file_are_not_read(location, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(20 * 3 * 4))
    folder = tmp_path / "folder"
    folder.mkdir()
    made, weights = node("LSTM")
    outside = weights[0]
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value=location)
    save(folder / "m.onnx", [], [])
    graph = helper.make_graph(
        [made], "g", [helper.make_empty_tensor_value_info("X")], [helper.make_empty_tensor_value_info("Y")], weights
    )
    (folder / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(DataError, match="tensor Y_W: its numbers cannot be read"):
        sl.convert(folder / "m.onnx")


def test_constants_that_grow_without_end_are_refused(tmp_path):
    made, weights = node("LSTM")
    nodes = [helper.make_node("Concat", [f"a{k}", f"a{k}"], [f"a{k + 1}"], axis=0) for k in range(40)]
    made.input[1] = "a40"
    weights = [*weights, numpy_helper.from_array(np.zeros(1 << 10, np.float32), "a0")]
    with pytest.raises(DataError, match="what its constants make is larger than weights are"):
        sl.convert(save(tmp_path / "m.onnx", [*nodes, made], weights))


def test_constants_that_are_nested_too_deeply_are_one_sentence(tmp_path):
    made, weights = node("LSTM", name="mine")
    nodes = [helper.make_node("Identity", [f"a{k}"], [f"a{k + 1}"]) for k in range(2000)]
    made.input[1] = "a2000"
    weights = [*weights, numpy_helper.from_array(np.zeros(1, np.float32), "a0")]
    with pytest.raises(DataError, match=r"the layer mine is not as its library writes it \(RecursionError"):
        sl.convert(save(tmp_path / "m.onnx", [*nodes, made], weights))


@pytest.mark.parametrize(
    "attribute", [("direction", 3), ("direction", "up"), ("layout", "x"), ("activations", 5), ("hidden_size", "x")]
)
def test_attributes_of_another_type_are_one_sentence(attribute, tmp_path):
    made, weights = node("LSTM", name="mine")
    for one in [one for one in made.attribute if one.name == attribute[0]]:
        made.attribute.remove(one)
    made.attribute.append(helper.make_attribute(*attribute))
    with pytest.raises(DataError, match="mine") as caught:
        sl.convert(save(tmp_path / "m.onnx", [made], weights))
    assert "\n" not in str(caught.value)


def test_a_tensor_that_claims_more_than_it_holds_is_one_sentence(tmp_path):
    made, weights = node("LSTM")
    weights[0].dims[2] = 1 << 40
    with pytest.raises(DataError, match="tensor Y_W: its numbers cannot be read"):
        sl.convert(save(tmp_path / "m.onnx", [made], weights))
