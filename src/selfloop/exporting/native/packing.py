"""The weights of a model as bytes, in the order in which its code reads them, as float32, bfloat16 or int8."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfloop.compiler.native import HEAD, MAGIC, SUM, Panel, Submatrix, Vector, WeightLayout, checksum

Floats = NDArray[np.float32]
Codes: TypeAlias = NDArray[np.int8] | NDArray[np.uint16]
LARGEST = 127
"""Of a weight in int8."""


@dataclass(frozen=True, eq=False)
class Packed:
    """Weights in memory: a head, floats, and the shorter weights behind them.

    Attributes:
        head: see `selfloop.compiler.native.HEAD`.
        floats: float32.
        codes: int8, or the upper halves of floats as uint16.
    """

    head: NDArray[np.uint32]
    floats: Floats
    codes: Codes

    @property
    def bytes(self) -> bytes:
        """All of them: a file that can be mapped."""
        return self.head.tobytes() + self.floats.tobytes() + self.codes.tobytes()


def packed(layout: WeightLayout, weights: Mapping[str, Tensor], form: tuple[int, int]) -> Packed:
    """The weights where the layout says.

    Args:
        layout: of the model's code.
        weights: by the names of the layout.
        form: of the model, see `ModelWriter.form`.
    """
    floats = np.zeros(layout.floats, np.float32)
    codes: Codes = np.zeros(layout.codes, np.uint16) if layout.form == "bf16" else np.zeros(layout.codes, np.int8)
    for vector in layout.vectors:
        table = _array(weights[vector.name]).reshape(vector.rows, -1)
        _put(floats, codes, vector, table, _scales(table))
    for panel in layout.panels:
        matrices = [_terms(panel, terms, weights) for terms in panel.products]  # rows × all columns of each product
        scales = np.concatenate([_scales(m) for m in matrices])
        blocks = np.zeros((len(matrices), sum(panel.lengths), panel.blocks * panel.lanes), np.float32)
        rates = np.ones(blocks.shape[2] * len(matrices), np.float32).reshape(len(matrices), -1)
        for number, matrix in enumerate(matrices):
            blocks[number, :, : panel.rows] = matrix.T
            rates[number, : panel.rows] = scales[number * panel.rows : (number + 1) * panel.rows]
        ordered = blocks.reshape(*blocks.shape[:2], panel.blocks, panel.lanes).transpose(2, 1, 0, 3)
        ordered_rates = np.broadcast_to(
            rates.reshape(len(matrices), 1, panel.blocks, panel.lanes).transpose(2, 1, 0, 3), ordered.shape
        )
        _put(floats, codes, panel, ordered.reshape(-1), scales, ordered_rates.reshape(-1))
    body = np.frombuffer(floats.tobytes() + codes.tobytes(), np.uint32)
    head = np.zeros(HEAD, np.uint32)
    head[:SUM] = MAGIC, *form
    head[SUM : SUM + 2] = checksum(body)
    head[SUM + 2] = 4 * HEAD + floats.nbytes + codes.nbytes
    return Packed(head, floats, codes)


def _put(
    floats: Floats,
    codes: Codes,
    place: Vector | Panel,
    values: Floats,
    scales: Floats,
    rates: Floats | None = None,
) -> None:
    """Values in their form, and the scales of their rows."""
    if place.scale is not None:
        floats[place.scale : place.scale + len(scales)] = scales
        values = values / (scales[:, None] if rates is None else rates)
    where = slice(place.start, place.start + values.size)
    if place.form == "f32":
        floats[where] = values.reshape(-1)
    else:
        codes[where] = (_halves(values) if place.form == "bf16" else np.rint(values).astype(np.int8)).reshape(-1)


def rounded(layout: WeightLayout, weights: Mapping[str, Tensor]) -> None:
    """Gives weights the values that their form has, in place."""
    for vector in layout.vectors:
        if vector.form != "f32":
            table = weights[vector.name]
            table.copy_(_near(table.reshape(vector.rows, -1), vector.form).view_as(table))
    for panel in layout.panels if layout.form != "f32" else ():
        for terms in panel.products:
            near = _near(torch.from_numpy(_terms(panel, terms, weights)), panel.form)
            parts = torch.split(near, list(panel.lengths), dim=1)
            for matrix, columns in zip(terms, parts, strict=True):
                rows = slice(matrix.row, matrix.row + panel.rows)
                place = weights[matrix.name][rows, matrix.column : matrix.column + columns.shape[1]]
                place.copy_(columns)


def _near(rows: Tensor, form: str) -> Tensor:
    """What a form makes of rows."""
    if form == "bf16":
        return rows.bfloat16().to(rows.dtype)
    scales = torch.from_numpy(_scales(_array(rows)))[:, None]
    return (rows.float() / scales).round() * scales


def _terms(panel: Panel, terms: tuple[Submatrix, ...], weights: Mapping[str, Tensor]) -> Floats:
    """The rows of a product: those of all its matrices side by side."""
    return np.concatenate(
        [
            _array(weights[m.name])[m.row : m.row + panel.rows, m.column : m.column + length]
            for m, length in zip(terms, panel.lengths, strict=True)
        ],
        axis=1,
    )


def _scales(rows: Floats) -> Floats:
    """Of each row: its largest number becomes `LARGEST`."""
    largest = np.abs(rows).max(axis=1, initial=0.0)
    return np.where(largest > 0, largest / LARGEST, 1.0).astype(np.float32)


def _halves(values: Floats) -> NDArray[np.uint16]:
    """The nearest bfloat16, ties to even."""
    near = torch.from_numpy(np.ascontiguousarray(values)).bfloat16().view(torch.int16)
    return near.numpy().view(np.uint16)


def _array(weight: Tensor) -> Floats:
    return np.ascontiguousarray(weight.detach().float().cpu().numpy())
