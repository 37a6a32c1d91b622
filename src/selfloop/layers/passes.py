"""What each layer and direction of a stack has: its sizes, the names of its weights, and its rows in a State."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from selfloop.errors import ArgumentError
from selfloop.kernels.call import Form
from selfloop.kernels.recent import RecentPlans
from selfloop.language import Cell


class Pass(NamedTuple):
    """One layer in one direction.

    Attributes:
        suffix: of its parameters' names.
        reverse: whether it walks from the end.
        names: of its parameters and buffers, in the cell's order.
        weights: for each parameter of the cell the names of those of the layer whose sum it is; none for zeros.
        sizes: the number of each named size of the cell.
        rows: for each state of the cell, the number of its tensor in a State, and its row there.
        is_whole: whether these weights are those of a step, each one tensor or a sum of two.
        forms: of calls that are given no state, and one.
        recent: the plans of its last calls.
    """

    suffix: str
    reverse: bool
    names: Sequence[str]
    weights: Mapping[str, Sequence[str]]
    sizes: Mapping[str, int]
    rows: Sequence[tuple[int, int]]
    is_whole: bool
    forms: tuple[Form, Form]
    recent: RecentPlans


class Passes(NamedTuple):
    """The passes of a stack.

    Attributes:
        passes: of each layer, one for each direction.
        input_sizes: the size of each input of the cell, by its name.
        output_sizes: what each layer gives to the next one.
        state_names: the names of the tensors of a State.
        state_shapes: their shapes, (rows, ...), without the batch.
        is_stacked: whether each of these tensors has one row, in front of its batch.
    """

    passes: list[list[Pass]]
    input_sizes: dict[str, int]
    output_sizes: list[int]
    state_names: list[str]
    state_shapes: list[tuple[int, ...]]
    is_stacked: bool


def planned(
    cell: Cell,
    title: str,
    input_size: int,
    hidden_sizes: Sequence[int],
    sizes: Mapping[str, int],
    suffixes: Sequence[Sequence[str]],
    parameters: Mapping[str, str],
    has_layers: bool,
    residual: bool,
) -> Passes:
    """The passes of a stack.

    Args:
        cell: of all layers.
        title: of the stack, for errors.
        input_size: of the first layer's ``x``.
        hidden_sizes: of each layer.
        sizes: the numbers of further sizes that the cell names.
        suffixes: of the parameters' names: for each layer, one for each direction.
        parameters: those of one layer and direction, without suffix, each with the cell's that it is shaped as.
        has_layers: whether the tensors of a State have a row for each layer and direction.
        residual: whether a layer adds what it reads to its output.

    Raises:
        ArgumentError: layers do not fit one another.
    """
    directions = len(suffixes[0])
    numbers = [cell.bind(input_size, hidden_sizes[0], sizes)]
    states = [_states_of(cell, numbers[0])]
    output = cell.graph.states[0]
    for hidden_size in hidden_sizes[1:]:
        numbers.append(cell.bind(states[-1][output][0] * directions, hidden_size, sizes))
        states.append(_states_of(cell, numbers[-1]))
    output_sizes = [shapes[output][0] * directions for shapes in states]
    _check_layers(cell, title, numbers, output_sizes, residual)
    is_named_by_layer = any(shapes != states[0] for shapes in states)
    if is_named_by_layer:
        state_names = [f"{name}_l{layer}" for layer, shapes in enumerate(states) for name in shapes]
        state_shapes = [(directions, *shape) for shapes in states for shape in shapes.values()]
    else:
        state_names = list(states[0])
        state_shapes = [(len(numbers) * directions, *shape) for shape in states[0].values()]
    is_stacked = has_layers and all(rows == 1 for rows, *_ in state_shapes)
    weights: dict[str, list[str]] = {name: [] for name in cell.graph.params}
    for name, of_cell in parameters.items():
        weights[of_cell].append(name)
    terms = tuple(map(len, weights.values()))
    is_whole = cell.graph.per_step is cell.graph and {*terms} <= {1, 2}
    passes = []
    for layer, (each, shapes, own) in enumerate(zip(numbers, states, suffixes, strict=True)):
        form = Form(is_stacked, True, tuple(shapes.values()), terms if is_whole and 2 in terms else ())
        first, row = (layer * len(shapes), 0) if is_named_by_layer else (0, layer * directions)
        passes.append(
            [
                Pass(
                    suffix,
                    reverse=way == 1,
                    names=[name + suffix for names in weights.values() for name in names],
                    weights={of_cell: [name + suffix for name in names] for of_cell, names in weights.items()},
                    sizes=each,
                    rows=[(first + k, row + way) for k in range(len(shapes))],
                    is_whole=is_whole,
                    forms=(form, form._replace(starts_at_zero=False)),
                    recent=RecentPlans(),
                )
                for way, suffix in enumerate(own)
            ]
        )
    input_sizes = {name: size.value(numbers[0]) for name, size in cell.inputs.items()}
    return Passes(passes, input_sizes, output_sizes, state_names, state_shapes, is_stacked)


def _states_of(cell: Cell, numbers: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """The shape of each of the cell's states, given the number of each named size."""
    return {name: cell.graph.shape_at(name, numbers) for name in cell.graph.states}


def _check_layers(
    cell: Cell, title: str, numbers: Sequence[Mapping[str, int]], output_sizes: Sequence[int], residual: bool
) -> None:
    """Raise ArgumentError where layers need further inputs of several sizes, or cannot add what they read."""
    for layer, (each, size) in enumerate(zip(numbers, output_sizes, strict=True)):
        for name in [*cell.inputs][1:]:
            first, own = (cell.inputs[name].value(of) for of in (numbers[0], each))
            if own != first:
                raise ArgumentError(
                    f"The input '{name}' of '{cell.name}' has the size {cell.inputs[name]}, so its layers must all "
                    f"have one {'input' if 'x' in cell.inputs[name].names else 'hidden'} size. "
                    f"Got {first} and then {own} instead."
                )
        if residual and layer and each["x"] != size:
            raise ArgumentError(
                f"With residual=True a layer of {title} adds what it reads to its output, so both must have "
                f"one size. Got {each['x']} and {size} in layer {layer}; give its layers one hidden_size."
            )
