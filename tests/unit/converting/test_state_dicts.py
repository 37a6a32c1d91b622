"""State dicts: the layer gives torch.nn's numbers, and what weights do not tell is asked for."""

import struct
import zipfile

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import selfloop as sl
from selfloop import untrusted
from selfloop.errors import ArgumentError, BackendError, DataError

T, B = 7, 2


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")  # torch's own
@given(
    kind=st.sampled_from(["LSTM", "GRU", "RNN"]),
    inputs=st.sampled_from([3, 8]),
    hidden=st.sampled_from([4]),
    num_layers=st.sampled_from([1, 2, 3]),
    bias=st.booleans(),
    two_way=st.booleans(),
    projected=st.booleans(),
    relu=st.booleans(),
)
def test_any_module_comes_back(kind, inputs, hidden, num_layers, bias, two_way, projected, relu):
    options = {"nonlinearity": "relu" if relu else "tanh"} if kind == "RNN" else {}
    options |= {"proj_size": 1} if kind == "LSTM" and projected else {}
    module = getattr(nn, kind)(inputs, hidden, num_layers, bias=bias, bidirectional=two_way, **options)
    row = sl.convert(module.state_dict(), nonlinearity=options.get("nonlinearity")).row()
    assert (type(row.layer), row.was) == (getattr(sl, kind), f"{kind} of torch.nn")
    assert row.difference < 1e-6
    x = torch.randn(T, B, inputs)
    with torch.no_grad():
        torch.testing.assert_close(row.layer(x)[0], module(x)[0])


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_cell_becomes_a_layer_that_steps(kind):
    cell = getattr(nn, f"{kind}Cell")(3, 5)
    layer = sl.convert(cell.state_dict(), nonlinearity="tanh").layer
    x = torch.randn(B, 3)
    with torch.no_grad():
        own = cell(x)
        torch.testing.assert_close(layer.step(x)[0], own[0] if kind == "LSTM" else own)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 3)
        self.encoder = nn.ModuleDict({"rnn": nn.GRU(3, 4, 2)})
        self.decoder = nn.LSTM(3, 4)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".safetensors"])
def test_modules_of_a_file_are_found_by_their_prefixes(suffix, tmp_path):
    model, path = Model(), tmp_path / f"m{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(model.state_dict(), path)
    else:
        torch.save(model.state_dict(), path)
    converted = sl.convert(path)
    assert {row.name: row.code for row in converted.rows} == {
        "encoder.rnn": "GRU(3, 4, num_layers=2)",
        "decoder": "LSTM(3, 4)",
    }
    assert [*sl.convert(path, layer="decoder")] == ["decoder"]
    with pytest.raises(ArgumentError, match=r"has no layer 'encodr\.rnn'; did you mean 'encoder\.rnn'\?"):
        sl.convert(path, layer="encodr.rnn")


def test_state_dicts_in_checkpoints_are_found(tmp_path):
    model = Model()
    optimizer = torch.optim.Adam(model.parameters())
    checkpoint = {"epoch": 3, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "rates": [0.1, None]}
    torch.save(checkpoint, tmp_path / "m.ckpt")
    assert [*sl.convert(tmp_path / "m.ckpt")] == ["model.encoder.rnn", "model.decoder"]


def test_a_projection_warns_of_nothing():
    """Though torch warns of it at its own call, to which the layer is compared."""
    assert sl.convert(nn.LSTM(3, 4, proj_size=2).state_dict()).row().code == "LSTM(3, 4, proj_size=2)"


def test_doubles_stay_and_halves_become_floats():
    state = nn.GRU(3, 4).double().state_dict()
    assert sl.convert(state).row().code == "GRU(3, 4, dtype=torch.float64)"
    for dtype in (torch.float16, torch.bfloat16):
        layer = sl.convert({name: own.to(dtype) for name, own in state.items()}).layer
        assert layer.weight_hh_l0.dtype == torch.float32


def test_what_is_converted_is_a_copy():
    module = nn.LSTM(3, 4)
    layer = sl.convert(module.state_dict()).layer
    with torch.no_grad():
        layer.weight_hh_l0.zero_()
    assert module.weight_hh_l0.any()


def test_the_random_numbers_of_a_program_stay_as_they_are():
    state = nn.LSTM(3, 4).state_dict()
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    sl.convert(state)
    assert torch.equal(torch.rand(2), expected)


def test_a_nonlinearity_is_not_guessed():
    with pytest.raises(ArgumentError, match=r"an RNN's weights do not tell its nonlinearity\. Give nonlinearity="):
        sl.convert(nn.RNN(3, 4).state_dict())


def changed(state, **tensors):
    return {name: own for name, own in {**state, **tensors}.items() if own is not None}


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        ({"weight_hh_l0": None}, "weight_hh_l0 is missing, beside bias_hh, bias_ih, weight_ih"),
        ({"bias_ih_l0": None}, "bias_ih_l0 is missing, beside"),
        ({"bias_hh_l1": None}, "bias_hh_l1 is missing, beside"),
        ({f"{name}_l0": None for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}, "_l0 is missing"),
        ({"weight_hr_l1": torch.zeros(2, 4)}, "weight_hr_l1 is there, and other layers have none"),
        ({"weight_ih_l0_reverse": torch.zeros(16, 3)}, "_l0_reverse is missing"),
        ({"weight_ih_l999999999": torch.zeros(16, 3)}, "_l2 is missing"),
        ({"weight_hh_l0": torch.zeros(15, 4)}, "weight_hh must have 1, 3 or 4 times as many rows as columns"),
        ({"weight_hh_l0": torch.zeros(16)}, "weight_ih and weight_hh must be matrices"),
        ({"weight_hh_l0": torch.zeros(0, 0)}, "must be matrices"),
        ({"weight_ih_l0": torch.zeros(15, 3)}, r"weight_ih must have shape \(16, 3\), beside .* Got \(15, 3\)"),
        ({"weight_ih_l1": torch.zeros(16, 3)}, r"weight_ih must have shape \(16, 4\)"),
        ({"bias_hh_l0": torch.zeros(12)}, r"bias_hh must have shape \(16\)"),
        ({"bias_hh_l0": torch.full((16,), torch.nan)}, "bias_hh holds numbers that are not finite"),
        ({"weight_hh_l0": torch.zeros(16, 4, dtype=torch.int32)}, "must hold floating-point numbers. Got int32"),
        ({"weight_hh_l0": torch.zeros(16, 4).to_sparse()}, "must be a dense tensor"),
        ({"weight_hh_l0": torch.zeros(16, 4, device="meta")}, "must be a dense tensor"),
        ({"weight_hh_l0": torch.zeros(1).expand(1 << 40, 1 << 20)}, "more numbers than the file holds"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_named(tensors, why):
    state = {f"rnn.{name}": own for name, own in nn.LSTM(3, 4, 2).state_dict().items()}
    with pytest.raises(DataError, match=rf"The state dict, rnn: .*{why}") as caught:
        sl.convert(changed(state, **{f"rnn.{name}": own for name, own in tensors.items()}))
    assert "\n" not in str(caught.value)


def test_a_wrong_order_of_gates_does_not_pass(monkeypatch):
    layer = sl.LSTM.load_state_dict
    monkeypatch.setattr(
        sl.LSTM, "load_state_dict", lambda self, state: layer(self, {n: own.roll(4, 0) for n, own in state.items()})
    )
    with pytest.raises(BackendError, match=r"differs from it by .* so it is refused"):
        sl.convert(nn.LSTM(3, 4).state_dict())


# Files from strangers.


def test_a_whole_module_is_not_unpickled(tmp_path):
    torch.save(nn.LSTM(3, 4), tmp_path / "m.pt")
    with pytest.raises(DataError, match=r"m\.pt is no file of tensors alone, .*save the model's state_dict\(\)"):
        sl.convert(tmp_path / "m.pt")


@pytest.mark.parametrize("content", [b"", b"no file", b"PK\x05\x06" + bytes(18), b"\x80\x02.", bytes(100)])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_that_is_none_is_one_sentence(content, suffix, tmp_path):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"m\.(pt|safetensors)") as caught:
        sl.convert(path)
    assert "\n" not in str(caught.value)


def test_a_header_that_is_too_large_is_not_read(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", 1 << 40) + b"{}")
    with pytest.raises(DataError, match=r"m\.safetensors cannot be read"):
        sl.convert(tmp_path / "m.safetensors")


def test_a_zip_bomb_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(untrusted, "ALWAYS", 1 << 20)
    torch.save(nn.LSTM(3, 4).state_dict(), tmp_path / "m.pt")
    with zipfile.ZipFile(tmp_path / "m.pt", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data/99", bytes(8 << 20))
    with pytest.raises(DataError, match="expands to more than"):
        sl.convert(tmp_path / "m.pt")


def test_a_file_of_no_dict_is_one_sentence(tmp_path):
    torch.save([torch.zeros(3)], tmp_path / "m.pt")
    with pytest.raises(DataError, match=r"must hold a state dict\. Got list instead"):
        sl.convert(tmp_path / "m.pt")


def test_dicts_in_dicts_end():
    state = {"weight_ih_l0": torch.zeros(3, 3)}
    state["itself"] = state
    with pytest.raises(DataError, match="weight_hh_l0 is missing"):
        sl.convert(state)
