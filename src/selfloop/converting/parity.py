"""How far a converted layer is from the file that it came from."""

import copy

import numpy as np
import torch

from selfloop.converting.stack import Numbers, Stack
from selfloop.errors import BackendError, DataError
from selfloop.layers import Recurrent, State

STEPS, BATCH = 8, 3
"""Of the random input that both are run on."""

TOLERANCE = 1e-5
"""How far the layer may be from the file, relative to the largest value of each output and state."""


@torch.no_grad()
def difference(stack: Stack, layer: Recurrent, where: str) -> float:
    """The largest difference between a layer and the file's own mathematics, on random input.

    Outputs and final states are each compared relative to their largest value. The layer runs in float64, and so does
    the reference if it can: where weights are large, rounding in float32 grows from step to step.

    Args:
        stack: as the file has it.
        layer: made of it.
        where: the file, for errors.

    Raises:
        DataError: the file's mathematics gives what is not finite.
        BackendError: they differ by more than rounding.
    """
    exact = copy.deepcopy(layer).double()
    exact.backend = "interpret"
    x = torch.randn(STEPS, BATCH, stack.input_size, generator=torch.Generator().manual_seed(0)).double()
    expected = [np.asarray(own, np.float64) for own in stack.reference(x.numpy())]
    found = _run(exact, x)
    if not all(np.isfinite(own).all() for own in expected):
        raise DataError(f"{where}: the outputs of '{stack.name}' on random input are not all finite.")
    if [own.shape for own in found] != [own.shape for own in expected]:
        shapes = f"{[own.shape for own in found]} and {[own.shape for own in expected]}"
        raise BackendError(f"{where}: '{stack.name}' gives other shapes than {layer}: {shapes}. Please report this.")
    largest = max(
        float(np.abs(a - b).max()) / (float(np.abs(b).max()) or 1.0) for a, b in zip(found, expected, strict=True)
    )
    if not largest <= TOLERANCE:
        raise BackendError(
            f"{where}: what was made of '{stack.name}' differs from it by {largest:.1e} of the largest value, and at "
            f"most {TOLERANCE} is rounding, so it is refused. Please report this file."
        )
    return largest


def _run(layer: Recurrent, x: torch.Tensor) -> list[Numbers]:
    """The output and the final states of a layer, (T, B, ·)."""
    swap = layer.batch_first
    y, state = layer(x.transpose(0, 1) if swap else x)
    states = state.tensors.values() if isinstance(state, State) else state if isinstance(state, tuple) else (state,)
    return [own.numpy() for own in (y.transpose(0, 1) if swap else y, *states)]
