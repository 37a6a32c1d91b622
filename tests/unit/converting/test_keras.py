"""Keras' files: each layer gives, as one of selfloop, what Keras itself gives. Keras is here for that alone."""

import io
import json
import os
import random
import shutil
import warnings
import zipfile

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import selfloop as sl
from selfloop import untrusted
from selfloop.converting import keras_files
from selfloop.errors import ArgumentError, BackendError, DataError

os.environ["KERAS_BACKEND"] = "torch"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import keras
    from keras import layers

SUFFIXES = (".keras", ".h5")
B, T, INPUTS = 2, 7, 3
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")  # Keras' own


def model(*stack, inputs=INPUTS):
    """A sequential model, whose biases are not zeros."""
    made = keras.Sequential([keras.Input((T, inputs)), *stack])
    rng = np.random.default_rng(0)
    made.set_weights([rng.standard_normal(own.shape).astype("float32") / 2 for own in made.get_weights()])
    return made


def saved(made, path):
    made.save(path)
    return path


def output(made, x):
    with torch.no_grad():
        return made(x.numpy(), training=False)


def equal(own, keras_own):
    torch.testing.assert_close(own, keras_own, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("layer", "becomes"),
    [
        (lambda **k: layers.LSTM(5, **k), "LSTM(3, 5, batch_first=True)"),
        (lambda **k: layers.LSTM(5, unit_forget_bias=False, dropout=0.2, recurrent_dropout=0.1, **k),
         "LSTM(3, 5, batch_first=True)"),
        (lambda **k: layers.LSTM(5, use_bias=False, **k), "LSTM(3, 5, bias=False, batch_first=True)"),
        (lambda **k: layers.GRU(5, **k), "GRU(3, 5, batch_first=True)"),
        (lambda **k: layers.GRU(5, use_bias=False, **k), "GRU(3, 5, bias=False, batch_first=True)"),
        (lambda **k: layers.GRU(5, reset_after=False, **k),
         "Recurrent(cells.gru_reset_before, 3, 5, batch_first=True)"),
        (lambda **k: layers.GRU(5, reset_after=False, use_bias=False, **k),
         "Recurrent(cells.gru_reset_before, 3, 5, batch_first=True)"),
        (lambda **k: layers.SimpleRNN(5, **k), "RNN(3, 5, batch_first=True)"),
        (lambda **k: layers.SimpleRNN(5, activation="relu", **k), "RNN(3, 5, nonlinearity='relu', batch_first=True)"),
        (lambda **k: layers.Bidirectional(layers.LSTM(5, **k)), "LSTM(3, 5, batch_first=True, bidirectional=True)"),
        (lambda **k: layers.Bidirectional(layers.GRU(5, reset_after=False, **k)),
         "Recurrent(cells.gru_reset_before, 3, 5, batch_first=True, bidirectional=True)"),
        (lambda **k: layers.Bidirectional(
            layers.SimpleRNN(5, **k), backward_layer=layers.SimpleRNN(5, go_backwards=True, **k)),
         "RNN(3, 5, batch_first=True, bidirectional=True)"),
        (lambda **k: layers.RNN(layers.GRUCell(5), **k), "GRU(3, 5, batch_first=True)"),
    ],
)  # fmt: skip
def test_a_layer_becomes_one_with_its_numbers(layer, becomes, suffix, tmp_path):
    made = model(layer(return_sequences=True))
    row = sl.convert(saved(made, tmp_path / f"m{suffix}")).row()
    assert (row.code, row.name, row.notes) == (becomes, made.layers[0].name, ())
    assert row.difference < 1e-6
    x = torch.randn(B, T, INPUTS)
    with torch.no_grad():
        equal(row.layer(x)[0], output(made, x))


@given(
    kind=st.sampled_from(["LSTM", "GRU", "SimpleRNN"]),
    inputs=st.sampled_from([1, 3]),
    units=st.sampled_from([1, 4]),
    bias=st.booleans(),
    two_way=st.booleans(),
    before=st.booleans(),
    weights_alone=st.booleans(),
)
@pytest.mark.filterwarnings("ignore:.*The file has weights alone")
def test_any_layer_gives_keras_last_output_and_states(
    tmp_path_factory, kind, inputs, units, bias, two_way, before, weights_alone
):
    options = {"reset_after": not before} if kind == "GRU" else {}
    bias = bias or (weights_alone and kind == "GRU")  # without it they do not say when it resets
    inner = getattr(layers, kind)(units, use_bias=bias, return_state=True, **options)
    x, read = torch.randn(B, T, inputs), keras.Input((T, inputs))
    made = keras.Model(read, (layers.Bidirectional(inner) if two_way else inner)(read))
    rng = np.random.default_rng(1)
    made.set_weights([rng.standard_normal(own.shape).astype("float32") for own in made.get_weights()])
    path = tmp_path_factory.mktemp("any") / ("m.weights.h5" if weights_alone else "m.keras")
    made.save_weights(path) if weights_alone else made.save(path)
    layer = sl.convert(path, nonlinearity="tanh" if weights_alone else None).layer
    with torch.no_grad():
        y, states = layer(x)
    y = torch.cat([y[:, -1, :units], y[:, 0, units:]], dim=-1) if two_way else y[:, -1]
    states = [*states.tensors.values()] if isinstance(states, sl.State) else states if kind == "LSTM" else [states]
    own = [own for way in range(1 + two_way) for own in (each[way] for each in states)]
    for mine, theirs in zip([y, *own], output(made, x), strict=True):
        equal(mine, theirs)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_layers_that_stand_on_one_another_are_a_stack(suffix, tmp_path):
    made = model(
        layers.LSTM(5, return_sequences=True, name="first"),
        layers.Dropout(0.5),
        layers.LSTM(5, return_sequences=True, name="second"),
        layers.LSTM(4, return_sequences=True, name="third"),
    )
    path = saved(made, tmp_path / f"m{suffix}")
    converted = sl.convert(path)
    assert {name: str(layer) for name, layer in converted.items()} == {
        "first+second": "LSTM(lstm, 3 → 5, 2 layers, batch_first)",
        "third": "LSTM(lstm, 5 → 4, batch_first)",
    }
    x = torch.randn(B, T, INPUTS)
    with torch.no_grad():
        equal(converted["third"](converted["first+second"](x)[0])[0], output(made, x))
    assert [*sl.convert(path, layer="second")] == ["second"]


def functional(use):
    read = keras.Input((T, INPUTS))
    first = layers.LSTM(5, return_sequences=True, name="first")
    second = layers.LSTM(5, return_sequences=True, name="second")
    return keras.Model(read, use(read, first, second))


def other_states(x, first, second):
    _, *states = layers.LSTM(5, return_sequences=True, return_state=True, name="other")(x)
    return second(first(x), initial_state=[own * 2 for own in states])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("use", "names"),
    [
        (lambda x, first, second: second(layers.Dropout(0.1)(first(x))), ["first+second"]),
        (lambda x, first, second: [second(y := first(x)), y], ["first", "second"]),
        (lambda x, first, second: layers.Add()([second(y := first(x)), y]), ["first", "second"]),
        (lambda x, first, second: second(layers.Activation("relu")(first(x))), ["first", "second"]),
        (lambda x, first, second: [second(first(x)), second(layers.Dense(5)(x))], ["first", "second"]),
    ],
    ids=["stack", "an output between", "a reader between", "an operation between", "called twice"],
)
def test_stacks_of_functional_models(use, names, suffix, tmp_path):
    assert [*sl.convert(saved(functional(use), tmp_path / f"m{suffix}"))] == names


def test_states_that_the_model_gives_are_said(tmp_path):
    path = saved(functional(other_states), tmp_path / "m.keras")
    with pytest.warns(UserWarning, match="second: The model gives it states to start from"):
        assert sl.convert(path, layer="second").row().notes


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_layers_in_models_in_models(suffix, tmp_path):
    """Of several kinds, and two names of Keras' own that count up."""
    keras.backend.clear_session()
    inner = keras.Sequential(
        [keras.Input((T, 4)), layers.GRU(4, return_sequences=True), layers.Dense(4), layers.GRU(4, name="deep")],
        name="inner",
    )
    made = model(layers.LSTM(4, return_sequences=True, name="mine"), inner)
    converted = sl.convert(saved(made, tmp_path / f"m{suffix}"))
    assert [*converted] == ["mine", inner.layers[0].name, "deep"]
    x = torch.randn(B, T, INPUTS)
    with torch.no_grad():
        y = converted[inner.layers[0].name](converted["mine"](x)[0])[0]
        y = output(inner.layers[1], y)
        equal(converted["deep"](y)[0][:, -1], output(made, x))


def test_a_file_of_an_older_keras_3_has_no_names(tmp_path):
    """Weights are found by the classes, which are counted in the order of the configuration."""
    made = model(layers.GRU(4, return_sequences=True, name="one"), layers.GRU(4, return_sequences=True, name="two"))
    path = saved(made, tmp_path / "m.keras")
    edited(path, lambda file: [file[f"layers/{name}/vars"].attrs.pop("name") for name in ("gru", "gru_1")])
    converted = sl.convert(path)
    assert [*converted] == ["one+two"]
    x = torch.randn(B, T, INPUTS)
    with torch.no_grad():
        equal(converted.layer(x)[0], output(made, x))


def edited(path, edit, config=None):
    """A .keras file whose weights or configuration are changed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    weights = io.BytesIO(members["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        edit(file)
    members["model.weights.h5"] = weights.getvalue()
    if config is not None:
        described = json.loads(members["config.json"])
        config(described)
        members["config.json"] = json.dumps(described).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def legacy(path, arrays, config=None):
    """A .h5 file as tf.keras wrote it: weights by names with :0, under the group of their layer."""
    with h5py.File(path, "w") as file:
        root = file if config is None else file.create_group("model_weights")
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
        for name, array in arrays.items():
            root[f"{name}:0"] = array
    return path


@pytest.mark.parametrize("with_config", [False, True])
def test_files_of_tensorflows_keras(with_config, tmp_path):
    """Whose configurations name layers by lists, and know no module."""
    made = model(layers.Bidirectional(layers.LSTM(5, return_sequences=True)))
    names = [
        f"two_way/two_way/{way}_lstm/lstm_cell{number}/{weight}"
        for way, number in (("forward", "_1"), ("backward", "_2"))
        for weight in ("kernel", "recurrent_kernel", "bias")
    ]
    inner = {"units": 5, "activation": "tanh", "recurrent_activation": "sigmoid", "return_sequences": True}
    config = {
        "class_name": "Functional",
        "config": {
            "layers": [
                {"class_name": "InputLayer", "config": {"name": "in"}, "name": "in", "inbound_nodes": []},
                {"class_name": "Bidirectional", "name": "two_way", "inbound_nodes": [[["in", 0, 0, {}]]],
                 "config": {"name": "two_way", "merge_mode": "concat",
                            "layer": {"class_name": "LSTM", "config": {"name": "lstm", **inner}}}},
            ],
            "output_layers": [["two_way", 0, 0]],
        },
    }  # fmt: skip
    path = legacy(tmp_path / "m.h5", dict(zip(names, made.get_weights(), strict=True)), config if with_config else None)
    if with_config:
        row = sl.convert(path).row()
    else:
        with pytest.warns(UserWarning, match="Keras' defaults are assumed: tanh and sigmoid, directions that are conc"):
            row = sl.convert(path).row()
    assert row.name == "two_way"
    x = torch.randn(B, T, INPUTS)
    with torch.no_grad():
        equal(row.layer(x)[0], output(made, x))


def test_a_gru_of_an_old_keras_is_known_by_its_bias(tmp_path):
    """Which had no reset_after in its configuration, and no cells in its names."""
    made = model(layers.GRU(5, reset_after=False, return_sequences=True))
    config = [{"class_name": "GRU", "config": {"name": "gru_1", "units": 5, "activation": "tanh",
                                               "recurrent_activation": "sigmoid"}}]  # fmt: skip
    names = [f"gru_1/gru_1/{weight}" for weight in ("kernel", "recurrent_kernel", "bias")]
    weights = dict(zip(names, made.get_weights(), strict=True))
    path = legacy(tmp_path / "m.h5", weights, {"class_name": "Sequential", "config": config})
    assert sl.convert(path).row().code.startswith("Recurrent(cells.gru_reset_before")


def test_a_layer_that_goes_backwards_is_said(tmp_path):
    made = model(layers.LSTM(5, return_sequences=True, go_backwards=True, name="back"))
    with pytest.warns(UserWarning, match="back: It reads from the end"):
        layer = sl.convert(saved(made, tmp_path / "m.keras")).layer
    x = torch.randn(B, T, INPUTS)
    with torch.no_grad():
        equal(layer(x.flip(1))[0], output(made, x))


def test_weights_alone_do_not_tell_the_activation_of_a_simple_rnn(tmp_path):
    made = model(layers.SimpleRNN(5, activation="relu", return_sequences=True))
    made.save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(ArgumentError, match=r"do not tell its activation\. Give nonlinearity='tanh'"):
        sl.convert(tmp_path / "m.weights.h5")
    x = torch.randn(B, T, INPUTS)
    with torch.no_grad():
        equal(sl.convert(tmp_path / "m.weights.h5", nonlinearity="relu").layer(x)[0], output(made, x))


@pytest.mark.filterwarnings("ignore:.*The file has weights alone")
def test_weights_of_one_name_in_two_models_are_both_there(tmp_path):
    weights = model(layers.LSTM(5)).get_weights()
    names = [f"{outer}/lstm/lstm_cell/{own}" for outer in ("a", "b") for own in ("kernel", "recurrent_kernel", "bias")]
    path = legacy(tmp_path / "m.h5", dict(zip(names, weights * 2, strict=True)))
    assert [*sl.convert(path)] == ["a/lstm", "b/lstm"]


def test_weights_of_a_gru_without_bias_do_not_tell_when_it_resets(tmp_path):
    model(layers.GRU(5, use_bias=False)).save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(DataError, match=r"do not tell its reset_after; save the whole model as \.keras"):
        sl.convert(tmp_path / "m.weights.h5")


@keras.saving.register_keras_serializable("mine")
class Own(layers.Layer):
    """A class that the file names, and nothing makes."""

    def call(self, x):
        return x


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (lambda: layers.LSTM(5, recurrent_activation="hard_sigmoid"),
         "its recurrent_activation is 'hard_sigmoid', and selfloop's cells have 'sigmoid'"),
        (lambda: layers.LSTM(5, activation="relu"), "its activation is 'relu', and selfloop's cells have 'tanh'"),
        (lambda: layers.SimpleRNN(5, activation="elu"), "its activation is 'elu', .* have 'tanh' or 'relu'"),
        (lambda: layers.SimpleRNN(5, activation=lambda x: x), "its activation is {'value'"),
        (lambda: layers.Bidirectional(layers.LSTM(5), merge_mode="sum"), "its directions are merged by 'sum'"),
        (lambda: layers.Bidirectional(layers.LSTM(5), merge_mode=None), "its directions are merged by None"),
        (lambda: layers.RNN([layers.LSTMCell(5), layers.LSTMCell(4)]), "a layer of StackedRNN"),
        (lambda: layers.Bidirectional(layers.LSTM(5), backward_layer=layers.GRU(5, go_backwards=True)),
         "its directions must be layers of one kind"),
    ],
)  # fmt: skip
def test_what_no_cell_computes_is_refused(layer, why, tmp_path):
    with pytest.raises(DataError, match=rf"m\.keras, layer \w+: {why}"):
        sl.convert(saved(model(layer()), tmp_path / "m.keras"))


def test_a_layer_that_is_refused_leaves_the_others(tmp_path):
    path = saved(
        model(layers.LSTM(5, activation="relu", return_sequences=True), layers.GRU(5, name="good")),
        tmp_path / "m.keras",
    )
    assert [*sl.convert(path, layer="good")] == ["good"]
    with pytest.raises(ArgumentError, match=r"m\.keras has no layer 'god'; did you mean 'good'\?"):
        sl.convert(path, layer="god")


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_nothing_of_the_users_is_made_or_run(tmp_path):
    """Own classes and Lambda layers are passed over, though they hold code."""
    made = model(Own(), layers.Lambda(lambda x: 2 * x), layers.LSTM(5, name="mine"), layers.Dense(2))
    assert [*sl.convert(saved(made, tmp_path / "m.keras"))] == ["mine"]


def test_a_custom_class_of_a_known_name_is_not_taken_for_it(tmp_path):
    path = saved(model(layers.LSTM(5)), tmp_path / "m.keras")

    def customise(config):
        config["config"]["layers"][1]["module"] = "mine.layers"

    edited(path, lambda file: None, customise)
    with pytest.warns(UserWarning, match="has weights alone"), warnings.catch_warnings():
        warnings.simplefilter("always")
        sl.convert(path)


def test_a_wrong_order_of_gates_does_not_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(keras_files, "reordered", lambda weight, order: weight)
    with pytest.raises(BackendError, match=r"differs from it by .* so it is refused"):
        sl.convert(saved(model(layers.GRU(5)), tmp_path / "m.keras"))


# Files from strangers.


def written(path, edit):
    """A file of weights alone, and what was done to it."""
    made = model(layers.LSTM(5, name="mine"))
    made.save_weights(path)
    with h5py.File(path, "r+") as file:
        edit(file, "layers/lstm/cell/vars/0")
    return path


def outside(file, name):
    del file[name]
    file[name] = h5py.ExternalLink("/etc/hostname", "/x")


def external(file, name):
    del file[name]
    file.create_dataset(name, (3, 20), "f4", external=[("/etc/hostname", 0, 240)])


def virtual(file, name):
    del file[name]
    layout = h5py.VirtualLayout((3, 20), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3, 20))
    file.create_virtual_dataset(name, layout)


def huge(file, name):
    del file[name]
    file.create_dataset(name, (1 << 20, 1 << 20), "f4", chunks=(64, 64))


def of(array):
    def edit(file, name):
        del file[name]
        file[name] = array

    return edit


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (outside, "is a link to another file, which is not opened"),
        (external, "the numbers of layers/lstm/cell/vars/0 lie in another file"),
        (virtual, "the numbers of layers/lstm/cell/vars/0 lie in another file"),
        (huge, "expands to more than"),
        (of(np.full((3, 20), np.nan, "f4")), "the kernel holds numbers that are not finite"),
        (of(np.zeros((3, 19), "f4")), r"the kernel must have shape \(3, 20\)"),
        (of(np.zeros(20, "f4")), "the kernel must have shape"),
        (of(np.zeros((0, 20), "f4")), "the kernel is empty"),
        (of(np.zeros((3, 20), "i4")), "must hold floating-point numbers"),
        (of(np.array("text", dtype="S4")), "must hold floating-point numbers"),
        (lambda file, name: file.__delitem__(name), "its weights are not those of an LSTM"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*The file has weights alone")
def test_a_hostile_dataset_is_one_sentence(edit, why, tmp_path):
    with pytest.raises(DataError, match=why) as caught:
        sl.convert(written(tmp_path / "m.weights.h5", edit))
    assert "\n" not in str(caught.value)


def test_groups_that_hold_one_another_end(tmp_path):
    def loop(file, name):
        file["layers/lstm/again"] = file["layers"]
        file["layers/soft"] = h5py.SoftLink("/layers/lstm")

    with pytest.warns(UserWarning, match="weights alone"):
        assert len(sl.convert(written(tmp_path / "m.weights.h5", loop))) == 1


@pytest.mark.parametrize("content", [b"", b"no file", b"\x89HDF\r\n\x1a\n" + bytes(100), b"PK\x05\x06" + bytes(18)])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_none_is_one_sentence(content, suffix, tmp_path):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"m\.(keras|h5) (cannot be read as HDF5|is no \.keras file)"):
        sl.convert(path)


def test_a_file_that_is_cut_off_is_one_sentence(tmp_path):
    for suffix in SUFFIXES:
        path = saved(model(layers.LSTM(5)), tmp_path / f"m{suffix}")
        path.write_bytes(path.read_bytes()[:-700])
        with pytest.raises(DataError):
            sl.convert(path)


@pytest.mark.parametrize(
    "config",
    [
        lambda c: c.clear(),
        lambda c: c.update(config=3),
        lambda c: c["config"].update(layers=3),
        lambda c: c["config"]["layers"].append([]),
        lambda c: c["config"]["layers"][1]["config"].update(units=6),
        lambda c: c["config"]["layers"][1]["config"].update(name=None),
        lambda c: c["config"]["layers"][1].update(class_name=["LSTM"]),
        lambda c: c["config"]["layers"][1].update(class_name="Bidirectional"),
        lambda c: c["config"]["layers"][1].update(inbound_nodes=[3, [["x", 0, 0]]]),
        lambda c: c["config"]["layers"].append(c["config"]["layers"][1]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*The file has weights alone")
def test_a_damaged_configuration_is_one_sentence_or_does_not_matter(config, tmp_path):
    path = saved(model(layers.LSTM(5, name="mine")), tmp_path / "m.keras")
    edited(path, lambda file: None, config)
    try:
        assert len(sl.convert(path)) in (1, 2)
    except DataError as error:
        assert "\n" not in str(error)


def places(value):
    """Every place in a configuration."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in [*items]:
        yield value, key
        yield from places(inner)


@pytest.mark.filterwarnings("ignore:.*(The file has weights alone|reads from the end|gives it states)")
def test_a_configuration_that_holds_anything_is_one_sentence_or_does_not_matter(tmp_path):
    path = saved(functional(other_states), tmp_path / "whole.keras")
    draw, other = random.Random(0), [None, -1, "x", [], {}, True, [["first", 0, 0]], {"config": 3}, 2**70]

    def change(config):
        for _ in range(2):
            parent, key = draw.choice([*places(config)])
            parent[key] = draw.choice(other)

    for _ in range(60):
        damaged = shutil.copy(path, tmp_path / "m.keras")
        edited(damaged, lambda file: None, change)
        try:
            sl.convert(damaged)
        except DataError as error:
            assert "\n" not in str(error)


def test_a_zip_bomb_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(untrusted, "ALWAYS", 1 << 20)
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(8 << 20))
    with pytest.raises(DataError, match="expands to more than"):
        sl.convert(path)


def test_a_configuration_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(keras_files, "LARGEST_CONFIG", 100)
    with pytest.raises(DataError, match=r"its config\.json has [\d,]+ bytes, 100 are the most"):
        sl.convert(saved(model(layers.LSTM(5)), tmp_path / "m.keras"))
