"""The ways of torch to differentiate, batch and record a call, with kernels under it."""

import io

import pytest
import torch
from catalogue import CELLS, assert_close
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

import selfloop as sl
from selfloop.errors import BackendError
from selfloop.kernels import refusals

pytestmark = pytest.mark.skipif(refusals.UNSUPPORTED is not None, reason="no kernels here")

ENTRIES = {str(entry): entry for entry in CELLS}
RAGGED = {"lengths": [4, 0, 2], "resets": torch.arange(12).view(4, 3) % 5 == 1}


def sample(T=4, B=3):
    return torch.randn(T, B, 3, dtype=torch.float64, requires_grad=True)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own rules for duals
@pytest.mark.parametrize("name", ["lstm", "gru", "waves"])
@pytest.mark.parametrize("options", [{}, RAGGED], ids=["whole", "ragged"])
def test_the_tangent_of_forward_mode_is_that_of_small_steps(name, options):
    rnn, x = ENTRIES[name].layer(), sample().detach()
    direction, step = torch.randn_like(x), 1e-5
    with forward_ad.dual_level():
        y, tangent = forward_ad.unpack_dual(rnn(forward_ad.make_dual(x, direction), **options)[0])
        assert_close(y, rnn(x, **options)[0])
    assert tangent is not None
    small = (rnn(x + step * direction, **options)[0] - rnn(x - step * direction, **options)[0]) / (2 * step)
    assert_close(tangent, small, rtol=1e-6, atol=1e-8)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_the_tangent_of_a_weight_is_no_less_a_tangent():
    rnn, x = ENTRIES["lstm"].layer(), sample().detach()
    own, directions = dict(rnn.named_parameters()), {}
    with forward_ad.dual_level():
        for name, weight in own.items():
            directions[name] = torch.randn_like(weight)
        duals = {name: forward_ad.make_dual(weight, directions[name]) for name, weight in own.items()}
        tangent = forward_ad.unpack_dual(torch.func.functional_call(rnn, duals, (x,))[0]).tangent
    _, expected = torch.func.jvp(lambda given: torch.func.functional_call(rnn, given, (x,))[0], (own,), (directions,))
    assert_close(tangent, expected)


def test_forward_mode_is_refused_by_the_kernels_themselves():
    rnn = ENTRIES["lstm"].layer(backend="native")
    with forward_ad.dual_level():
        rnn(sample())  # no tangent, no refusal
        with pytest.raises(BackendError, match="no derivative in forward mode"):
            rnn(forward_ad.make_dual(sample(), sample()))


@pytest.mark.parametrize("name", ["lstm", "gru", "clipped", "delayed", "leaky"])
def test_a_batch_of_gradients_gives_what_each_gives_alone(name):
    rnn, x = ENTRIES[name].layer(backend="native"), sample()
    y, state = rnn(x, **RAGGED)
    outputs, leaves = [y, *state], [x, *rnn.parameters()]
    gradients = [torch.randn(3, *v.shape, dtype=v.dtype) for v in outputs]
    known = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    pairs = [(v, d) for v, d in zip(outputs, gradients, strict=True) if v.requires_grad]
    outputs, gradients = (list(v) for v in zip(*pairs, strict=True))
    batched = torch.autograd.grad(outputs, leaves, gradients, is_grads_batched=True, **known)
    for k in range(3):
        alone = torch.autograd.grad(outputs, leaves, [d[k] for d in gradients], **known)
        for got, expected in zip(batched, alone, strict=True):
            assert_close(got[k], expected)


def test_a_batch_of_gradients_may_leave_outputs_and_inputs_out():
    x = sample()
    rnn = ENTRIES["lstm"].layer(backend="native").requires_grad_(False)
    y, state = rnn(x)
    for output in (y, state.c):
        each = torch.eye(output.numel(), dtype=x.dtype).view(-1, *output.shape)
        (batched,) = torch.autograd.grad(output, x, each, retain_graph=True, is_grads_batched=True)
        function = (lambda v: rnn(v)[0]) if output is y else (lambda v: rnn(v)[1].c)
        assert_close(batched.view(*output.shape, *x.shape), torch.autograd.functional.jacobian(function, x.detach()))


def test_a_batch_of_gradients_of_what_does_not_depend_on_the_input_is_zero():
    x = sample()
    y, _ = ENTRIES["autonomous"].layer(backend="native").requires_grad_(False)(x)
    (dx,) = torch.autograd.grad(y, x, torch.ones(2, *y.shape, dtype=y.dtype), is_grads_batched=True)
    assert torch.equal(dx, torch.zeros(2, *x.shape, dtype=x.dtype))


def test_vmap_and_vectorised_jacobians_go_through_the_gradient():
    rnn, x = ENTRIES["gru"].layer(backend="native"), sample()
    y, _ = rnn(x)
    gradients = torch.randn(5, *y.shape, dtype=y.dtype)
    each = torch.func.vmap(lambda d: torch.autograd.grad(y, x, d, retain_graph=True)[0])(gradients)
    for got, d in zip(each, gradients, strict=True):
        assert_close(got, torch.autograd.grad(y, x, d, retain_graph=True)[0])
    found = [torch.autograd.functional.jacobian(lambda v: rnn(v)[0], x, vectorize=v) for v in (True, False)]
    assert_close(*found)


def test_a_second_derivative_of_a_batch_of_gradients_is_refused():
    x = sample()
    y, _ = ENTRIES["lstm"].layer(backend="native")(x)
    with pytest.raises(BackendError, match="second derivatives"):
        torch.autograd.grad(y, x, torch.randn(2, *y.shape).double(), is_grads_batched=True, create_graph=True)


TRANSFORMS = {
    "grad": lambda f, x: torch.func.grad(lambda v: f(v).square().sum())(x),
    "jacrev": lambda f, x: torch.func.jacrev(lambda v: f(v).sum((0, 2)))(x),
    "jacfwd": lambda f, x: torch.func.jacfwd(lambda v: f(v).sum((0, 2)))(x),
    "jvp": lambda f, x: torch.func.jvp(f, (x,), (x.cos(),))[1],
    "vmap": lambda f, x: torch.func.vmap(f)(torch.stack([x, 2 * x])),
    "vmap of grad": lambda f, x: torch.func.vmap(torch.func.grad(lambda v: f(v).sum()))(torch.stack([x, 2 * x])),
    "hessian": lambda f, x: torch.func.hessian(lambda v: f(v).square().sum())(x[:2, :1]),
    "functionalize": lambda f, x: torch.func.functionalize(f)(x),
    "checkpoint": lambda f, x: checkpoint(f, x, use_reentrant=False),
}


@pytest.mark.filterwarnings("ignore:.torch.jit.\\w+. is deprecated")
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("options", [{}, {"lengths": torch.tensor([4, 0, 2])}], ids=["whole", "ragged"])
def test_a_transform_of_a_call_gives_what_it_gives_by_torchs_operations(transform, options):
    rnn, x = ENTRIES["lstm"].layer(), sample().detach()
    found = []
    for rnn.backend in ("auto", "interpret"):
        if transform != "hessian" or not options:
            found.append(TRANSFORMS[transform](lambda v: rnn(v, **options)[0], x))
    if found:
        assert_close(*found)


def test_a_call_that_is_run_again_for_its_gradient_gives_the_same():
    rnn, x = ENTRIES["lstm"].layer(backend="native"), sample()
    leaves = (x, *rnn.parameters())
    for reentrant in (True, False):
        y = checkpoint(lambda v: rnn(v)[0], x, use_reentrant=reentrant)
        for v in leaves:
            v.grad = None
        y.square().sum().backward()
        for v, expected in zip(leaves, torch.autograd.grad(rnn(x)[0].square().sum(), leaves), strict=True):
            assert_close(v.grad, expected)


def test_what_is_saved_for_the_gradient_may_be_kept_elsewhere():
    rnn, x = ENTRIES["lstm"].layer(backend="native"), sample()
    expected = torch.autograd.grad(rnn(x)[0].sum(), x)[0]
    with torch.autograd.graph.saved_tensors_hooks(lambda v: v.detach().numpy().copy(), torch.from_numpy):
        y, _ = rnn(x)
    assert_close(torch.autograd.grad(y.sum(), x)[0], expected)


class Ragged(torch.nn.Module):
    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn

    def forward(self, x, lengths):
        return self.rnn(x, lengths=lengths)[0]


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.torch.jit.\\w+. is deprecated")
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=["plain", "deep"])
def test_a_trace_of_torch_jit_serves_all_lengths_and_batches_with_their_gradients(options):
    rnn = Ragged(sl.LSTM(3, 4, dtype=torch.float64, backend="native", **options))
    given = sample(6, 2), torch.tensor([6, 3])
    traced = torch.jit.trace(rnn, given, check_trace=False)  # the tests' shape checks name values differently each time
    torch.jit.save(traced, file := io.BytesIO())
    file.seek(0)
    for module in (traced, torch.jit.load(file)):
        for T, B in ((6, 2), (9, 5), (4, 1), (1, 1)):
            x, lengths = sample(T, B), torch.randint(0, T + 1, (B,))
            y, expected = module(x, lengths), rnn(x, lengths)
            assert_close(y, expected)
            assert_close(*(torch.autograd.grad(v.square().sum(), x)[0] for v in (y, expected)))
            with torch.no_grad():
                assert_close(module(x, lengths), expected)
