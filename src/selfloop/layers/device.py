"""Whether torch has a device here, and parameters a dtype."""

from typing import Any

import torch

from selfloop.errors import ArgumentError


def check_device(title: str, device: Any) -> None:
    """Raises an ArgumentError where torch cannot put a tensor on a device; torch itself raises six kinds of error.

    >>> check_device("LSTM", "cpu")
    """
    try:
        torch.empty(0, device=device)
    except Exception as error:
        raise ArgumentError(
            f"The 'device' of {title} must be one that torch has here, such as 'cpu'. Got {str(device)!r} instead."
        ) from error


def check_dtype(title: str, dtype: Any) -> None:
    """Raises an ArgumentError where parameters cannot have a dtype.

    >>> check_dtype("LSTM", torch.float64)
    """
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ArgumentError(
            f"The 'dtype' of {title} must be one of real numbers, such as torch.float32. Got {dtype!r} instead."
        )
