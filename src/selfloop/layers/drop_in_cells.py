"""``RNNCell``, ``LSTMCell``, ``GRUCell``: one step of a layer, under torch.nn's names."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import torch
from torch import Tensor

from selfloop import cells
from selfloop.language import Cell
from selfloop.layers.drop_in import ONE_BIAS, TWO_BIASES, Hidden, _DropIn, nonlinearity_of, vanilla_of
from selfloop.layers.state import check_fits
from selfloop.layers.typed_call import typed_as


class _CellDropIn(_DropIn[Hidden]):
    """A stack of one layer that is called for one step; its parameters have no suffix, and its state no layers."""

    def __init__(self, cell: Cell, names: dict[str, str], bias: bool, *args: Any, **kwargs: Any) -> None:
        super().__init__(cell, names, bias, *args, **kwargs)
        for name in names:
            if name not in self._names:  # torch.nn's cells have them
                self.register_parameter(name, None)

    def forward(self, input: Tensor, hx: Hidden | None = None) -> Hidden:  # type: ignore[override]  # as torch.nn's
        """One step.

        Args:
            input: (B, I), or (I,) for one sequence.
            hx: h, or (h, c) of an LSTM: (B, H), or (H,); zeros if None.

        Returns:
            The new state, in the same form; the output is h.

        Raises:
            ArgumentError: an argument does not fit.
        """
        _, new = self._step(input, hx)
        return new  # type: ignore[no-any-return]

    if TYPE_CHECKING:

        @typed_as(forward)
        def __call__(self) -> None:  # type: ignore[override]  # as above
            """As `forward`."""

    _or_state = ""

    @property
    def _title_of_step(self) -> str:
        return self._title

    _has_layers = False

    def _suffixes(self, layer: int) -> tuple[str, ...]:
        return ("",)

    def _first_state(self, state: Any, x: Tensor, is_one: bool = False) -> tuple[Any, ...] | None:
        """The rows of the state's tensors, which have one each."""
        if state is None:
            return None
        tensors = self._tensors_of(state)
        if is_one:
            tensors = tuple([t.unsqueeze(0) for t in tensors])
        for name, tensor, (_, size) in zip(self._state_names, tensors, self._state_shapes, strict=True):
            check_fits(self._title, name, tensor, (x.shape[-2], size), x)
        return tuple([(t,) for t in tensors])

    def _of_rows(self, state: Any, last: Sequence[Sequence[Tensor]], is_one: bool) -> Any:
        tensors = tuple([own[0][0] if is_one else own[0] for own in last])
        return tensors if len(tensors) > 1 else tensors[0]


class RNNCell(_CellDropIn[Tensor]):
    """One step of a vanilla RNN in the place of `torch.nn.RNNCell`: same arguments, `state_dict` and outputs.

    Args:
        input_size: the features of the input.
        hidden_size: the number of hidden units.
        bias: whether there are biases.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        device: of the parameters.
        dtype: of the parameters.
        backend: see `Recurrent`.

    Raises:
        ArgumentError: an argument does not fit.

    >>> cell = RNNCell(3, 5)
    >>> h = cell(torch.zeros(2, 3))
    >>> h = cell(torch.zeros(2, 3), h)
    >>> h.shape
    torch.Size([2, 5])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        backend: str = "auto",
        **unknown: NoReturn,
    ) -> None:
        cell = vanilla_of("RNNCell", nonlinearity)
        options: dict[str, Any] = {"backend": backend, "device": device, "dtype": dtype, "unknown": unknown}
        super().__init__(cell, ONE_BIAS, bias, input_size, hidden_size, **options)

    @property
    def nonlinearity(self) -> str:
        """``"tanh"`` or ``"relu"``."""
        return nonlinearity_of(self.cell)


class _GatedCell(_CellDropIn[Hidden]):
    """A cell that torch.nn has in one kind."""

    CELL: ClassVar[Cell]
    NAMES: ClassVar[dict[str, str]]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        backend: str = "auto",
        **unknown: NoReturn,
    ) -> None:
        options: dict[str, Any] = {"backend": backend, "device": device, "dtype": dtype, "unknown": unknown}
        super().__init__(self.CELL, self.NAMES, bias, input_size, hidden_size, **options)


class LSTMCell(_GatedCell[tuple[Tensor, Tensor]]):
    """One step of an LSTM in the place of `torch.nn.LSTMCell`: same arguments, `state_dict` and outputs.

    Args:
        input_size: the features of the input.
        hidden_size: the number of hidden units.
        bias: whether there are biases.
        device: of the parameters.
        dtype: of the parameters.
        backend: see `Recurrent`.

    Raises:
        ArgumentError: an argument does not fit.

    >>> cell = LSTMCell(3, 5)
    >>> h, c = cell(torch.zeros(2, 3))
    >>> h, c = cell(torch.zeros(2, 3), (h, c))
    >>> h.shape, c.shape
    (torch.Size([2, 5]), torch.Size([2, 5]))
    """

    CELL, NAMES = cells.lstm, ONE_BIAS


class GRUCell(_GatedCell[Tensor]):
    """One step of a GRU in the place of `torch.nn.GRUCell`: same arguments, `state_dict` and outputs.

    Args:
        input_size: the features of the input.
        hidden_size: the number of hidden units.
        bias: whether there are biases.
        device: of the parameters.
        dtype: of the parameters.
        backend: see `Recurrent`.

    Raises:
        ArgumentError: an argument does not fit.

    >>> cell = GRUCell(3, 5)
    >>> h = cell(torch.zeros(3))
    >>> h.shape
    torch.Size([5])
    """

    CELL, NAMES = cells.gru, TWO_BIASES
