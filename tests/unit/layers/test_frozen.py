"""A Stepper has the weights that a call of its stack in evaluation would see, whatever makes them."""

import copy

import pytest
import torch
from catalogue import assert_close
from made_weights import MADE, changed
from torch.nn.utils import prune

import selfloop as sl
from selfloop import cells, models
from selfloop.layers.frozen import evaluated

STACKS = {
    "native": (lambda: sl.LSTM(4, 4, 2), "weight_hh_l1"),
    "interpret": (lambda: sl.LSTM(4, 4, 2, backend="interpret"), "weight_hh_l1"),
    "between layers": (lambda: sl.Recurrent(sl.cells.gru, 4, 4, 2, residual=True), "W_hh_l1"),
}


def made_stack(stack, made):
    """A stack of which a weight is made, and an input; what a hook has made is no leaf of autograd."""
    make, name = STACKS[stack]
    rnn, x = make(), torch.randn(5, 1, 4)
    MADE[made](rnn, name)
    rnn(x)[0].sum().backward()
    return rnn, x


def assert_steps_as_in_evaluation(stepper, rnn, x):
    stepper.reset()
    y = torch.stack([stepper(x_t).clone() for x_t in x])
    mode = rnn.training
    assert_close(y, rnn.eval()(x)[0])
    rnn.train(mode)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("made", MADE)
def test_weights_that_are_made_before_a_call_are_made_for_a_stepper(stack, made):
    rnn, x = made_stack(stack, made)
    changed(rnn)
    before = {key: v.clone() for key, v in rnn.state_dict().items()}
    stepper = sl.Stepper(rnn)
    for key, v in rnn.state_dict().items():  # the vectors of a spectral norm, too
        assert torch.equal(v, before[key])
    first = torch.stack([stepper(x_t).clone() for x_t in x])
    assert_steps_as_in_evaluation(stepper, rnn, x)
    changed(rnn)
    stepper.reset()
    assert torch.equal(torch.stack([stepper(x_t).clone() for x_t in x]), first)
    stepper.refresh()
    assert_steps_as_in_evaluation(stepper, rnn, x)
    rnn(x)[0].sum().backward()


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("made", MADE)
def test_a_deep_copy_goes_on_as_the_first_one(stack, made):
    rnn, x = made_stack(stack, made)
    stepper = sl.Stepper(rnn)
    stepper(x[0])
    other = copy.deepcopy(stepper)
    assert other.rnn is not rnn
    changed(rnn)
    assert torch.equal(other(x[1]), stepper(x[1]))
    other.refresh()
    assert_steps_as_in_evaluation(other, other.rnn, x)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("made", MADE)
def test_a_copy_in_evaluation_has_the_weights_that_a_call_would_see(stack, made):
    rnn, x = made_stack(stack, made)
    changed(rnn)
    before = {key: v.clone() for key, v in rnn.state_dict().items()}
    copied = evaluated(rnn)
    for key, v in rnn.state_dict().items():
        assert torch.equal(v, before[key])
    assert not copied.training
    assert_close(copied(x)[0], rnn.eval()(x)[0])


def test_a_copied_model_has_them_too():
    model = models.LanguageModel(11, cells.lstm, embedding_size=4, hidden_size=6).eval()
    rnn, linear = model.rnn, model.readout
    prune.random_unstructured(rnn, "W_hh_l0", 0.5)
    prune.random_unstructured(linear, "weight", 0.5)
    tokens = torch.randint(11, (5, 2))
    model(tokens)[0].sum().backward()
    changed(model)
    copied = evaluated(model)
    assert copied.rnn is not rnn
    assert_close(copied(tokens)[0], model(tokens)[0])


def test_a_copy_has_the_learnt_start_that_a_call_would_see():
    rnn, x = sl.Recurrent(cells.lstm, 3, 4, learn_state=True), torch.randn(5, 1, 3)
    prune.random_unstructured(rnn, "h_l0", 0.5)
    changed(rnn)
    rnn(x)[0].sum().backward()
    changed(rnn)
    copied = evaluated(rnn)
    assert_close(copied(x)[0], rnn.eval()(x)[0])
    assert {name for name, _ in copied.named_parameters()} >= {"h_l0", "W_hh_l0"}


def test_a_weight_that_a_strange_hook_may_make_is_refused():
    rnn = sl.LSTM(3, 4)
    weight = rnn.weight_hh_l0.detach()
    del rnn.weight_hh_l0
    rnn.weight_hh_l0 = weight
    x = torch.randn(5, 1, 3)
    assert_steps_as_in_evaluation(sl.Stepper(rnn), rnn, x)

    def halve(module, _):
        module.weight_hh_l0 = weight / 2

    handle = rnn.register_forward_pre_hook(halve)
    with pytest.raises(sl.SelfloopError, match=r"'weight_hh_l0' of LSTM .* the hook halve may make"):
        sl.Stepper(rnn)
    handle.remove()
    rnn.register_forward_hook(lambda *_: None)
    assert_steps_as_in_evaluation(sl.Stepper(rnn), rnn, x)


def test_a_hook_that_makes_no_weight_does_not_matter():
    rnn, x = sl.LSTM(3, 4), torch.randn(5, 1, 3)
    rnn.register_forward_pre_hook(lambda *_: None)
    prune.random_unstructured(rnn, "weight_hh_l0", 0.5)
    changed(rnn)
    assert_steps_as_in_evaluation(sl.Stepper(rnn), rnn, x)


@pytest.mark.parametrize("make", [lambda: sl.GRU(3, 5, backend="interpret"), lambda: sl.LSTM(3, 3, 2, backend="torch")])
def test_a_copy_keeps_the_weights_that_were_read_whichever_backend_steps(make):
    rnn, x = make(), torch.randn(1, 3)
    stepper = sl.Stepper(rnn)
    y = stepper(x).clone()
    changed(rnn)
    other = copy.copy(stepper)
    stepper.reset()
    other.reset()
    assert torch.equal(other(x), y) and torch.equal(stepper(x), y)
