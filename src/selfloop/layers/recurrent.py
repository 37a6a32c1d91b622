"""``Recurrent``: any cell over whole sequences, with layers, directions, ragged batches and a state."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast, overload

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

if TYPE_CHECKING:
    from torch.nn.modules.module import _IncompatibleKeys

from selfloop.errors import ArgumentError, nearest
from selfloop.kernels import dispatch, team
from selfloop.kernels.call import Call
from selfloop.kernels.dropout import dropout as dropout_of
from selfloop.kernels.interpret import made_once
from selfloop.kernels.problem import Problem, ended
from selfloop.language import Cell
from selfloop.language.graph import Graph
from selfloop.layers.device import check_device, check_dtype
from selfloop.layers.dropout import Dropout, check_rate
from selfloop.layers.hooks import called_with_hooks
from selfloop.layers.initialise import initialise
from selfloop.layers.layout import Lengths, arrange, check_input, join
from selfloop.layers.passes import Pass, planned
from selfloop.layers.record import record_names
from selfloop.layers.state import State, check_fits
from selfloop.layers.typed_call import typed_as
from selfloop.untrusted import short

MOST_LAYERS = 10_000
"""More are a mistake, and would take the memory of their plan before that of their weights is known."""

FLAGS = ("bidirectional", "batch_first", "residual", "layer_norm", "learn_state")


TORCHS = re.compile(r"(weight|bias)_(ih|hh|hr)_l\d+(_reverse)?")
"""The names of the weights of torch.nn's layers."""


class Recurrent(nn.Module):
    """A stack of one cell, run over sequences.

    Parameters keep the cell's names, with torch.nn's suffixes: ``W_xh_l0``, ``W_xh_l1_reverse``. They start as the cell
    declares; where it says nothing, matrices that multiply a state are orthogonal, other matrices glorot, vectors 0.
    The zoo's LSTMs declare a forget bias of 1.

    Args:
        cell: the step, made by `selfloop.cell`, or one of `selfloop.cells`.
        input_size: the features of the input, the cell's ``x``.
        hidden_size: the cell's ``h``; or one for each layer, as ``[256, 128]``. Where layers differ in size, each has
            its own tensors in a State: ``h_l0``, ``h_l1``.
        num_layers: how many cells stand on one another, at least 1; follows from a list of hidden sizes.
        batch_first: input and output are (B, T, ·) instead of (T, B, ·).
        dropout: between layers while training: a share in [0, 1), or a module such as `VariationalDropout`.
        bidirectional: a second cell walks from the end; outputs are concatenated.
        residual: each layer but the first adds what it reads to its output (Wu et al. 2016), which must be as large.
        layer_norm: an `nn.LayerNorm` between layers, before the dropout: ``norm_l0`` is that of layer 0's output.
        learn_state: where sequences start is learnt: a parameter for each state of each layer and direction, such as
            ``h_l0``, zero at first. What starts without a state starts there.
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
        hidden_size: int | Sequence[int],
        num_layers: int | None = None,
        *,
        batch_first: bool = False,
        dropout: float | nn.Module = 0.0,
        bidirectional: bool = False,
        residual: bool = False,
        layer_norm: bool = False,
        learn_state: bool = False,
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
        hidden_sizes = self._sizes_of_layers(hidden_size, num_layers)
        if recompute is not None and (not isinstance(recompute, int) or isinstance(recompute, bool) or recompute < 1):
            raise ArgumentError(
                f"The 'recompute' of {self._title} must be a number of steps ≥ 1. Got {recompute!r} instead."
            )
        dispatch.check_backend(backend)
        check_device(self._title, device)
        check_dtype(self._title, dtype)
        self._check_names(cell, sizes)
        for name, flag in zip(FLAGS, (bidirectional, batch_first, residual, layer_norm, learn_state), strict=True):
            if not isinstance(flag, bool):
                raise ArgumentError(f"The '{name}' of {self._title} must be True or False. Got {flag!r} instead.")
        numbers = cell.bind(input_size, hidden_sizes[0], sizes)
        self.cell, self.sizes = cell, {name: numbers[name] for name in (*sizes, *cell.divisors)}
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_sizes[-1], len(hidden_sizes)
        self.hidden_sizes = hidden_sizes
        self.batch_first, self.bidirectional, self.backend = batch_first, bidirectional, backend
        self.residual, self.layer_norm, self.learn_state = residual, layer_norm, learn_state
        self.dropout = dropout if isinstance(dropout, nn.Module) else Dropout(check_rate("dropout", dropout))
        self.weight_drop = check_rate("weight_drop", weight_drop)
        self.recompute = recompute
        self._recordings: dict[tuple[bool, tuple[str, ...]], Graph] = {}
        self._plan()
        # Of the stack's device and dtype, which a cell without parameters would not show.
        self.register_buffer("_like", torch.empty(0, device=device, dtype=dtype), persistent=False)
        hook: Callable[..., object] = self.register_load_state_dict_post_hook
        hook(_be_like_weights)  # `assign=True` may change both
        for layer, own in enumerate(self._passes):
            for one in own:
                for name, of_cell in self._parameter_names().items():
                    shape = cell.graph.shape_at(of_cell, one.sizes)
                    weight = torch.empty(shape, device=device, dtype=dtype)
                    if of_cell in cell.fixed:
                        self.register_buffer(name + one.suffix, weight)
                    else:
                        self.register_parameter(name + one.suffix, nn.Parameter(weight))
                for name, (k, _) in zip(cell.graph.states, one.rows, strict=True) if learn_state else ():
                    zeros = torch.zeros(self._state_shapes[k][1:], device=device, dtype=dtype)
                    self.register_parameter(name + one.suffix, nn.Parameter(zeros))
            if layer_norm and layer < self.num_layers - 1:
                norm = nn.LayerNorm(self._output_sizes[layer], device=device, dtype=dtype)
                self.register_module(f"norm_l{layer}", norm)
        self.reset_parameters()

    @overload
    def forward(
        self,
        x: Tensor,
        state: State | None = ...,
        *,
        lengths: Lengths = ...,
        resets: Tensor | None = ...,
        record: None = ...,
        **given: Tensor,
    ) -> tuple[Tensor, State]: ...

    @overload
    def forward(
        self,
        x: Tensor,
        state: State | None = ...,
        *,
        lengths: Lengths = ...,
        resets: Tensor | None = ...,
        record: Sequence[str],
        **given: Tensor,
    ) -> tuple[Tensor, State, dict[str, Tensor]]: ...

    @overload
    def forward(
        self, x: PackedSequence, state: State | None = ..., *, record: None = ...
    ) -> tuple[PackedSequence, State]: ...

    @overload
    def forward(
        self, x: PackedSequence, state: State | None = ..., *, record: Sequence[str]
    ) -> tuple[PackedSequence, State, dict[str, PackedSequence]]: ...

    def forward(
        self,
        x: Tensor | PackedSequence,
        state: State | None = None,
        *,
        lengths: Lengths = None,
        resets: Tensor | None = None,
        record: Sequence[str] | None = None,
        **given: Tensor,
    ) -> Any:
        """Run whole sequences.

        Args:
            x: (T, B, I); (B, T, I) with `batch_first`; (T, I) for one sequence; or a PackedSequence.
            state: where to start; zeros if None.
            lengths: how many steps each sequence has, in any order, zero allowed, on any device; the output beyond is
                zero, and the state is that after the last step.
            resets: bool, (T, B), laid out as `x`: before these steps the state is zeroed, so that one row can hold
                several sequences; going backwards, each of them is walked from its end.
            record: names of states or of local variables of the cell's function, whose values at each step are to be
                returned, too.
            given: the further inputs of the cell, by name, for all layers: a vector a step, laid out as `x`, or one a
                sequence, (B, ·), which each of its steps sees. They are taken in the dtype of `x`.

        Returns:
            The output of the last layer at each step, laid out as `x`, and the final State. With `record`, also a dict
            of what was recorded at each step, laid out as `x`, zero beyond the lengths, with gradients, by its name and
            the suffix of the weights: ``f_l0``, ``f_l1_reverse``.

        Raises:
            ArgumentError: an argument has a wrong shape, dtype, device or value.
        """
        return self._over_sequences(x, state, lengths, resets, record, given)

    if TYPE_CHECKING:

        @typed_as(forward)
        def __call__(self) -> None:
            """As `forward`."""

    @overload
    def step(
        self, x: Tensor, state: State | None = ..., *, record: None = ..., **given: Tensor
    ) -> tuple[Tensor, State]: ...

    @overload
    def step(
        self, x: Tensor, state: State | None = ..., *, record: Sequence[str], **given: Tensor
    ) -> tuple[Tensor, State, dict[str, Tensor]]: ...

    def step(
        self, x: Tensor, state: State | None = None, *, record: Sequence[str] | None = None, **given: Tensor
    ) -> Any:
        """One step: the numbers of `forward`, one at a time, with the layer's hooks around it as around a call.

        Args:
            x: (B, I), or (I,) for one sequence.
            state: the State of the step before; zeros if None.
            record: as in `forward`.
            given: the further inputs of the cell, by name, (B, ·).

        Raises:
            ArgumentError: the stack is bidirectional, which must see the end of a sequence first; or it has a hook of
                torch's deprecated `register_backward_hook`.
        """
        options = given if record is None else {"record": record, **given}
        return called_with_hooks(self, self._step, (x,) if state is None else (x, state), options)

    def _over_sequences(
        self,
        x: Tensor | PackedSequence,
        state: Any,
        lengths: Lengths,
        resets: Tensor | None,
        record: Sequence[str] | None,
        given: Mapping[str, Tensor],
    ) -> Any:
        """As `forward`, with the state in the form that the class takes."""
        if given or len(self._input_sizes) > 1:
            x = join(self._title, x, given, self._input_sizes, self.batch_first)
        if resets is not None and self.learn_state:
            raise ArgumentError(
                f"The 'resets' of {self._title} zero the state inside a sequence, but this one has learnt where "
                "sequences start. Give each sequence a row of its own, and their lengths, or make it with "
                "learn_state=False."
            )
        like = cast(Tensor, self._buffers["_like"])  # an attribute of a module takes 1 µs
        layout = arrange(self._title, x, lengths, resets, self.batch_first, self._joint_size, like)
        is_one = isinstance(x, Tensor) and x.dim() == 2
        first = self._first_state(state, layout.x, is_one)
        names = () if record is None else record_names(self._title, record)
        y, last, recorded = self._run(layout.x, first, layout.lengths, layout.resets, names)
        result = layout.restore(y), self._of_rows(state, last, is_one)
        return result if record is None else (*result, {name: layout.restore(v) for name, v in recorded.items()})

    def _step(self, x: Tensor, state: Any = None, *, record: Sequence[str] | None = None, **given: Tensor) -> Any:
        """As `step`, without hooks, and with the state in the form that the class takes."""
        is_one = self._check_step(x)
        if given or len(self._input_sizes) > 1:
            x = join(self._title, x.unsqueeze(0), given, self._input_sizes, batch_first=False).squeeze(0)
        if is_one:
            x = x.unsqueeze(0)
        check_input(self._title, x, self._joint_size, cast(Tensor, self._buffers["_like"]))
        names = () if record is None else record_names(self._title, record)
        y, last, recorded = self._run(x, self._first_state(state, x, is_one), names=names)
        result = y[0] if is_one else y, self._of_rows(state, last, is_one)
        return result if record is None else (*result, {n: v[0] if is_one else v for n, v in recorded.items()})

    def _check_step(self, x: Tensor) -> bool:
        """Whether the input of a step is of one sequence, without a batch."""
        if self.bidirectional:
            raise ArgumentError(
                f"A bidirectional {self._title} cannot step, since it reads from both ends. "
                "Call it on the whole sequence, or make it with bidirectional=False."
            )
        if not isinstance(x, Tensor) or x.dim() not in (1, 2):
            got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise ArgumentError(
                f"The 'x' of {self._title_of_step} must be of shape (B, I), or (I,) for one sequence: a step has no "
                f"time. Got {got} instead."
            )
        return x.dim() == 1

    def _run(
        self,
        x: Tensor,
        first: Sequence[Tensor | Sequence[Tensor]] | None,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
        names: tuple[str, ...] = (),
    ) -> tuple[Tensor, list[list[Tensor]], dict[str, Tensor]]:
        """All layers over (T, B, I), from the tensors of a State, or their rows, or zeros.

        Also the rows of these tensors after the last step, and what is recorded of each of `names`. Where the tensors
        of a State have one row each, a row is the tensor. An input (B, I) is one step.
        """
        graph = self._graph(self.training, names)
        recorded: dict[str, Tensor] = {}
        last: list[list[Tensor]] = [[] for _ in self._state_names]
        further = x[..., self.input_size :] if len(self._input_sizes) > 1 else None
        y = x if further is None else x[..., : self.input_size]
        for layer, passes in enumerate(self._passes):
            read = x if layer == 0 else y if further is None else torch.cat([y, further], dim=-1)
            outputs = []
            for one in passes:
                output, final = self._pass(graph, one, read, first, lengths, resets, names)
                if names:
                    output, *values = output.split(graph.output_sizes(one.sizes), dim=-1)
                    recorded |= {name + one.suffix: v for name, v in zip(names, values, strict=True)}
                outputs.append(output)
                for (k, _), s in zip(one.rows, final, strict=True):
                    last[k].append(s)
            below, y = y, outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
            if self.residual and layer > 0:
                y = y + below
            if layer < self.num_layers - 1:
                y = self._between(layer, y, lengths)
        return y, last, recorded

    def _pass(
        self,
        graph: Graph,
        one: Pass,
        x: Tensor,
        first: Sequence[Tensor | Sequence[Tensor]] | None,
        lengths: Tensor | None,
        resets: Tensor | None,
        names: tuple[str, ...],
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """One layer in one direction: its output, and its rows of the State after the last step."""
        is_step = x.dim() == 2
        form = one.forms[first is not None]
        drops = self.training and self.weight_drop > 0
        x = x.unsqueeze(0) if is_step else x
        state: list[Any] = []
        if first is not None:
            state = [first[k] if self._is_stacked else first[k][row] for k, row in one.rows]
        if names:  # what is recorded is the first state of its graph
            size = sum(graph.output_sizes(one.sizes))
            form = form._replace(sizes=((size,), *form.sizes))
            state = [x.new_zeros(*[1] * self._is_stacked, x.shape[1], size), *state] if state else []
        if one.is_whole and not drops:
            weights = self._own_weights(one)
        else:
            form, weights = form._replace(summed=()), [*self._weights(one.suffix).values()]
        seed = torch.randint(2**31, (), device="cpu") if graph.is_random else None
        like, recompute = cast(Tensor, self._buffers["_like"]), self.recompute or 0
        call = Call(graph, form, x, state, weights, like, lengths, resets, seed, one.reverse, recompute)
        y, final = dispatch.run(call, self.backend, one.recent)
        return y.squeeze(0) if is_step else y, final[1:] if names else final

    def _between(self, layer: int, y: Tensor, lengths: Tensor | None) -> Tensor:
        """From the output of a layer to what the next one reads."""
        if self.layer_norm:
            y = self.get_submodule(f"norm_l{layer}")(y)
            if lengths is not None:  # beyond a sequence's end all is zero, and its norm is not
                y = ended(y, lengths)
        dropout = cast(nn.Module, self._modules["dropout"])
        dropped: Tensor = dropout(y) if y.dim() == 3 else dropout(y.unsqueeze(0)).squeeze(0)
        return dropped

    def _graph(self, training: bool, names: tuple[str, ...]) -> Graph:
        """One step, as a call runs it: in training or not, and with the values of these names in its output."""
        graph = (self.cell.graph if training else self.cell.graph.expected).per_step
        if not names:
            return graph
        key = (training, names)
        if key not in self._recordings:
            if torch.compiler.is_compiling():
                raise ArgumentError(
                    f"torch.compile cannot trace what makes {self._title} record {names}. Call it once with this "
                    "'record' before it is compiled."
                )
            self._recordings[key] = graph.recording(names)
        return self._recordings[key]

    def _own_weights(self, one: Pass) -> list[Tensor]:
        """The parameters of a pass, or what stands in their place."""
        own = self._parameters  # `_tensor` takes 0.2 µs for each
        return [self._tensor(name) if (w := own.get(name)) is None else w for name in one.names]

    def _as_given(self, state: Any, tensors: Sequence[Tensor], is_one: bool = False) -> Any:
        """The new state in the form of the one that was given, from its tensors."""
        return State(**dict(zip(self._state_names, tensors, strict=True)))

    def _of_rows(self, state: Any, last: Sequence[Sequence[Tensor]], is_one: bool) -> Any:
        """The same, from the rows of its tensors."""
        return self._as_given(state, [own[0] if self._is_stacked else stacked(own) for own in last], is_one)

    def zero_state(self, batch_size: int) -> State:
        """A State of zeros, on the parameters' device and in their dtype."""
        like = self._like
        shapes = zip(self._state_names, self._state_shapes, strict=True)
        return State(**{name: like.new_zeros(rows, batch_size, *shape) for name, (rows, *shape) in shapes})

    def initial_state(self, batch_size: int) -> State:
        """The State in which sequences start that are given none: zeros, or what was learnt."""
        if not self.learn_state:
            return self.zero_state(batch_size)
        own: list[list[Tensor]] = [[] for _ in self._state_names]
        for one in self._pass_of.values():
            for name, (k, _) in zip(self.cell.graph.states, one.rows, strict=True):
                start = self._tensor(name + one.suffix)
                own[k].append(start.expand(batch_size, *start.shape))
        return State(**dict(zip(self._state_names, map(stacked, own), strict=True)))

    def explain(self, *, resets: bool = False) -> str:
        """Which backend runs this stack, and why no faster one does.

        Args:
            resets: explain a call that resets the state inside a sequence.
        """
        chosen, reasons = self._choose(resets)
        passes = len(self._pass_of)
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

    def load_state_dict(
        self, state_dict: Mapping[str, object], strict: bool = True, assign: bool = False
    ) -> "_IncompatibleKeys":
        """As in torch.nn.

        Raises:
            ArgumentError: the weights are those of a layer of torch.nn, whose names only `RNN`, `LSTM` and `GRU` have.
            RuntimeError: names or shapes differ.
        """
        names = [name for name in state_dict if TORCHS.fullmatch(name)]
        if strict and names and not hasattr(self, names[0]):
            theirs = {"lstm": "LSTM", "projected_lstm": "LSTM", "gru": "GRU"}.get(self.cell.name, "RNN")
            raise ArgumentError(
                f"The names of these weights, such as '{names[0]}', are those of torch.nn, and {self._title} has the "
                f"cell's, {', '.join(self.cell.graph.params)}. Load them into selfloop.{theirs}, which has torch.nn's."
            )
        return super().load_state_dict(state_dict, strict, assign)  # type: ignore[no-any-return]

    def reset_parameters(self) -> None:
        """Start anew, as the cell declares."""
        for one in self._pass_of.values():
            for name, of_cell in self._parameter_names().items():
                initialise(self._tensor(name + one.suffix), self.cell, of_cell, one.sizes["h"], self.sizes)
            for name in self.cell.graph.states if self.learn_state else ():
                nn.init.zeros_(self._tensor(name + one.suffix))
        for layer in range(self.num_layers - 1) if self.layer_norm else ():
            cast(nn.LayerNorm, self.get_submodule(f"norm_l{layer}")).reset_parameters()

    def extra_repr(self) -> str:
        """The cell and the sizes, for printing."""
        parts = [self.cell.name, f"{self.input_size} → {self._sizes_as_text}"]
        parts += [f"{name}={size}" for name, size in self.sizes.items()]
        parts += [f"{self.num_layers} layers"] if self.num_layers > 1 and len({*self.hidden_sizes}) == 1 else []
        parts += [flag for flag in FLAGS if getattr(self, flag)]
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"{self._title}({self.extra_repr()})"

    def _check_names(self, cell: Cell, sizes: Mapping[str, int]) -> None:
        """Raise ArgumentError where a keyword is no size of the cell, but nearly an option, or the class takes none."""
        unknown = [name for name in sizes if name not in (*cell.sizes, *cell.divisors)]
        if not unknown:
            return
        taken = inspect.signature(type(self)).parameters
        options = [name for name in taken if name not in ("sizes", "unknown")]
        for name in unknown:
            if name in inspect.signature(Recurrent).parameters and name not in options:
                raise ArgumentError(f"{self._title} takes no '{name}'; Recurrent(cells.{cell.name}, …) does.")
            if hint := nearest(name, options):
                raise ArgumentError(f"{self._title} takes no '{name}'{hint}")
        if "unknown" in taken:  # RNN, LSTM and GRU, whose cells' sizes are not the user's to give
            raise ArgumentError(f"{self._title} takes no '{min(unknown)}'; its options are {', '.join(options)}.")

    # What a subclass with other parameter names overrides.

    _has_layers = True
    """Whether the tensors of its states have a row for each layer and direction."""

    def _parameter_names(self) -> dict[str, str]:
        """The parameters of one layer and direction, without suffix, each with the cell's that it is shaped as."""
        return {name: name for name in self.cell.graph.params}

    def _cell_weights(self, suffix: str) -> dict[str, Tensor]:
        """The cell's weights at one layer and direction."""
        one, found = self._pass_of[suffix], {}
        for name, own in one.weights.items():
            if len(own) == 1:
                found[name] = self._tensor(own[0])
            elif own:
                found[name] = torch.add(*map(self._tensor, own))
            else:
                found[name] = self._like.new_zeros(self.cell.graph.shape_at(name, one.sizes))
        return found

    def _tensor(self, name: str) -> Tensor:
        """A parameter or what stands in its place, as a parametrisation of it or a buffer."""
        own = self._parameters.get(name)  # getattr takes 0.7 µs
        return cast(Tensor, getattr(self, name)) if own is None else own

    def _sizes_of_layers(self, hidden_size: object, num_layers: object) -> tuple[int, ...]:
        """The hidden size of each layer."""
        is_list = isinstance(hidden_size, Sequence) and not isinstance(hidden_size, str)
        own = tuple(cast(Sequence[int], hidden_size)) if is_list else ()
        if is_list and not own:
            raise ArgumentError(f"The 'hidden_size' of {self._title} must have a size for each layer. Got none.")
        if num_layers is None:
            num_layers = len(own) if is_list else 1
        if not isinstance(num_layers, int) or isinstance(num_layers, bool) or not 1 <= num_layers <= MOST_LAYERS:
            raise ArgumentError(
                f"The 'num_layers' of {self._title} must be a whole number from 1 to {MOST_LAYERS:,}. "
                f"Got {short(num_layers)} instead."
            )
        if is_list and len(own) != num_layers:
            raise ArgumentError(
                f"The 'hidden_size' of {self._title} must have one size for each of {num_layers} layers. "
                f"Got {hidden_size!r} instead; leave num_layers out."
            )
        return own or (cast(int, hidden_size),) * num_layers

    def _plan(self) -> None:
        """Find out what each layer and direction has, and where in a State."""
        plan = planned(
            self.cell,
            self._title,
            self.input_size,
            self.hidden_sizes,
            self.sizes,
            suffixes=[self._suffixes(layer) for layer in range(self.num_layers)],
            parameters=self._parameter_names(),
            has_layers=self._has_layers,
            residual=self.residual,
        )
        self._passes, self._pass_of = plan.passes, {one.suffix: one for passes in plan.passes for one in passes}
        self._state_names, self._state_shapes, self._is_stacked = plan.state_names, plan.state_shapes, plan.is_stacked
        self._output_sizes, self.output_size = plan.output_sizes, plan.output_sizes[-1]
        self._input_sizes, self._joint_size = plan.input_sizes, sum(plan.input_sizes.values())

    @property
    def _sizes_as_text(self) -> str:
        sizes = self.hidden_sizes if len({*self.hidden_sizes}) > 1 else self.hidden_sizes[:1]
        return " → ".join(map(str, sizes))

    @property
    def _title(self) -> str:
        return type(self).__name__

    @property
    def _title_of_step(self) -> str:
        return f"{self._title}.step"

    def _choose(self, resets: bool = False, compile: bool = True) -> tuple[str, dict[str, str]]:
        """The backend that runs this stack, and why each faster one does not."""
        like = self._like
        problem = Problem(
            graph=self.cell.graph.per_step,
            params=made_once(self.cell.graph, self._cell_weights(self._passes[0][0].suffix), self.sizes),
            x=like.new_zeros(1, 2, self._joint_size),
            state=tuple(like.new_zeros(2, *self._state_shapes[k][1:]) for k, _ in self._passes[0][0].rows),
            resets=torch.zeros(1, 2, dtype=torch.bool, device=like.device) if resets else None,
        )
        return dispatch.choose(problem, self.backend, compile)

    def _suffixes(self, layer: int) -> tuple[str, ...]:
        return (f"_l{layer}", f"_l{layer}_reverse")[: 1 + self.bidirectional]

    def _weights(self, suffix: str) -> dict[str, Tensor]:
        weights = self._cell_weights(suffix)
        if self.training and self.weight_drop:
            for name in {*self.cell.graph.recurrent_params} - self.cell.fixed:
                weights[name] = dropout_of(weights[name], self.weight_drop)
        return made_once(self.cell.graph, weights, self.sizes)

    def _first_state(self, state: Any, x: Tensor, is_one: bool = False) -> tuple[Tensor, ...] | None:
        """The tensors of the state before the first step, checked against the input (T, B, I), or (B, I) of a step.

        None stands for zeros.
        """
        if state is None:
            return tuple(self.initial_state(x.shape[-2])) if self.learn_state else None
        if not isinstance(state, State):
            raise ArgumentError(
                f"The 'state' of {self._title} must be a State, as a call returns. Got {type(state).__name__} instead."
            )
        found, names = state.tensors, self._state_names
        if len(found) != len(names) or not all(map(found.__contains__, names)):
            raise ArgumentError(f"The 'state' of {self._title} must hold {', '.join(names)}. Got {state} instead.")
        return self._checked(tuple([found[name] for name in names]), x)

    def _checked(self, tensors: tuple[Tensor, ...], x: Tensor) -> tuple[Tensor, ...]:
        """The tensors of a state, if they fit the input."""
        batch, device, dtype = x.shape[-2], x.device, x.dtype
        for name, tensor, (rows, *shape) in zip(self._state_names, tensors, self._state_shapes, strict=True):
            if tensor.shape != (rows, batch, *shape) or tensor.device != device or tensor.dtype != dtype:
                check_fits(self._title, name, tensor, (rows, batch, *shape), x)
        return tensors


def stacked(rows: Sequence[Tensor]) -> Tensor:
    """A tensor of a State, from its rows."""
    return torch.stack([*rows]) if len(rows) > 1 else rows[0].unsqueeze(0)


def _be_like_weights(rnn: Recurrent, _: object) -> None:
    """After a state dict was loaded."""
    for weight in rnn.parameters(recurse=False):
        rnn._like = weight.detach().new_empty(0)
        return
