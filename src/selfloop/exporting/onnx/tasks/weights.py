"""Shorter weights: matrices rounded to bfloat16, or to int8 with a scale for each row.

The network is rounded before it is exported, so that its score tells what that costs. The rounded numbers are then kept
in the file by half or a quarter of the bytes, without a further loss; ONNX Runtime makes float32 of them when it opens
the file.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Floats: TypeAlias = NDArray[np.float32]

LARGEST = 127
"""Of a weight in int8."""

SMALLEST = 256
"""Weights of a matrix that is worth it."""


def round_weights(model: nn.Module, kind: str) -> None:
    """Round the matrices of a network, in place: ``"f32"`` leaves them, ``"bf16"`` and ``"int8"`` have fewer digits."""
    for parameter in model.parameters():
        if kind != "f32" and parameter.dim() == 2:
            parameter.data.copy_(ROUNDED[kind](parameter.data))


def _bfloat16(weights: Tensor) -> Tensor:
    return weights.bfloat16().float()


def _int8(weights: Tensor) -> Tensor:
    """Whole multiples of a scale for each row.

    A scale has 16 digits and not 24, so that its multiples are exact, and tell the scale again.
    """
    largest = weights.abs().amax(1, keepdim=True).cpu().numpy()
    scale = ((largest / LARGEST).view(np.uint32) + 0xFF & ~np.uint32(0xFF)).view(np.float32)
    scales = torch.from_numpy(np.where(scale > 0, scale, 1)).to(weights)
    return (weights / scales).round() * scales


ROUNDED: dict[str, Callable[[Tensor], Tensor]] = {"bf16": _bfloat16, "int8": _int8}


def shorten(model: Any, kind: str) -> None:
    """Keep the rounded matrices of an `onnx_ir.Model` as what they were rounded to; others stay as they are."""
    if kind == "f32":
        return
    import onnx_ir as ir  # noqa: PLC0415  (an extra)

    first = next(iter(model.graph))
    for value in list(model.graph.initializers.values()):
        array = value.const_value.numpy()
        if array.dtype != np.float32 or array.ndim < 2 or array.size < SMALLEST:
            continue
        found = SHORTENED[kind](array)
        if found is None:
            continue
        short, scale = found
        kept = ir.val(f"{value.name}.{kind}", const_value=ir.tensor(short, name=f"{value.name}.{kind}"))
        nodes = [ir.node("Cast", [kept], {"to": ir.DataType.FLOAT})]
        model.graph.register_initializer(kept)
        if scale is not None:
            scales = ir.val(f"{value.name}.scale", const_value=ir.tensor(scale, name=f"{value.name}.scale"))
            model.graph.register_initializer(scales)
            nodes.append(ir.node("Mul", [nodes[0].outputs[0], scales]))
        made = nodes[-1].outputs[0]
        made.type, made.shape = value.type, value.shape
        model.graph.insert_before(first, nodes)
        ir.convenience.replace_all_uses_with(value, made)
        del model.graph.initializers[value.name]


def _as_bfloat16(array: Floats) -> tuple[Any, None] | None:
    import ml_dtypes  # noqa: PLC0415  (onnx brings it along)

    short = array.astype(ml_dtypes.bfloat16)
    return (short, None) if np.array_equal(short.astype(np.float32), array) else None


def _as_int8(array: Floats) -> tuple[NDArray[np.int8], Floats] | None:
    """Whole numbers and their scales, by rows or, of a matrix that stands on its side, by columns."""
    for axis in (-1, -2):
        scale = np.abs(array).max(axis, keepdims=True) / np.float32(LARGEST)
        scale = np.where(scale > 0, scale, np.float32(1))
        short = np.rint(array / scale).astype(np.int8)
        if np.array_equal(short * scale, array):
            return short, scale
    return None


SHORTENED: dict[str, Callable[[Floats], tuple[Any, Floats | None] | None]] = {
    "bf16": _as_bfloat16,
    "int8": _as_int8,
}
