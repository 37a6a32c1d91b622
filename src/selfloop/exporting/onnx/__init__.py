"""Recurrent stacks in ONNX."""

import importlib
from collections.abc import Callable
from typing import Any

from selfloop.errors import BackendError

__all__ = ["onnx_translations"]


def onnx_translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """What lets torch.onnx export modules that hold selfloop's layers: its `custom_translation_table`.

    Layers become ONNX's LSTM, GRU and RNN where they are these, else Scan over the cell's equations; batch and time
    may be dynamic, and lengths an input.

    Raises:
        BackendError: a package that this needs is not installed.
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
