"""The hooks of a module's calls around another function than its `forward`."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar, cast

from torch import nn
from torch.utils.hooks import BackwardHook

from selfloop.errors import ArgumentError
from selfloop.kernels.torch_internals import hooks_of

Returned = TypeVar("Returned")


def called_with_hooks(
    module: nn.Module, function: Callable[..., Returned], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Returned:
    """What the function returns, with the hooks that a call of the module has, as torch calls them.

    Torch calls hooks around `forward` alone. A step stands for a call, so that what works by hooks, such as pruning,
    works for steps. Hooks of `register_forward_pre_hook` and `register_forward_hook`, with all their options, may
    change arguments and result. Hooks of `register_full_backward_pre_hook` and `register_full_backward_hook` may
    change gradients.

    Raises:
        ArgumentError: the module has a hook of the deprecated `register_backward_hook`.
    """
    hooks = hooks_of(module)
    if hooks is None:
        return function(*args, **kwargs)
    if hooks.partial:
        raise ArgumentError(
            f"The backward hooks of {type(module).__name__} must be made by register_full_backward_hook to run in a "
            "step. Got one of register_backward_hook instead, which torch has deprecated."
        )
    result = None
    remaining = [*hooks.after]
    try:
        for hook, with_kwargs in hooks.before:
            if with_kwargs:
                changed = hook(module, args, kwargs)
                args, kwargs = (args, kwargs) if changed is None else changed
            else:
                changed = hook(module, args)
                args = args if changed is None else changed if isinstance(changed, tuple) else (changed,)
        around = None
        if hooks.backward or hooks.before_backward:
            around = BackwardHook(module, hooks.backward, hooks.before_backward)
            args = around.setup_input_hook(args)
        result = function(*args, **kwargs)
        while remaining:
            hook, with_kwargs, _ = remaining.pop(0)
            changed = hook(module, args, kwargs, result) if with_kwargs else hook(module, args, result)
            result = result if changed is None else changed
        return cast(Returned, result if around is None else around.setup_output_hook(result))
    except Exception:
        for hook, with_kwargs, is_always_called in remaining:
            if is_always_called:
                with suppress(Exception):  # the first error is the one to tell
                    hook(module, args, kwargs, result) if with_kwargs else hook(module, args, result)
        raise
