"""The plans of calls, kept from call to call."""

from itertools import count

import torch

from selfloop.kernels.call import Call
from selfloop.kernels.plan import Plan, make_plan
from selfloop.kernels.problem import Problem
from selfloop.kernels.ragged import arrange

MOST_PLANS, MOST_BYTES = 256, 1 << 26
"""Plans that are kept, and the bytes of their command buffers. One for 16,384 rows of an LSTM takes 2 MB."""

_PLANS: dict[tuple[object, ...], Plan] = {}
"""By all that they depend on."""

MOST_RAGGED = 512
"""Plans that are kept for calls of other lengths, in MOST_BYTES at most. Sentences of a treebank have 70 numbers of
steps, each in two directions: of 64 plans, a third of the calls found theirs forgotten, and a tenth of the time went
into recording them anew."""

_RAGGED: dict[object, Plan] = {}
"""The last plan that was recorded, by all but lengths and resets; those that were not used for longest come first."""

_CLOCK = count()


def known_plan(key: tuple[object, ...]) -> Plan | None:
    """The plan of an earlier call of this key."""
    plan = _PLANS.get(key)
    return None if plan is None else used_now(plan)


def used_now(plan: Plan) -> Plan:
    """The same, which is used now: those that were not used for longest are forgotten first."""
    plan.used = next(_CLOCK)
    return plan


def plan_of(call: Call, needs_gradient: bool) -> Plan:
    """That of an earlier call, or a new one."""
    key = key_of(call, needs_gradient)
    known = known_plan(key) or plan_of_lengths(key, call)
    return new_plan(key, call, call.problem(), needs_gradient) if known is None else known


def plan_of_lengths(key: tuple[object, ...], call: Call) -> Plan | None:
    """A plan for this key made of that of a call which differs in lengths alone."""
    if call.lengths is None and call.resets is None:
        return None
    others = _but_lengths(key)
    known = _RAGGED.pop(others, None)
    if known is None:
        return None
    _RAGGED[others] = known
    steps, batch = call.x.shape[:2]
    plan = known.of(arrange(steps, batch, call.lengths, call.resets, call.reverse))
    if plan is not None:
        _keep(key, plan)
    return plan


def new_plan(key: tuple[object, ...], call: Call, problem: Problem, needs_gradient: bool) -> Plan:
    """A plan for calls of this key, which is kept unless it is huge; `problem` is that of the call."""
    plan = make_plan(call, problem, needs_gradient)
    if _keep(key, plan) and key[:2] != (None, None):
        room = MOST_BYTES - plan.bytes - sum([own.bytes for own in [*_RAGGED.values()]])
        while _RAGGED and (len(_RAGGED) >= MOST_RAGGED or room < 0):
            forgotten = _RAGGED.pop(next(iter([*_RAGGED]), None), None)
            room += 0 if forgotten is None else forgotten.bytes
        _RAGGED[_but_lengths(key)] = plan
    return plan


def _keep(key: tuple[object, ...], plan: Plan) -> bool:
    if plan.bytes > MOST_BYTES // 4:
        return False
    _make_room(plan.bytes)
    plan.used = plan.seen = next(_CLOCK)
    _PLANS[key] = plan
    return True


def _but_lengths(key: tuple[object, ...]) -> tuple[object, ...]:
    return key[0] is None, key[1] is None, *key[2:]


def _make_room(bytes: int) -> None:
    """Forget plans that were not used for long, until there is room for one more of so many bytes.

    They stand in the order in which they were made; one that was used since is put last, and stays for now.
    """
    room = MOST_BYTES - bytes - sum([plan.bytes for plan in [*_PLANS.values()]])
    while len(_PLANS) >= MOST_PLANS or room < 0:
        key = next(iter([*_PLANS]), None)
        plan = None if key is None else _PLANS.pop(key, None)
        if key is None or plan is None:  # another thread did
            return
        if plan.used > plan.seen:
            plan.seen = plan.used
            _PLANS[key] = plan
        else:
            room += plan.bytes


def key_of(call: Call, needs_gradient: bool) -> tuple[object, ...]:
    """All that a plan depends on; the numbers of lengths and resets come first."""
    x, lengths, resets = call.x, call.lengths, call.resets
    key: list[object] = [
        None if lengths is None else lengths.numpy().tobytes(),
        None if resets is None else resets.numpy().tobytes(),
        call.graph.text,
        call.form,
        call.reverse,
        call.recompute,
        call.bfloat16,
        call.kind,
        call.seed is None,
        needs_gradient,
        torch.get_num_threads(),
        x.shape,
        x.stride(),
        x.dtype,
    ]
    for s in call.state:
        key += (s.shape, s.is_contiguous(), s.dtype)
    for w in call.weights:
        key += (w.shape, w.stride(), w.dtype)
    return tuple(key)
