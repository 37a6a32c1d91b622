"""The layouts in which sequences come, brought to one: (T, B, I) with lengths."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from selfloop.errors import ArgumentError, nearest
from selfloop.kernels.problem import ended, has_numbers

Sequences = TypeVar("Sequences", Tensor, PackedSequence)
"""In whichever form sequences come, the outputs have it, too."""

Lengths = Tensor | Sequence[int] | npt.NDArray[np.integer] | None
"""How many steps each sequence has."""


class Layout(NamedTuple):
    """An input as (T, B, I), with resets within the lengths alone, and the way back for an output."""

    x: Tensor
    lengths: Tensor | None
    resets: Tensor | None
    restore: Callable[[Tensor], Tensor | PackedSequence]

    def ended(self) -> Tensor:
        """The input, zero beyond the lengths."""
        return self.x if self.lengths is None else ended(self.x, self.lengths)


def _batched(v: Tensor) -> Tensor:
    return v.unsqueeze(1)


def _unbatched(v: Tensor) -> Tensor:
    return v.squeeze(1)


def _swapped(v: Tensor) -> Tensor:
    return v.transpose(0, 1)


def _as_is(v: Tensor) -> Tensor:
    return v


def arrange(
    title: str,
    x: Tensor | PackedSequence,
    lengths: Lengths,
    resets: Tensor | None,
    batch_first: bool,
    input_size: int,
    like: Tensor,
) -> Layout:
    """Check what a layer called `title`, with weights `like`, was given, and bring it to one layout.

    Raises:
        ArgumentError: an argument has a wrong shape, dtype, device or value.
    """
    if isinstance(x, PackedSequence):
        if lengths is not None or resets is not None:
            raise ArgumentError(
                f"A PackedSequence carries its own lengths. Call {title} without 'lengths' and 'resets', or give it a "
                "padded tensor."
            )
        check_input(title, x.data, input_size, like)
        packed = x
        padded, own = pad_packed_sequence(packed)
        return Layout(padded, own.to(padded.device), None, lambda y: _repack(y, own, packed))
    if not isinstance(x, Tensor) or x.dim() not in (2, 3):
        got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        expected = "(B, T, I)" if batch_first else "(T, B, I)"
        raise ArgumentError(
            f"The 'x' of {title} must be a tensor of shape {expected}, or (T, I) for one sequence. Got {got} instead."
        )
    check_input(title, x, input_size, like)
    there, back = _as_is, _as_is
    if x.dim() == 2:
        there, back = _batched, _unbatched
    elif batch_first:
        there, back = _swapped, _swapped
    if resets is not None:
        is_tensor = isinstance(resets, Tensor)
        if not is_tensor or resets.dtype != torch.bool or resets.shape != x.shape[:-1]:
            got = f"{resets.dtype} of shape {tuple(resets.shape)}" if is_tensor else type(resets).__name__
            raise ArgumentError(
                f"The 'resets' of {title} must be bool of shape {tuple(x.shape[:-1])}, a mark a step. "
                f"Got {got} instead."
            )
        resets = there(resets.to(x.device))
    x = there(x)
    if lengths is None:
        return Layout(x, None, resets, back)
    numbers = _check_lengths(title, lengths, x, batch_first)
    if resets is not None:
        resets = resets & (torch.arange(x.shape[0], device=x.device)[:, None] < numbers)
    return Layout(x, numbers, resets, back)


def join(
    title: str, x: Tensor | PackedSequence, given: Mapping[str, Tensor], sizes: Mapping[str, int], batch_first: bool
) -> Tensor:
    """The inputs of a step side by side, as a cell with several reads them: (T, B, I), laid out as `x`.

    Args:
        title: of the layer, for errors.
        x: the first input.
        given: the others, a vector a step as in `x`, or one a sequence, which each of its steps sees.
        sizes: of all inputs, by name, in their order.
        batch_first: whether `x` is (B, T, ·).

    Raises:
        ArgumentError: an input is missing or unknown, or has a wrong shape or device.
    """
    first, *others = sizes
    form = "(B, T, ·)" if batch_first else "(T, B, ·)"
    for name in given:
        if name not in others:
            hint = nearest(name, others) or f"; it takes {', '.join(others) or 'none'} beside x."
            raise ArgumentError(f"{title} takes no input '{name}'{hint}")
    if not isinstance(x, Tensor) or x.dim() not in (2, 3):
        got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ArgumentError(
            f"The 'x' of {title} must be a tensor of shape {form}, or (T, ·) for one sequence, beside "
            f"{', '.join(others)}. Got {got} instead."
        )
    _check_size(title, x, sizes[first])
    found, time = [x], 1 if batch_first and x.dim() == 3 else 0
    for name in others:
        if name not in given:
            raise ArgumentError(f"{title} needs the input '{name}' of its cell; give it as {name}=….")
        value, each = given[name], (*x.shape[:-1], sizes[name])
        constant = (*each[:time], *each[time + 1 :])
        if not isinstance(value, Tensor) or tuple(value.shape) not in (each, constant):
            got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise ArgumentError(
                f"The '{name}' of {title} must be a tensor of shape {each}, a vector a step, or {constant}, one a "
                f"sequence. Got {got} instead."
            )
        if value.device != x.device:
            raise ArgumentError(f"The '{name}' of {title} must be on {x.device}, as x. Got {value.device} instead.")
        found.append((value if value.dim() == x.dim() else value.unsqueeze(time)).expand(each).to(x.dtype))
    return torch.cat(found, dim=-1)


def _check_size(title: str, x: Tensor, size: int) -> None:
    if x.shape[-1] != size:
        raise ArgumentError(
            f"The 'x' of {title} must have {size} features in its last dimension, its input_size. "
            f"Got shape {tuple(x.shape)} instead."
        )


def check_input(title: str, x: Tensor, input_size: int, like: Tensor) -> None:
    """Raise ArgumentError unless a layer with weights `like` can take this input."""
    is_dense = x.layout is torch.strided and not x.is_nested
    if is_dense and x.dtype is like.dtype and x.device == like.device and x.shape[-1] == input_size:
        return
    if x.is_nested:
        raise ArgumentError(
            f"The 'x' of {title} must be dense. Got a nested tensor instead; pad it and give its lengths."
        )
    if x.layout != torch.strided:
        raise ArgumentError(f"The 'x' of {title} must be dense. Got {x.layout} instead; call x.to_dense().")
    _check_size(title, x, input_size)
    if x.device != like.device:
        raise ArgumentError(f"The 'x' of {title} must be on {like.device}, as its weights. Got {x.device} instead.")
    if x.dtype != like.dtype and not torch.is_autocast_enabled(x.device.type):
        raise ArgumentError(f"The 'x' of {title} must be {like.dtype}, as its weights. Got {x.dtype} instead.")


def _check_lengths(title: str, lengths: Lengths, x: Tensor, batch_first: bool) -> Tensor:
    try:
        numbers = lengths if isinstance(lengths, Tensor) else torch.as_tensor(lengths, device="cpu")
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(f"The 'lengths' of {title} must be whole numbers. Got {lengths!r} instead.") from error
    if not isinstance(lengths, Tensor) and not numbers.numel():
        numbers = numbers.long()  # an empty list tells no dtype
    if numbers.dtype == torch.bool:
        axis = 1 if batch_first else 0
        raise ArgumentError(
            f"The 'lengths' of {title} must be whole numbers. Got a mask of {numbers.dtype} instead; if it is true at "
            f"the first steps of each sequence, give mask.sum({axis})."
        )
    if numbers.is_floating_point() or numbers.is_complex():
        raise ArgumentError(f"The 'lengths' of {title} must be whole numbers. Got {numbers.dtype} instead.")
    if numbers.shape != (x.shape[1],):
        raise ArgumentError(
            f"The 'lengths' of {title} must have one entry a sequence, {x.shape[1]}. "
            f"Got shape {tuple(numbers.shape)} instead."
        )
    if has_numbers(numbers) and numbers.numel():
        low, high = int(numbers.min()), int(numbers.max())
        if low < 0 or high > x.shape[0]:
            raise ArgumentError(
                f"The 'lengths' of {title} must lie between 0 and {x.shape[0]}, the number of steps. "
                f"Got {low if low < 0 else high} instead."
            )
    return numbers.to(device=x.device, dtype=torch.int64)


def _repack(y: Tensor, lengths: Tensor, like: PackedSequence) -> PackedSequence:
    """An output (T, B, ·), its rows in the caller's order, packed as `like` is."""
    if like.sorted_indices is not None:
        y, lengths = y.index_select(1, like.sorted_indices), lengths[like.sorted_indices.cpu()]
    packed = pack_padded_sequence(y, lengths)
    return PackedSequence(packed.data, packed.batch_sizes, like.sorted_indices, like.unsorted_indices)
