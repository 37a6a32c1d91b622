"""The loss and its gradients are those of torch's cross_entropy of the logits, at any size and with every option."""

import math

import pytest
import torch
from catalogue import TOLERANCE
from torch.nn import functional as F

from selfloop import processors
from selfloop.errors import ArgumentError, BackendError
from selfloop.kernels import bfloat16, cross_entropy, readout
from selfloop.kernels.cross_entropy import linear_cross_entropy

SHAPES = (
    (1, 1, 1),
    (5, 7, 3),
    (16, 16, 16),
    (33, 17, 70),
    (65, 6, 65),
    (130, 66, 17),
    (300, 33, 40),
    (7, 300, 130),
)
"""N, K and V: below, at and beyond whole vectors, tiles and panels."""

OPTIONS = (
    {},
    {"divisor": 1.0},
    {"divisor": 7.0, "label_smoothing": 0.1, "weighted": True},
    {"label_smoothing": 0.2},
    {"weighted": True},
    {"ignored": True},
    {"ignored": True, "weighted": True, "label_smoothing": 0.1},
    {"bias": False},
)


@pytest.fixture(autouse=True)
def compiled(monkeypatch):
    """Kernels run however little there is to do."""
    monkeypatch.setattr(cross_entropy, "LEAST", 1)


def problem(shape, dtype, weighted=False, ignored=False, bias=True, **options):
    """The tensors of a call, and its options."""
    rows, features, classes = shape
    labels = torch.randint(0, classes, (rows,))
    if ignored:
        labels[torch.rand(rows) < 0.4] = -1
        options["ignore_index"] = -1
    if weighted:
        options["class_weights"] = torch.rand(classes, dtype=dtype) + 0.1
    x, weight, offset = (torch.randn(size, dtype=dtype) for size in ((rows, features), (classes, features), classes))
    weight /= math.sqrt(features)
    return [t.requires_grad_() for t in ([x, weight, offset] if bias else [x, weight])], labels, options


def expected(tensors, labels, class_weights=None, divisor=None, **options):
    """By torch's functions, in float64."""
    x, weight, *bias = (t.detach().double().requires_grad_() for t in tensors)
    weights = None if class_weights is None else class_weights.double()
    reduction = "mean" if divisor is None else "sum"
    logits = F.linear(x, weight, *bias)
    loss = F.cross_entropy(logits, labels, weights, reduction=reduction, **options) / (divisor or 1)
    return loss.detach(), torch.autograd.grad(loss / 2, (x, weight, *bias))


def check(tensors, labels, options):
    x, weight, *bias = tensors
    loss = linear_cross_entropy(x, weight, *(bias or [None]), labels, **options)
    found = loss.detach(), *torch.autograd.grad(loss / 2, tensors)
    truth, gradients = expected(tensors, labels, **options)
    for got, wanted in zip(found, (truth, *gradients), strict=True):
        torch.testing.assert_close(got, wanted.to(got.dtype), **TOLERANCE[got.dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_loss_and_its_gradients_are_those_of_the_logits(shape, options, dtype):
    tensors, labels, options = problem(shape, dtype, **options)
    if bool((labels == -1).all()):
        labels[0] = 0
    check(tensors, labels, options)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_rows_come_in_blocks(options, in_blocks):
    shape = (130, 66, 17)
    check(*problem(shape, torch.float32, **options))
    assert len(readout._plan(32, *shape, 66, 66, 1).blocks) >= 3


def test_gradients_are_those_of_differences():
    tensors, labels, options = problem((9, 5, 6), torch.float64, weighted=True, ignored=True, label_smoothing=0.1)
    assert torch.autograd.gradcheck(lambda x, w, b: linear_cross_entropy(x, w, b, labels, **options), tensors)


@pytest.mark.parametrize("shape", [(130, 66, 200), (300, 33, 3), (300, 200, 3)], ids=str)
def test_the_same_bits_on_any_number_of_threads(shape, in_blocks, monkeypatch):
    tensors, labels, options = problem(shape, torch.float32, weighted=True, label_smoothing=0.1)
    found, before = [], torch.get_num_threads()
    monkeypatch.setattr(processors, "count", lambda: 8)
    try:
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            loss = linear_cross_entropy(*tensors, labels, **options)
            found.append([loss.detach(), *torch.autograd.grad(loss, tensors)])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("needed", [(0,), (1,), (2,), (0, 2), ()], ids=str)
def test_gradients_are_made_of_what_needs_them(needed):
    tensors, labels, _ = problem((30, 20, 40), torch.float64)
    _, gradients = expected(tensors, labels)
    for k, t in enumerate(tensors):
        t.requires_grad_(k in needed)
    loss = linear_cross_entropy(*tensors, labels)
    assert loss.requires_grad == bool(needed)
    if needed:
        (loss / 2).backward()
    for k, t in enumerate(tensors):
        if k not in needed:
            assert t.grad is None
        else:
            torch.testing.assert_close(t.grad, gradients[k])


def test_a_kept_graph_gives_its_gradient_again():
    tensors, labels, _ = problem((30, 20, 40), torch.float64)
    loss = linear_cross_entropy(*tensors, labels)
    first = torch.autograd.grad(loss, tensors, retain_graph=True)
    again = torch.autograd.grad(loss, tensors)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, tensors)


def test_a_tied_weight_gets_both_gradients():
    table, labels = torch.randn(40, 20, dtype=torch.float64, requires_grad=True), torch.randint(0, 40, (30,))
    tokens = torch.randint(0, 40, (30,))
    linear_cross_entropy(F.embedding(tokens, table), table, None, labels).backward()
    (wanted,) = torch.autograd.grad(F.cross_entropy(F.embedding(tokens, table) @ table.T, labels), table)
    torch.testing.assert_close(table.grad, wanted)


def test_there_is_no_second_derivative():
    tensors, labels, _ = problem((30, 20, 40), torch.float64)
    gradients = torch.autograd.grad(linear_cross_entropy(*tensors, labels), tensors, create_graph=True)
    with pytest.raises(BackendError, match="second derivative"):
        gradients[0].sum().backward()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_large_logits_do_not_overflow(dtype):
    x = torch.tensor([[1e30], [-1e30], [1.0]], dtype=dtype, requires_grad=True)
    weight = torch.tensor([[1.0], [2.0]], dtype=dtype)
    loss = linear_cross_entropy(x, weight, None, torch.tensor([1, 0, 1]))
    loss.backward()
    torch.testing.assert_close(loss.detach(), torch.tensor(math.log1p(math.exp(-1)) / 3, dtype=dtype))
    assert x.grad[:2].tolist() == [[0], [0]] and x.grad.isfinite().all()


def test_logits_that_are_infinite_give_no_finite_loss():
    x = torch.full((3, 2), 1e30, requires_grad=True)
    assert not linear_cross_entropy(x, torch.full((4, 2), 1e30), None, torch.tensor([0, 1, 2])).isfinite()


def test_a_class_can_be_ruled_out():
    bias = torch.tensor([0.0, -math.inf, 1.0])
    x, weight, labels = torch.randn(5, 4), torch.randn(3, 4), torch.tensor([0, 2, 2, 0, 0])
    wanted = F.cross_entropy(F.linear(x, weight, bias), labels)
    torch.testing.assert_close(linear_cross_entropy(x, weight, bias, labels), wanted)


@pytest.mark.parametrize("least", [1, 10**9], ids=["compiled", "plain"])
def test_where_all_labels_are_left_out_the_loss_is_zero(least, monkeypatch):
    monkeypatch.setattr(cross_entropy, "LEAST", least)
    tensors, labels, _ = problem((5, 4, 3), torch.float32)
    loss = linear_cross_entropy(*tensors, labels.fill_(-1), ignore_index=-1)
    loss.backward()
    assert loss == 0 and all(t.grad.abs().sum() == 0 for t in tensors)


@pytest.mark.parametrize("least", [1, 10**9], ids=["compiled", "plain"])
@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_must_be_a_class(label, least, monkeypatch):
    monkeypatch.setattr(cross_entropy, "LEAST", least)
    with pytest.raises(ArgumentError, match=f"classes from 0 to 2, or -100 .* Got {label} instead"):
        linear_cross_entropy(torch.randn(2, 4), torch.randn(3, 4), None, torch.tensor([0, label]))


@pytest.mark.parametrize("name", ["weight", "bias", "labels", "class_weights"])
def test_shapes_must_fit(name):
    given = {"weight": torch.randn(3, 4), "bias": torch.randn(3), "labels": torch.tensor([0, 1])}
    given["class_weights"] = torch.ones(3)
    given[name] = given[name][..., :1]
    with pytest.raises(ArgumentError, match=f"The '{name}' of linear_cross_entropy must be of shape"):
        linear_cross_entropy(torch.randn(2, 4), **given)


@pytest.mark.parametrize("least", [1, 10**9], ids=["compiled", "plain"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": torch.randn(2, 1, 4)}, r"must be of shape \(N, K\) and \(V, K\)\. Got \(2, 1, 4\) and \(3, 4\) instead"),
        ({"labels": torch.tensor([0, 1], dtype=torch.int32)}, r"labels' .* torch\.int64\. Got torch\.int32 instead"),
        ({"label_smoothing": 1.2}, r"'label_smoothing' .* from 0 to 1\. Got 1\.2 instead"),
        ({"divisor": -1}, r"'divisor' .* 0 or more\. Got -1 instead"),
        ({"divisor": math.nan}, r"'divisor' .* 0 or more\. Got nan instead"),
    ],
)
def test_what_cannot_be_is_one_sentence(options, message, least, monkeypatch):
    monkeypatch.setattr(cross_entropy, "LEAST", least)
    given = {"x": torch.randn(2, 4), "weight": torch.randn(3, 4), "bias": None, "labels": torch.tensor([0, 1])}
    with pytest.raises(ArgumentError, match=message):
        linear_cross_entropy(**{**given, **options})


@pytest.mark.parametrize("least", [1, 10**9], ids=["compiled", "plain"])
def test_divided_by_zero_it_is_zero(least, monkeypatch):
    monkeypatch.setattr(cross_entropy, "LEAST", least)
    tensors, labels, _ = problem((5, 4, 3), torch.float32)
    loss = linear_cross_entropy(*tensors, labels, divisor=0)
    loss.backward()
    assert loss == 0 and all(t.grad.abs().sum() == 0 for t in tensors)


def test_batches_of_gradients_are_made():
    tensors, labels, _ = problem((30, 20, 40), torch.float64)
    loss = linear_cross_entropy(*tensors, labels)
    single = torch.autograd.grad(loss, tensors, retain_graph=True)
    several = torch.autograd.grad(loss, tensors, torch.tensor([1.0, 2.0]).double(), is_grads_batched=True)
    for one, batch in zip(single, several, strict=True):
        torch.testing.assert_close(batch, torch.stack([one, 2 * one]))


@pytest.mark.parametrize("k", range(2), ids=["x", "weight"])
def test_what_has_lost_its_memory_is_refused_by_torch(k):
    tensors, labels, _ = problem((30, 20, 40), torch.float32)
    tensors[k].untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match=r"storage|not allocated"):
        linear_cross_entropy(*tensors, labels)


def test_no_rows_are_no_loss():
    weight = torch.randn(3, 4, requires_grad=True)
    loss = linear_cross_entropy(torch.randn(0, 4), weight, None, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss == 0 and weight.grad.abs().sum() == 0


def test_under_autocast_torch_multiplies_in_bfloat16_where_we_do_not(monkeypatch):
    monkeypatch.setattr(cross_entropy, "pair_products", lambda: None)
    tensors, labels, _ = problem((30, 20, 40), torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(*tensors, labels)
    assert loss.dtype is torch.float32 and loss.grad_fn.name() != "_CrossEntropyBackward"
    torch.testing.assert_close(loss.double(), expected(tensors, labels)[0], rtol=1e-2, atol=1e-2)


def multiplies_pairs():
    way = bfloat16.pair_products()
    return way is not None and not way.has_tiles


in_bfloat16 = pytest.mark.skipif(not multiplies_pairs(), reason="this processor has no AVX512-BF16, or has AMX")


def rounded(v):
    return v.float().bfloat16().double()


def expected_in_bfloat16(tensors, labels, class_weights=None, divisor=None, **options):
    """By torch's functions, in float64, of rounded numbers; the gradient of the logits is rounded, too."""
    x, weight, *bias = (t.detach() for t in tensors)
    x, weight = rounded(x), rounded(weight)
    weights = None if class_weights is None else class_weights.double()
    logits = F.linear(x, weight, *(b.double() for b in bias)).requires_grad_()
    reduction = "mean" if divisor is None else "sum"
    loss = F.cross_entropy(logits, labels, weights, reduction=reduction, **options) / (divisor or 1)
    (gradient,) = torch.autograd.grad(loss, logits)
    gradient = rounded(gradient)
    return loss.detach(), gradient @ weight, gradient.T @ x, *([gradient.sum(0)] if bias else [])


@in_bfloat16
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", [*SHAPES, (131, 67, 201)], ids=str)
@pytest.mark.parametrize("blocks", [False, True])
def test_in_bfloat16_numbers_are_rounded_and_their_sums_are_not(shape, options, blocks, request):
    if blocks:
        request.getfixturevalue("in_blocks")
    tensors, labels, options = problem(shape, torch.float32, **options)
    if bool((labels == -1).all()):
        labels[0] = 0
    x, weight, *bias = tensors
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(x, weight, *(bias or [None]), labels, **options)
    assert loss.grad_fn.name() == "_CrossEntropyBackward"
    found = loss.detach(), *torch.autograd.grad(loss, tensors)
    for got, wanted in zip(found, expected_in_bfloat16(tensors, labels, **options), strict=True):
        assert (got - wanted).norm() <= 3e-4 * wanted.norm() + 1e-7  # some gradients are rounded the other way


@in_bfloat16
def test_the_same_bits_in_bfloat16_on_any_number_of_threads(in_blocks, monkeypatch):
    with torch.autocast("cpu", torch.bfloat16):
        test_the_same_bits_on_any_number_of_threads((131, 66, 201), None, monkeypatch)


@in_bfloat16
def test_what_is_given_in_bfloat16_gets_its_gradient_in_it():
    tensors, labels, _ = problem((30, 20, 40), torch.float32)
    x, weight, bias = tensors
    short = x.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(short, weight, bias, labels)
    loss.backward()
    assert (loss.dtype, short.grad.dtype, weight.grad.dtype) == (torch.float32, torch.bfloat16, torch.float32)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_losses_are_summed_in_float32_at_least(dtype):
    logits = torch.tensor([[0.0, 1.0, 2.0]], dtype=dtype)
    got = linear_cross_entropy(
        torch.ones(1000, 1, dtype=dtype), logits.T.contiguous(), None, torch.full((1000,), 2), divisor=1
    )
    assert got.dtype == torch.promote_types(dtype, torch.float32)
    assert float(got) == pytest.approx(1000 * (math.log(1 + math.e + math.e**2) - 2), rel=1e-5)


def test_rows_may_lie_apart():
    tensors, labels, options = problem((30, 20, 40), torch.float32)
    apart = [torch.stack([t.detach(), t.detach() * math.nan], dim=0 if t.dim() == 1 else 1)[:, 0] for t in tensors[:2]]
    turned = [t.detach().T.contiguous().T for t in tensors[:2]]
    for own in (apart, turned):
        check([*(t.requires_grad_() for t in own), tensors[2]], labels, options)
