"""Graph -> Programs: lowering, fusion, differentiation, rematerialisation and scheduling.

Nothing here knows a processor, the width of its vectors, the size of an element, or LLVM. Each pass is a module with
one function, which takes one level and returns another:

    graph_to_step      Graph -> Step            numbers for sizes; split and concat disappear
    fuse               Step -> Step             sums of products become one product
    hoist              Step -> Step             products of the input leave the loop over time
    differentiate      Step -> Derivative       reverse mode, one step
    rematerialise      Derivative -> Backward   what is saved, what is recomputed
    weight_gradients   Backward -> gradients of matrices, as products over all steps
    input_gradient     Backward -> Step         the gradient of the input, for all steps at once
    schedule           Step -> Program          loops, and the workspace between them

`verify` checks what each of them returns.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from selfloop.compiler.lower.differentiate import differentiate
from selfloop.compiler.lower.fuse import fuse
from selfloop.compiler.lower.graph_to_step import graph_to_step
from selfloop.compiler.lower.hoist import hoist, input_products
from selfloop.compiler.lower.input_gradient import input_gradient
from selfloop.compiler.lower.program import Program
from selfloop.compiler.lower.rematerialise import MatrixGradient, rematerialise
from selfloop.compiler.lower.residual_reuse import reused_residuals
from selfloop.compiler.lower.schedule import schedule
from selfloop.compiler.lower.step import Step
from selfloop.compiler.lower.weight_gradients import weight_gradients
from selfloop.errors import BackendError
from selfloop.language.graph import Graph

VARIES = "is a matrix that differs from step to step, and compiled kernels hold vectors from step to step"
"""Why a cell cannot be compiled."""


def lower_inference(graph: Graph, sizes: Mapping[str, int]) -> Program:
    """The step for inference alone, in one piece: it may have matrices that differ from step to step.

    Args:
        graph: the cell.
        sizes: the number of each of its named sizes.
    """
    return schedule(fuse(graph_to_step(graph.per_step, sizes)))


@dataclass(frozen=True)
class Lowered:
    """A cell as programs.

    Attributes:
        input: the name of its input.
        states: the size of each state; the first is the output.
        training: the forward step that saves residuals.
        backward: the backward step.
        project: the products of the input for all steps; None where they stay in the step.
        infer: the forward step for inference.
        train: the forward step for training.
        back: the backward step.
        input_gradient: the gradient of the input for all steps; None where no matrix multiplies the input.
        weight_gradients: the gradients of the matrices.
        reused: for residuals that overwrite a hoisted product, the name of that product's residual.
    """

    input: str
    states: Mapping[str, int]
    training: Step
    backward: Step
    project: Program | None
    infer: Program
    train: Program
    back: Program
    input_gradient: Program | None
    weight_gradients: tuple[MatrixGradient, ...]
    reused: Mapping[str, str]


def lower(graph: Graph, sizes: Mapping[str, int], hoist_above: int | None) -> Lowered:
    """Lower a cell.

    Args:
        graph: the cell.
        sizes: the number of each of its named sizes, as ``{"x": 64, "h": 128}``.
        hoist_above: the products of the input leave the step where its matrices have more elements than this; None for
            never.

    Raises:
        BackendError: the cell has a matrix that differs from step to step.
    """
    if graph.varying_matrix is not None:
        raise BackendError(
            f"'{graph.name}' cannot be compiled: {graph.varying_matrix} {VARIES}. It runs with backend='interpret'."
        )
    states = {name: graph.shape(name)[0].value(sizes) for name in graph.states}
    whole = fuse(graph_to_step(graph.per_step, sizes))  # Graph -> Step
    products, forward = hoist(whole, hoist_above)  # Step -> products of the input, Step
    derivative = differentiate(forward, states)  # Step -> Derivative
    backward = rematerialise(forward, derivative)  # Derivative -> Backward
    gradients = weight_gradients(backward, products)  # Backward -> gradients of matrices
    for_input = input_gradient(gradients, backward.step)  # Backward -> Step
    training = forward.with_stores([*forward.stores, *backward.residuals])  # Step -> Step
    train = schedule(training)  # Step -> Program
    return Lowered(
        input=graph.input,
        states=states,
        training=training,
        backward=backward.step,
        project=schedule(input_products(products)) if products else None,
        infer=schedule(forward),
        train=train,
        back=schedule(backward.step),
        input_gradient=schedule(for_input) if for_input else None,
        weight_gradients=gradients,
        reused=reused_residuals(train),
    )
