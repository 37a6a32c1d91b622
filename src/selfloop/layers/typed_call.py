"""For type checkers, to whom a call of torch.nn's modules gives Any: the type of `forward` for `__call__`.

if TYPE_CHECKING:

    @typed_as(forward)
    def __call__(self) -> None: ...
"""

from collections.abc import Callable
from typing import TypeVar

Forward = TypeVar("Forward", bound=Callable[..., object])


def typed_as(forward: Forward) -> Callable[[Callable[..., object]], Forward]:
    """What is decorated has the type of `forward`; nothing is ever called."""
    return lambda _: forward
