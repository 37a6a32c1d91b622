"""Packed weights as shorter numbers: bfloat16, or whole numbers of 8 bits with a scale for each unit."""

from math import ceil

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray as Array

from selfloop.compiler import KernelLayout, Panel


def starts(layout: KernelLayout) -> list[int]:
    """Where the shorter weights of each panel start, and where the last end, in bytes."""
    sizes = [_blocks(layout, p) * sum(layout.tile_bytes(layout.depth(p), w) for w in p.widths) for p in layout.panels]
    return [0, *np.cumsum(sizes).tolist()]


def shortened(layout: KernelLayout, packed: Float[Array, " _"]) -> UInt8[Array, " _"]:
    """What a kernel reads whose `weights` are shorter, given its weights packed in full."""
    shorten, parts = _SHORTEN[layout.weights], []
    for panel, start in zip(layout.panels, layout.packing.starts, strict=True):
        blocks, depth = _blocks(layout, panel), layout.depth(panel)
        lanes = layout.target.lanes(layout.bits // 8)
        whole = packed[start:][: blocks * depth * sum(panel.widths) * lanes].reshape(blocks, -1)
        ends = np.cumsum(panel.widths)[:-1] * depth * lanes
        tiles = [
            shorten(tile.reshape(blocks, depth, width * lanes))
            for tile, width in zip(np.split(whole, ends, axis=1), panel.widths, strict=True)
        ]
        parts.append(np.concatenate(tiles, axis=1).reshape(-1))
    return np.concatenate([np.empty(0, np.uint8), *parts])


def _blocks(layout: KernelLayout, panel: Panel) -> int:
    return ceil(panel.size / (panel.unroll * layout.target.lanes(layout.bits // 8)))


def _bfloat16(tiles: Float[Array, "blocks depth units"]) -> UInt8[Array, "blocks _"]:
    """To nearest, ties to even."""
    short = torch.from_numpy(np.ascontiguousarray(tiles)).bfloat16().view(torch.int16).numpy()
    return short.reshape(len(tiles), -1).view(np.uint8)


def _int8(tiles: Float[Array, "blocks depth units"]) -> UInt8[Array, "blocks _"]:
    """The scales of the units, then the numbers from -127 to 127."""
    largest = np.abs(tiles).max(axis=1)
    scales = np.where(largest > 0, largest, 1) / np.array(127, tiles.dtype)
    codes = np.rint(tiles / scales[:, None]).astype(np.int8)
    rows = [part.reshape(len(tiles), -1).view(np.uint8) for part in (scales, codes)]
    return np.concatenate(rows, axis=1)


_SHORTEN = {"bf16": _bfloat16, "int8": _int8}
