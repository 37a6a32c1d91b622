"""The state of a stack of recurrent layers, as one object."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from selfloop.errors import ArgumentError, RunError
from selfloop.kernels.torch_internals import GetAttrKey, register_pytree_node

Where = torch.device | torch.dtype | Tensor | str | int | bool | None
"""An argument of `Tensor.to`."""


class State:
    """What a stack remembers between calls: for each state of the cell, a tensor `(layers · directions, batch, size)`.

    That of a matrix is `(layers · directions, batch, rows, columns)`.

    The same object serves truncated back-propagation through time, streaming, beams and sessions. It is never changed
    in place: every method returns a new State. States are attributes (`state.h`) and unpack in the cell's order
    (`h, c = state`).

    >>> state = State(h=torch.ones(2, 3, 4), c=torch.ones(2, 3, 4))
    >>> state.reset(torch.tensor([True, False, False])).h[0, :, 0]
    tensor([0., 1., 1.])
    >>> state.select(torch.tensor([2, 2])).batch_size
    2
    """

    def __init__(self, **tensors: Float[Tensor, "L B ..."]) -> None:
        if not tensors:
            raise ArgumentError("A State needs at least one tensor, as in State(h=…). Got none.")
        for name, tensor in tensors.items():
            if not isinstance(tensor, Tensor):
                raise ArgumentError(f"The '{name}' of State must be a tensor. Got {type(tensor).__name__} instead.")
        self.tensors = tensors

    @property
    def batch_size(self) -> int:
        """The number of sequences."""
        return next(iter(self.tensors.values())).shape[1]

    def detach(self) -> "State":
        """The same numbers, cut off from the graph of derivatives: the step of truncated BPTT."""
        return State(**{name: t.detach() for name, t in self.tensors.items()})

    def reset(self, mask: Bool[Tensor, " B"]) -> "State":
        """Zero where `mask` is true, for the sequences that start anew."""
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            got = f"{mask.dtype}" if isinstance(mask, Tensor) else type(mask).__name__
            raise ArgumentError(f"The 'mask' of State.reset must be a tensor of bool. Got {got} instead.")
        if mask.shape != (self.batch_size,):
            raise ArgumentError(
                f"The 'mask' of State.reset must have one entry a sequence, {self.batch_size}. "
                f"Got shape {tuple(mask.shape)} instead."
            )
        return State(**{name: t.masked_fill(rows(mask, t), 0) for name, t in self.tensors.items()})

    def select(self, rows: Int[Tensor, " N"]) -> "State":
        """The sequences `rows`, in that order; a row may come several times, as beams need."""
        if not isinstance(rows, Tensor) or rows.dim() != 1 or rows.is_floating_point() or rows.dtype == torch.bool:
            got = f"{rows.dtype} of shape {tuple(rows.shape)}" if isinstance(rows, Tensor) else type(rows).__name__
            raise ArgumentError(
                f"The 'rows' of State.select must be a tensor of whole numbers, of one dimension. Got {got} instead."
            )
        return State(**{name: t.index_select(1, rows.to(t.device)) for name, t in self.tensors.items()})

    def to(self, *args: Where, **kwargs: Where) -> "State":
        """On another device or in another dtype, as `Tensor.to`."""
        return State(**{name: t.to(*args, **kwargs) for name, t in self.tensors.items()})  # type: ignore[arg-type]

    def save(self, path: str) -> None:
        """Write to a safetensors file."""
        order = {"states": " ".join(self.tensors)}  # a safetensors file does not keep the order of its tensors
        save_file({name: t.detach().contiguous() for name, t in self.tensors.items()}, path, metadata=order)

    @classmethod
    def load(cls, path: str) -> "State":
        """Read what `save` wrote.

        Raises:
            RunError: there is no such file, or it is damaged.
        """
        try:
            with safe_open(path, framework="pt") as file:
                return cls(**{name: file.get_tensor(name) for name in file.metadata()["states"].split()})
        except (OSError, SafetensorError, KeyError, TypeError) as error:
            raise RunError(
                f"The state {path} cannot be read ({error}); it must be a file that State.save wrote."
            ) from error

    def __getattr__(self, name: str) -> Tensor:
        tensors: Mapping[str, Tensor] = self.__dict__.get("tensors", {})
        if name not in tensors:
            raise AttributeError(f"this State holds {', '.join(tensors)}, not '{name}'")
        return tensors[name]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.tensors.values())

    def __len__(self) -> int:
        return len(self.tensors)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}={tuple(t.shape)}" for name, t in self.tensors.items())
        return f"State({shapes})"


def rows(mask: Bool[Tensor, " B"], state: Float[Tensor, "L B ..."]) -> Bool[Tensor, "..."]:
    """A mark for each sequence, beside the elements of a state."""
    return mask.to(state.device).view(-1, *[1] * (state.dim() - 2))


def _flatten(state: State) -> tuple[list[Tensor], tuple[str, ...]]:
    return list(state.tensors.values()), tuple(state.tensors)


def _flatten_with_keys(state: State) -> tuple[list[tuple[Any, Tensor]], tuple[str, ...]]:
    return [(GetAttrKey(name), t) for name, t in state.tensors.items()], tuple(state.tensors)


def _unflatten(tensors: Any, names: tuple[str, ...]) -> State:
    state = State.__new__(State)  # of whatever a tree holds
    state.tensors = dict(zip(names, tensors, strict=True))
    return state


# torch.compile, torch.export and DistributedDataParallel see the tensors inside.
register_pytree_node(
    State,
    _flatten,
    _unflatten,
    serialized_type_name="selfloop.State",
    flatten_with_keys_fn=_flatten_with_keys,
)


AXES = {
    2: "(batch, size)",
    3: "(layers × directions, batch, size)",
    4: "(layers × directions, batch, rows, columns)",
}
"""Of a state's tensor, by their number."""


def check_fits(title: str, name: str, tensor: Tensor, expected: tuple[int, ...], x: Tensor) -> None:
    """Raise ArgumentError where a tensor of a state has not the expected shape, or not the input's device or dtype.

    Args:
        title: of the stack.
        name: of the state.
        tensor: of the state.
        expected: its shape.
        x: the input.
    """
    if tensor.shape != expected:
        axes = AXES[len(expected)]
        raise ArgumentError(
            f"The state '{name}' of {title} must have shape {expected}, which is {axes}. "
            f"Got {tuple(tensor.shape)} instead."
        )
    if tensor.device != x.device:
        raise ArgumentError(
            f"The state '{name}' of {title} must be on {x.device}, as the input. "
            f"Got {tensor.device} instead; move it with state.to(x.device)."
        )
    if tensor.dtype != x.dtype and not torch.is_autocast_enabled(x.device.type):
        raise ArgumentError(
            f"The state '{name}' of {title} must be {x.dtype}, as the input. "
            f"Got {tensor.dtype} instead; cast it with state.to(x.dtype)."
        )
