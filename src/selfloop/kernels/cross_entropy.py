"""Linear readout, softmax and cross-entropy in one pass, with the gradient: the logits of all rows are never held.

A block of rows at a time: its logits, their loss and gradient in the logits' place, and the products with that gradient
(`compiler.cpu.emit.readout`). So the forward pass has made the gradients of a loss whose own gradient is 1, and
the backward pass at most multiplies them by another.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from selfloop.compiler import PairProducts
from selfloop.errors import ArgumentError, BackendError
from selfloop.kernels import memory
from selfloop.kernels.bfloat16 import pair_products
from selfloop.kernels.compiled import BITS
from selfloop.kernels.problem import are_plain, has_numbers
from selfloop.kernels.readout import on_logits
from selfloop.kernels.refusals import may_read

LEAST = 1 << 20
"""Multiplications of the logits below which torch's own functions are faster: a call of ours takes 0.1 ms beside its
kernels (17 classes, 256 features, 640 rows, which are 2.8 million: 0.22 ms instead of 0.28)."""

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
    return may_read(tensors)


def _pair_products(tensors: Sequence[Tensor]) -> PairProducts | None:
    """How products of rounded numbers are made of these tensors; None where they are not to be, or where torch's own
    are as fast, which use AMX.
    """
    if not torch.is_autocast_enabled("cpu") or torch.get_autocast_dtype("cpu") is not torch.bfloat16:
        return None
    way = pair_products()
    dtypes = (torch.float32, torch.bfloat16)
    return way if way and not way.has_tiles and all(t.dtype in dtypes for t in tensors) else None


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
    class_weights = x.new_ones(len(weight)) if class_weights is None else class_weights.detach().contiguous()
    weights, classes = class_weights.numpy(), labels.numpy()
    counted = classes != ignore_index
    classes = np.where(counted, classes, 0)
    weighed = weights[classes] * counted  # what each label weighs
    total = float(weighed.sum(dtype=np.float64)) if divisor is None else divisor
    factor = 1 / total if total else 0.0
    rows = np.empty((4, len(x)), weights.dtype)
    target, spread, scale, losses = rows
    np.multiply(weighed, (1 - smoothing) * factor, out=target)
    np.multiply(counted, smoothing / len(weight) * factor, out=spread)
    np.add(target, spread * float(weights.sum(dtype=np.float64)), out=scale)
    dx = memory.empty(x.shape, x.dtype) if needed[0] else None
    of_weight = needed[1] or needed[2]
    dweight, dbias = (memory.empty(shape, x.dtype) if of_weight else None for shape in (weight.shape, weight.shape[:1]))
    functions = ["softmax", *["input_gradient"] * needed[0], *["weight_gradient"] * of_weight]
    tensors = {"class_weights": class_weights, "dweight": dweight, "dbias": dbias, "dx": dx}
    arrays = {"label": classes, "target": target, "spread": spread, "scale": scale, "loss": losses}
    addresses = {name: tensor.data_ptr() for name, tensor in tensors.items() if tensor is not None}
    addresses |= {name: array.ctypes.data for name, array in arrays.items()}
    on_logits(x, weight, bias, functions, addresses, bfloat16)
    loss = x.new_tensor(losses.sum(dtype=np.float64))
    return _Result(loss, dx, dweight if needed[1] else None, dbias if needed[2] else None)
