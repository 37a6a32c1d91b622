"""Whatever torch can hand to a kernel as a tensor: the numbers are the interpreter's, or a refusal says why not.

A table of ways to make a tensor odd, times the places where a kernel takes one: input, state, weights, and the
gradients of output and final state.
"""

import pytest
import torch
from catalogue import CELLS, assert_close
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils._python_dispatch import TorchDispatchMode

import selfloop as sl
from selfloop.errors import ArgumentError, BackendError
from selfloop.kernels import refusals

pytestmark = pytest.mark.skipif(refusals.UNSUPPORTED is not None, reason="no kernels here")

ENTRIES = {str(entry): entry for entry in CELLS}
T, B, I, H = 5, 3, 3, 4  # noqa: E741


class Named(torch.Tensor):
    """A subclass that adds nothing."""


def as_strided(v, strides):
    strides = strides[-v.dim() :]
    size = sum(s * (n - 1) for s, n in zip(strides, v.shape, strict=True)) + 1
    return v.flatten()[:size].as_strided(v.shape, strides)


ODD = {
    "negated": lambda v: torch.complex(torch.zeros_like(v), -v).conj().imag,
    "real part": lambda v: torch.complex(v, v).real,
    "zeros without memory": lambda v: torch._efficientzerotensor(v.shape, dtype=v.dtype),
    "expanded rows": lambda v: v[:1].expand_as(v),
    "expanded columns": lambda v: v[..., :1].expand_as(v),
    "one number": lambda v: v.flatten()[0].expand_as(v),
    "overlapping": lambda v: as_strided(v, (3, 2, 1)),
    "overlapping in two ways": lambda v: as_strided(v, (2, 1, 1)),
    "transposed": lambda v: v.transpose(0, -1).contiguous().transpose(0, -1),
    "batch first": lambda v: v.movedim(0, -2).contiguous().movedim(-2, 0) if v.dim() > 1 else v,
    "every second": lambda v: torch.stack([v, v * float("nan")], dim=-1)[..., 0],
    "after something else": lambda v: torch.cat([v.flatten()[:1], v.flatten()])[1:].view(v.shape),
    "a parameter": lambda v: nn.Parameter(v.detach()),
    "a subclass": lambda v: v.as_subclass(Named),
    "a subclass of a negated view": lambda v: torch.complex(torch.zeros_like(v), -v).conj().imag.as_subclass(Named),
    "tensors of one number": lambda v: torch.stack([e.reshape(()) for e in v.flatten()]).view(v.shape),
}

PLACES = ("x", "state", "weight", "gradient of y", "gradient of state")


def answers(name, place, make, backend, lengths=None):
    """Outputs and gradients, where what is in a place is odd, and was not in the layer's first call."""
    torch.manual_seed(1)
    rnn = ENTRIES[name].layer(I, H, backend=backend)
    draw = lambda *shape: torch.randn(shape, dtype=torch.float64)  # noqa: E731
    given = {"x": [draw(T, B, I)], "state": [draw(*s.shape) for s in rnn.zero_state(B)]}
    given["weight"] = list(rnn.parameters())
    given["gradient of y"] = [draw(T, B, rnn.output_size)]
    given["gradient of state"] = [draw(*s.shape) for s in given["state"]]
    names = [key for key, _ in rnn.named_parameters()]
    plain = {kind: [*own] for kind, own in given.items()}
    given[place] = [make(v.detach()) for v in given[place]]
    for own in (plain, given):
        (x,), states, weights = ([v.detach().requires_grad_() for v in own[kind]] for kind in ("x", "state", "weight"))
        state = sl.State(**dict(zip(rnn.zero_state(B).tensors, states, strict=True)))
        called = dict(zip(names, weights, strict=True)), (x, state), {"lengths": lengths}
        y, final = torch.func.functional_call(rnn, *called)
    outputs, leaves = [y, *final], [x, *states, *weights]
    gradients = given["gradient of y"] + given["gradient of state"]
    taken = [(o, d) for o, d in zip(outputs, gradients, strict=True) if o.requires_grad]
    outputs_taken, gradients = zip(*taken, strict=True)
    found = torch.autograd.grad(outputs_taken, leaves, gradients, allow_unused=True, materialize_grads=True)
    return [v.as_subclass(torch.Tensor) for v in (*outputs, *found)]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("odd", ODD)
def test_whatever_a_tensor_is_made_of_the_numbers_are_right(odd, place):
    for name, lengths in (("lstm", None), ("lstm", [5, 0, 2]), ("gru", None), ("waves", [1, 2, 3]), ("leaky", None)):
        got, expected = (answers(name, place, ODD[odd], backend, lengths) for backend in ("native", "interpret"))
        for v, w in zip(got, expected, strict=True):
            assert_close(v, w)


REFUSED = {
    "dual": (lambda v: forward_ad.make_dual(v, torch.ones_like(v)), "no derivative in forward mode"),
    "sparse": (lambda v: v.to_sparse(), "read dense tensors"),
    "of a class with its own operators": (lambda v: TwoTensor(v, v), "tensors of other classes"),
    "on another device": (lambda v: v.to("meta"), "run on the CPU"),
    "whole numbers": (lambda v: v.long(), "float32, float64 or bfloat16"),
}


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own rules for duals
@pytest.mark.parametrize("odd", REFUSED)
@pytest.mark.parametrize("name", ["W_xh_l0", "b_l0"])
def test_what_kernels_cannot_take_is_refused_with_the_reason(odd, name):
    make, reason = REFUSED[odd]
    rnn, x = ENTRIES["lstm"].layer(backend="native").requires_grad_(False), torch.randn(T, B, I, dtype=torch.float64)
    with forward_ad.dual_level(), pytest.raises(BackendError, match=f"cannot run 'lstm': .*{reason}"):
        torch.func.functional_call(rnn, {name: make(getattr(rnn, name))}, (x,))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    "make", [torch.Tensor.to_sparse, torch.Tensor.to_mkldnn, lambda x: torch.nested.nested_tensor([*x])]
)
def test_an_input_that_is_not_dense_is_turned_down(make):
    x = make(torch.randn(T, B, I))
    with pytest.raises(ArgumentError, match="must be dense"):
        sl.LSTM(I, H)(x)


def test_a_sparse_gradient_of_the_output_is_a_gradient():
    x = torch.randn(T, B, I, requires_grad=True)
    y, _ = sl.LSTM(I, H, backend="native")(x)
    dy = torch.randn_like(y).relu()
    found = [torch.autograd.grad(y, x, d, retain_graph=True)[0] for d in (dy, dy.to_sparse())]
    assert_close(*found)


def freed(v):
    v.untyped_storage().resize_(0)
    return v


@pytest.mark.parametrize("backend", ["auto", "native", "torch", "interpret"])
@pytest.mark.parametrize("what", ["x", "W_hh"])
def test_memory_that_was_freed_is_an_error_of_one_sentence(backend, what):
    rnn, x = sl.Recurrent(sl.cells.lstm, I, H, backend=backend), torch.randn(T, B, I)
    freed({"x": x, "W_hh": rnn.W_hh_l0.data}[what])
    with pytest.raises(ArgumentError, match=f"The '{what}' of lstm must have memory"):
        rnn(x)


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("what", ["weight_hh_l0", "bias_ih_l0", "bias_hh_l0"])
def test_memory_of_torchs_parameters_that_was_freed_is_an_error_too(what, is_known):
    rnn, x = sl.LSTM(I, H), torch.randn(T, B, I)
    y, _ = rnn(x)
    rnn = rnn if is_known else sl.LSTM(I, H)
    freed(getattr(rnn, what).data)
    name = {"weight_hh_l0": "W_hh"}.get(what, "b")
    with pytest.raises(ArgumentError, match=f"The '{name}' of lstm must have memory"):
        rnn(x)
    if is_known:
        with pytest.raises(ArgumentError, match=f"The '{name}' of lstm must have memory"):
            y.sum().backward()


@pytest.mark.parametrize("what", ["x", "W_hh"])
def test_memory_that_is_freed_before_the_gradient_is_an_error_too(what):
    rnn, x = sl.Recurrent(sl.cells.lstm, I, H, backend="native"), torch.randn(T, B, I)
    y, _ = rnn(x)
    freed({"x": x, "W_hh": rnn.W_hh_l0.data}[what])
    with pytest.raises(ArgumentError, match=f"The '{what}' of lstm must have memory"):
        y.sum().backward()


def test_no_memory_is_needed_for_no_numbers():
    for shape in ((0, B, I), (T, 0, I)):
        y, _ = sl.LSTM(I, H, backend="native")(torch.zeros(shape, requires_grad=True))
        y.sum().backward()


@pytest.mark.parametrize("odd", [*ODD, "negated in place"])
def test_a_stepper_steps_on_what_a_tensor_says(odd):
    rnn, x = sl.LSTM(I, H, backend="native"), torch.randn(B, I)
    x = (ODD | {"negated in place": lambda v: torch._neg_view(-v)})[odd](x)
    expected = rnn.step(torch.stack([*x.detach()]).as_subclass(torch.Tensor))[0]
    stepper = sl.Stepper(rnn, batch_size=B)
    stepper(torch.ones(B, I))
    stepper.reset()
    assert_close(stepper(x).as_subclass(torch.Tensor), expected.detach())


def test_a_stepper_turns_down_memory_that_was_freed():
    with pytest.raises(ArgumentError, match="must have memory"):
        sl.Stepper(sl.LSTM(I, H))(freed(torch.randn(I)))


def test_a_stepper_reads_no_weights_whose_memory_was_freed():
    rnn = sl.LSTM(I, H)
    stepper, x = sl.Stepper(rnn), torch.randn(I)
    before = stepper(x).clone()
    freed(rnn.weight_hh_l0.data)
    for read in (stepper.refresh, lambda: sl.Stepper(rnn)):
        with pytest.raises(ArgumentError, match="The 'W_hh' of lstm must have memory"):
            read()
    stepper.reset()
    assert torch.equal(stepper(x), before)  # as if nothing had been asked for


@pytest.mark.parametrize("lengths", [None, [5, 0, 2]], ids=["whole", "ragged"])
@pytest.mark.parametrize("is_fake", [True, False], ids=["fake weights", "true weights"])
def test_fakes_get_fakes_of_the_true_shapes_and_strides(lengths, is_fake):
    true = sl.LSTM(I, H, num_layers=2, bidirectional=True, batch_first=True, backend="native")
    x = torch.randn(B, T, I, requires_grad=True)
    expected = [*true(x, lengths=lengths)[:1], x]
    expected[0].sum().backward()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        rnn = sl.LSTM(I, H, num_layers=2, bidirectional=True, batch_first=True, backend="native") if is_fake else true
        x = mode.from_tensor(torch.randn(B, T, I)).requires_grad_()
        y, _ = rnn(x, lengths=None if lengths is None else mode.from_tensor(torch.tensor(lengths)))
        y.sum().backward()
    for v, w in zip((y, y.detach(), x.grad), (expected[0], expected[0].detach(), expected[1].grad), strict=True):
        assert (v.shape, v.stride(), v.dtype, v.device) == (w.shape, w.stride(), w.dtype, w.device)


def test_inference_tensors_are_inputs_where_no_gradient_is_asked_for():
    rnn = sl.LSTM(I, H, backend="native")
    with torch.inference_mode():
        x = torch.randn(T, B, I)
        expected, _ = rnn(x)
    with torch.no_grad():
        assert torch.equal(rnn(x)[0], expected)
    assert torch.equal(rnn.requires_grad_(False)(x)[0], expected)


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("backend", ["auto", "native", "interpret"])
def test_the_default_device_changes_no_number(device, backend):
    dropped = sl.Recurrent(zoned, I, H, backend=backend)
    rnns = (sl.LSTM(I, H, num_layers=2, bidirectional=True, backend=backend), sl.GRU(I, H, backend=backend), dropped)
    x, lengths = torch.randn(T, B, I), [5, 0, 2]
    resets = torch.rand(T, B) < 0.3
    for rnn in rnns:
        for options in ({}, {"lengths": lengths}, {"lengths": torch.tensor(lengths), "resets": resets}):
            found = []
            for chosen in (torch.device("cpu"), torch.device(device)):
                torch.manual_seed(2)
                own = x.clone().requires_grad_()
                with chosen:
                    y, _ = rnn(own, **options)
                    y.square().sum().backward()
                found.append((y, own.grad))
            for got, expected in zip(*found, strict=True):
                assert_close(got, expected)


@sl.cell
def zoned(x, h, *, W=sl.param("h x"), U=sl.param("h h")):
    h = sl.zoneout(sl.tanh(W @ x + sl.dropout(U @ h, 0.3)), h, 0.2)
    return h


def test_a_default_device_for_all_of_the_process_changes_no_number():
    rnn, x = sl.LSTM(I, H, backend="native"), torch.randn(T, B, I)
    expected = rnn(x, lengths=[5, 0, 2])[0]
    torch.set_default_device("meta")
    try:
        found = rnn(x, lengths=[5, 0, 2])[0]
        stepper = sl.Stepper(rnn)
        step = stepper(torch.zeros(I, device="cpu"))
    finally:
        torch.set_default_device(None)
    assert torch.equal(found, expected)
    assert step.device.type == "cpu"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_default_dtype_changes_no_number(dtype):
    rnn, x = sl.LSTM(I, H, backend="native", dtype=dtype), torch.randn(T, B, I, dtype=dtype)
    expected = rnn(x, lengths=[5, 0, 2])[0]
    torch.set_default_dtype(torch.float64)
    try:
        found = rnn(x, lengths=[5, 0, 2])[0]
        made = sl.LSTM(I, H, backend="native")
        assert made(torch.ones(T, B, I))[0].dtype is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)
    assert found.dtype is dtype


def test_a_stack_on_the_meta_device_says_what_shape_it_would_give():
    for rnn in (sl.LSTM(I, H, device="meta"), sl.Recurrent(zoned, I, H, device="meta")):
        y, _ = rnn(torch.empty(T, B, I, device="meta"), lengths=torch.tensor([5, 0, 2]))
        assert y.device.type == "meta"
        assert y.shape == (T, B, H)


def test_a_mode_that_looks_at_operators_sees_the_kernels():
    seen = []

    class Looks(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(str(function))
            return function(*args, **(kwargs or {}))

    rnn, x = sl.LSTM(I, H, backend="native"), torch.randn(T, B, I)
    expected = rnn(x)[0]
    with Looks():
        y, _ = rnn(x)
        y.sum().backward()
    assert torch.equal(y, expected)
    assert {"selfloop.forward.default", "selfloop.backward.default"} <= set(seen)


def test_a_length_that_is_none_never_reaches_a_kernel():
    rnn, x = sl.LSTM(I, H), torch.randn(T, B, I)
    for wrong in ([5, 6, 2], [5, -1, 2]):
        for make in (torch.tensor, lambda v: torch.tensor(v).as_subclass(Named)):
            with pytest.raises(ArgumentError, match="must lie between 0 and 5"):
                rnn(x, lengths=make(wrong))
