"""`RecentPlans`: the plans of a layer's last calls, found by one check of all tensors instead of a key of each."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from selfloop.kernels.call import Call, Form
from selfloop.kernels.plan import Plan
from selfloop.kernels.plans import used_now
from selfloop.kernels.torch_internals import check_of, is_forward_mode, is_jit_tracing

MOST = 16
"""Plans that are kept for one layer and direction."""

MOST_BYTES = 1 << 18
"""Of the command buffer of such a plan; with that of the backward pass it has three times as many."""


class _Recent(NamedTuple):
    form: Form
    check: Callable[..., bool]
    plan: Plan


class RecentPlans:
    """Plans of calls whose tensors were plain and laid out alike, see `are_plain`.

    A key for all plans takes 5 µs, of which the dispatch keys of each tensor are half. Torch's own check of all tensors
    takes 0.5. Copies of a layer start without any.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], _Recent] = {}

    def __reduce__(self) -> tuple[type["RecentPlans"], tuple[()]]:
        return RecentPlans, ()

    def find(self, call: Call, tensors: Sequence[Tensor]) -> Plan | None:
        """That of such a call, if it is among them."""
        if _is_ragged(call) or is_jit_tracing() or is_forward_mode():
            return None
        known = self._known.get(_key(call))
        # A nested tensor's strides would end the process.
        if known is None or known.form != call.form or True in [w.is_nested for w in call.weights]:
            return None
        return used_now(known.plan) if known.check(*tensors) else None

    def keep(self, call: Call, tensors: Sequence[Tensor], plan: Plan) -> None:
        """Keep the plan of a call with a small command buffer: of other calls a key is a small part."""
        if plan.bytes <= MOST_BYTES and not _is_ragged(call):
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[_key(call)] = _Recent(call.form, check_of(tensors), plan)


def _is_ragged(call: Call) -> bool:
    """Whether a call has lengths or resets, whose numbers no check of tensors sees."""
    return call.lengths is not None or call.resets is not None


def _key(call: Call) -> tuple[object, ...]:
    modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_num_threads()
    return call.graph.text, call.recompute, modes, call.form.starts_at_zero, call.x.shape
