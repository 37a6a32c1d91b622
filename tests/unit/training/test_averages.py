import pytest
import torch
from torch import nn

from selfloop.training.averages import Average, with_average


def test_buffers_are_averaged_too_and_those_that_count_are_as_they_are():
    model = nn.BatchNorm1d(2)
    average = Average(model)
    seen = []
    for number in range(4):
        model(torch.randn(8, 2) + number)
        average.update()
        seen.append(model.running_mean.clone())
    expected = seen[0]
    for number, value in enumerate(seen[1:], 2):
        expected = expected + (value - expected) * 9 / (number + 8)
    torch.testing.assert_close(average.module.running_mean, expected)
    assert average.module.num_batches_tracked == 4


def test_a_model_has_its_own_weights_again_even_after_an_error():
    model = nn.Linear(2, 2)
    average = Average(model)
    average.update()
    with torch.no_grad():
        model.weight += 1
    own = model.weight.detach().clone()
    with pytest.raises(KeyError), with_average(model, average):
        assert torch.equal(model.weight, average.module.weight)
        raise KeyError
    assert torch.equal(model.weight, own)
    with with_average(model, None):
        assert torch.equal(model.weight, own)
