"""A module's forward hooks around another function than its `forward`."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import nn

from selfloop.kernels.torch_internals import forward_hooks

Returned = TypeVar("Returned")


def called_with_hooks(
    module: nn.Module, function: Callable[..., Returned], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Returned:
    """What the function returns, with the hooks that a call of the module has: before it and after it.

    Those of `register_forward_pre_hook` and `register_forward_hook`, with and without ``with_kwargs``, may change
    arguments and result as they do in a call.
    """
    hooks = forward_hooks(module)
    if hooks is None:
        return function(*args, **kwargs)
    before, after = hooks
    for hook, with_kwargs in before:
        if with_kwargs:
            changed = hook(module, args, kwargs)
            args, kwargs = (args, kwargs) if changed is None else changed
        else:
            changed = hook(module, args)
            args = args if changed is None else changed if isinstance(changed, tuple) else (changed,)
    result = function(*args, **kwargs)
    for hook, with_kwargs in after:
        changed = hook(module, args, kwargs, result) if with_kwargs else hook(module, args, result)
        result = result if changed is None else changed
    return result
