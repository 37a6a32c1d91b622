"""Linear readout, softmax and cross-entropy in one pass, with the gradient: the logits of all rows are never held.

A block of rows at a time: its logits, their loss and gradient in the logits' place, and the products with that gradient
(`compiler.cpu.emit.cross_entropy`). So the forward pass has made the gradients of a loss whose own gradient is 1, and
the backward pass at most multiplies them by another.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from selfloop.compiler import (
    CROSS_ENTROPY_ADDRESSES,
    CROSS_ENTROPY_SIZES,
    PACK_VECTOR,
    PairProducts,
    cross_entropy_code,
    host_target,
    tools,
)
from selfloop.errors import ArgumentError, BackendError
from selfloop.kernels import memory, team
from selfloop.kernels.bfloat16 import pair_products
from selfloop.kernels.command_buffer import Numbers
from selfloop.kernels.plans import BITS
from selfloop.kernels.problem import are_plain, has_numbers
from selfloop.kernels.refusals import UNSUPPORTED

LOGITS_BYTES = 1 << 24
"""Bytes of the logits of a block of rows, where the last-level cache holds them while they become their gradient."""

LEAST = 1 << 20
"""Multiplications of the logits below which torch's own functions are faster: a call of ours takes 0.1 ms beside its
kernels (17 classes, 256 features, 640 rows, which are 2.8 million: 0.22 ms instead of 0.28)."""

CACHED_BYTES = 1 << 18
"""Bytes of the rows of a matrix that the second-level cache holds while all panels of the other factor pass by."""

MOST_PLANS = 1024
"""Plans that are kept, of 7 to 30 KB each: batches of sentences have hundreds of numbers of words, and a new plan takes
0.2 ms."""

NO_SECOND_DERIVATIVE = (
    "The loss of `linear_cross_entropy` has no second derivative: take torch's cross_entropy of the logits instead."
)


def linear_cross_entropy(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    *,
    class_weights: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    divisor: float | int | None = None,
) -> Float[Tensor, ""]:
    """The cross-entropy of the logits ``x @ weight.T + bias``, as `torch.nn.functional.cross_entropy` has it.

    On a CPU the logits are made, used and forgotten for some hundred rows at a time, and their gradient with them; the
    same bits result for any number of threads. Under autocast to bfloat16, processors that multiply pairs of it, and
    have no AMX, multiply rounded numbers. Of few rows and classes, in torch.compile and torch.func's transforms, under
    autocast on other processors, and elsewhere, it is made of torch's own functions.

    Args:
        x: what is read out, (N, K).
        weight: of the readout, (V, K).
        bias: of the readout, (V,); zeros if None.
        labels: classes below V, (N,), or `ignore_index`.
        class_weights: what each class weighs, (V,); all the same if None.
        ignore_index: the label of rows that are left out.
        label_smoothing: the share of each label that is spread over all classes (Szegedy et al. 2016).
        divisor: what the sum of the losses is divided by; the summed weights of the labels if None, which is the mean.
            With 0, of no rows, the loss is 0.

    Returns:
        The loss; 0 where all labels are left out.

    Raises:
        ArgumentError: shapes do not fit, labels are no int64 or no classes, or an option is out of its range.

    >>> x, weight = torch.randn(5, 3), torch.randn(7, 3, requires_grad=True)
    >>> loss = linear_cross_entropy(x, weight, None, torch.tensor([0, 6, 2, -100, 1]))
    >>> loss.backward()
    >>> weight.grad.shape
    torch.Size([7, 3])
    """
    _check_shapes(x, weight, bias, labels, class_weights)
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(
            f"The 'label_smoothing' of linear_cross_entropy must be from 0 to 1. Got {label_smoothing} instead."
        )
    if divisor is not None and not 0 <= divisor < math.inf:
        raise ArgumentError(f"The 'divisor' of linear_cross_entropy must be 0 or more. Got {divisor} instead.")
    check_labels(labels, len(weight), ignore_index)
    torchs_options = ignore_index, float(label_smoothing), divisor
    given = [t for t in (x, weight, bias, class_weights) if t is not None]
    loss: Tensor
    bfloat16 = _pair_products(given)
    if bfloat16 is not None:
        x, weight = x.float(), weight.float()
        bias, class_weights = (None if t is None else t.float() for t in (bias, class_weights))
        given = [t for t in (x, weight, bias, class_weights) if t is not None]
    is_ready = bfloat16 is not None or not torch.is_autocast_enabled("cpu")
    if not (is_ready and _is_compiled((*given, labels))) or x.numel() * len(weight) < LEAST:
        return of_logits(F.linear(x, weight, bias), labels, class_weights, *torchs_options)
    options = *torchs_options, bfloat16
    if torch.is_grad_enabled() and any(t.requires_grad for t in given):
        loss = _CrossEntropy.apply(options, labels, class_weights, x, weight, bias)  # type: ignore[no-untyped-call]
        return loss
    return _run(options, labels, class_weights, x, weight, bias, (False, False, False)).loss


def of_logits(
    logits: Float[Tensor, "N V"],
    labels: Int[Tensor, " N"],
    class_weights: Float[Tensor, " V"] | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    divisor: float | int | None = None,
) -> Float[Tensor, ""]:
    """The same loss, by torch's own functions."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # bfloat16 is too coarse for a sum
    weights = None if class_weights is None else class_weights.to(logits.dtype)
    total = F.cross_entropy(logits, labels, weights, None, ignore_index, None, "sum", label_smoothing)
    if divisor is not None:
        return total / divisor if divisor else total * 0
    counts = labels != ignore_index
    weighed = counts.sum() if weights is None else (weights[labels.masked_fill(~counts, 0)] * counts).sum()
    return total / torch.where(weighed == 0, 1, weighed)


def _check_shapes(x: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, class_weights: Tensor | None) -> None:
    if x.dim() != 2 or weight.dim() != 2:
        raise ArgumentError(
            f"The 'x' and the 'weight' of linear_cross_entropy must be of shape (N, K) and (V, K). Got "
            f"{tuple(x.shape)} and {tuple(weight.shape)} instead; flatten the axes of 'x' before the last."
        )
    if labels.dtype is not torch.int64:
        raise ArgumentError(
            f"The 'labels' of linear_cross_entropy must be of torch.int64. Got {labels.dtype} instead; use .long()."
        )
    expected = {
        "weight": (weight, (len(weight), x.shape[-1])),
        "bias": (bias, (len(weight),)),
        "labels": (labels, (len(x),)),
        "class_weights": (class_weights, (len(weight),)),
    }
    for name, (tensor, shape) in expected.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ArgumentError(
                f"The '{name}' of linear_cross_entropy must be of shape {shape}, for 'x' {tuple(x.shape)} and 'weight' "
                f"{tuple(weight.shape)}. Got {tuple(tensor.shape)} instead."
            )


def check_labels(labels: Int[Tensor, " N"], classes: int, ignore_index: int) -> None:
    """Raise ArgumentError where a label is no class; on another device than the CPU torch looks."""
    if not (type(labels) is Tensor and has_numbers(labels) and labels.is_cpu and labels.numel()):
        return
    given = labels.numpy()
    if given.min() >= 0 and given.max() < classes:
        return
    wrong = given[((given < 0) | (given >= classes)) & (given != ignore_index)]
    if len(wrong):
        raise ArgumentError(
            f"The 'labels' of a cross-entropy must be classes from 0 to {classes - 1}, or {ignore_index} for rows "
            f"that are left out. Got {wrong[0]} instead."
        )


def _is_compiled(tensors: Sequence[Tensor]) -> bool:
    """Whether there are kernels for these tensors, the last of which are the labels."""
    *given, labels = tensors
    dtype = given[0].dtype
    if dtype not in BITS or labels.dtype is not torch.int64 or not all(t.dtype is dtype for t in given):
        return False
    return UNSUPPORTED is None and are_plain(tensors)


def _pair_products(tensors: Sequence[Tensor]) -> PairProducts | None:
    """How products of rounded numbers are made of these tensors; None where they are not to be, or where torch's own
    are as fast, which use AMX.
    """
    if not torch.is_autocast_enabled("cpu") or torch.get_autocast_dtype("cpu") is not torch.bfloat16:
        return None
    way = pair_products()
    dtypes = (torch.float32, torch.bfloat16)
    return way if way and not way.has_tiles and all(t.dtype in dtypes for t in tensors) else None


Table = Int[np.ndarray, "R C"]


class _Result(NamedTuple):
    """A loss and its gradients; None where none was asked for."""

    loss: Tensor
    dx: Tensor | None
    dweight: Tensor | None
    dbias: Tensor | None


Options = tuple[int, float, float | int | None, PairProducts | None]
"""Of `linear_cross_entropy`: ignore_index, label_smoothing and divisor; and how rounded numbers are multiplied."""


class _CrossEntropy(Function):
    """The loss, and its gradients, which the forward pass has made.

    They are handed over once; where the graph is kept, a second backward pass makes them anew.
    """

    @staticmethod
    def forward(
        ctx: Any,
        options: Options,
        labels: Tensor,
        class_weights: Tensor | None,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        ctx.options, ctx.needed = options, tuple(ctx.needs_input_grad[3:])
        ctx.save_for_backward(labels, class_weights, x, weight, bias)
        loss, *ctx.gradients = _run(options, labels, class_weights, x, weight, bias, ctx.needed)
        return loss

    @staticmethod
    def backward(ctx: Any, dloss: Tensor) -> Any:
        if torch.is_grad_enabled():  # create_graph
            _, _, *given = ctx.saved_tensors
            return None, None, None, *_Once.apply(ctx, dloss, *given)  # type: ignore[no-untyped-call]
        return None, None, None, *_gradients(ctx, dloss)


def _gradients(ctx: Any, dloss: Tensor) -> tuple[Tensor | None, ...]:
    """Of x, weight and bias."""
    saved = ctx.saved_tensors  # raises where the graph has been freed
    gradients, ctx.gradients = ctx.gradients, None
    if gradients is None:
        _, *gradients = _run(ctx.options, *saved, ctx.needed)  # type: ignore[call-arg]
    if not are_plain((dloss,)):  # a batch of them
        return tuple(None if gradient is None else gradient * dloss for gradient in gradients)
    factor = float(dloss)
    if factor != 1:
        for gradient in gradients:
            if gradient is not None:
                gradient.mul_(factor)
    return tuple(gradients)


class _Once(Function):
    """The gradients, which have none: it raises when one is asked for."""

    @staticmethod
    def forward(ctx: Any, of: Any, dloss: Tensor, *given: Tensor | None) -> Any:
        return _gradients(of, dloss)

    @staticmethod
    def backward(ctx: Any, *_: Tensor | None) -> Any:
        raise BackendError(NO_SECOND_DERIVATIVE)


def _run(
    options: Options,
    labels: Tensor,
    class_weights: Tensor | None,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    needed: tuple[bool, ...],
) -> _Result:
    """The loss, and the gradients of x, weight and bias that are needed."""
    ignore_index, smoothing, divisor, bfloat16 = options
    x, weight = (v.detach() if v.stride(-1) == 1 else v.detach().contiguous() for v in (x, weight))
    bias = x.new_zeros(len(weight)) if bias is None else bias.detach().contiguous()
    class_weights = x.new_ones(len(weight)) if class_weights is None else class_weights.detach().contiguous()
    weights, classes = class_weights.numpy(), labels.numpy()
    counted = classes != ignore_index
    classes = np.where(counted, classes, 0)
    own = weights[classes] * counted  # what each label weighs
    total = float(own.sum(dtype=np.float64)) if divisor is None else divisor
    factor = 1 / total if total else 0.0
    rows = np.empty((4, len(x)), weights.dtype)
    target, spread, scale, losses = rows
    np.multiply(own, (1 - smoothing) * factor, out=target)
    np.multiply(counted, smoothing / len(weight) * factor, out=spread)
    np.add(target, spread * float(weights.sum(dtype=np.float64)), out=scale)
    dx = memory.empty(x.shape, x.dtype) if needed[0] else None
    dweight, dbias = (memory.empty(like.shape, x.dtype) if needed[1] or needed[2] else None for like in (weight, bias))
    threads = team.threads()
    plan = _plan(BITS[x.dtype], *x.shape, len(weight), x.stride(0), weight.stride(0), threads, bfloat16)
    logits, by_feature, by_row, rounded = (memory.workspace((size,), x.dtype) for size in plan.workspaces)
    shared = (weight, rounded, bias, by_feature, by_row, logits, class_weights, dweight, dbias)
    by_line = [array.ctypes.data for array in (classes, *rows)] + [0 if dx is None else dx.data_ptr()]
    addresses = np.array([*(0 if v is None else v.data_ptr() for v in shared), *by_line])
    assert len(addresses) == len(CROSS_ENTROPY_ADDRESSES)
    for block in plan.blocks:
        block.run(addresses, x.data_ptr(), with_dx=dx is not None, with_dweight=dweight is not None)
    loss = x.new_tensor(losses.sum(dtype=np.float64))
    return _Result(loss, dx, dweight if needed[1] else None, dbias if needed[2] else None)


class _Launch(NamedTuple):
    """A function, and the sizes of its argument blocks, a row a thread; the addresses are still to be filled in."""

    function: int
    table: Table


class _Block(NamedTuple):
    """The launches for some rows.

    Attributes:
        steps: the bytes from the first row's entry to these in what has an entry for each row, and 0 for what has not.
        pack: packs x.
        vectors: what it packs, `PACK_VECTOR`s, with `source` relative to x.
        bases: which of the addresses each vector's `packed` is relative to.
        forward, dx, dweight: the others, the last two where such gradients are needed.
    """

    steps: Numbers
    pack: _Launch
    vectors: Table
    bases: Numbers
    forward: tuple[_Launch, ...]
    dx: _Launch
    dweight: _Launch

    def run(self, addresses: Numbers, x: int, with_dx: bool, with_dweight: bool) -> None:
        """Run them, given the addresses of all rows."""
        vectors = self.vectors.copy()
        vectors[:, _SOURCE] += x
        vectors[:, _PACKED] += addresses[self.bases]
        table = self.pack.table.copy()
        table[:, 0] += vectors.ctypes.data
        team.run(self.pack.function, table)
        own = addresses + self.steps
        for function, sizes in (*self.forward, *[self.dx] * with_dx, *[self.dweight] * with_dweight):
            table = sizes.copy()
            table[:, len(CROSS_ENTROPY_SIZES) :] = own
            team.run(function, table)


class _Plan(NamedTuple):
    """What a call does, addresses aside.

    Attributes:
        workspaces: the elements of the logits, of x packed by feature and by row, and of the rounded weight.
        blocks: of rows.
    """

    workspaces: tuple[int, int, int, int]
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
    panels = -(-features // wide)
    code = cross_entropy_code(bits, target, bfloat16)
    pack = tools(bits, target, bfloat16).address("pack")

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
        table = np.zeros((threads, len(CROSS_ENTROPY_SIZES) + len(CROSS_ENTROPY_ADDRESSES)), dtype=np.int64)
        for k, name_of in enumerate(CROSS_ENTROPY_SIZES):
            table[:, k] = values[name_of]
        return _Launch(code.address(name), table)

    def block(first: int) -> _Block:
        here = min(size, rows - first)
        by_feature = _vectors(here, features, lanes, wide, x_stride, 1, item, at_once)
        by_row = _vectors(features, here, lanes, wide, 1, x_stride, item, at_once)
        vectors = np.concatenate([by_feature, by_row])
        vectors[:, _SOURCE] += first * x_stride * item
        bases = [CROSS_ENTROPY_ADDRESSES.index(name) for name in ("by_feature", "by_row")]
        shares = team.shares(len(vectors), threads)
        steps = {"label": 8, "dx": features * item, **dict.fromkeys(("target", "spread", "scale", "loss"), item)}
        return _Block(
            steps=np.array([first * steps.get(name, 0) for name in CROSS_ENTROPY_ADDRESSES]),
            pack=_Launch(pack, np.stack([shares[:-1] * vectors.strides[0], np.diff(shares)], axis=1)),
            vectors=vectors,
            bases=np.repeat(bases, (len(by_feature), len(by_row))),
            forward=(
                *([launch("round_weight", 0, -(-outputs // height), 1)] if bfloat16 and first == 0 else ()),
                launch("logits", first, -(-outputs // height), -(-here // wide), features),
                launch("softmax", first, -(-here // lanes), 1),
            ),
            dx=launch("input_gradient", first, -(-here // height), panels),
            dweight=launch("weight_gradient", first, -(-outputs // height), panels, here),
        )

    # As many vectors of logits as all panels of rows have, though those beyond the last row are not used.
    padding = at_once - 1
    workspaces = (
        size * stride,
        size * (features + padding),
        panels * wide * (size + padding),
        outputs * -(-features // lanes) * lanes // 2 if bfloat16 else 0,
    )
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
