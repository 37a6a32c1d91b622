"""Each private API of torch does what kernels rely on; no other module uses any."""

import re
from pathlib import Path

import pytest
import torch
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

import selfloop
from selfloop.kernels import torch_internals as internals

SOURCES = Path(selfloop.__file__).parent


def test_no_other_module_uses_a_private_api_of_torch():
    names = (
        r"\btorch\._(?!_)",
        r"from torch\._",
        r"forward_ad\._",
        r"utils\._pytree",
        "_is_zerotensor",
        "_forward_hooks",
        "_forward_pre_hooks",
        "_backward_hooks",
        "_backward_pre_hooks",
        "symbolic_shapes",
    )
    private = re.compile("|".join((*names, r"ops\.mkldnn")))
    users = {path.name for path in SOURCES.rglob("*.py") if private.search(path.read_text(encoding="utf-8"))}
    assert users == {"torch_internals.py"}


def keys(v):
    return internals.dispatch_keys(v).raw_repr()


def test_dispatch_keys_tell_plain_memory_from_the_rest():
    plain = torch.zeros(2)
    assert keys(plain) == keys(torch.nn.Parameter(torch.ones(3, 2).T))
    odd = (torch.zeros(2, dtype=torch.complex64).conj().imag, torch.zeros(2).to_sparse(), torch.zeros(2, device="meta"))
    assert keys(plain) not in {keys(v) for v in odd}

    class Foreign(torch.Tensor):
        @classmethod
        def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
            raise NotImplementedError

    foreign = torch.Tensor._make_wrapper_subclass(Foreign, (2,))
    assert internals.dispatch_keys(foreign).has(internals.DispatchKey.Python)
    assert not internals.dispatch_keys(plain).has(internals.DispatchKey.Python)


def test_hooks_are_those_that_torch_calls_in_its_order():
    module, of_all, seen = torch.nn.Identity(), torch.nn.modules.module, []
    assert internals.hooks_of(module) is None

    def seeing(name):
        return lambda *given: seen.append((name, len(given)))

    handles = [
        module.register_forward_pre_hook(seeing("pre")),
        module.register_forward_pre_hook(seeing("pre"), with_kwargs=True, prepend=True),
        module.register_forward_hook(seeing("post"), with_kwargs=True, always_call=True),
        of_all.register_module_forward_hook(seeing("all"), with_kwargs=True),
        of_all.register_module_forward_pre_hook(seeing("all")),
        module.register_full_backward_hook(seeing("gradient")),
        of_all.register_module_full_backward_hook(seeing("all gradients")),
        module.register_full_backward_pre_hook(seeing("of outputs")),
        of_all.register_module_full_backward_pre_hook(seeing("all of outputs")),
    ]
    hooks = internals.hooks_of(module)
    module(torch.zeros(1, requires_grad=True)).sum().backward()
    called, seen[:] = list(seen), []
    for hook, with_kwargs in hooks.before:
        hook(module, (), *[{}] * with_kwargs)
    for hook, with_kwargs, _ in hooks.after:
        hook(module, (), *[{}] * with_kwargs, None)
    for hook in hooks.before_backward:
        hook(module, ())
    for hook in hooks.backward:
        hook(module, (), ())
    assert seen == called
    assert [name for name, _ in called[:5]] == ["all", "pre", "pre", "all", "post"]
    assert [is_always_called for *_, is_always_called in hooks.after] == [False, True]
    assert hooks.partial == []
    for handle in handles:
        handle.remove()
    assert internals.hooks_of(module) is None
    other = torch.nn.Identity()
    other.register_backward_hook(seeing("partial"))
    assert len(internals.hooks_of(other).partial) == 1


def test_dispatch_modes_are_counted():
    class Mode(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            return function(*args, **(kwargs or {}))

    assert internals.dispatch_modes() == 0
    with Mode():
        assert internals.dispatch_modes() == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_trace_is_seen_and_can_be_paused():
    seen = []

    def traced(x):
        seen.append(internals.is_jit_tracing())
        with internals.untraced():
            seen.append(internals.is_jit_tracing())
            x.sum()
        seen.append(internals.is_jit_tracing())
        return x + 1

    graph = torch.jit.trace(traced, torch.zeros(2), check_trace=False).graph
    assert seen == [True, False, True]
    assert "aten::add" in str(graph)
    assert "aten::sum" not in str(graph)
    assert not internals.is_jit_tracing()


def test_transforms_are_seen():
    assert internals.transform() is None
    seen = []
    torch.func.vmap(lambda v: seen.append(internals.transform()) or v)(torch.zeros(2))
    assert seen[0] is not None


def test_a_batch_of_gradients_is_seen():
    seen = []

    class Look(torch.autograd.Function):
        @staticmethod
        def forward(ctx, v):
            return v.clone()

        @staticmethod
        def backward(ctx, d):
            seen.append(internals.is_legacy_batched(d))
            return d

    x = torch.zeros(2, requires_grad=True)
    for is_batched, d in ((True, torch.eye(2)), (False, torch.ones(2))):
        torch.autograd.grad(Look.apply(x), x, d, is_grads_batched=is_batched)
    assert seen == [True, False]


def test_forward_mode_is_seen():
    assert not internals.is_forward_mode()
    with forward_ad.dual_level():
        assert internals.is_forward_mode()


def test_autograd_is_passed_over():
    x = torch.zeros(2, requires_grad=True)
    with internals.below_autograd():
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_references_to_a_storage_are_counted():
    v = torch.zeros(4)
    storage = v.untyped_storage()
    before = internals.storage_references(storage)
    view = v[:2]
    assert internals.storage_references(storage) == before + 1
    del view
    assert internals.storage_references(storage) == before


def test_zeros_without_memory_are_seen():
    assert internals.is_zero_tensor(torch._efficientzerotensor((2,)))
    assert not internals.is_zero_tensor(torch.zeros(2))


def test_each_tensor_moves_towards_another():
    averages, values = [torch.zeros(2), torch.ones(3)], [torch.ones(2), torch.full((3,), 5.0)]
    internals.lerp_each(averages, values, 0.25)
    assert [v.tolist() for v in averages] == [[0.25] * 2, [2.0] * 3]


def test_onednn_says_whether_it_computes_in_bfloat16():
    lstm = torch.nn.LSTM(8, 8).bfloat16()
    if internals.onednn_has_bfloat16():
        assert lstm(torch.zeros(3, 2, 8, dtype=torch.bfloat16))[0].dtype == torch.bfloat16
    else:
        with pytest.raises(RuntimeError, match=r"(?i)bf16|bfloat16"):
            torch.lstm(
                torch.zeros(3, 2, 8, dtype=torch.bfloat16),
                (torch.zeros(1, 2, 8, dtype=torch.bfloat16),) * 2,
                list(lstm.parameters()),
                *(True, 1, 0.0, True, False, False),
            )


def test_a_guard_on_a_symbol_is_false_and_adds_none():
    lengths = []

    def traced(x):
        lengths.append(internals.guard_or_false(x.shape[0] == 7))
        return x + 1

    compiled = torch.compile(traced, backend="eager", dynamic=True, fullgraph=True)
    torch.testing.assert_close(compiled(torch.zeros(7)), torch.ones(7))
    assert internals.guard_or_false(True)


def test_a_class_becomes_a_node_of_torchs_trees():
    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b

    internals.register_pytree_node(
        Pair,
        lambda pair: ([pair.a, pair.b], None),
        lambda children, _: Pair(*children),
        flatten_with_keys_fn=lambda pair: (
            [(internals.GetAttrKey("a"), pair.a), (internals.GetAttrKey("b"), pair.b)],
            None,
        ),
    )
    doubled = torch.utils._pytree.tree_map(lambda v: 2 * v, Pair(1, 2))
    assert (doubled.a, doubled.b) == (2, 4)


def test_fakes_and_functional_tensors_have_their_classes():
    seen = []

    def look(v):
        seen.append(type(v))
        return v + 1

    torch.compile(look, backend="eager")(torch.zeros(2))
    with torch._subclasses.FakeTensorMode():
        assert isinstance(torch.zeros(2), internals.FakeTensor)
    assert internals.FunctionalTensor.__name__ == "FunctionalTensor"


def test_a_function_of_autograd_is_applied_without_the_look_for_transforms():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, v):
            return 2 * v

        @staticmethod
        def backward(ctx, d):
            return 2 * d

    x = torch.ones(3, requires_grad=True)
    internals.apply_of(Double)(x).sum().backward()
    assert x.grad.tolist() == [2, 2, 2]


def test_tensors_are_checked_at_once():
    x, w = torch.zeros(2, 3), torch.nn.Parameter(torch.ones(3, 2))
    check = internals.check_of((x, w))
    assert check(x, w)
    assert check(torch.ones(2, 3), torch.nn.Parameter(torch.zeros(3, 2)))
    with torch.no_grad():
        assert check(x, w)

    class Named(torch.Tensor):
        pass

    others = [
        torch.zeros(3, 3),
        torch.zeros(3, 2).T,
        torch.zeros(1, 1).expand(2, 3),
        torch.zeros(2, 3, dtype=torch.float64),
        torch.zeros(2, 3, device="meta"),
        torch.zeros(2, 3).requires_grad_(),
        torch.zeros(2, 3, dtype=torch.complex64).conj().imag,
        torch._efficientzerotensor(2, 3),
        torch.zeros(2, 3).to_sparse(),
        torch.zeros(2, 3).as_subclass(Named),
        torch.nn.Parameter(x, requires_grad=False),
    ]
    assert not any(check(v, w) for v in others)
    with torch.inference_mode():
        assert not check(x, w)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not check(x, w)
    torch.vmap(lambda v: [v, others.append(check(v, w))][0])(torch.zeros(4, 2, 3))
    assert others[-1] is False
