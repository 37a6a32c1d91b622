"""The weights of a stack as a call in evaluation would see them now, and copies with such weights."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from selfloop.errors import ArgumentError
from selfloop.kernels.torch_internals import hooks_of, remove_pre_hooks
from selfloop.layers.recurrent import Recurrent

Module = TypeVar("Module", bound=nn.Module)

MAKERS = (BasePruningMethod, WeightNorm, SpectralNorm)
"""The hooks of torch that make a weight before each call, of others; they do not look at the call's arguments."""


def weights_now(rnn: Recurrent) -> list[dict[str, Tensor]]:
    """The cell's weights at each layer, as a call of a stack in evaluation would see them.

    Raises:
        ArgumentError: a weight is a plain attribute, which a hook that is not torch's may make anew before each call.
    """
    if any(name not in rnn._parameters and name not in rnn._buffers for name in _names(rnn)):
        rnn = _with_made_weights(rnn)
    return [rnn._cell_weights(suffix) for suffix in rnn._pass_of]


def evaluated(module: Module) -> Module:
    """A copy of a module in evaluation. What hooks of torch and parametrisations make is a parameter, as a call would
    see it now.

    Args:
        module: a stack, or a model with stacks.

    Raises:
        ArgumentError: as `weights_now`.
    """
    stacks = [own for own in module.modules() if isinstance(own, Recurrent)]
    known: dict[int, object] = {id(rnn): frozen(rnn, weights_now(rnn)) for rnn in stacks}
    copied = copy.deepcopy(module, made_tensors(module) | known).eval()
    for own in copied.modules():
        _settle(own)
    return copied


def frozen(rnn: Recurrent, weights: Sequence[Mapping[str, Tensor]]) -> Recurrent:
    """A copy of a stack in evaluation that has these weights, by the cell's names at each layer, as parameters."""
    copied = _copy(rnn)
    _settle(copied)
    for one, own in zip(copied._pass_of.values(), weights, strict=True):
        for of_cell, names in one.weights.items():
            for k, name in enumerate(names):  # the first one of a sum is all of it
                _replace(copied, name, own[of_cell] if k == 0 else own[of_cell].new_zeros(own[of_cell].shape))
    return copied


def _settle(module: nn.Module) -> None:
    """Make parameters of what torch's hooks and parametrisations make of others, as it is now, and end their work."""
    makers, _ = _make_weights(module)
    names = [hook._tensor_name if isinstance(hook, BasePruningMethod) else hook.name for hook in makers]
    if parametrize.is_parametrized(module):
        names += cast(nn.ModuleDict, module.parametrizations).keys()
    made = {name: getattr(module, name) for name in names}
    remove_pre_hooks(module, MAKERS)
    if parametrize.is_parametrized(module):  # torch's own way out changes the class, which is that of the original, too
        module.__class__ = parametrize.type_before_parametrizations(module)
        del module.parametrizations
    for name, value in made.items():
        _replace(module, name, value)


def _replace(module: nn.Module, name: str, value: Tensor) -> None:
    """Put a parameter, a copy of a tensor, where a parameter or another tensor is."""
    if hasattr(module, name):
        delattr(module, name)
    module.register_parameter(name, nn.Parameter(value.detach().clone(), requires_grad=False))


def _with_made_weights(rnn: Recurrent) -> Recurrent:
    """A copy of a stack in evaluation whose weights torch's hooks have made anew."""
    copied = _copy(rnn)
    plain = {name: v for name in _names(copied) if isinstance(v := vars(copied).get(name), Tensor)}
    _, others = _make_weights(copied)
    for name, v in plain.items():
        if others and vars(copied)[name] is v:
            called = getattr(others[0], "__name__", type(others[0]).__name__)
            raise ArgumentError(
                f"The '{name}' of {rnn._title} must be a parameter, or made by torch's pruning, weight norm, spectral "
                f"norm or parametrize, for a Stepper or an export to copy it. Got an attribute that the hook {called} "
                "may make anew before each call; make it by torch.nn.utils.parametrize."
            )
    return copied


def _make_weights(module: nn.Module) -> tuple[list[Any], list[Callable[..., Any]]]:
    """Have torch's hooks make a module's weights anew; these hooks, and the others that run before its calls."""
    hooks = hooks_of(module)
    before = [hook for hook, _ in hooks.before] if hooks else []
    makers = [hook for hook in before if isinstance(hook, MAKERS)]
    for hook in makers:
        hook(module, ())
    return makers, [hook for hook in before if not isinstance(hook, MAKERS)]


def made_tensors(module: nn.Module) -> dict[int, object]:
    """Copies of what hooks have made of a module's parameters, for `copy.deepcopy` to find by the ids of the originals:
    these are no leaves of autograd, and refuse to be copied.
    """
    attributes = [v for own in module.modules() for v in vars(own).values() if isinstance(v, Tensor)]
    return {id(v): v.detach().clone() for v in attributes}


def _copy(rnn: Recurrent) -> Recurrent:
    """A copy in evaluation."""
    return copy.deepcopy(rnn, made_tensors(rnn)).eval()


def _names(rnn: Recurrent) -> list[str]:
    return [name for one in rnn._pass_of.values() for name in one.names]
