import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from selfloop.errors import ArgumentError
from selfloop.models.pooling import Pooling

KINDS = ("last", "mean", "max", "attention")


def outputs(T, lengths, size, seed=0):
    """Of a stack: random where valid, zero beyond."""
    torch.manual_seed(seed)
    y = torch.randn(T, len(lengths), size)
    return y * (torch.arange(T)[:, None] < torch.tensor(lengths))[..., None]


@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4), size=st.integers(1, 5))
def test_each_is_what_one_would_take_of_the_sequence_alone(lengths, size):
    y, steps = outputs(6, lengths, size), torch.tensor(lengths)
    for row, length in enumerate(lengths):
        own = y[:length, row]
        for kind, expected in (("last", own[-1]), ("mean", own.mean(0)), ("max", own.amax(0))):
            torch.testing.assert_close(Pooling(kind, size, size)(y, steps)[row], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_beyond_the_end_does_not_matter(kind):
    pooling, y = Pooling(kind, 4, 4), outputs(5, [5, 3, 1], 4)
    longer = torch.cat([y, torch.zeros(3, 3, 4)])
    steps = torch.tensor([5, 3, 1])
    torch.testing.assert_close(pooling(longer, steps), pooling(y, steps))


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_without_steps_gives_finite_numbers_and_gradients(kind):
    pooling, y = Pooling(kind, 4, 4), outputs(5, [0, 3], 4).requires_grad_()
    vector = pooling(y, torch.tensor([0, 3]))
    vector.sum().backward()
    assert torch.equal(vector[0], torch.zeros(4))
    assert y.grad.isfinite().all()


def test_the_backward_direction_ends_at_the_first_step():
    y = outputs(5, [5, 2], 6)
    vector = Pooling("last", 6, forward_size=4)(y, torch.tensor([5, 2]))
    assert torch.equal(
        vector, torch.stack([torch.cat([y[4, 0, :4], y[0, 0, 4:]]), torch.cat([y[1, 1, :4], y[0, 1, 4:]])])
    )


def test_attention_weighs_the_steps_by_their_scores():
    pooling, y = Pooling("attention", 3, 3), outputs(4, [4], 3)
    weights = torch.stack([pooling.score(step[0]) for step in y]).softmax(0)
    torch.testing.assert_close(pooling(y, torch.tensor([4]))[0], (weights * y[:, 0]).sum(0))


def test_a_kind_that_does_not_exist_is_named():
    with pytest.raises(
        ArgumentError, match=r"must be one of last, mean, max, attention. Got 'maen' instead; did you me"
    ):
        Pooling("maen", 3, 3)
