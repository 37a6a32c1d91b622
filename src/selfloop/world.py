"""The processes that work together, as torchrun starts them."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, cast

from selfloop.errors import RunError, first_line

if TYPE_CHECKING:
    from torch import Tensor

Value = TypeVar("Value")

_PR_SET_PDEATHSIG = 1  # of prctl(2)


@dataclass(frozen=True)
class World:
    """Which of the processes this one is. A world of one shares nothing, and needs no process group.

    Attributes:
        rank: its number, from 0.
        size: how many there are.
        local_rank: its number among those of its machine.

    >>> world = World(rank=1, size=2)
    >>> [*world.share("abcde")], world.is_first
    (['b', 'd'], False)
    >>> World().joined({0: "a"}), World().from_first("b")
    ({0: 'a'}, 'b')
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def here(cls) -> "World":
        """The processes of torch's process group; without one this process alone."""
        from torch import distributed as dist  # noqa: PLC0415  (a second, which the command line's --help need not wait for)

        if not dist.is_available() or not dist.is_initialized():
            return cls()
        return cls(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))

    @property
    def is_first(self) -> bool:
        """Whether this is the first process, which writes and prints."""
        return self.rank == 0

    def share(self, work: Iterable[Value]) -> Iterator[Value]:
        """This process's part of a list of work: every `size`-th, so that parts cost alike where neighbours do."""
        return islice(work, self.rank, None, self.size)

    def each(self, value: Value) -> list[Value]:
        """What every process has here, by rank."""
        if self.size == 1:
            return [value]
        from torch import distributed as dist  # noqa: PLC0415

        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def joined(self, parts: Mapping[int, Value]) -> dict[int, Value]:
        """What all processes have found, by the number of the work."""
        return {number: value for part in self.each(dict(parts)) for number, value in part.items()}

    def first_makes(self, make: Callable[[], Value]) -> Value:
        """What the first process makes, for all."""
        return self.from_first(make() if self.is_first else cast(Value, None))

    def from_first(self, value: Value) -> Value:
        """What the first process has here."""
        if self.size == 1:
            return value
        from torch import distributed as dist  # noqa: PLC0415

        said: list[Any] = [value if self.is_first else None]
        dist.broadcast_object_list(said)
        result: Value = said[0]
        return result

    def average(self, tensors: Sequence["Tensor"]) -> None:
        """Give tensors the mean over all processes, in place: all at once, so that each sum has the same order always.

        All processes must give as many tensors, of the same shapes. Sparse ones must be coalesced, with rows as their
        entries, and have then the rows of all processes.

        DistributedDataParallel sums in buckets that it arranges anew after its first step, which of a run that goes on
        is another step: with three processes the last bits of sums differ then.
        """
        if self.size > 1 and tensors:
            import torch  # noqa: PLC0415
            from torch import distributed as dist  # noqa: PLC0415

            own = [self._with_rows_of_all(tensor) if tensor.is_sparse else tensor.detach() for tensor in tensors]
            numbers = [tensor.values() if tensor.is_sparse else tensor for tensor in own]
            whole = torch.cat([tensor.reshape(-1) for tensor in numbers])
            dist.all_reduce(whole)
            whole /= self.size
            for tensor, mean in zip(numbers, whole.split([tensor.numel() for tensor in numbers]), strict=True):
                tensor.copy_(mean.view_as(tensor))
            with torch.no_grad():
                for tensor, mean in zip(tensors, own, strict=True):
                    if tensor.is_sparse:
                        tensor.copy_(mean)  # `detach` of a sparse tensor does not share what is written

    def _with_rows_of_all(self, tensor: "Tensor") -> "Tensor":
        """A sparse tensor, with zeros in the rows that other processes alone have."""
        import torch  # noqa: PLC0415

        rows, values = tensor.indices()[0], tensor.values()
        everyone = torch.cat(self.each(rows.cpu())).unique().to(rows.device)
        filled = values.new_zeros(len(everyone), *values.shape[1:])
        filled.index_copy_(0, torch.searchsorted(everyone, rows), values)
        shape = tensor.shape
        return torch.sparse_coo_tensor(everyone[None], filled, shape, is_coalesced=True, check_invariants=False)

    def copy_from_first(self, tensors: Iterable["Tensor"]) -> None:
        """Give tensors of all processes the first one's numbers, in place."""
        if self.size > 1:
            from torch import distributed as dist  # noqa: PLC0415

            for tensor in tensors:
                dist.broadcast(tensor.detach(), 0)


ALONE = World()


@contextmanager
def joined_world() -> Iterator[World]:
    """The processes that torchrun has started, within a process group of theirs on CPUs; or this one alone."""
    if _is_alone():
        yield ALONE
        return
    from torch import distributed as dist  # noqa: PLC0415

    with others_may_end():
        dist.init_process_group("gloo")
        try:
            yield World.here()
        finally:
            dist.destroy_process_group()


@contextmanager
def others_may_end() -> Iterator[None]:
    """Within it, that another process has ended, so that this one waits in vain, is a RunError."""
    try:
        yield
    except RuntimeError as error:
        if _is_alone() or not _is_lost(error):
            raise
        raise RunError(
            f"Another process of this job has ended or cannot be reached ({first_line(error)}): its own message says "
            "why. What was saved is whole; go on with --resume."
        ) from error


def end_with_torchrun() -> None:
    """Have the kernel ask this process to stop when the torchrun that started it is killed.

    torchrun starts its workers in sessions of their own. Without it they would go on training, hold the run's lock and
    the processors, and the torchrun that takes the killed one's place would wait for both.
    """
    if sys.platform == "linux" and "TORCHELASTIC_RUN_ID" in os.environ:
        libc = ctypes.CDLL(None)
        if hasattr(libc, "prctl"):
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _is_alone() -> bool:
    """Whether torchrun has started no others."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1


def _is_lost(error: RuntimeError) -> bool:
    """Whether torch says that a process cannot be reached; gloo has no class of error of its own."""
    from torch import distributed as dist  # noqa: PLC0415

    return isinstance(error, dist.DistError) or "gloo" in str(error)
