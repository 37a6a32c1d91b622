"""Linear readouts by our own emitter: the logits of a block of rows at a time, and what is made of them.

`linear` writes them, for predictions. `on_logits` hands them to other functions of `compiler.cpu.emit.readout`, as the
cross-entropy does, which never holds the logits of all rows.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from selfloop.compiler import (
    PACK_VECTOR,
    READOUT_ADDRESSES,
    READOUT_SIZES,
    PairProducts,
    host_target,
    readout_code,
    tools,
)
from selfloop.kernels import memory, team
from selfloop.kernels.compiled import BITS
from selfloop.kernels.refusals import may_read
from selfloop.kernels.relocations import Numbers

LOGITS_BYTES = 1 << 24
"""Bytes of the logits of a block of rows, where the last-level cache holds them while they become their gradient."""

CACHED_BYTES = 1 << 18
"""Bytes of the rows of a matrix that the second-level cache holds while all panels of the other factor pass by."""

MOST_PLANS = 1024
"""Plans that are kept, of 7 to 30 KB each: batches of sentences have hundreds of numbers of words, and a new plan takes
0.2 ms."""

LEAST_ROWS, LEAST_WEIGHTS = 16, 1 << 20
"""Rows, and elements of the weight, from which on our own functions write logits faster than torch's
(benchmarks/logits.py): fewer rows leave lanes of a vector empty, and torch is fast while a cache holds the weight."""

Table = Int[np.ndarray, "R C"]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The logits ``x @ weight.T + bias``, (..., V) for x (..., K), as `torch.nn.functional.linear` has them.

    Without a gradient, our own functions write those of many rows and outputs; torch's write all others.

    >>> linear(torch.ones(2, 3), torch.ones(5, 3), torch.ones(5)).shape
    torch.Size([2, 5])
    """
    if not _is_ours(x, weight, bias):
        return F.linear(x, weight, bias)
    flat = x.flatten(0, -2)
    result = memory.empty((len(flat), len(weight)), x.dtype)
    on_logits(flat, weight, bias, ("result",), {"result": result.data_ptr()})
    return result.view(*x.shape[:-1], -1)


def _is_ours(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether our own functions write the logits; what does not fit is left to torch, which says so."""
    if weight.numel() < LEAST_WEIGHTS or torch.is_grad_enabled():
        return False
    given = (x, weight) if bias is None else (x, weight, bias)
    if torch.is_autocast_enabled("cpu") or not may_read(given):
        return False
    if x.numel() < LEAST_ROWS * x.shape[-1]:  # asked for last: it would be a condition of what is traced
        return False
    fits = x.dim() > 1 and x.shape[-1] == weight.shape[-1] and (bias is None or bias.shape == weight.shape[:1])
    return fits and x.dtype in BITS and all(t.dtype is x.dtype for t in given)


def on_logits(
    x: Float[Tensor, "N K"],
    weight: Float[Tensor, "V K"],
    bias: Float[Tensor, " V"] | None,
    functions: Sequence[str],
    addresses: Mapping[str, int],
    bfloat16: PairProducts | None = None,
) -> None:
    """Make the logits of a block of rows after another, and run functions on them.

    Args:
        x: what is read out.
        weight: of the readout.
        bias: of the readout; zeros if None.
        functions: of `compiler.cpu.emit.readout`, in their order.
        addresses: what they read and write, by the names there; what all of them share is found here.
        bfloat16: how rounded numbers are multiplied; None where they are not rounded.
    """
    x, weight = (v.detach() if v.stride(-1) == 1 else v.detach().contiguous() for v in (x, weight))
    bias = x.new_zeros(len(weight)) if bias is None else bias.detach().contiguous()
    threads = team.threads()
    plan = _plan(BITS[x.dtype], *x.shape, len(weight), x.stride(0), weight.stride(0), threads, bfloat16)
    tensors = {name: memory.workspace((size,), x.dtype) for name, size in plan.workspaces.items()}
    tensors |= {"weight": weight, "bias": bias}
    found = {**addresses, **{name: tensor.data_ptr() for name, tensor in tensors.items()}}
    table = np.array([found.get(name, 0) for name in READOUT_ADDRESSES])
    for block in plan.blocks:
        block.run(table, x.data_ptr(), functions)


class _Launch(NamedTuple):
    """A function, and the sizes of its argument blocks, a row a thread; the addresses are still to be filled in."""

    function: int
    table: Table


class _Block(NamedTuple):
    """The launches for some rows.

    Attributes:
        steps: the bytes from the first row's entry to these in what has an entry for each row, and 0 for what has not.
        packs: packs x by feature, or by row as well, which only `weight_gradient` needs.
        vectors: what it packs, `PACK_VECTOR`s, with `source` relative to x.
        bases: which of the addresses each vector's `packed` is relative to.
        makes_logits: what always follows.
        launches: the others, by the name of their function.
    """

    steps: Numbers
    packs: tuple[_Launch, _Launch]
    vectors: Table
    bases: Numbers
    makes_logits: tuple[_Launch, ...]
    launches: Mapping[str, _Launch]

    def run(self, addresses: Numbers, x: int, functions: Sequence[str]) -> None:
        """Run some of the functions, given the addresses of all rows."""
        vectors = self.vectors.copy()
        vectors[:, _SOURCE] += x
        vectors[:, _PACKED] += addresses[self.bases]
        pack = self.packs["weight_gradient" in functions]
        table = pack.table.copy()
        table[:, 0] += vectors.ctypes.data
        team.run(pack.function, table)
        own = addresses + self.steps
        for function, sizes in (*self.makes_logits, *(self.launches[name] for name in functions)):
            table = sizes.copy()
            table[:, len(READOUT_SIZES) :] = own
            team.run(function, table)


class _Plan(NamedTuple):
    """What a call does, addresses aside.

    Attributes:
        workspaces: the elements of each.
        blocks: of rows.
    """

    workspaces: Mapping[str, int]
    blocks: tuple[_Block, ...]


@lru_cache(maxsize=MOST_PLANS)
def _plan(
    bits: int,
    rows: int,
    features: int,
    outputs: int,
    x_stride: int,
    weight_stride: int,
    threads: int,
    bfloat16: PairProducts | None = None,
) -> _Plan:
    """The plan for x[rows, features] and `outputs` logits of each row."""
    target, item = host_target(), bits // 8
    lanes, height = target.lanes(item), target.rows(target.columns)
    wide = lanes * target.columns
    most = max(1, LOGITS_BYTES // (item * outputs * wide)) * wide
    size = -(-rows // (-(-rows // most) * wide)) * wide
    at_once = 2 if bfloat16 else 1  # terms of a sum
    stride = -(-outputs // at_once) * at_once | 1  # an even one may put all vectors of a row into one set of the cache
    panels, tiles = -(-features // wide), -(-outputs // height)
    code = readout_code(bits, target, bfloat16)
    packs = tools(bits, target, bfloat16).address("pack")

    def pack(vectors: int) -> _Launch:
        """A launch that packs the first vectors."""
        shares = team.shares(vectors, threads)
        return _Launch(packs, np.stack([shares[:-1] * 8 * len(PACK_VECTOR), np.diff(shares)], axis=1))

    def launch(name: str, first: int, tiles: int, panels: int, depth: int = 0) -> _Launch:
        """A launch whose threads share its tiles, or its panels where there are few tiles; `depth` is the number of
        elements in a row of a tile.
        """
        by_tile = tiles >= min(panels, 4 * threads)
        shares = team.shares(tiles if by_tile else panels, threads)
        values: dict[str, int | Numbers] = {
            "begin": shares[:-1] if by_tile else 0,
            "end": shares[1:] if by_tile else tiles,
            "first_panel": 0 if by_tile else shares[:-1],
            "end_panel": panels if by_tile else shares[1:],
            "at_once": max(1, CACHED_BYTES // max(1, depth * height * item)),
            "rows": min(size, rows - first),
            "outputs": outputs,
            "features": features,
            "weight_stride": weight_stride,
            "logits_stride": stride,
            "is_first": first == 0,
        }
        table = np.zeros((threads, len(READOUT_SIZES) + len(READOUT_ADDRESSES)), dtype=np.int64)
        for k, name_of in enumerate(READOUT_SIZES):
            table[:, k] = values[name_of]
        return _Launch(code.address(name), table)

    def block(first: int) -> _Block:
        here = min(size, rows - first)
        by_feature = _vectors(here, features, lanes, wide, x_stride, 1, item, at_once)
        by_row = _vectors(features, here, lanes, wide, 1, x_stride, item, at_once)
        vectors = np.concatenate([by_feature, by_row])
        vectors[:, _SOURCE] += first * x_stride * item
        bases = [READOUT_ADDRESSES.index(name) for name in ("by_feature", "by_row")]
        steps = {
            "label": 8,
            "dx": features * item,
            "result": outputs * item,
            **dict.fromkeys(("target", "spread", "scale", "loss"), item),
        }
        return _Block(
            steps=np.array([first * steps.get(name, 0) for name in READOUT_ADDRESSES]),
            packs=(pack(len(by_feature)), pack(len(vectors))),
            vectors=vectors,
            bases=np.repeat(bases, (len(by_feature), len(by_row))),
            makes_logits=(
                *([launch("round_weight", 0, tiles, 1)] if bfloat16 and first == 0 else ()),
                launch("logits", first, tiles, -(-here // wide), features),
            ),
            launches={
                "softmax": launch("softmax", first, -(-here // lanes), 1),
                "input_gradient": launch("input_gradient", first, -(-here // height), panels),
                "weight_gradient": launch("weight_gradient", first, tiles, panels, here),
                "result": launch("result", first, -(-here // lanes), -(-outputs // lanes)),
            },
        )

    # As many vectors of logits as all panels of rows have, though those beyond the last row are not used.
    padding = at_once - 1
    workspaces = {
        "logits": size * stride,
        "by_feature": size * (features + padding),
        "by_row": panels * wide * (size + padding),
        "rounded": outputs * -(-features // lanes) * lanes // 2 if bfloat16 else 0,
    }
    return _Plan(workspaces, tuple(block(first) for first in range(0, rows, size)))


_SOURCE, _PACKED = (PACK_VECTOR.index(name) for name in ("source", "packed"))


def _vectors(
    units: int, length: int, lanes: int, wide: int, lane_stride: int, k_stride: int, item: int, at_once: int
) -> Table:
    """Descriptions of the vectors of all panels of so many units, with addresses that count from 0."""
    first = np.arange(0, units, lanes)
    fields: dict[str, int | Numbers] = {
        "source": first * lane_stride * item,
        "lane_stride": lane_stride,
        "k_stride": k_stride,
        "units": np.minimum(lanes, units - first),
        "unit_step": lanes,
        "length": length,
        "packed": (first // wide * wide * -(-length // at_once) + first % wide) * item,
        "packed_k": wide,
    }
    entries = np.zeros((len(first), len(PACK_VECTOR)), dtype=np.int64)
    for name, value in fields.items():
        entries[:, PACK_VECTOR.index(name)] = value
    return entries
