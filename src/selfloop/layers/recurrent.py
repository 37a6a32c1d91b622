"""``Recurrent``: any cell over whole sequences, with layers, directions, ragged batches and a state."""

import inspect
from typing import TYPE_CHECKING, overload

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from selfloop.errors import ArgumentError, nearest
from selfloop.kernels import dispatch, team
from selfloop.kernels.interpret import made_once
from selfloop.kernels.problem import Problem, is_single_row
from selfloop.language import Cell
from selfloop.layers.device import check_device
from selfloop.layers.dropout import check_rate
from selfloop.layers.initialise import initialise
from selfloop.layers.layout import Lengths, arrange, join
from selfloop.layers.state import State
from selfloop.layers.typed_call import typed_as


class Recurrent(nn.Module):
    """A stack of one cell, run over sequences.

    Parameters keep the cell's names, with torch.nn's suffixes: ``W_xh_l0``, ``W_xh_l1_reverse``. They start as the cell
    declares; where it says nothing, matrices that multiply a state are orthogonal, other matrices glorot, vectors 0.
    The zoo's LSTMs declare a forget bias of 1.

    Args:
        cell: the step, made by `selfloop.cell`, or one of `selfloop.cells`.
        input_size: the features of the input, the cell's ``x``.
        hidden_size: the cell's ``h``.
        num_layers: how many cells stand on one another, at least 1.
        batch_first: input and output are (B, T, ·) instead of (T, B, ·).
        dropout: between layers while training: a share in [0, 1), or a module such as `VariationalDropout`.
        bidirectional: a second cell walks from the end; outputs are concatenated.
        weight_drop: the share in [0, 1) of the recurrent weights that is off in a training call (Merity et al. 2018).
        recompute: activation checkpointing: save the states only, and recompute the rest for the gradient, in segments
            of so many steps: about a quarter of the memory for a third more time. Only compiled kernels heed it.
        backend: ``"auto"`` is the fastest that can run the cell; a name from `explain` is that one alone.
        device: of the parameters.
        dtype: of the parameters.
        sizes: a number for each further size that the cell names.

    Raises:
        ArgumentError: an argument does not fit.

    >>> from selfloop import cells
    >>> rnn = Recurrent(cells.lstm, input_size=3, hidden_size=5, num_layers=2)
    >>> y, state = rnn(torch.zeros(7, 2, 3), lengths=[7, 4])
    >>> y.shape, state
    (torch.Size([7, 2, 5]), State(h=(2, 2, 5), c=(2, 2, 5)))
    """

    _like: Tensor

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        batch_first: bool = False,
        dropout: float | nn.Module = 0.0,
        bidirectional: bool = False,
        weight_drop: float = 0.0,
        recompute: int | None = None,
        backend: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **sizes: int,
    ) -> None:
        super().__init__()
        if not isinstance(cell, Cell):
            raise ArgumentError(
                f"The 'cell' of {self._title} must be made by @selfloop.cell. Got {type(cell).__name__} instead."
            )
        if not isinstance(num_layers, int) or num_layers < 1:
            raise ArgumentError(
                f"The 'num_layers' of {self._title} must be a whole number ≥ 1. Got {num_layers!r} instead."
            )
        if recompute is not None and (not isinstance(recompute, int) or isinstance(recompute, bool) or recompute < 1):
            raise ArgumentError(
                f"The 'recompute' of {self._title} must be a number of steps ≥ 1. Got {recompute!r} instead."
            )
        dispatch.check_backend(backend)
        check_device(self._title, device)
        self._check_names(cell, sizes)
        numbers = cell.bind(input_size, hidden_size, sizes)
        self.cell, self.sizes = cell, {name: numbers[name] for name in (*sizes, *cell.divisors)}
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.batch_first, self.bidirectional, self.backend = batch_first, bidirectional, backend
        self.dropout = dropout if isinstance(dropout, nn.Module) else nn.Dropout(check_rate("dropout", dropout))
        self.weight_drop = check_rate("weight_drop", weight_drop)
        self.recompute = recompute
        shapes = {name: cell.graph.shape(name) for name in cell.graph.states}
        self._state_shapes = {n: tuple(size.value(numbers) for size in shape) for n, shape in shapes.items()}
        self._input_sizes = {name: size.value(numbers) for name, size in cell.inputs.items()}
        self.output_size = self._state_shapes[cell.graph.states[0]][0] * (2 if bidirectional else 1)
        sizes_of_states = [size for shape in shapes.values() for size in shape]
        if num_layers > 1 and self.output_size != input_size and any("x" in size.names for size in sizes_of_states):
            raise ArgumentError(
                f"A state of '{cell.name}' has the input's size, so its layers must all have one input size. "
                f"Got {input_size} and then {self.output_size} instead."
            )
        further = [*cell.inputs][1:]
        if num_layers > 1 and self.output_size != input_size and any("x" in cell.inputs[n].names for n in further):
            raise ArgumentError(
                f"An input of '{cell.name}' beside x has the size of x, so its layers must all have one input size. "
                f"Got {input_size} and then {self.output_size} instead."
            )
        # Of the stack's device and dtype, which a cell without parameters would not show.
        self.register_buffer("_like", torch.empty(0, device=device, dtype=dtype), persistent=False)
        for layer in range(num_layers):
            numbers["x"] = input_size if layer == 0 else self.output_size
            for suffix in self._suffixes(layer):
                for name, of_cell in self._parameter_names().items():
                    shape = [size.value(numbers) for size in cell.graph.shape(of_cell)]
                    weight = torch.empty(shape, device=device, dtype=dtype)
                    if of_cell in cell.fixed:
                        self.register_buffer(name + suffix, weight)
                    else:
                        self.register_parameter(name + suffix, nn.Parameter(weight))
        self.reset_parameters()

    @overload
    def forward(
        self,
        x: Tensor,
        state: State | None = ...,
        *,
        lengths: Lengths = ...,
        resets: Tensor | None = ...,
        **given: Tensor,
    ) -> tuple[Tensor, State]: ...

    @overload
    def forward(
        self, x: PackedSequence, state: State | None = ..., *, lengths: Lengths = ..., resets: Tensor | None = ...
    ) -> tuple[PackedSequence, State]: ...

    def forward(
        self,
        x: Tensor | PackedSequence,
        state: State | None = None,
        *,
        lengths: Lengths = None,
        resets: Tensor | None = None,
        **given: Tensor,
    ) -> tuple[Tensor | PackedSequence, State]:
        """Run whole sequences.

        Args:
            x: (T, B, I); (B, T, I) with `batch_first`; (T, I) for one sequence; or a PackedSequence.
            state: where to start; zeros if None.
            lengths: how many steps each sequence has, in any order, zero allowed, on any device; the output beyond is
                zero, and the state is that after the last step.
            resets: bool, (T, B), laid out as `x`: before these steps the state is zeroed, so that one row can hold
                several sequences; going backwards, each of them is walked from its end.
            given: the further inputs of the cell, by name, for all layers: a vector a step, laid out as `x`, or one a
                sequence, (B, ·), which each of its steps sees. They are taken in the dtype of `x`.

        Returns:
            The output of the last layer at each step, laid out as `x`, and the final State.

        Raises:
            ArgumentError: an argument has a wrong shape, dtype, device or value.
        """
        like = self._like
        if given or len(self._input_sizes) > 1:
            x = join(self._title, x, given, self._input_sizes, self.batch_first)
        layout = arrange(self._title, x, lengths, resets, self.batch_first, self._joint_size, like)
        first = self._first_state(state, layout.x)
        single_row = is_single_row(layout.x)
        graph = (self.cell.graph if self.training else self.cell.graph.expected).per_step
        last: list[list[Tensor]] = [[] for _ in self._state_shapes]
        y = layout.x
        for layer in range(self.num_layers):
            outputs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                place = layer * self._directions + direction
                problem = Problem(
                    graph=graph,
                    params=self._weights(suffix),
                    x=y,
                    state=tuple(s[place] for s in first),
                    lengths=layout.lengths,
                    resets=layout.resets,
                    reverse=direction == 1,
                    recompute=self.recompute or 0,
                    seed=torch.randint(2**31, (), device="cpu") if graph.is_random else None,
                    single_row=single_row,
                )
                output, final = dispatch.run(problem, self.backend)
                outputs.append(output)
                for known, s in zip(last, final, strict=True):
                    known.append(s)
            y = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
            if layer < self.num_layers - 1:
                y = self.dropout(y)
                if len(self._input_sizes) > 1:
                    y = torch.cat([y, layout.x[..., self.input_size :]], dim=-1)
        stacked = (torch.stack(own) if len(own) > 1 else own[0].unsqueeze(0) for own in last)
        return layout.restore(y), State(**dict(zip(self._state_shapes, stacked, strict=True)))

    if TYPE_CHECKING:

        @typed_as(forward)
        def __call__(self) -> None:
            """As `forward`."""

    def step(self, x: Tensor, state: State | None = None, **given: Tensor) -> tuple[Tensor, State]:
        """One step: the numbers of `forward`, one at a time.

        Args:
            x: (B, I), or (I,) for one sequence.
            state: the State of the step before; zeros if None.
            given: the further inputs of the cell, by name, (B, ·).

        Raises:
            ArgumentError: the stack is bidirectional, which must see the end of a sequence first.
        """
        if self.bidirectional:
            raise ArgumentError(
                f"A bidirectional {self._title} cannot step, since it reads from both ends. "
                "Call it on the whole sequence, or make it with bidirectional=False."
            )
        if x.dim() not in (1, 2):
            raise ArgumentError(
                f"The 'x' of {self._title}.step must be of shape (B, I), or (I,) for one sequence: a step has no time. "
                f"Got shape {tuple(x.shape)} instead."
            )
        time = 1 if self.batch_first and x.dim() == 2 else 0
        y, state = Recurrent.forward(self, x.unsqueeze(time), state, **given)
        return y.squeeze(time), state

    def zero_state(self, batch_size: int) -> State:
        """A State of zeros, on the parameters' device and in their dtype."""
        like = self._like
        rows = self.num_layers * self._directions
        return State(**{name: like.new_zeros(rows, batch_size, *shape) for name, shape in self._state_shapes.items()})

    def explain(self, *, resets: bool = False) -> str:
        """Which backend runs this stack, and why no faster one does.

        Args:
            resets: explain a call that resets the state inside a sequence.
        """
        chosen, reasons = self._choose(resets)
        passes = self.num_layers * self._directions
        times = f"{passes} time{'s' if passes > 1 else ''}"
        lines = [
            f"{self} on {self._like.device}, {str(self._like.dtype).removeprefix('torch.')}, backend='{self.backend}'",
            f"  runs as    {chosen}: {dispatch.BACKENDS[chosen].description}, {times} a call",
        ]
        lines += [f"  not as     {name}: {reason}" for name, reason in reasons.items()]
        lines += [f"  note       {note}" for note in team.notes() if self._like.device.type == "cpu"]
        return "\n".join(lines)

    @property
    def runs_as(self) -> str:
        """The name of the backend that runs this stack, as `explain` gives it."""
        return self._choose()[0]

    def reset_parameters(self) -> None:
        """Start anew, as the cell declares."""
        for layer in range(self.num_layers):
            for suffix in self._suffixes(layer):
                for name, of_cell in self._parameter_names().items():
                    initialise(getattr(self, name + suffix), self.cell, of_cell, self.hidden_size, self.sizes)

    def extra_repr(self) -> str:
        """The cell and the sizes, for printing."""
        parts = [self.cell.name, f"{self.input_size} → {self.hidden_size}"]
        parts += [f"{name}={size}" for name, size in self.sizes.items()]
        parts += [f"{self.num_layers} layers"] if self.num_layers > 1 else []
        parts += [flag for flag in ("bidirectional", "batch_first") if getattr(self, flag)]
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"{self._title}({self.extra_repr()})"

    def _check_names(self, cell: Cell, sizes: dict[str, int]) -> None:
        """Raise ArgumentError where a keyword is no size of the cell, but nearly an option, or the class takes none."""
        unknown = [name for name in sizes if name not in (*cell.sizes, *cell.divisors)]
        if not unknown:
            return
        taken = inspect.signature(type(self)).parameters
        options = [name for name in taken if name not in ("sizes", "unknown")]
        for name in unknown:
            if hint := nearest(name, options):
                raise ArgumentError(f"{self._title} takes no '{name}'{hint}")
        if "unknown" in taken:  # RNN, LSTM and GRU, whose cells' sizes are not the user's to give
            raise ArgumentError(f"{self._title} takes no '{min(unknown)}'; its options are {', '.join(options)}.")

    # What a subclass with other parameter names overrides.

    def _parameter_names(self) -> dict[str, str]:
        """The parameters of one layer and direction, without suffix, each with the cell's that it is shaped as."""
        return {name: name for name in self.cell.graph.params}

    def _cell_weights(self, suffix: str) -> dict[str, Tensor]:
        """The cell's weights at one layer and direction."""
        return {name: getattr(self, name + suffix) for name in self.cell.graph.params}

    @property
    def _title(self) -> str:
        return type(self).__name__

    def _choose(self, resets: bool = False, compile: bool = True) -> tuple[str, dict[str, str]]:
        """The backend that runs this stack, and why each faster one does not."""
        like = self._like
        problem = Problem(
            graph=self.cell.graph.per_step,
            params=made_once(self.cell.graph, self._cell_weights("_l0"), self.sizes),
            x=like.new_zeros(1, 2, self._joint_size),
            state=tuple(s[0] for s in self.zero_state(2)),
            resets=torch.zeros(1, 2, dtype=torch.bool, device=like.device) if resets else None,
        )
        return dispatch.choose(problem, self.backend, compile)

    @property
    def _joint_size(self) -> int:
        """Of all inputs of a step side by side."""
        return sum(self._input_sizes.values())

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> tuple[str, ...]:
        return (f"_l{layer}", f"_l{layer}_reverse")[: self._directions]

    def _weights(self, suffix: str) -> dict[str, Tensor]:
        weights = self._cell_weights(suffix)
        if self.training and self.weight_drop:
            for name in {*self.cell.graph.recurrent_params} - self.cell.fixed:
                weights[name] = F.dropout(weights[name], self.weight_drop)
        return made_once(self.cell.graph, weights, self.sizes)

    def _first_state(self, state: State | None, x: Tensor) -> tuple[Tensor, ...]:
        """The state before the first step, one tensor for each of the cell's, checked against the input (T, B, I)."""
        if state is None:
            return tuple(self.zero_state(x.shape[1]))
        if not isinstance(state, State):
            raise ArgumentError(
                f"The 'state' of {self._title} must be a State, as a call returns. Got {type(state).__name__} instead."
            )
        if set(state.tensors) != set(self._state_shapes):
            raise ArgumentError(
                f"The 'state' of {self._title} must hold {', '.join(self._state_shapes)}. Got {state} instead."
            )
        rows = self.num_layers * self._directions
        for name, shape in self._state_shapes.items():
            tensor, expected = state.tensors[name], (rows, x.shape[1], *shape)
            if tuple(tensor.shape) != expected:
                raise ArgumentError(
                    f"The state '{name}' of {self._title} must have shape {expected}, which is (layers × directions, "
                    f"batch, size). Got {tuple(tensor.shape)} instead."
                )
            if tensor.device != x.device:
                raise ArgumentError(
                    f"The state '{name}' of {self._title} must be on {x.device}, as the input. Got {tensor.device} "
                    "instead; move it with state.to(x.device)."
                )
            if tensor.dtype != x.dtype and not torch.is_autocast_enabled(x.device.type):
                raise ArgumentError(
                    f"The state '{name}' of {self._title} must be {x.dtype}, as the input. Got {tensor.dtype} instead; "
                    "cast it with state.to(x.dtype)."
                )
        return tuple(state.tensors[name] for name in self._state_shapes)
