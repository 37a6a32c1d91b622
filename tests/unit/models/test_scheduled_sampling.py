import pytest
import torch

from selfloop.errors import ArgumentError
from selfloop.models.scheduled_sampling import scheduled_inputs


def test_scheduled_inputs_are_the_target_at_probability_0_and_the_models_at_1():
    logits = torch.randn(5, 4, 6).double() * 1000  # certain
    target = torch.randint(6, (5, 4))
    assert torch.equal(scheduled_inputs(logits, target, 0.0), target)
    drawn = scheduled_inputs(logits, target, 1.0)
    assert torch.equal(drawn[0], target[0])
    assert torch.equal(drawn[1:], logits[:-1].argmax(-1))


def test_scheduled_inputs_replace_the_share_asked_for_from_the_models_distribution():
    p = torch.tensor([0.7, 0.3, 0.0])
    logits = p.log().expand(2, 20_000, 3)
    target = torch.full((2, 20_000), 2)
    draw = torch.Generator().manual_seed(0)
    share = scheduled_inputs(logits, target, 0.4, draw)[1].bincount(minlength=3) / 20_000
    torch.testing.assert_close(share, torch.tensor([0.28, 0.12, 0.6]), atol=0.02, rtol=0)


@pytest.mark.parametrize("T", [0, 1])
def test_scheduled_inputs_of_no_second_step_are_the_target(T):
    target = torch.zeros(T, 2, dtype=torch.long)
    assert torch.equal(scheduled_inputs(torch.zeros(T, 2, 3), target, 1.0), target)


@pytest.mark.parametrize("probability", [-0.1, 1.1])
def test_a_probability_lies_between_0_and_1(probability):
    with pytest.raises(ArgumentError, match="The 'probability' of scheduled_inputs must lie between 0 and 1"):
        scheduled_inputs(torch.zeros(2, 1, 3), torch.zeros(2, 1, dtype=torch.long), probability)
