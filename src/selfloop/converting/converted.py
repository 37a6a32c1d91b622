"""``convert``: recurrent layers of other libraries' files as selfloop's, with proof."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from selfloop.atomic import replacing
from selfloop.converting import keras_files, onnx_graph, state_dicts
from selfloop.converting.parity import difference
from selfloop.converting.stack import Found, Stack, stacked
from selfloop.errors import ArgumentError, DataError, SelfloopError, first_line, nearest
from selfloop.layers import Recurrent
from selfloop.layers.drop_in import NONLINEARITIES
from selfloop.untrusted import exists, is_file, short, written

SUFFIXES = (".onnx", ".keras", ".h5", ".hdf5", ".safetensors", ".pt", ".pth", ".bin", ".ckpt")
"""Of the files that are read."""


@dataclass(frozen=True)
class ConvertedLayer:
    """A layer or stack of a file.

    Attributes:
        name: of the layer in the file; a stack has those of its layers, with + between them.
        was: what each is there: "LSTM of Keras".
        layer: selfloop's, with its weights, in evaluation.
        code: the call that makes such a layer, as Python.
        difference: the largest between both on random input, relative to the largest value.
        notes: sentences on how a plain call of the layer differs from what the file does.
    """

    name: str
    was: str
    layer: Recurrent
    code: str
    difference: float
    notes: tuple[str, ...] = ()

    def save(self, path: str | Path) -> Path:
        """Write the weights to a new safetensors file.

        `safetensors.torch.load_model(layer, path)` reads it into a layer that `code` makes.

        Raises:
            ArgumentError: there is such a file, or it cannot be written.
        """
        from safetensors.torch import save  # noqa: PLC0415  (takes its time)

        path = Path(path)
        if exists(path):
            raise ArgumentError(f"There is a file {path} already, and convert overwrites nothing. Give a new name.")
        try:
            with replacing(path) as file:
                file.write(
                    save({name: t.contiguous() for name, t in self.layer.state_dict().items()}, {"format": "pt"})
                )
        except (OSError, ValueError) as error:
            raise ArgumentError(f"{path} cannot be written ({getattr(error, 'strerror', None) or error}).") from error
        return path

    def loading(self, path: str | Path) -> str:
        """Python that makes the layer and reads its weights, from a file that `save` wrote."""
        title = self.code.partition("(")[0]
        needs = "Recurrent, cells" if title == "Recurrent" else title
        lines = ["import torch"] if "torch." in self.code else []
        lines += ["from safetensors.torch import load_model", f"from selfloop import {needs}", ""]
        return "\n".join([*lines, f"layer = {self.code}", f"load_model(layer, {str(path)!r})"])


@dataclass(frozen=True)
class Converted(Mapping[str, Recurrent]):
    """The layers that `convert` has made, by name. Printed, it is a table with the largest differences.

    Attributes:
        rows: one for each layer or stack.
    """

    rows: tuple[ConvertedLayer, ...]

    def __getitem__(self, name: str) -> Recurrent:
        return self.row(name).layer

    def __iter__(self) -> Iterator[str]:
        return (row.name for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def layer(self) -> Recurrent:
        """The only one.

        Raises:
            ArgumentError: there are several.
        """
        return self.row().layer

    def row(self, name: str | None = None) -> ConvertedLayer:
        """The row of a name, or the only one.

        Raises:
            ArgumentError: there are several, and no name.
            KeyError: there is none of this name.
        """
        if name is None and len(self.rows) > 1:
            raise ArgumentError(f"There are {len(self)} layers: {', '.join(map(written, self))}. Say which one.")
        return next((row for row in self.rows if name in (None, row.name)), None) or _missing(name)

    def __str__(self) -> str:
        table = [("layer", "was", "is", "difference")]
        table += [(written(row.name) or "-", row.was, row.code, f"{row.difference:.1e}") for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        return "\n".join([*lines, *(f"{written(row.name)}: {note}" for row in self.rows for note in row.notes)])


def _missing(name: str | None) -> ConvertedLayer:
    raise KeyError(name)


def convert(
    source: str | Path | Mapping[str, object],
    *,
    layer: str | Sequence[str] | None = None,
    nonlinearity: str | None = None,
    batch_first: bool | None = None,
) -> Converted:
    """The recurrent layers of an ONNX or Keras file, or of a state dict of torch.nn, as selfloop's.

    Each layer is run beside the file's own mathematics on random input, by onnx' evaluator, Keras' equations in NumPy
    or torch.nn, in float64, and refused where it differs. Layers that stand on one another become one stack,
    where they have one kind and size and nothing else reads what is between them.

    - ONNX: the nodes LSTM (peepholes and coupled gates, too), GRU and RNN, whose weights are constants of the file.
    - Keras: LSTM, GRU and SimpleRNN, an RNN of one of their cells, and Bidirectional, of ``.keras``, and ``.h5`` with a
      model or weights alone. Keras itself is not needed.
    - torch: modules of LSTM, GRU, RNN and their cells, in a state dict, or in a file of one: ``.safetensors``, ``.pt``.

    Nothing in a file is run or unpickled.

    Args:
        source: a file, or a state dict.
        layer: the names of the layers in the file that are wanted; all if None.
        nonlinearity: ``"tanh"`` or ``"relu"``: of an RNN, where the file has its weights alone.
        batch_first: whether the layers take (B, T, I); if None as in the file, and False for a state dict, which does
            not say.

    Returns:
        The layers by name, LSTM, GRU, RNN, or Recurrent of a cell of `selfloop.cells`, in evaluation.

    Raises:
        ArgumentError: an argument does not fit, or is needed.
        DataError: the file cannot be read, a layer is not one that selfloop has, or a package is missing.
        BackendError: a layer differs from the file.

    A note of a layer, such as that it reads from the end, is also a UserWarning.

    Example:
        >>> weights = torch.nn.LSTM(3, 5, num_layers=2).state_dict()
        >>> converted = convert({f"encoder.{name}": tensor for name, tensor in weights.items()})
        >>> converted["encoder"]
        LSTM(lstm, 3 → 5, 2 layers)
        >>> converted.row().difference < 1e-5
        True
    """
    if nonlinearity not in (None, *NONLINEARITIES):
        raise ArgumentError(
            f"The 'nonlinearity' of convert must be 'tanh' or 'relu'. Got {short(nonlinearity)} instead."
        )
    if batch_first is not None and not isinstance(batch_first, bool):
        raise ArgumentError(f"The 'batch_first' of convert must be True or False. Got {short(batch_first)} instead.")
    where, found = _read(source, nonlinearity)
    if not found:
        raise DataError(
            f"{where} has no LSTM, GRU or RNN that can be converted; an RNN that was unrolled into products is none."
        )
    chosen = [_stack(name, found[name], where) for name in _chosen(layer, found, where)]
    rows = []
    for as_found in stacked(chosen):
        stack = as_found if batch_first is None else replace(as_found, batch_first=batch_first)
        made = stack.layer()
        row = ConvertedLayer(stack.name, stack.was, made, stack.code(), difference(stack, made, where), stack.notes)
        for note in stack.notes:
            warnings.warn(f"{where}, {written(stack.name)}: {note}", stacklevel=2)
        rows.append(row)
    return Converted(tuple(rows))


def _read(source: object, nonlinearity: str | None) -> tuple[str, Found]:
    """What errors call the source, and its layers."""
    if isinstance(source, torch.nn.Module):
        raise ArgumentError("The 'source' of convert must be a file or a state dict. Give the module's state_dict().")
    if isinstance(source, Mapping):
        return "The state dict", state_dicts.read(source, "The state dict", nonlinearity)
    if not isinstance(source, str | Path):
        kind = type(source).__name__
        raise ArgumentError(f"The 'source' of convert must be a file or a state dict. Got {kind} instead.")
    path, where = Path(source), written(str(source))
    if not is_file(path):
        raise DataError(f"There is no file '{where}': give one that exists.")
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return where, onnx_graph.read(path, where)
    if suffix in (".keras", ".h5", ".hdf5"):
        return where, keras_files.read(path, where, nonlinearity)
    if suffix in SUFFIXES:
        return where, state_dicts.read(state_dicts.load(path), where, nonlinearity)
    raise DataError(f"{where} must be a file of {', '.join(SUFFIXES)}. Got '{suffix}' instead.")


def _stack(name: str, read: Callable[[], Stack], where: str) -> Stack:
    """A layer of the file, which may hold anything where its own library holds something else."""
    try:
        return read()
    except SelfloopError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError, OverflowError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise DataError(f"{where}: the layer {written(name)} is not as its library writes it ({reason}).") from error


def _chosen(layer: str | Sequence[str] | None, found: Found, where: str) -> Sequence[str]:
    """The names that are wanted, in the file's order."""
    wanted = [layer] if isinstance(layer, str) else layer
    if wanted is None:
        return [*found]
    for name in wanted:
        if name not in found:
            hint = nearest(name, found) or f"; it has {', '.join(written(own) or repr(own) for own in [*found][:20])}."
            raise ArgumentError(f"{where} has no layer {short(name)}{hint}")
    return [name for name in found if name in wanted]
