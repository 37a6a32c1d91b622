"""Whether torch has a device here."""

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
