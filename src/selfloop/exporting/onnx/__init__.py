"""Recurrent stacks in ONNX."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selfloop.errors import BackendError
from selfloop.exporting.exported import Exported
from selfloop.layers import Recurrent

__all__ = ["export_onnx", "onnx_translations"]


def export_onnx(model: Recurrent, out: str | Path, *, name: str = "model") -> Exported:
    """Write a stack as ONNX, tried in ONNX Runtime before it is written: whole sequences, and one step.

    The folder gets two files. Batch and time are free in both; numbers are float32.

    - ``NAME.onnx``: from ``x``, (T, B, I) or as `batch_first` says, and ``lengths``, (B,) of int64, to ``y``, zero
      beyond the lengths, and the last states.
    - ``step.onnx``: from ``x``, (B, I), and states to ``y``, (B, H), and the new states.

    A state ``h`` of layer 0 is ``state.h.0`` where a step takes it and ``new_state.h.0`` where it is given, both (B,
    ·); in the backward direction ``new_state.h.0.reverse``. Further inputs have the cell's names, and are laid out as
    ``x``. Sequences start where the stack starts them: at zero, or with `learn_state` where it has learnt; a sequence
    of length 0 gives that state.

    Cells that are ONNX's LSTM, GRU or RNN use these operators; all others are a Scan over their equations.

    Args:
        model: a stack of any cell; in both directions it has no step, so no ``step.onnx``.
        out: a folder, new or empty.
        name: of the model of whole sequences.

    Returns:
        The files, their sizes, the time of a step, and how far ONNX Runtime is from selfloop.

    Raises:
        ArgumentError: the stack cannot be exported, or the folder is not empty.
        BackendError: what was made does not give selfloop's numbers, or a package that this needs is not installed.

    Example:
        >>> import tempfile
        >>> from selfloop import GRU
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = export_onnx(GRU(3, 8), f"{folder}/gru")
        >>> [path.name for path in made.files]
        ['model.onnx', 'step.onnx']
        >>> made.sizes["state"]
        32
    """
    return _module("export").export_onnx(model, out, name=name)  # type: ignore[no-any-return]


def onnx_translations() -> dict[Callable[..., object], Callable[..., object]]:
    """What lets torch.onnx export modules that hold selfloop's layers: its `custom_translation_table`.

    Layers become what `export_onnx` makes of them; lengths, states, resets and `step` are seen as the module uses them.
    The module must be in evaluation.

    Returns:
        For each operator that torch.export sees of a layer, the function that writes it in ONNX.

    Raises:
        BackendError: a package that this needs is not installed.

    Example:
        >>> table = onnx_translations()
        >>> [str(operator) for operator in table]
        ['selfloop.forward.default', 'selfloop.interpret.default']

        ``torch.onnx.export(module.eval(), (x,), dynamo=True, custom_translation_table=table)`` then knows them.
    """
    return _module("translations").table()  # type: ignore[no-any-return]


def _module(name: str) -> Any:
    """A module of this package; they import onnx, which need not be installed."""
    try:
        return importlib.import_module(f"selfloop.exporting.onnx.{name}")
    except ModuleNotFoundError as error:
        raise BackendError(
            f"ONNX needs the package '{error.name}', which is not installed: pip install 'selfloop[export]'."
        ) from None
