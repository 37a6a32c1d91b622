"""State dicts of torch.nn's LSTM, GRU, RNN and their cells: in memory, ``.safetensors``, ``.pt``, ``.pth``."""

import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from selfloop import cells
from selfloop.converting.stack import GATES, Found, Numbers, Reference, Stack, Weights, checked
from selfloop.errors import ArgumentError, DataError, first_line
from selfloop.language import Cell
from selfloop.layers.drop_in import NONLINEARITIES
from selfloop.untrusted import check_expansion, written

NAME = re.compile(
    r"(?:(?P<module>.*)\.)?(?P<name>(?:weight|bias)_(?:ih|hh|hr))(?:_l(?P<layer>\d{1,9})(?P<end>_reverse)?)?"
)
"""The name of a weight of torch.nn's layers, or of their cells, which have no suffix."""

DEEPEST = 8
"""How many dicts a checkpoint may have in one another around a state dict."""

Place = tuple[int, int]
"""The layer and the direction."""


def load(path: Path) -> Mapping[str, Any]:
    """The tensors of a file by name; nothing else in it is made.

    Raises:
        DataError: it cannot be read, or holds more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                own = {name: NAME.fullmatch(name) for name in file.keys()}  # noqa: SIM118
                return {name: file.get_tensor(name) for name, matched in own.items() if matched}
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = sum(info.file_size for info in archive.infolist())
            check_expansion(path.stat().st_size, size, "unzip")
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} cannot be read ({first_line(error)}).") from error
    except MemoryError:
        raise DataError(f"{path} says that it holds more than fits into memory.") from None
    except Exception as error:  # a damaged file, or one of objects: as torch's reader raises them
        raise DataError(
            f"{path} is no file of tensors alone, and nothing else is unpickled; save the model's state_dict() with "
            "torch.save or safetensors, and give that."
        ) from error
    if not isinstance(found, Mapping):
        raise DataError(f"{path} must hold a state dict. Got {type(found).__name__} instead.")
    return found


def read(state: Mapping[str, object], where: str, nonlinearity: str | None) -> Found:
    """The recurrent modules of a state dict, or of a checkpoint that holds some.

    Args:
        state: tensors by name, as ``encoder.rnn.weight_ih_l0``; or dicts of them by name, as of trainers' checkpoints.
        where: it comes from, for errors.
        nonlinearity: ``"tanh"`` or ``"relu"`` of each RNN, which weights do not tell.

    Reading one of them raises ArgumentError where it is an RNN whose nonlinearity is not given, and DataError where
    weights are missing or do not fit one another.
    """
    modules: dict[str, dict[Place, dict[str, Tensor]]] = {}
    for full, tensor in _flat(state):
        matched = NAME.fullmatch(full)
        if matched and isinstance(tensor, Tensor):
            place = int(matched["layer"] or 0), int(matched["end"] is not None)
            modules.setdefault(matched["module"] or "", {}).setdefault(place, {})[matched["name"]] = tensor
    places = {name: f"{where}, {written(name)}" if name else where for name in modules}
    return {name: partial(_stack, name, own, places[name], nonlinearity) for name, own in modules.items()}


def _flat(state: Mapping[Any, Any], before: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The entries of dicts in one another, under names with dots."""
    for name, value in state.items():
        if isinstance(name, str) and isinstance(value, Mapping) and depth < DEEPEST:
            yield from _flat(value, f"{before}{name}.", depth + 1)
        elif isinstance(name, str):
            yield before + name, value


def _stack(name: str, found: Mapping[Place, Weights], where: str, nonlinearity: str | None) -> Stack:
    num_layers, directions = 1 + max(layer for layer, _ in found), 1 + max(way for _, way in found)
    first = found.get((0, 0), {})
    must = {"weight_ih", "weight_hh", *first}
    if any(one.startswith("bias") for one in must):
        must |= {"bias_ih", "bias_hh"}
    for k in range(min(num_layers, 1 + len(found))):  # a number in a name may be anything
        for way in range(directions):
            if differ := must ^ {*found.get((k, way), {})}:
                one, end = min(differ), f"_l{k}{'_reverse' * way}"
                is_there = one in found.get((k, way), {})
                raise DataError(
                    f"{where}: {one}{end} is there, and other layers have none."
                    if is_there
                    else f"{where}: {one}{end} is missing, beside {', '.join(sorted(must - {one}))}."
                )
    for own in found.values():
        for one, tensor in own.items():
            _check_plain(where, one, tensor)
    title, hidden_size, proj_size = _kind(first, where)
    input_size, output, rows = first["weight_ih"].shape[1], proj_size or hidden_size, GATES[title] * hidden_size
    shapes = {
        "weight_hh": (rows, output),
        "bias_ih": (rows,),
        "bias_hh": (rows,),
        "weight_hr": (proj_size, hidden_size),
    }

    def weights_of(k: int, way: int) -> Weights:
        own = {**shapes, "weight_ih": (rows, directions * output if k else input_size)}
        return {one: checked(where, one, tensor, own[one]) for one, tensor in found[k, way].items()}

    weights = tuple(tuple(weights_of(k, way) for way in range(directions)) for k in range(num_layers))
    return Stack(
        names=(name,),
        was=f"{title} of torch.nn",
        cell=_cell(title, proj_size, where, nonlinearity),
        input_size=input_size,
        hidden_size=hidden_size,
        proj_size=proj_size,
        weights=weights,
        reference=_reference(title, weights, nonlinearity, hidden_size, proj_size),
    )


def _check_plain(where: str, name: str, tensor: Tensor) -> None:
    """Raise DataError unless a tensor is dense and in memory: a file may say that one number is a trillion."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta or tensor.is_nested:
        raise DataError(f"{where}: {name} must be a dense tensor with its numbers in memory, and it is not.")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise DataError(f"{where}: {name} says that it has more numbers than the file holds.")


def _kind(weights: Weights, where: str) -> tuple[str, int, int]:
    """The class of torch.nn, and the hidden and the projected size, from the shapes."""
    projection, shape = weights.get("weight_hr"), tuple(weights["weight_hh"].shape)
    if len(shape) != 2 or weights["weight_ih"].dim() != 2 or 0 in shape:
        raise DataError(f"{where}: weight_ih and weight_hh must be matrices. Got shape {shape} of weight_hh.")
    if projection is not None and projection.dim() == 2:
        return "LSTM", int(projection.shape[1]), int(projection.shape[0])
    for title, gates in GATES.items():
        if shape[0] == gates * shape[1]:
            return title, shape[1], 0
    raise DataError(
        f"{where}: weight_hh must have 1, 3 or 4 times as many rows as columns, as an RNN, a GRU or an LSTM has. "
        f"Got shape {shape} instead."
    )


def _cell(title: str, proj_size: int, where: str, nonlinearity: str | None) -> Cell:
    if title == "RNN":
        if nonlinearity is None:
            raise ArgumentError(
                f"{where}: an RNN's weights do not tell its nonlinearity. Give nonlinearity='tanh', which is "
                "torch.nn's default, or 'relu' (--nonlinearity)."
            )
        return NONLINEARITIES[nonlinearity]
    return {"GRU": cells.gru, "LSTM": cells.projected_lstm if proj_size else cells.lstm}[title]


def _reference(
    title: str, weights: tuple[tuple[Weights, ...], ...], nonlinearity: str | None, hidden_size: int, proj_size: int
) -> Reference:
    """torch.nn's own layer, in float64."""

    def reference(x: Numbers) -> list[Numbers]:
        first = weights[0][0]
        options: dict[str, Any] = {"proj_size": proj_size} if proj_size else {}
        if title == "RNN":
            options["nonlinearity"] = nonlinearity
        with torch.random.fork_rng(devices=[]):
            layer: nn.RNNBase = getattr(nn, title)(
                first["weight_ih"].shape[1],
                hidden_size,
                num_layers=len(weights),
                bias="bias_ih" in first,
                bidirectional=len(weights[0]) == 2,
                dtype=torch.float64,
                **options,
            )
        layer.load_state_dict(
            {
                f"{name}_l{k}{'_reverse' * way}": tensor
                for k, own in enumerate(weights)
                for way, each in enumerate(own)
                for name, tensor in each.items()
            }
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
            y, state = layer(torch.from_numpy(x).double())
        return [own.numpy() for own in (y, *(state if isinstance(state, tuple) else (state,)))]

    return reference
