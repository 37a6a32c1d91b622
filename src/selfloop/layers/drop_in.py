"""``RNN``, ``LSTM``, ``GRU``: torch.nn's arguments, parameter names, initialisation and outputs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast, overload

import torch
from torch import Tensor, nn

from selfloop import cells
from selfloop.errors import ArgumentError
from selfloop.language import Cell
from selfloop.layers.dropout import Dropout, check_rate
from selfloop.layers.hooks import called_with_hooks
from selfloop.layers.layout import Lengths, Sequences
from selfloop.layers.recurrent import Recurrent
from selfloop.layers.state import State
from selfloop.layers.typed_call import typed_as

Hx = Tensor | tuple[Tensor, ...] | State | None
Hidden = TypeVar("Hidden", Tensor, tuple[Tensor, Tensor])
"""torch.nn's form of a state: h, or (h, c)."""


class _DropIn(Recurrent, Generic[Hidden]):
    """A Recurrent under torch.nn's names: a `state_dict` of the one loads into the other, and gives the same numbers.

    With the same seed the weights start as torch.nn's: uniform within ±1/√hidden_size. A call returns torch's form of
    the state, a tensor or a tuple; given a `State`, it returns a `State`.
    """

    def __init__(
        self,
        cell: Cell,
        names: dict[str, str],
        bias: bool,
        *args: Any,
        unknown: dict[str, NoReturn],
        dropout: float | nn.Module = 0.0,
        **kwargs: Any,
    ) -> None:
        self._check_names(cell, unknown)
        if not isinstance(bias, bool):
            raise ArgumentError(f"The 'bias' of {self._title} must be True or False. Got {bias!r} instead.")
        self._names = {name: of for name, of in names.items() if bias or not name.startswith("bias")}
        super().__init__(cell, *args, dropout=_dropout(dropout), **kwargs)
        self.bias = bias

    @property
    def mode(self) -> str:
        """torch.nn's name for what runs: ``"LSTM"``, ``"GRU"``, ``"RNN_TANH"`` or ``"RNN_RELU"``."""
        return _MODES[self.cell.name]

    @property
    def proj_size(self) -> int:
        """The size that the output is projected to; 0 for no projection."""
        return self.sizes.get("p", 0)

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """For each layer and direction, its parameters."""
        return [[self.get_parameter(name + suffix) for name in self._names] for suffix in self._pass_of]

    @property
    def dropout(self) -> float | nn.Module:  # type: ignore[override]  # as in torch.nn, a number
        """The share that is dropped between layers while training, or the module that was given."""
        own = cast(nn.Module, self._modules["dropout"])
        return own.p if isinstance(own, nn.Dropout) else own

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, _dropout(value) if name == "dropout" else value)

    @overload  # type: ignore[override]  # as in torch.nn, the state is called hx, and comes in torch's form
    def forward(
        self, input: Sequences, hx: State, *, lengths: Lengths = ..., resets: Tensor | None = ..., record: None = ...
    ) -> tuple[Sequences, State]: ...

    @overload
    def forward(
        self,
        input: Sequences,
        hx: Hidden | None = ...,
        *,
        lengths: Lengths = ...,
        resets: Tensor | None = ...,
        record: None = ...,
    ) -> tuple[Sequences, Hidden]: ...

    @overload
    def forward(
        self,
        input: Sequences,
        hx: State,
        *,
        lengths: Lengths = ...,
        resets: Tensor | None = ...,
        record: Sequence[str],
    ) -> tuple[Sequences, State, dict[str, Sequences]]: ...

    @overload
    def forward(
        self,
        input: Sequences,
        hx: Hidden | None = ...,
        *,
        lengths: Lengths = ...,
        resets: Tensor | None = ...,
        record: Sequence[str],
    ) -> tuple[Sequences, Hidden, dict[str, Sequences]]: ...

    def forward(
        self,
        input: Sequences,
        hx: Hx = None,
        *,
        lengths: Lengths = None,
        resets: Tensor | None = None,
        record: Sequence[str] | None = None,
    ) -> Any:
        """Run whole sequences.

        Args:
            input: (T, B, I); (B, T, I) with `batch_first`; (T, I) for one sequence; or a PackedSequence.
            hx: where to start: h_0, or (h_0, c_0) of an LSTM, each (layers × directions, B, size), without B for one
                sequence; or a `State`; zeros if None.
            lengths: how many steps each sequence has, in any order, zero allowed; the output beyond is zero, and the
                state is that after the last step.
            resets: bool, laid out as `input` without features: before these steps the state is zeroed.
            record: names of states or gates, as ``("c", "f")``, whose values at each step are to be returned, too.

        Returns:
            The output of the last layer at each step, laid out as `input`, and the final state: h_n, or (h_n, c_n); a
            `State` where one was given. With `record`, also a dict of what was recorded, as `Recurrent.forward` has it.

        Raises:
            ArgumentError: an argument has a wrong shape, dtype, device or value.
        """
        return self._over_sequences(input, hx, lengths, resets, record, {})

    if TYPE_CHECKING:

        @typed_as(forward)
        def __call__(self) -> None:  # type: ignore[override]  # as above
            """As `forward`."""

    @overload  # type: ignore[override]  # as above
    def step(self, x: Tensor, hx: State, *, record: None = ...) -> tuple[Tensor, State]: ...

    @overload
    def step(self, x: Tensor, hx: Hidden | None = ..., *, record: None = ...) -> tuple[Tensor, Hidden]: ...

    @overload
    def step(self, x: Tensor, hx: State, *, record: Sequence[str]) -> tuple[Tensor, State, dict[str, Tensor]]: ...

    @overload
    def step(
        self, x: Tensor, hx: Hidden | None = ..., *, record: Sequence[str]
    ) -> tuple[Tensor, Hidden, dict[str, Tensor]]: ...

    def step(self, x: Tensor, hx: Hx = None, *, record: Sequence[str] | None = None) -> Any:
        """One time step, whose state has the form of `forward`'s.

        Args:
            x: (B, I), or (I,) for one sequence.
            hx: h_0, (h_0, c_0) of an LSTM, or a State: (layers, B, H), or (layers, H) for one sequence; zeros if None.
            record: as in `Recurrent.step`.

        Returns:
            The output, (B, H) or (H,), and the new state, a State where one was given, else as torch.nn's. With
            `record`, also a dict of what was recorded.

        Raises:
            ArgumentError: an argument does not fit, the module is bidirectional, or it has a hook of torch's deprecated
                `register_backward_hook`.

        >>> lstm = LSTM(3, 5)
        >>> y, (h, c) = lstm.step(torch.zeros(2, 3))
        >>> y, (h, c) = lstm.step(torch.zeros(2, 3), (h, c))
        >>> y.shape, c.shape
        (torch.Size([2, 5]), torch.Size([1, 2, 5]))
        """
        return called_with_hooks(
            self, self._step, (x,) if hx is None else (x, hx), {"record": record} if record else {}
        )

    def reset_parameters(self) -> None:
        """Start anew, uniformly within ±1/√hidden_size as torch.nn does."""
        bound = self.hidden_size**-0.5
        for weight in self.parameters():
            nn.init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing to do here; torch.nn has it, so code written for torch.nn calls it."""

    def _as_given(self, state: Hx, tensors: Sequence[Tensor], is_one: bool = False) -> Any:
        if isinstance(state, State):
            return super()._as_given(state, tensors)
        if is_one:
            tensors = [s.squeeze(1) for s in tensors]
        return tuple(tensors) if len(tensors) > 1 else tensors[0]

    def _first_state(self, state: Hx, x: Tensor, is_one: bool = False) -> tuple[Tensor, ...] | None:
        if state is None or isinstance(state, State):
            return super()._first_state(state, x)
        tensors = self._tensors_of(state)
        if is_one and any(t.dim() != 2 for t in tensors):
            raise ArgumentError(
                f"The 'hx' of {self._title} must be of shape (layers × directions, size) beside one sequence. "
                f"Got shape {tuple(tensors[0].shape)} instead."
            )
        return self._checked(tuple([t.unsqueeze(1) for t in tensors]) if is_one else tensors, x)

    _or_state = ", or a State"

    def _tensors_of(self, state: Hx) -> tuple[Tensor, ...]:
        """Those of a state in torch's form."""
        tensors = tuple(state) if isinstance(state, tuple | list) else (state,)
        names = self.cell.graph.states
        if len(tensors) != len(names) or not all(isinstance(t, Tensor) for t in tensors):
            expected = "a tensor h_0" if len(names) == 1 else "a pair (h_0, c_0)"
            got = f"{len(tensors)} values" if len(tensors) > 1 else type(state).__name__
            raise ArgumentError(f"The 'hx' of {self._title} must be {expected}{self._or_state}. Got {got} instead.")
        return tensors  # type: ignore[return-value]  # all are tensors

    def _sizes_of_layers(self, hidden_size: object, num_layers: object) -> tuple[int, ...]:
        if isinstance(hidden_size, Sequence) and not isinstance(hidden_size, str):
            raise ArgumentError(
                f"The 'hidden_size' of {self._title} must be one number, since torch.nn's form of a state has one size "
                f"for all layers. Got {hidden_size!r} instead; Recurrent takes one for each "
                "layer."
            )
        return super()._sizes_of_layers(hidden_size, num_layers)

    def _parameter_names(self) -> dict[str, str]:
        return self._names


def _dropout(dropout: float | nn.Module) -> nn.Module:
    """The module, where torch.nn's own modules take 1, too."""
    if isinstance(dropout, nn.Module):
        return dropout
    return Dropout(1 if dropout == 1 and dropout is not True else check_rate("dropout", dropout))


_MODES = {
    "lstm": "LSTM",
    "projected_lstm": "LSTM",
    "gru": "GRU",
    "vanilla": "RNN_TANH",
    "vanilla_relu": "RNN_RELU",
}
ONE_BIAS = {"weight_ih": "W_xh", "weight_hh": "W_hh", "bias_ih": "b", "bias_hh": "b"}
TWO_BIASES = {"weight_ih": "W_xh", "weight_hh": "W_hh", "bias_ih": "b_xh", "bias_hh": "b_hh"}
_PROJECTED = {**ONE_BIAS, "weight_hr": "W_hr"}
NONLINEARITIES = {"tanh": cells.vanilla, "relu": cells.vanilla_relu}


def vanilla_of(title: str, nonlinearity: str) -> Cell:
    """The vanilla cell of a nonlinearity, for a layer called `title`.

    Raises:
        ArgumentError: torch.nn has no such nonlinearity.
    """
    if nonlinearity not in NONLINEARITIES:
        raise ArgumentError(f"The 'nonlinearity' of {title} must be 'tanh' or 'relu'. Got {nonlinearity!r} instead.")
    return NONLINEARITIES[nonlinearity]


def nonlinearity_of(cell: Cell) -> str:
    """The nonlinearity of a vanilla cell."""
    return next(name for name, own in NONLINEARITIES.items() if own is cell)


class RNN(_DropIn[Tensor]):
    """The vanilla RNN in the place of `torch.nn.RNN`: same arguments, `state_dict` and outputs.

    Args:
        input_size: the features of the input.
        hidden_size: the number of hidden units.
        num_layers: the number of layers.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        bias: whether there are biases.
        batch_first: input and output are (B, T, ·) instead of (T, B, ·).
        dropout: between layers while training, from 0 to 1.
        bidirectional: whether a second RNN runs from the end.
        device: of the parameters.
        dtype: of the parameters.
        weight_drop: the share in [0, 1) of the recurrent weights that is off in a training call.
        recompute: activation checkpointing, in segments of so many steps; see `Recurrent`.
        backend: ``"auto"`` is the fastest that can run the cell; a name from `explain` is that one alone.

    Raises:
        ArgumentError: an argument does not fit.

    >>> rnn = RNN(input_size=3, hidden_size=5)
    >>> y, h = rnn(torch.zeros(7, 2, 3), lengths=[7, 4])  # time, batch, features
    >>> y.shape, h.shape
    (torch.Size([7, 2, 5]), torch.Size([1, 2, 5]))
    >>> y_t, h = rnn.step(torch.zeros(2, 3), h)  # one more step for each
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        weight_drop: float = 0.0,
        recompute: int | None = None,
        backend: str = "auto",
        **unknown: NoReturn,
    ) -> None:
        super().__init__(
            vanilla_of("RNN", nonlinearity),
            ONE_BIAS,
            bias,
            input_size,
            hidden_size,
            num_layers,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            weight_drop=weight_drop,
            recompute=recompute,
            backend=backend,
            device=device,
            dtype=dtype,
            unknown=unknown,
        )

    @property
    def nonlinearity(self) -> str:
        """``"tanh"`` or ``"relu"``."""
        return nonlinearity_of(self.cell)


class LSTM(_DropIn[tuple[Tensor, Tensor]]):
    """The LSTM in the place of `torch.nn.LSTM`: same arguments, `state_dict` and outputs, projections included.

    Args:
        input_size: the features of the input.
        hidden_size: the number of hidden units.
        num_layers: the number of layers.
        bias: whether there are biases.
        batch_first: input and output are (B, T, ·) instead of (T, B, ·).
        dropout: between layers while training, from 0 to 1.
        bidirectional: whether a second LSTM runs from the end.
        proj_size: the size that the output is projected to; 0 for no projection.
        device: of the parameters.
        dtype: of the parameters.
        weight_drop: the share in [0, 1) of the recurrent weights that is off in a training call.
        recompute: activation checkpointing, in segments of so many steps; see `Recurrent`.
        backend: ``"auto"`` is the fastest that can run the cell; a name from `explain` is that one alone.

    Raises:
        ArgumentError: an argument does not fit.

    >>> lstm = LSTM(input_size=3, hidden_size=5, num_layers=2)
    >>> y, (h, c) = lstm(torch.zeros(7, 2, 3), lengths=[7, 4])  # time, batch, features
    >>> y.shape, h.shape, c.shape
    (torch.Size([7, 2, 5]), torch.Size([2, 2, 5]), torch.Size([2, 2, 5]))
    >>> y_t, (h, c) = lstm.step(torch.zeros(2, 3), (h, c))  # one more step for each
    >>> lstm.load_state_dict(torch.nn.LSTM(3, 5, num_layers=2).state_dict())
    <All keys matched successfully>
    >>> LSTM(3, 5, proj_size=2)(torch.zeros(7, 2, 3))[0].shape
    torch.Size([7, 2, 2])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        weight_drop: float = 0.0,
        recompute: int | None = None,
        backend: str = "auto",
        **unknown: NoReturn,
    ) -> None:
        fits = isinstance(proj_size, int) and (proj_size == 0 or not isinstance(hidden_size, int) or hidden_size < 1)
        if not fits and not (isinstance(proj_size, int) and 0 < proj_size < hidden_size):
            raise ArgumentError(
                f"The 'proj_size' of LSTM must be 0 for none, or smaller than hidden_size, {hidden_size}. "
                f"Got {proj_size!r} instead."
            )
        cell, names = (cells.projected_lstm, _PROJECTED) if proj_size else (cells.lstm, ONE_BIAS)
        sizes = {"p": proj_size} if proj_size else {}
        super().__init__(
            cell,
            names,
            bias,
            input_size,
            hidden_size,
            num_layers,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            weight_drop=weight_drop,
            recompute=recompute,
            backend=backend,
            device=device,
            dtype=dtype,
            **sizes,
            unknown=unknown,
        )


class GRU(_DropIn[Tensor]):
    """The GRU in the place of `torch.nn.GRU`: same arguments, `state_dict` and outputs.

    Args:
        input_size: the features of the input.
        hidden_size: the number of hidden units.
        num_layers: the number of layers.
        bias: whether there are biases.
        batch_first: input and output are (B, T, ·) instead of (T, B, ·).
        dropout: between layers while training, from 0 to 1.
        bidirectional: whether a second GRU runs from the end.
        device: of the parameters.
        dtype: of the parameters.
        weight_drop: the share in [0, 1) of the recurrent weights that is off in a training call.
        recompute: activation checkpointing, in segments of so many steps; see `Recurrent`.
        backend: ``"auto"`` is the fastest that can run the cell; a name from `explain` is that one alone.

    Raises:
        ArgumentError: an argument does not fit.

    >>> gru = GRU(input_size=3, hidden_size=5, bidirectional=True)
    >>> y, h = gru(torch.zeros(7, 2, 3), lengths=[7, 4])  # time, batch, features
    >>> y.shape, h.shape
    (torch.Size([7, 2, 10]), torch.Size([2, 2, 5]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        weight_drop: float = 0.0,
        recompute: int | None = None,
        backend: str = "auto",
        **unknown: NoReturn,
    ) -> None:
        super().__init__(
            cells.gru,
            TWO_BIASES,
            bias,
            input_size,
            hidden_size,
            num_layers,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            weight_drop=weight_drop,
            recompute=recompute,
            backend=backend,
            device=device,
            dtype=dtype,
            unknown=unknown,
        )
