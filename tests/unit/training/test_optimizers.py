import pytest
import torch
from torch import nn

from selfloop.training import TrainingOptions
from selfloop.training.optimizers import AdamW, averaged, clip, is_averaging, make_optimizer, start_averaging


def make(**options):
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    return model, make_optimizer(model, TrainingOptions(**options))


@pytest.mark.parametrize("name", ["adamw", "sgd", "asgd"])
def test_weights_decay_in_matrices_alone(name):
    model, optimizer = make(optimizer=name, learning_rate=0.1, weight_decay=0.5)
    before = [p.detach().clone() for p in (model.weight, model.bias)]
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    torch.testing.assert_close(model.weight.detach(), before[0] * (1 - 0.1 * 0.5))
    assert torch.equal(model.bias, before[1])


def test_a_model_of_vectors_alone_has_an_optimizer():
    assert len(make_optimizer(nn.LayerNorm(3), TrainingOptions()).param_groups) == 1


def test_asgd_is_the_mean_of_the_weights_since_it_began_to_average():
    model, optimizer = make(optimizer="asgd", learning_rate=0.5, weight_decay=0.0)
    seen = []
    for step in range(7):
        if step == 3:
            start_averaging(optimizer)
        assert is_averaging(optimizer) == (step >= 3)
        for p in model.parameters():
            p.grad = torch.rand_like(p)
        optimizer.step()
        seen.append(model.weight.detach().clone())
        with averaged(optimizer):
            mean = torch.stack(seen[3:]).mean(0) if step >= 3 else seen[-1]
            torch.testing.assert_close(model.weight.detach(), mean)
        assert torch.equal(model.weight, seen[-1])


def test_the_weights_come_back_though_the_block_raises():
    model, optimizer = make(optimizer="asgd")
    for _ in range(2):
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        optimizer.step()
        start_averaging(optimizer)
    before = model.weight.detach().clone()
    with pytest.raises(KeyError), averaged(optimizer):
        model.weight.data.zero_()
        raise KeyError
    assert torch.equal(model.weight, before)


NORMS = [0.0, 0.5, 0.9999995, 1.0, 1.0000001, 30.0, float("nan"), float("inf")]


def with_gradients(norm, dtype=torch.float32):
    """Parameters whose gradients have this norm together."""
    params = [torch.nn.Parameter(torch.ones(n, dtype=dtype)) for n in (3, 5)]
    generator = torch.Generator().manual_seed(0)
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator, dtype=dtype)
    length = torch.cat([p.grad for p in params]).norm()
    for p in params:
        p.grad *= norm / length
    return params


@pytest.mark.parametrize("norm", NORMS)
def test_gradients_are_clipped_to_the_bits_of_torch(norm):
    ours, theirs = with_gradients(norm), with_gradients(norm)
    clip(torch.optim.SGD(ours), [p.grad for p in ours], 1.0)
    torch.nn.utils.clip_grad_norm_(theirs, 1.0)
    for own, peer in zip(ours, theirs, strict=True):
        assert own.grad.numpy().tobytes() == peer.grad.numpy().tobytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", NORMS)
def test_adamw_clips_within_its_step_what_torch_clips_before(norm, dtype):
    ours, theirs = with_gradients(norm, dtype), with_gradients(norm, dtype)
    own, peer = AdamW(ours, eps=0.1, fused=True), torch.optim.AdamW(theirs, eps=0.1, fused=True)
    for _ in range(2):
        clip(own, [p.grad for p in ours], 1.0)
        own.step()
        assert own.grad_scale is None
        torch.nn.utils.clip_grad_norm_(theirs, 1.0)
        peer.step()
        for p in (*ours, *theirs):  # within 1 now, so that the second step must not be scaled as the first was
            p.grad = torch.full_like(p, 0.1)
    for mine, their in zip(ours, theirs, strict=True):
        close = {"rtol": 1e-6, "atol": 1e-7} if dtype is torch.float32 else {"rtol": 1e-14, "atol": 0}
        torch.testing.assert_close(mine.detach(), their.detach(), equal_nan=True, **close)
