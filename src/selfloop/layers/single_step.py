"""One step of few sequences by torch's own function for it, in the place of a call of kernels."""

from collections.abc import Sequence

from torch import Tensor

from selfloop.kernels import fused
from selfloop.language.graph import Graph
from selfloop.layers.passes import Pass


def is_single_step(x: Tensor, few: int) -> bool:
    """Whether an input (T, B, I), or (B, I), is one step of at most `few` sequences, which torch's function takes."""
    return fused.takes_steps(x) and x.shape[-2] <= few and (x.dim() == 2 or x.shape[0] == 1)


def single_step(
    graph: Graph,
    one: Pass,
    x: Tensor,
    first: Sequence[Tensor | Sequence[Tensor]] | None,
    weights: Sequence[Tensor],
    is_stacked: bool,
) -> tuple[Tensor, tuple[Tensor, ...]] | None:
    """The output, laid out as the input, and the states after the step, or None where a tensor's memory has been freed.

    Args:
        graph: of the cell.
        one: what it is a step of.
        x: the input, which `is_single_step`.
        first: the tensors of a State, or their rows; zeros if None.
        weights: of the pass.
        is_stacked: whether each tensor of a State has one row, in front of its batch.
    """
    rows = x if x.dim() == 2 else x.squeeze(0)
    if first is None:
        state = tuple([rows.new_zeros(len(rows), *size) for size in one.forms[0].sizes])
    else:
        state = tuple([first[k][row] for k, row in one.rows])
    new = fused.step(graph, weights, rows, state)
    if new is None:
        return None
    final = tuple([s.unsqueeze(0) for s in new]) if is_stacked else new
    y = new[0]
    if x.dim() == 3:
        y = final[0] if is_stacked else y.unsqueeze(0)
    return y if y.requires_grad else y.clone(), final  # autograd notices who changes a state by its output
