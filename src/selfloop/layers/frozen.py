"""The weights of a stack as a call in evaluation would see them now, and copies with such weights."""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

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
    """A copy of a module in evaluation: its stacks have the weights that a call would see now as parameters, and of
    other modules torch's hooks have made the weights anew.

    Args:
        module: a stack, or a model with stacks.

    Raises:
        ArgumentError: as `weights_now`.
    """
    stacks = [own for own in module.modules() if isinstance(own, Recurrent)]
    known: dict[int, object] = {id(rnn): frozen(rnn, weights_now(rnn)) for rnn in stacks}
    copied = copy.deepcopy(module, made_tensors(module) | known).eval()
    for own in copied.modules():
        if isinstance(own, Recurrent):
            remove_pre_hooks(own, MAKERS)
        else:
            _make_weights(own)
    return copied


def frozen(rnn: Recurrent, weights: Sequence[Mapping[str, Tensor]]) -> Recurrent:
    """A copy of a stack in evaluation that has these weights, by the cell's names at each layer, as parameters."""
    copied = _copy(rnn)
    if parametrize.is_parametrized(copied):  # torch's own way out changes the class, which is that of `rnn`, too
        copied.__class__ = parametrize.type_before_parametrizations(copied)
        del copied.parametrizations
    for name in filter(partial(hasattr, copied), _names(copied)):
        delattr(copied, name)
    for one, own in zip(copied._pass_of.values(), weights, strict=True):
        for of_cell, names in one.weights.items():
            for k, name in enumerate(names):  # the first one of a sum is all of it
                value = own[of_cell].detach().clone() if k == 0 else own[of_cell].new_zeros(own[of_cell].shape)
                copied.register_parameter(name, nn.Parameter(value, requires_grad=False))
    return copied


def _with_made_weights(rnn: Recurrent) -> Recurrent:
    """A copy of a stack in evaluation whose weights torch's hooks have made anew."""
    copied = _copy(rnn)
    plain = {name: v for name in _names(copied) if isinstance(v := vars(copied).get(name), Tensor)}
    others = _make_weights(copied)
    for name, v in plain.items():
        if others and vars(copied)[name] is v:
            called = getattr(others[0], "__name__", type(others[0]).__name__)
            raise ArgumentError(
                f"The '{name}' of {rnn._title} must be a parameter, or made by torch's pruning, weight norm, spectral "
                f"norm or parametrize, where its weights are copied. Got an attribute that the hook {called} may make "
                "anew before each call; make it by torch.nn.utils.parametrize."
            )
    return copied


def _make_weights(module: nn.Module) -> list[Callable[..., object]]:
    """Have torch's hooks make a module's weights anew; the other hooks that run before its calls."""
    hooks = hooks_of(module)
    before = [hook for hook, _ in hooks.before] if hooks else []
    for hook in before:
        if isinstance(hook, MAKERS):
            hook(module, ())
    return [hook for hook in before if not isinstance(hook, MAKERS)]


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
