"""``sl.convert`` and ``selfloop convert``: what they take, give, print and write, and how they refuse."""

import builtins
import json
import random
from contextlib import nullcontext

import h5py
import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import selfloop as sl
from selfloop.errors import ArgumentError, DataError, SelfloopError


@pytest.fixture
def two(tmp_path):
    """A file of two modules."""
    state = {f"encoder.{name}": own for name, own in nn.LSTM(3, 5, 2).state_dict().items()}
    state |= {f"decoder.{name}": own for name, own in nn.GRU(3, 5).state_dict().items()}
    torch.save(state, tmp_path / "two.pt")
    return tmp_path / "two.pt"


def test_layers_come_by_name_and_print_as_a_table(two):
    converted = sl.convert(str(two))
    assert [*converted] == ["encoder", "decoder"]
    assert (len(converted), "encoder" in converted, "other" in converted) == (2, True, False)
    assert isinstance(converted["encoder"], sl.LSTM) and not converted["encoder"].training
    lines = str(converted).splitlines()
    assert lines[0].split() == ["layer", "was", "is", "difference"]
    assert lines[1].startswith("encoder  LSTM of torch.nn  LSTM(3, 5, num_layers=2)  ")
    with pytest.raises(ArgumentError, match=r"There are 2 layers: encoder, decoder\. Say which one"):
        _ = converted.layer
    with pytest.raises(KeyError):
        _ = converted["other"]


def test_layers_take_the_batch_first_where_asked(two):
    converted = sl.convert(two, layer="decoder", batch_first=True)
    assert converted.row().code == "GRU(3, 5, batch_first=True)"
    x = torch.randn(2, 7, 3)
    with torch.no_grad():
        expected = sl.convert(two, layer="decoder").layer(x.transpose(0, 1))[0].transpose(0, 1)
        torch.testing.assert_close(converted.layer(x)[0], expected)


@pytest.mark.parametrize(
    ("arguments", "error", "why"),
    [
        (({},), DataError, "The state dict has no LSTM, GRU or RNN"),
        (({"weight": torch.zeros(3)},), DataError, "The state dict has no LSTM"),
        ((nn.LSTM(3, 4),), ArgumentError, r"Give the module's state_dict\(\)"),
        ((3,), ArgumentError, "must be a file or a state dict. Got int instead"),
        (("missing.onnx",), DataError, "There is no file 'missing.onnx': give one that exists."),
        ((".",), DataError, "There is no file"),
        (("x" * 5000,), DataError, "There is no file"),
        ((__file__,), DataError, "must be a file of .onnx, .keras, .* Got '.py' instead"),
    ],
)
def test_what_is_no_file_is_refused(arguments, error, why):
    with pytest.raises(error, match=why):
        sl.convert(*arguments)


def test_a_layer_without_a_name_is_shown_as_one():
    with pytest.raises(ArgumentError, match=r"The state dict has no layer 'rnn'; it has ''."):
        sl.convert(nn.LSTM(3, 4).state_dict(), layer="rnn")


def test_wrong_options_are_refused(two):
    with pytest.raises(ArgumentError, match=r"'nonlinearity' of convert must be 'tanh' or 'relu'\. Got 'elu' instead"):
        sl.convert(two, nonlinearity="elu")
    with pytest.raises(ArgumentError, match=r"'batch_first' of convert must be True or False\. Got 'no' instead"):
        sl.convert(two, batch_first="no")


@pytest.mark.parametrize("name", ["m.onnx", "m.keras", "m.h5"])
def test_a_missing_package_is_one_sentence_with_the_line_that_installs_it(name, tmp_path, monkeypatch):
    original = builtins.__import__

    def without(name, *arguments):
        if name.partition(".")[0] in ("onnx", "h5py"):
            raise ImportError(name)
        return original(name, *arguments)

    (tmp_path / name).write_bytes(b"anything")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=r"needs (onnx|h5py): pip install 'selfloop\[convert\]'"):
        sl.convert(tmp_path / name)


def test_weights_whose_outputs_are_not_finite_are_refused():
    state = {name: torch.full_like(own, 3e38) for name, own in nn.RNN(3, 4).state_dict().items()}
    with pytest.raises(DataError, match="are not all finite"):
        sl.convert(state, nonlinearity="relu")


def test_weights_of_zeros_are_no_division_by_zero():
    state = {name: torch.zeros_like(own) for name, own in nn.LSTM(3, 4).state_dict().items()}
    assert sl.convert(state).row().difference == 0


def recurrent_onnx(path):
    helper = onnx.helper
    arrays = {"W": np.ones((1, 4, 3), np.float32), "R": np.ones((1, 4, 4), np.float32)}
    graph = helper.make_graph(
        [helper.make_node("RNN", ["X", "W", "R"], ["Y"], name="back", hidden_size=4, direction="reverse")],
        "graph",
        [helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, ("t", "b", 3))],
        [helper.make_empty_tensor_value_info("Y")],
        [onnx.numpy_helper.from_array(own, name) for name, own in arrays.items()],
    )
    onnx.save(helper.make_model(graph), path)


def recurrent_h5(path):
    with h5py.File(path, "w") as file:
        for name, shape in {"kernel": (3, 15), "recurrent_kernel": (5, 15), "bias": (15,)}.items():
            file[f"gru/gru/{name}:0"] = np.random.default_rng(0).standard_normal(shape)


def recurrent_pt(path):
    torch.save(nn.GRU(3, 5).state_dict(), path)


def recurrent_safetensors(path):
    save_file(nn.GRU(3, 5).state_dict(), path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("write", [recurrent_onnx, recurrent_h5, recurrent_pt, recurrent_safetensors])
def test_a_file_with_damaged_bytes_is_one_sentence_or_a_layer(write, tmp_path):
    path = tmp_path / f"m.{write.__name__.removeprefix('recurrent_')}"
    write(path)
    whole, draw = path.read_bytes(), random.Random(0)
    for _ in range(40):
        damaged = bytearray(whole)
        for _ in range(draw.choice([1, 5, 20])):
            at = draw.randrange(len(damaged))
            damaged[at : at + draw.choice([1, 9])] = draw.randbytes(draw.choice([0, 1, 9]))
        path.write_bytes(damaged)
        try:
            sl.convert(path)
        except SelfloopError as error:
            assert "\n" not in str(error)


# The command line.


def test_the_command_prints_a_table_and_the_next_step(selfloop, two):
    said = selfloop("convert", two)
    assert (said.status, said.err) == (0, "")
    assert "encoder  LSTM of torch.nn  LSTM(3, 5, num_layers=2)" in said.out
    assert f"selfloop convert {two} --layer NAME --out weights.safetensors" in said.out


@pytest.mark.parametrize("reset_before", [False, True])
def test_the_weights_that_are_written_are_loaded_by_the_lines_that_are_printed(selfloop, reset_before, tmp_path):
    state = nn.GRU(3, 5).double().state_dict()
    torch.save(state, source := tmp_path / "m.pt")
    if reset_before:
        source = tmp_path / "m.h5"
        recurrent_h5(source)
    out = tmp_path / "w.safetensors"
    said = selfloop("convert", source, "--out", out)
    assert (said.status, said.err) == (0, "")
    code = said.out.partition("In Python:\n\n")[2]
    assert code.startswith("import torch\nfrom safetensors.torch import load_model\nfrom selfloop import ")
    names = {}
    exec(code, names)
    x = torch.ones(1, 1, 3, dtype=torch.float64)
    with pytest.warns(UserWarning, match="weights alone") if reset_before else nullcontext(), torch.no_grad():
        assert torch.equal(names["layer"].eval()(x)[0], sl.convert(source).layer(x)[0])


def test_nothing_is_overwritten(selfloop, two, tmp_path):
    out = tmp_path / "w.safetensors"
    out.write_text("mine")
    said = selfloop("convert", two, "--layer", "decoder", "--out", out)
    assert (said.status, said.out) == (2, "")
    assert f"There is a file {out} already, and convert overwrites nothing. Give a new name." in said.err
    assert out.read_text() == "mine"


def test_a_file_that_cannot_be_written_is_one_sentence(selfloop, two, tmp_path):
    said = selfloop("convert", two, "--layer", "decoder", "--out", two / "w.safetensors")
    assert said.status == 2
    assert "cannot be written" in said.err and "Traceback" not in said.err


def test_one_file_takes_one_layer(selfloop, two, tmp_path):
    said = selfloop("convert", two, "--out", tmp_path / "w.safetensors")
    assert said.status == 2
    assert "--out takes the weights of one layer, and these are encoder, decoder. Choose with --layer." in said.err
    assert not (tmp_path / "w.safetensors").exists()


def test_json_for_machines(selfloop, two):
    rows = json.loads(selfloop("convert", two, "--json").out)
    assert [(row["name"], row["is"], row["parameters"]) for row in rows] == [
        ("encoder", "LSTM(3, 5, num_layers=2)", 440),
        ("decoder", "GRU(3, 5)", 150),
    ]
    assert all(row["difference"] < 1e-5 and row["notes"] == [] for row in rows)


@pytest.mark.parametrize("words", [("missing.pt",), ("{two}", "--layer", "none"), ("{two}", "--nonlinearity", "elu")])
def test_what_goes_wrong_is_one_sentence_and_status_2(selfloop, two, words):
    said = selfloop("convert", *(word.format(two=two) for word in words))
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("selfloop: ") and said.err.count("\n") == 1


def test_notes_are_printed_and_no_warnings(selfloop, tmp_path):
    recurrent_onnx(tmp_path / "m.onnx")
    said = selfloop("convert", tmp_path / "m.onnx")
    assert (said.status, said.err) == (0, "")
    assert "back: It reads from the end" in said.out
