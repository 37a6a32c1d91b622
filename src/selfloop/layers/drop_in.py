"""``RNN``, ``LSTM``, ``GRU``: torch.nn's arguments, parameter names, initialisation and outputs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast, overload

import torch
from torch import Tensor, nn

from selfloop import cells
from selfloop.errors import ArgumentError
from selfloop.language import Cell
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

    def __init__(self, cell: Cell, names: dict[str, str], bias: bool, *args: Any, **kwargs: Any) -> None:
        self._names = {name: of for name, of in names.items() if bias or not name.startswith("bias")}
        super().__init__(cell, *args, **kwargs)
        self.bias = bias

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
        """Run whole sequences; arguments and results as in torch.nn, `lengths`, `resets`, `record` as in `Recurrent`.

        With `record`, a dict of what was recorded is returned after the state.
        """
        unbatched = isinstance(input, Tensor) and input.dim() == 2
        given = self._state(hx, unbatched)
        y, state, *recorded = Recurrent.forward(self, input, given, lengths=lengths, resets=resets, record=record)  # type: ignore[call-overload]
        return y, self._as(hx, state, unbatched), *recorded

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
            ArgumentError: an argument does not fit, or the module is bidirectional.

        >>> lstm = LSTM(3, 5)
        >>> y, (h, c) = lstm.step(torch.zeros(2, 3))
        >>> y, (h, c) = lstm.step(torch.zeros(2, 3), (h, c))
        >>> y.shape, c.shape
        (torch.Size([2, 5]), torch.Size([1, 2, 5]))
        """
        unbatched = x.dim() == 1
        y, state, *recorded = super().step(x, self._state(hx, unbatched), record=record)
        return y, self._as(hx, state, unbatched), *recorded

    def reset_parameters(self) -> None:
        """Start anew, uniformly within ±1/√hidden_size as torch.nn does."""
        bound = self.hidden_size**-0.5
        for weight in self.parameters():
            nn.init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing to do here; torch.nn has it, so code written for torch.nn calls it."""

    def _as(self, hx: Hx, state: State, unbatched: bool) -> Any:
        """A new state in the form of the one that was given."""
        if isinstance(hx, State):
            return state
        last = tuple(s.squeeze(1) if unbatched else s for s in state)
        return last if len(last) > 1 else last[0]

    def _state(self, hx: Hx, unbatched: bool) -> State | None:
        if hx is None or isinstance(hx, State):
            return hx
        tensors = hx if isinstance(hx, tuple | list) else (hx,)
        names = self.cell.graph.states
        if len(tensors) != len(names) or not all(isinstance(t, Tensor) for t in tensors):
            expected = "a tensor h_0" if len(names) == 1 else "a pair (h_0, c_0)"
            got = f"{len(tensors)} values" if len(tensors) > 1 else type(hx).__name__
            raise ArgumentError(f"The 'hx' of {self._title} must be {expected}, or a State. Got {got} instead.")
        tensors = tuple(t.unsqueeze(1) for t in tensors) if unbatched else tensors
        return State(**dict(zip(names, tensors, strict=True)))

    def _parameter_names(self) -> dict[str, str]:
        return self._names

    def _cell_weights(self, suffix: str) -> dict[str, Tensor]:
        weights: dict[str, Tensor] = {}
        for name, of_cell in self._names.items():
            weight = cast(Tensor, getattr(self, name + suffix))
            weights[of_cell] = weights[of_cell] + weight if of_cell in weights else weight
        for name in self.cell.graph.params:
            if name not in weights:  # bias=False
                (size,) = self.cell.graph.shape(name)
                weights[name] = weight.new_zeros(size.value({"h": self.hidden_size}))
        return {name: weights[name] for name in self.cell.graph.params}


_ONE_BIAS = {"weight_ih": "W_xh", "weight_hh": "W_hh", "bias_ih": "b", "bias_hh": "b"}
_TWO_BIASES = {"weight_ih": "W_xh", "weight_hh": "W_hh", "bias_ih": "b_xh", "bias_hh": "b_hh"}
_PROJECTED = {**_ONE_BIAS, "weight_hr": "W_hr"}
_NONLINEARITIES = {"tanh": cells.vanilla, "relu": cells.vanilla_relu}


class RNN(_DropIn[Tensor]):
    """The vanilla RNN in the place of `torch.nn.RNN`: same arguments, `state_dict` and outputs.

    Args:
        input_size: the features of the input.
        hidden_size: the number of hidden units.
        num_layers: the number of layers.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        bias: whether there are biases.
        batch_first: input and output are (B, T, ·) instead of (T, B, ·).
        dropout: between layers while training, in [0, 1).
        bidirectional: whether a second RNN runs from the end.
        device: of the parameters.
        dtype: of the parameters.
        weight_drop: see `Recurrent`, as `lengths`, `resets`, `step` and `explain`.
        recompute: see `Recurrent`.
        backend: see `Recurrent`.

    Raises:
        ArgumentError: an argument does not fit.

    >>> y, h = RNN(3, 5)(torch.zeros(7, 2, 3))
    >>> y.shape, h.shape
    (torch.Size([7, 2, 5]), torch.Size([1, 2, 5]))
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
        if nonlinearity not in _NONLINEARITIES:
            raise ArgumentError(f"The 'nonlinearity' of RNN must be 'tanh' or 'relu'. Got {nonlinearity!r} instead.")
        super().__init__(
            _NONLINEARITIES[nonlinearity],
            _ONE_BIAS,
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
            **unknown,
        )


class LSTM(_DropIn[tuple[Tensor, Tensor]]):
    """The LSTM in the place of `torch.nn.LSTM`: same arguments, `state_dict` and outputs, projections included.

    Args:
        input_size: the features of the input.
        hidden_size: the number of hidden units.
        num_layers: the number of layers.
        bias: whether there are biases.
        batch_first: input and output are (B, T, ·) instead of (T, B, ·).
        dropout: between layers while training, in [0, 1).
        bidirectional: whether a second LSTM runs from the end.
        proj_size: the size that the output is projected to; 0 for no projection.
        device: of the parameters.
        dtype: of the parameters.
        weight_drop: see `Recurrent`, as `lengths`, `resets`, `step` and `explain`.
        recompute: see `Recurrent`.
        backend: see `Recurrent`.

    Raises:
        ArgumentError: an argument does not fit.

    >>> y, (h, c) = LSTM(3, 5, proj_size=2)(torch.zeros(7, 2, 3))
    >>> y.shape, h.shape, c.shape
    (torch.Size([7, 2, 2]), torch.Size([1, 2, 2]), torch.Size([1, 2, 5]))
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
        if not isinstance(proj_size, int) or not 0 <= proj_size < hidden_size:
            raise ArgumentError(
                f"The 'proj_size' of LSTM must be 0 for none, or smaller than hidden_size, {hidden_size}. "
                f"Got {proj_size!r} instead."
            )
        cell, names = (cells.projected_lstm, _PROJECTED) if proj_size else (cells.lstm, _ONE_BIAS)
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
            **unknown,
        )


class GRU(_DropIn[Tensor]):
    """The GRU in the place of `torch.nn.GRU`: same arguments, `state_dict` and outputs.

    Args:
        input_size: the features of the input.
        hidden_size: the number of hidden units.
        num_layers: the number of layers.
        bias: whether there are biases.
        batch_first: input and output are (B, T, ·) instead of (T, B, ·).
        dropout: between layers while training, in [0, 1).
        bidirectional: whether a second GRU runs from the end.
        device: of the parameters.
        dtype: of the parameters.
        weight_drop: see `Recurrent`, as `lengths`, `resets`, `step` and `explain`.
        recompute: see `Recurrent`.
        backend: see `Recurrent`.

    Raises:
        ArgumentError: an argument does not fit.

    >>> y, h = GRU(3, 5, bidirectional=True)(torch.zeros(7, 2, 3))
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
            _TWO_BIASES,
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
            **unknown,
        )
