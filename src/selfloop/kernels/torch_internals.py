"""The private APIs of torch that selfloop uses: all of them are here, and a test of each fails when torch changes it.

They are names of torch's own functions and classes, not functions around them: several are on the path of every call.
`guard_or_false` and what registers a node of torch's trees have no leading underscore, but no promise to stay either.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch._C import DispatchKey, _AutoDispatchBelowAutograd, _dispatch_keys, _is_tracing, _len_torch_dispatch_stack
from torch._C import _functorch as functorch
from torch._C._dynamo.guards import TensorGuards
from torch._subclasses import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor
from torch.autograd import forward_ad
from torch.fx.experimental.symbolic_shapes import guard_or_false
from torch.nn.modules.module import (
    _global_backward_hooks,
    _global_backward_pre_hooks,
    _global_forward_hooks,
    _global_forward_hooks_always_called,
    _global_forward_hooks_with_kwargs,
    _global_forward_pre_hooks,
)
from torch.utils._pytree import GetAttrKey, register_pytree_node

__all__ = [
    "DispatchKey",
    "FakeTensor",
    "FunctionalTensor",
    "GetAttrKey",
    "apply_of",
    "below_autograd",
    "check_of",
    "dispatch_keys",
    "dispatch_modes",
    "guard_or_false",
    "hooks_of",
    "is_forward_mode",
    "is_jit_tracing",
    "is_legacy_batched",
    "is_only_its_class",
    "is_zero_tensor",
    "lerp_each",
    "onednn_has_bfloat16",
    "register_pytree_node",
    "storage_references",
    "transform",
    "untraced",
]

dispatch_keys = _dispatch_keys
"""What a tensor is to torch's dispatcher: negated, batched, sparse, … No public API tells all of it."""

dispatch_modes = _len_torch_dispatch_stack
"""The number of TorchDispatchModes that are active, which see every operator but would not see a kernel."""

is_jit_tracing = _is_tracing
"""Whether torch.jit.trace runs: `torch.jit.is_tracing` without its look at scripting, on the path of every call."""

transform = functorch.peek_interpreter_stack
"""The innermost transform of torch.func (vmap, grad, jvp) that is active, or None."""

is_legacy_batched = functorch.is_legacy_batchedtensor
"""Whether a tensor stands for many under `is_grads_batched=True`, which does not use torch.func."""

is_zero_tensor = torch.Tensor._is_zerotensor
"""Whether a tensor is zeros without memory, as autograd makes them for gradients that are known to be zero."""

lerp_each = torch._foreach_lerp_
"""Move each tensor of a list towards that of another by a weight, in place; torch's own optimizers use its like."""

below_autograd = _AutoDispatchBelowAutograd
"""A context in which the dispatcher passes over autograd, for the forward of an operator with a gradient of its own."""


def apply_of(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    """`function.apply` without its look for torch.func's transforms, which takes 1 µs and more; none may be active."""
    return super(torch.autograd.Function, function).apply  # type: ignore[misc, no-any-return]


def check_of(tensors: Sequence[torch.Tensor]) -> Callable[..., bool]:
    """Torch.compile's check of tensors: true of those that are like these in all but their numbers.

    That is class, dispatch keys under the modes that are on, dtype, device, shape, strides and `requires_grad`. It does
    not see the mode of forward derivatives, and a nested tensor ends the process.
    """
    sizes, strides = [list(v.shape) for v in tensors], [list(v.stride()) for v in tensors]
    return TensorGuards(*tensors, dynamic_dims_sizes=sizes, dynamic_dims_strides=strides).check  # type: ignore[arg-type]


def is_forward_mode() -> bool:
    """Whether a derivative is taken in forward mode. The public API only says whether a given tensor has a tangent."""
    return forward_ad._current_level >= 0


def onednn_has_bfloat16() -> bool:
    """Whether oneDNN, which runs torch's LSTM on the CPU, computes in bfloat16 on this processor."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def storage_references(storage: torch.UntypedStorage) -> int:
    """How many tensors and storages of C++ share this memory; Python's own reference count does not tell."""
    return torch._C._storage_Use_Count(storage._cdata)


class Hooks(NamedTuple):
    """The hooks of a module's calls in their order, those of all modules first.

    Attributes:
        before: those before `forward`, each with whether it takes keywords.
        after: those after it, likewise, and whether they are called after an error, too.
        backward, before_backward: those with the gradients of inputs and outputs, and with those of outputs alone.
        partial: those of the deprecated `register_backward_hook`, which see the gradients of the last operation alone.
    """

    before: list[tuple[Callable[..., Any], bool]]
    after: list[tuple[Callable[..., Any], bool, bool]]
    backward: list[Callable[..., Any]]
    before_backward: list[Callable[..., Any]]
    partial: list[Callable[..., Any]]


def hooks_of(module: torch.nn.Module) -> Hooks | None:
    """The hooks of a module's calls; None if there are none."""
    before, after = module._forward_pre_hooks, module._forward_hooks
    if not (
        before
        or after
        or module._backward_hooks
        or module._backward_pre_hooks
        or _global_forward_pre_hooks
        or _global_forward_hooks
        or _global_backward_hooks
        or _global_backward_pre_hooks
    ):
        return None
    with_kwargs = {*module._forward_hooks_with_kwargs, *_global_forward_hooks_with_kwargs}
    always = {*module._forward_hooks_always_called, *_global_forward_hooks_always_called}
    backward, partial = module._get_backward_hooks()
    return Hooks(
        [
            (hook, key in module._forward_pre_hooks_with_kwargs)
            for key, hook in (*_global_forward_pre_hooks.items(), *before.items())
        ],
        [(hook, key in with_kwargs, key in always) for key, hook in (*_global_forward_hooks.items(), *after.items())],
        backward,
        module._get_backward_pre_hooks(),
        partial,
    )


def remove_pre_hooks(module: torch.nn.Module, kinds: tuple[type, ...]) -> None:
    """Remove the hooks of these classes that run before a module's calls."""
    for key, hook in [*module._forward_pre_hooks.items()]:
        if isinstance(hook, kinds):
            del module._forward_pre_hooks[key]


def is_only_its_class(module: torch.nn.Module) -> bool:
    """Whether a call of a module is no more than the `forward` of its class: it has no hooks and no `forward` of its
    own.
    """
    return hooks_of(module) is None and "forward" not in vars(module)


@contextmanager
def untraced() -> Iterator[None]:
    """Keep what kernels do out of a trace of torch.jit: it has the operator itself, and would make tensors of sizes."""
    if not _is_tracing():
        yield
        return
    state = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch._C._set_tracing_state(state)  # type: ignore[attr-defined]
