"""Keras' files: ``.keras``, and ``.h5`` with a whole model or its weights alone. Nothing in them is run, or made."""

import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from selfloop import cells
from selfloop.converting import keras_equations as equations
from selfloop.converting.hdf5 import HDF5, Paths, opened
from selfloop.converting.stack import Found, Numbers, Reference, Stack, Weights, checked, reordered
from selfloop.errors import ArgumentError, DataError, first_line
from selfloop.language import Cell
from selfloop.untrusted import check_expansion, parse_json, short, written

LARGEST_CONFIG = 64 << 20
"""Bytes of a model's configuration; that of 1,000 layers has 2 MB."""

GATES = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4}
SAME = {"Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise", "InputLayer"}
"""Layers that change nothing outside of training."""

_CELL = re.compile(r".*_cell(_\d+)?")
_LAYERS = re.compile(r"(forward|backward)_.*")
_UNREADABLE = (OSError, EOFError, zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError, KeyError)


@dataclass
class _Owner:
    """Where the file keeps the weights of a layer, which it may know by a name.

    Attributes:
        name: of the layer.
        cells: for each direction, the kernel, the recurrent kernel and the bias.
    """

    name: str
    cells: dict[int, tuple[Tensor, ...]] = field(default_factory=dict)


class _Described(NamedTuple):
    """A recurrent layer as the configuration describes it.

    Attributes:
        name: its own.
        path: where Keras 3 keeps its weights.
        class_name: of the layer.
        config: its arguments.
        reads: as that of a `Stack`.
        has_state: whether the model gives it states to start from.
    """

    name: str
    path: Paths
    class_name: str
    config: Mapping[str, Any]
    reads: str | None
    has_state: bool


class _Form(NamedTuple):
    """The equations of a layer in one direction.

    Attributes:
        class_name: ``"LSTM"``, ``"GRU"`` or ``"SimpleRNN"``.
        cell: selfloop's.
        run: Keras'.
        is_reverse: whether it reads from the end.
    """

    class_name: str
    cell: Cell
    run: Callable[..., equations.Result]
    is_reverse: bool = False


def read(path: Path, where: str, nonlinearity: str | None) -> Found:
    """The recurrent layers of a file.

    Args:
        path: the file.
        where: what errors call it.
        nonlinearity: of each `SimpleRNN` of a file that has weights alone.

    Raises:
        DataError: the file cannot be read, or is not Keras'.
    """
    if not zipfile.is_zipfile(path):
        with opened(path, path.stat().st_size, where) as file:
            text = file.text((), "model_config")
            owners = _owners(file)
    else:
        with tempfile.TemporaryFile() as weights:
            text = _unzip(path, where, weights)
            with opened(weights, path.stat().st_size, where) as file:
                owners = _owners(file)
    try:
        described = [] if text is None else [*_layers(parse_json(text), ())]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"{where}: its configuration is not one that Keras writes ({first_line(error)}).") from error
    if not described:
        keys = _keys([(own.name, path) for path, own in owners.items()])
        return {
            key: partial(_stack_of_weights, key, own, f"{where}, layer {written(key)}", nonlinearity)
            for key, own in zip(keys, owners.values(), strict=True)
        }
    keys = _keys([(one.name, one.path) for one in described])
    return {
        key: partial(_stack, key, one, owners, f"{where}, layer {written(key)}")
        for key, one in zip(keys, described, strict=True)
    }


def _keys(layers: Sequence[tuple[str, Paths]]) -> list[str]:
    """What layers are called: by their names, or their paths where names are not unique."""
    names = [name for name, _ in layers]
    return [name if names.count(name) == 1 else "/".join(path) for name, path in layers]


def _unzip(path: Path, where: str, weights: Any) -> str:
    """The configuration in a ``.keras`` file, whose weights go to a file."""
    try:
        with zipfile.ZipFile(path) as archive:
            config, own = archive.getinfo("config.json"), archive.getinfo("model.weights.h5")
            if config.file_size > LARGEST_CONFIG:
                raise ValueError(f"its config.json has {config.file_size:,} bytes, {LARGEST_CONFIG:,} are the most")
            check_expansion(own.compress_size, own.file_size, "unzip")
            with archive.open(own) as member:  # a member never gives more than its file_size
                shutil.copyfileobj(member, weights, 1 << 20)
            return archive.read(config).decode("utf-8")
    except _UNREADABLE as error:
        reason = error.args[0] if isinstance(error, KeyError) else first_line(error)
        raise DataError(f"{where} is no .keras file that can be read ({reason}).") from error


# Weights.


def _owners(file: HDF5) -> dict[Paths, _Owner]:
    """The weights of each recurrent layer, by where they are."""
    found: dict[Paths, _Owner] = {}
    alone: dict[Paths, str] = {}
    for path, names in _cells(file):
        *above, last = path
        if last == "cell":
            way = {"forward_layer": 0, "backward_layer": 1}.get(above[-1] if above else "")
            owner = tuple(above if way is None else above[:-1])
            name = file.text((*owner, "vars"), "name") or "/".join(owner)
        else:
            owner = tuple(above) if above and _CELL.fullmatch(last) else path
            matched = _LAYERS.fullmatch(owner[-1])
            way = None if matched is None or len(owner) == 1 else int(matched[1] == "backward")
            if way is not None:
                alone[owner[:-1]], owner = owner[-1], owner[:-1]
            name = owner[-1]
        own = found.setdefault(owner, _Owner(name)).cells
        own[way or 0] = tuple(file.tensor(name) for name in names)
    for owner, name in alone.items():
        if len(found[owner].cells) == 1:  # a layer that the user called forward_… himself
            found[owner].name = name
    return found


def _cells(file: HDF5) -> Iterator[tuple[Paths, list[Paths]]]:
    """The group of each recurrent cell, and its kernel, recurrent kernel and bias, if it has one."""
    for path in sorted(file.groups):
        if path[-2:] == ("cell", "vars") and (*path, "1") in file.datasets:  # Keras 3
            yield path[:-1], [own for own in ((*path, k) for k in "012") if own in file.datasets]
        for end in ("", ":0"):
            if (*path, f"recurrent_kernel{end}") in file.datasets:
                wanted = ((*path, f"{name}{end}") for name in ("kernel", "recurrent_kernel", "bias"))
                yield path, [own for own in wanted if own in file.datasets]


# The configuration.


def _layers(model: Mapping[str, Any], before: Paths) -> Iterator[_Described]:
    """Each recurrent layer of a model, and of the models in it."""
    config = model["config"]
    entries: Sequence[Any] = config if isinstance(config, list) else config.get("layers", [])
    entries = [one for one in entries if isinstance(one, Mapping) and isinstance(one.get("config"), Mapping)]
    reads = _reads(entries, config)
    used: dict[str, int] = {}
    for one in entries:
        class_name, own = str(one["class_name"]), one["config"]
        short_name = _snake(class_name)
        used[short_name] = used.get(short_name, -1) + 1
        path = (*before, "layers", short_name + (f"_{used[short_name]}" if used[short_name] else ""))
        is_kerass = str(one.get("module") or "keras").split(".", 1)[0] in ("keras", "tensorflow", "tf_keras")
        if is_kerass and class_name in (*GATES, "Bidirectional", "RNN", "CuDNNLSTM", "CuDNNGRU"):
            name = str(own.get("name") or one.get("name"))
            has_state = any(len(call) > 1 for call in _calls(one))
            yield _Described(name, path, class_name, own, reads.get(name), has_state)
        elif "layers" in own:
            yield from _layers(one, path)


def _snake(name: str) -> str:
    """A class's name as Keras 3 writes it in paths."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _calls(entry: Mapping[str, Any]) -> list[list[tuple[str, int]]]:
    """For each call of a layer of a functional model, the layers whose outputs it is given, and which output."""
    return [[*_histories(node)] for node in entry.get("inbound_nodes") or []]


def _histories(value: Any) -> Iterator[tuple[str, int]]:
    if isinstance(value, Mapping):
        for own in (value["keras_history"],) if "keras_history" in value else value.values():
            yield from _histories(own)
    elif isinstance(value, list):
        if len(value) >= 3 and isinstance(value[0], str) and all(isinstance(k, int) for k in value[1:3]):
            yield value[0], value[2]
        for own in value:
            yield from _histories(own)


def _reads(entries: Sequence[Mapping[str, Any]], config: Any) -> dict[str, str]:
    """For each layer, the recurrent layer whose sequences alone it reads, where nothing else reads them."""
    names = [str(one.get("name") or one["config"].get("name")) for one in entries]
    by_name = dict(zip(names, entries, strict=True))
    if any("inbound_nodes" in one for one in entries):
        calls = {name: _calls(one) for name, one in by_name.items()}
        below = {name: own[0][0] for name, own in calls.items() if len(own) == 1 and len(own[0]) == 1}
        uses = [name for own in calls.values() for call in own for name, _ in call]
        uses += [name for name, _ in _histories([config.get("output_layers")])]
    else:
        below, uses = {name: (before, 0) for before, name in pairwise(names)}, names
    found = {}
    for name in names:
        source, output = below.get(name, ("", 0))
        passed = 0
        while by_name.get(source, {}).get("class_name") in SAME and source in below and uses.count(source) == 1:
            source, output = below[source]
            passed += 1
            if passed > len(names):
                break
        own = by_name.get(source, {}).get("config", {})
        if output == 0 and uses.count(source) == 1 and _inner(own).get("return_sequences"):
            found[name] = source
    return found


def _inner(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments of the layer in a `Bidirectional`, or the layer's own."""
    inner = config.get("layer")
    return inner.get("config", {}) if isinstance(inner, Mapping) else config


# From both to a stack.


def _stack(key: str, one: _Described, owners: Mapping[Paths, _Owner], where: str) -> Stack:
    config, layers = one.config, [(one.class_name, one.config)]
    if one.class_name == "Bidirectional":
        merge = config.get("merge_mode")
        if merge != "concat":
            raise DataError(
                f"{where}: its directions are merged by {short(merge)}, and selfloop's layers concatenate them."
            )
        forward = config["layer"]
        backward = config.get("backward_layer") or {
            "class_name": forward["class_name"],
            "config": {**forward["config"], "go_backwards": not forward["config"].get("go_backwards")},
        }
        layers = [(str(each["class_name"]), each["config"]) for each in (forward, backward)]
    kinds = [_kind(*layer, where) for layer in layers]
    owner = _owner(one, layers, owners, where)
    forms = [_form(*kind, owner.cells[way], where) for way, kind in enumerate(kinds)]
    notes = []
    if len(forms) == 2 and (forms[0].cell is not forms[1].cell or [one.is_reverse for one in forms] != [False, True]):
        raise DataError(f"{where}: its directions must be layers of one kind, the first forward and the second back.")
    if len(forms) == 1 and forms[0].is_reverse:
        notes.append("It reads from the end (go_backwards=True): flip the sequences in time, and call the layer.")
    if one.has_state:
        notes.append("The model gives it states to start from: give them to the layer as hx.")
    for _, own in kinds:
        if (units := own.get("units")) != (hidden := len(owner.cells[0][1])):
            raise DataError(f"{where}: it should have {short(units)} units, and its weights are of {hidden}.")
    return _made(
        key, forms, owner, where, reads=one.reads, batch_first=not config.get("time_major"), notes=tuple(notes)
    )


def _owner(
    one: _Described, layers: Sequence[tuple[str, Mapping[str, Any]]], owners: Mapping[Paths, _Owner], where: str
) -> _Owner:
    """The weights of a layer, by its name or where Keras 3 keeps them, or by the names of its two directions."""

    def named(name: object) -> _Owner | None:
        found = [own for own in owners.values() if own.name == name]
        return found[0] if len(found) == 1 else None

    parts = [named(own.get("name")) for _, own in layers]
    both = _Owner(one.name, {way: part.cells[0] for way, part in enumerate(parts) if part and 0 in part.cells})
    for owner in (named(one.name), owners.get(one.path), both):
        if owner is not None and {*owner.cells} == {*range(len(layers))}:
            return owner
    raise DataError(f"{where}: its weights are not in the file, which its configuration describes.")


def _stack_of_weights(name: str, owner: _Owner, where: str, nonlinearity: str | None) -> Stack:
    """Of a file that does not describe the layer."""
    own = owner.cells.get(0, ())
    rows = own[1].shape if len(own) > 1 and own[1].dim() == 2 else (0, 0)
    class_name = next((name for name, gates in GATES.items() if rows[0] and rows[1] == gates * rows[0]), None)
    if class_name is None or {*owner.cells} != {*range(len(owner.cells))}:
        raise DataError(f"{where}: its weights are not those of an LSTM, a GRU or a SimpleRNN.")
    config: dict[str, Any] = {"activation": "tanh", "recurrent_activation": "sigmoid"}
    assumed = ["tanh and sigmoid"]
    if class_name == "SimpleRNN":
        if nonlinearity is None:
            raise ArgumentError(
                f"{where}: the weights of a SimpleRNN do not tell its activation. Give nonlinearity='tanh', which is "
                "Keras' default, or 'relu' (--nonlinearity)."
            )
        config, assumed = {"activation": nonlinearity}, []
    if class_name == "GRU" and len(own) < 3:
        raise DataError(
            f"{where}: the weights of a GRU without bias do not tell its reset_after; save the whole model as .keras."
        )
    if len(owner.cells) == 2:
        assumed.append("directions that are concatenated")
    note = f"The file has weights alone, so Keras' defaults are assumed: {', '.join(assumed)}."
    forms = [_form(class_name, config, own, where) for own in owner.cells.values()]
    return _made(name, forms, owner, where, batch_first=True, notes=(note,) if assumed else ())


def _kind(class_name: str, config: Mapping[str, Any], where: str) -> tuple[str, Mapping[str, Any]]:
    """The class of a layer, and its arguments; those of the cell that an `RNN` has.

    Raises:
        DataError: it is of another class.
    """
    if class_name == "RNN" and isinstance(cell := config.get("cell"), Mapping):
        class_name = str(cell.get("class_name")).removesuffix("Cell")
        config = {**cell.get("config", {}), "go_backwards": config.get("go_backwards")}
    if class_name not in GATES:
        raise DataError(
            f"{where}: a layer of {written(class_name)} is not converted; only LSTM, GRU and SimpleRNN are, an RNN of "
            "one of their cells, and Bidirectional."
        )
    return class_name, config


def _form(class_name: str, config: Mapping[str, Any], weights: Sequence[Tensor], where: str) -> _Form:
    """The equations of a layer, if selfloop has them."""
    is_reverse = bool(config.get("go_backwards"))
    activation = config.get("activation")
    if class_name == "SimpleRNN":
        if activation not in ("tanh", "relu"):
            raise _refused(where, "activation", activation, "'tanh' or 'relu'")
        cell = cells.vanilla if activation == "tanh" else cells.vanilla_relu
        return _Form(class_name, cell, partial(equations.simple_rnn, activation=activation), is_reverse)
    if activation != "tanh":
        raise _refused(where, "activation", activation, "'tanh'")
    if config.get("recurrent_activation") != "sigmoid":
        raise _refused(where, "recurrent_activation", config.get("recurrent_activation"), "'sigmoid'")
    if class_name == "LSTM":
        return _Form(class_name, cells.lstm, equations.lstm, is_reverse)
    is_after = config.get("reset_after")
    if is_after is None and len(weights) > 2:
        is_after = weights[2].dim() == 2
    if is_after is None:
        raise DataError(f"{where}: its configuration has no reset_after, so it is not known when it resets.")
    if is_after:
        return _Form(class_name, cells.gru, equations.gru_reset_after, is_reverse)
    return _Form(class_name, cells.gru_reset_before, equations.gru_reset_before, is_reverse)


def _refused(where: str, name: str, got: object, known: str) -> DataError:
    return DataError(
        f"{where}: its {name} is {short(got)}, and selfloop's cells have {known}. With @selfloop.cell its equations "
        "can be written, and these weights loaded into them."
    )


def _made(name: str, forms: Sequence[_Form], owner: _Owner, where: str, **facts: Any) -> Stack:
    form, gates = forms[0], GATES[forms[0].class_name]
    first = owner.cells[0]
    hidden, inputs = len(first[1]), first[0].shape[0] if first[0].dim() else 0
    is_after = form.cell is cells.gru
    shapes = [(inputs, gates * hidden), (hidden, gates * hidden), (2, 3 * hidden) if is_after else (gates * hidden,)]
    raw = []
    for way in range(len(forms)):
        own = owner.cells[way]
        names = ("the kernel", "the recurrent kernel", "the bias")
        raw.append([checked(where, *each) for each in zip(names, own, shapes, strict=False)])
    return Stack(
        names=(name,),
        was=f"{form.class_name} of Keras",
        cell=form.cell,
        input_size=inputs,
        hidden_size=hidden,
        weights=(tuple(_weights(form.cell, *own) for own in raw),),
        reference=_reference(forms, raw, shapes[2]),
        **facts,
    )


def _weights(cell: Cell, kernel: Tensor, recurrent: Tensor, bias: Tensor | None = None) -> Weights:
    """A direction's weights by the names of selfloop's layers, and in the order of their gates."""
    order = (1, 0, 2) if cell in (cells.gru, cells.gru_reset_before) else (0,)  # of z, r, h
    w, u = reordered(kernel.T, order), reordered(recurrent.T, order)
    if cell is cells.gru_reset_before:
        own = {"W_xh": w, "W_hg": u[: -u.shape[1]], "W_hn": u[-u.shape[1] :]}
        return own if bias is None else {**own, "b": reordered(bias, order)}
    own = {"weight_ih": w, "weight_hh": u}
    if bias is None:
        return own
    both = bias if cell is cells.gru else (bias, torch.zeros_like(bias))  # of the input and of the state
    return own | {name: reordered(each, order) for name, each in zip(("bias_ih", "bias_hh"), both, strict=True)}


def _reference(forms: Sequence[_Form], raw: Sequence[Sequence[Tensor]], shape: tuple[int, ...]) -> Reference:
    """Keras' equations, from the weights as they are in the file."""

    def reference(x: Numbers) -> list[Numbers]:
        outputs, states = [], []
        for way, (form, own) in enumerate(zip(forms, raw, strict=True)):
            arrays = [each.double().numpy() for each in own]
            bias = arrays[2] if len(arrays) > 2 else np.zeros(shape)
            y, last = form.run(x[::-1] if way else x, arrays[0], arrays[1], bias)
            outputs.append(y[::-1] if way else y)
            states.append(last)
        return [np.concatenate(outputs, axis=-1), *(np.stack(own) for own in zip(*states, strict=True))]

    return reference
