"""``Stepper``: one step at a time, in microseconds, for what arrives as it happens."""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar, overload

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from selfloop.compiler import WEIGHT_FORMS
from selfloop.errors import ArgumentError, check_one_of
from selfloop.kernels import dispatch, team
from selfloop.kernels.interpret import made_once
from selfloop.kernels.problem import check_memory
from selfloop.kernels.stepping import Steps
from selfloop.kernels.torch_internals import is_zero_tensor
from selfloop.layers.dropout import Dropout, VariationalDropout
from selfloop.layers.frozen import frozen, made_tensors, weights_now
from selfloop.layers.layout import join
from selfloop.layers.record import record_names
from selfloop.layers.recurrent import Recurrent
from selfloop.layers.state import State, rows

Number = TypeVar("Number", bound=np.generic)
P = ParamSpec("P")


def _with_tensors_of_any_mode(function: Callable[P, None]) -> Callable[P, None]:
    """What makes tensors that are written to later, inside and outside of torch.inference_mode, and records nothing."""

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> None:
        with torch.inference_mode(False), torch.no_grad():
            function(*args, **kwargs)

    return called


class Stepper:
    """A stack that takes one step a call: for sensors, audio, keyboards, games.

    It owns a copy of the weights, the state, and all the room it needs. Weights are read when it is made, as a call of
    the stack in evaluation would see them then, pruned, normed or parametrised by torch; what changes afterwards is
    seen after `refresh`. Steps are those of evaluation: no dropout, no gradients, and no hooks. A Stepper serves one
    thread at a time; `copy.deepcopy` and pickle make another, which goes on from the same state with the same weights;
    pickle takes the stacks that torch can pickle. Where there is no compiled kernel, a Stepper calls
    `Recurrent.step`; `explain` says so.

    Args:
        rnn: a stack of any cell and depth, in one direction.
        batch_size: how many sequences step together.
        record: names of states or of local variables of the cell's function, whose values `recorded` gives.
        weights: what the stepper keeps matrices as: ``f32``, as they are; ``bf16``, rounded to bfloat16, half the size;
            or ``int8``, whole numbers with a scale for each row, a quarter. All else is computed in float32. A matrix
            that a cache no longer has to fetch from memory is read the faster.

    Raises:
        ArgumentError: the stack is bidirectional, or an argument does not fit; or `weights` are to be shorter, and no
            compiled kernel in float32 runs the stack; or a hook that is not torch's may make a weight at each call.

    >>> from selfloop import LSTM
    >>> stepper = Stepper(LSTM(3, 5, num_layers=2))
    >>> for x in np.zeros((7, 3), dtype=np.float32):
    ...     y = stepper(x)
    >>> y.shape, stepper.state
    ((5,), State(h=(2, 1, 5), c=(2, 1, 5)))
    """

    @_with_tensors_of_any_mode
    def __init__(self, rnn: Recurrent, batch_size: int = 1, record: Sequence[str] = (), weights: str = "f32") -> None:
        if not isinstance(rnn, Recurrent):
            raise ArgumentError(
                f"The 'rnn' of Stepper must be a Recurrent, LSTM, GRU or RNN. Got {type(rnn).__name__} instead."
            )
        if rnn.bidirectional:
            raise ArgumentError(
                f"A bidirectional {type(rnn).__name__} cannot step, since it reads from both ends. "
                "Make it with bidirectional=False."
            )
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ArgumentError(f"The 'batch_size' of Stepper must be a whole number ≥ 1. Got {batch_size!r} instead.")
        check_one_of(weights, WEIGHT_FORMS, "The 'weights' of Stepper")
        self.rnn, self.batch_size, self.weights = rnn, batch_size, weights
        self.record = record_names("Stepper", record)
        self._like = rnn._like.new_empty(1, batch_size, rnn._joint_size)
        self._graph = rnn._graph(training=False, names=self.record)
        passes = rnn._pass_of.values() if self.record else ()
        self._widths = [self._graph.output_sizes(one.sizes) for one in passes]
        self._recorded = self._by_name([rnn._like.new_zeros(batch_size, sum(widths)) for widths in self._widths])
        self._dtype = self._like.dtype
        self._shapes: tuple[tuple[int, ...], ...] = ((batch_size, rnn._joint_size),)
        if batch_size == 1:
            self._shapes = ((rnn._joint_size,), *self._shapes)
        self._backend, self._reasons = rnn._choose(compile=False)
        self._is_joint = len(rnn.cell.inputs) > 1
        if self._backend == "native" and self._is_joint and rnn.num_layers > 1:
            self._reasons["native"] = "each of its layers reads the further inputs of its cell"
        if self._backend == "native" and (reason := _between_layers(rnn)):
            self._reasons["native"] = reason
        if self._backend == "native" and self._dtype == torch.bfloat16:
            self._reasons["native"] = (
                "a Stepper of compiled kernels takes float32 or float64; make it of rnn.float(), with weights='bf16'"
            )
        if weights != "f32" and (self._backend != "native" or self._reasons or self._dtype != torch.float32):
            is_other = self._backend != "native" and not self._reasons
            why = f"it runs by {self._backend}" if is_other else f"this is {str(self._dtype).removeprefix('torch.')}"
            reason = next(iter(self._reasons.values()), why)
            raise ArgumentError(
                f"The 'weights' of Stepper must be f32 where no compiled kernel in float32 runs the stack: {reason}. "
                f"Got {weights!r} instead."
            )
        self._steps = self._native() if self._backend == "native" and not self._reasons else None
        self._prepare_calls()
        if self._steps is None:
            self._take(weights_now(rnn))
        self._read_start()
        self.reset()

    @overload
    def __call__(self, x: npt.NDArray[Number], **given: npt.NDArray[Number]) -> npt.NDArray[Number]: ...

    @overload
    def __call__(self, x: Tensor, **given: Tensor) -> Tensor: ...

    def __call__(self, x: npt.NDArray[Any] | Tensor, **given: npt.NDArray[Any] | Tensor) -> npt.NDArray[Any] | Tensor:
        """One step of all layers.

        Args:
            x: (B, I), or (I,) for one sequence: a numpy array or a tensor of the weights' dtype.
            given: the further inputs of the cell, by name, likewise.

        Returns:
            The output of the last layer, in the form of `x`. It lies in the stepper's own room, which the next call
            writes over: copy what must last.

        Raises:
            ArgumentError: `x` has a wrong shape, dtype or device.
        """
        if given or self._is_joint:
            return self._joint_step(x, given)  # type: ignore[no-any-return]
        # What stands here is measured in ns, so both forms of one row have a path of their own.
        if type(x) is np.ndarray:
            if x.ndim == 1:
                try:
                    self._row[:] = x  # 60 ns, and refuses other sizes and dtypes; x's address takes 190
                except (TypeError, ValueError):
                    return self._step(x)  # type: ignore[no-any-return]
                self._run(self._block)
                return self._row_of_y  # type: ignore[no-any-return]
        elif type(x) is Tensor and x.dtype is self._dtype and x.shape == self._shape and x.is_contiguous() and x.is_cpu:
            address = x.data_ptr()
            if not address or x.is_neg():  # zeros without memory, or memory without the sign
                return self._step(x)  # type: ignore[no-any-return]
            self._shared[0] = address
            self._run(self._block)
            return self._tensor_of_y  # type: ignore[no-any-return]
        return self._step(x)  # type: ignore[no-any-return]

    @property
    def state(self) -> State:
        """What is remembered, as a copy; to set it is `reset(state)`."""
        if self._steps is None:
            return self._state
        return State(**{name: self._steps.states[name].clone() for name in self.rnn._state_names})

    @state.setter
    def state(self, state: State) -> None:
        self.reset(state)

    @property
    def recorded(self) -> dict[str, Tensor]:
        """What `record` names at the last step, as copies: (B, ·), by name and layer, as ``f_l0``; zeros before it."""
        if self._steps is None:
            return {name: v.clone() for name, v in self._recorded.items()}
        room = self._steps.states[self._graph.states[0]]
        return self._by_name([room[layer, :, : sum(widths)].clone() for layer, widths in enumerate(self._widths)])

    @torch.no_grad()
    def reset(self, state: State | None = None, mask: Bool[Tensor, " B"] | None = None) -> None:
        """Go on from another state.

        Args:
            state: which; if None that of a sequence that starts, as `Recurrent.initial_state` had it when the weights
                were read.
            mask: only the sequences where it is true; all if None.

        Raises:
            ArgumentError: the state or the mask does not fit.
        """
        tensors = self._start if state is None else self.rnn._first_state(state, self._like)
        if tensors is None:
            tensors = tuple(self.rnn.zero_state(self._like.shape[1]))
        new = State(**dict(zip(self.rnn._state_names, tensors, strict=True)))
        if mask is not None:
            new = _where(mask, new, self.state)
        if self._steps is None:
            self._state = State(**{name: s.detach().to(self._like, copy=True) for name, s in new.tensors.items()})
        else:
            for name, s in new.tensors.items():
                self._steps.states[name].copy_(s)

    @_with_tensors_of_any_mode
    def refresh(self) -> None:
        """Read the weights again; the state stays.

        Raises:
            ArgumentError: a weight has gone to another dtype, device or shape; or, as in the constructor, a hook may
                make one at each call. The weights are then those of before.
        """
        now = self.rnn._like
        if (now.dtype, now.device) != (self._dtype, self._like.device):
            raise ArgumentError(
                f"The weights of a Stepper must stay {self._dtype} on {self._like.device}. Got {now.dtype} on "
                f"{now.device} instead; make another Stepper."
            )
        if self._steps is None:
            self._take(weights_now(self.rnn))
        else:
            self._steps.set_weights(_made_once(self.rnn))
        self._read_start()

    def explain(self) -> str:
        """What runs a step, and why nothing faster does."""
        lines = [f"Stepper of {self.rnn}, batch of {self.batch_size}, {str(self._dtype).removeprefix('torch.')}"]
        if self._steps is not None:
            threads = self._steps.threads
            lines.append("  runs as    native: machine code for one step of all layers, on one thread")
            if self.weights != "f32":
                lines.append(f"             matrices are kept as {self.weights}")
            if threads > 1:
                lines.append(f"             without a pause between steps, {threads} threads share the units")
        else:
            chosen = dispatch.BACKENDS[self._backend]
            lines.append(f"  runs as    {type(self.rnn).__name__}.step, by {self._backend}: {chosen.description}")
            lines += [f"  not as     {name}: {reason}" for name, reason in self._reasons.items()]
        lines += [f"  note       {note}" for note in team.notes() if self._like.device.type == "cpu"]
        return "\n".join(lines)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy is made of, by `copy.deepcopy` and by pickle; not the machine code, and no addresses."""
        made_with = (self.batch_size, self.record, self.weights)
        weights, state = self._read, self.state
        return {"rnn": self.rnn, "made_with": made_with, "weights": weights, "state": state, "start": self._start}

    def __setstate__(self, made_of: dict[str, Any]) -> None:
        """A stepper that goes on with the same numbers, until `refresh` reads the weights that its `rnn` has by now."""
        rnn, read, state = made_of["rnn"], made_of["weights"], made_of["state"]
        like = next(iter(state))
        stayed = (rnn._like.dtype, rnn._like.device) == (like.dtype, like.device)
        made_from = rnn if stayed else copy.deepcopy(rnn, made_tensors(rnn)).to(like)
        self.__init__(made_from, *made_of["made_with"])  # type: ignore[misc]
        if self._steps is not None:
            self._steps.set_weights(read)
        else:
            self._take(read)
        self.reset(state)
        self.rnn, self._start = rnn, made_of["start"]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Stepper":
        memo.update(made_tensors(self.rnn))
        other = memo[id(self)] = object.__new__(type(self))
        other.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return other

    def __repr__(self) -> str:
        return f"Stepper({self.rnn}, batch_size={self.batch_size})"

    @property
    def _read(self) -> list[dict[str, Tensor]]:
        """The weights as they were read."""
        if self._steps is not None:
            return self._steps.weights
        return weights_now(self._copy)

    def _read_start(self) -> None:
        """The state in which a sequence starts, as the weights have it now; None for zeros."""
        start = self.rnn._first_state(None, self._like)
        self._start = None if start is None else tuple([s.detach().clone() for s in start])

    def _take(self, weights: Sequence[Mapping[str, Tensor]]) -> None:
        """Where there is no compiled kernel, step with these."""
        self._copy = frozen(self.rnn, weights)

    @torch.no_grad()
    def _native(self) -> Steps:
        rnn = self.rnn
        sizes = [one.sizes for one in rnn._pass_of.values()]
        states = {name: size for name, (_, size) in zip(rnn._state_names, rnn._state_shapes, strict=True)}
        if self.record:
            states[self._graph.states[0]] = max(map(sum, self._widths))
        output = rnn.cell.graph.states[0]
        return Steps(self._graph, sizes, _made_once(rnn), states, output, self.batch_size, self._like, self.weights)

    def _prepare_calls(self) -> None:
        """What a call needs, at hand; where a short path cannot be taken, something that turns it down."""
        self._row: Any = memoryview(b"")
        self._shape: tuple[int, ...] = ()
        steps = self._steps
        if steps is None:
            return
        self._run, self._block, self._shared = steps.run, steps.block, steps.shared
        self._x, y = steps.x.numpy(), steps.y.numpy()
        self._forms = {(np.ndarray, 2): y, (Tensor, 2): steps.y, (np.ndarray, 1): y[0], (Tensor, 1): steps.y[0]}
        self._shape = self._shapes[0]
        self._row_of_y, self._tensor_of_y = y[0], self._forms[Tensor, len(self._shape)]
        if self.batch_size == 1:
            self._row = memoryview(self._x[0])

    def _by_name(self, outputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """What is recorded, given the output of each layer with it."""
        found: dict[str, Tensor] = {}
        for layer, (output, widths) in enumerate(zip(outputs, self._widths, strict=True)):
            values = output.split(widths, dim=-1)[1:]
            found |= {f"{name}_l{layer}": v for name, v in zip(self.record, values, strict=True)}
        return found

    def _joint_step(self, x: npt.NDArray[Any] | Tensor, given: Mapping[str, npt.NDArray[Any] | Tensor]) -> Any:
        """A step of a cell with further inputs, which it reads side by side."""
        inputs = {"x": x, **given}
        rows: dict[str, Any] = {
            name: torch.from_numpy(np.ascontiguousarray(v)) if isinstance(v, np.ndarray) else v
            for name, v in inputs.items()
        }
        is_one = np.ndim(x) == 1
        if is_one:
            rows = {name: v[None] if isinstance(v, Tensor) else v for name, v in rows.items()}
        joint = join("Stepper", rows.pop("x"), rows, self.rnn._input_sizes, batch_first=False)
        y = self._step(joint[0] if is_one else joint)
        return y if isinstance(x, Tensor) else y.cpu().numpy()

    def _step(self, x: npt.NDArray[Any] | Tensor) -> Any:
        """A step by the long path, where everything is looked at."""
        form = np.ndarray if isinstance(x, np.ndarray) else Tensor
        if not isinstance(x, form):
            got = type(x).__name__
            raise ArgumentError(f"The 'x' of Stepper must be a numpy array or a tensor. Got {got} instead.")
        if tuple(x.shape) not in self._shapes:
            expected = " or ".join(map(str, self._shapes))
            raise ArgumentError(f"The 'x' of Stepper must be of shape {expected}. Got {tuple(x.shape)} instead.")
        if str(x.dtype) != str(self._dtype).removeprefix("torch." if form is np.ndarray else ""):
            raise ArgumentError(f"The 'x' of Stepper must be {self._dtype}, as its weights. Got {x.dtype} instead.")
        if isinstance(x, Tensor) and x.device != self._like.device:
            raise ArgumentError(f"The 'x' of Stepper must be on {self._like.device}. Got {x.device} instead.")
        if isinstance(x, Tensor) and not is_zero_tensor(x) and not x.untyped_storage().nbytes():
            raise ArgumentError("The 'x' of Stepper must have memory. Its storage has been freed.")
        if self._steps is None:
            one = x if isinstance(x, Tensor) else torch.from_numpy(np.array(x)).to(self._like.device)
            first, *further = one.detach().split([*self.rnn._input_sizes.values()], dim=-1)
            given = dict(zip([*self.rnn._input_sizes][1:], further, strict=True))
            with torch.no_grad():
                y, self._state, self._recorded = Recurrent._step(
                    self._copy, first, self._state, record=self.record, **given
                )
            return y if isinstance(x, Tensor) else y.cpu().numpy()
        if isinstance(x, Tensor):
            self._steps.x.copy_(x.detach())
        else:
            self._x[...] = x
        self._run(self._block)
        return self._forms[form, x.ndim]


def _between_layers(rnn: Recurrent) -> str | None:
    """What compiled steps of a stack do not do between its layers, or None."""
    if rnn.num_layers == 1:
        return None
    if len({*rnn.hidden_sizes}) > 1 or len(rnn._state_names) > len(rnn.cell.graph.states):
        return "its layers differ in size"
    if rnn.residual or rnn.layer_norm:
        return f"it has a {'residual' if rnn.residual else 'norm'} between its layers"
    between = type(rnn._modules["dropout"])
    return (
        None
        if between in (nn.Dropout, Dropout, VariationalDropout)
        else f"a {between.__name__} stands between its layers"
    )


def _made_once(rnn: Recurrent) -> list[dict[str, Tensor]]:
    weights = weights_now(rnn)
    for own in weights:
        check_memory(rnn.cell.graph, own, own.values())
    return [made_once(rnn.cell.graph, own, rnn.sizes) for own in weights]


def _where(mask: Tensor, new: State, old: State) -> State:
    """Of each sequence the new state where the mask is true, else the old one."""
    pairs = zip(new.tensors.items(), old.reset(mask), strict=True)
    return State(**{name: torch.where(rows(mask, s), s, other) for (name, s), other in pairs})
