"""Every model with a readout returns a loss in place of logits, with the gradients that the logits' loss has."""

import pytest
import torch
from catalogue import TOLERANCE
from torch import nn
from torch.nn import functional as F

import selfloop as sl
from selfloop import cells
from selfloop.kernels import cross_entropy as kernels
from selfloop.models import NumberEncoder

T, B, V = 7, 5, 11
TOKENS = torch.randint(0, V, (T, B), generator=torch.Generator().manual_seed(1))
LABELS = torch.randint(0, V, (T, B), generator=torch.Generator().manual_seed(2))
WHERE = torch.rand(T, B, generator=torch.Generator().manual_seed(3)) < 0.7
SERIES = torch.randn(T, B, 3, generator=torch.Generator().manual_seed(4))
SIZES = {"embedding_size": 6, "hidden_size": 8}

MODELS = {
    "language model": (lambda: sl.LanguageModel(V, cells.lstm, **SIZES), (TOKENS,), LABELS),
    "tied": (lambda: sl.LanguageModel(V, cells.lstm, tied=True, **SIZES), (TOKENS,), LABELS),
    "step by step": (
        lambda: sl.ManyToMany(NumberEncoder(3), cells.gru, V, hidden_size=8, bidirectional=True),
        (SERIES,),
        LABELS,
    ),
    "at the end": (lambda: sl.ManyToOne(NumberEncoder(3), cells.gru, V, hidden_size=8), (SERIES,), LABELS[0]),
    "one to many": (lambda: sl.OneToMany(4, V, cells.lstm, **SIZES), (torch.ones(B, 4), TOKENS), LABELS),
    "encoder and decoder": (lambda: sl.EncoderDecoder(V, V, cells.lstm, **SIZES), (TOKENS, TOKENS), LABELS),
}


def first(found):
    return found[0] if isinstance(found, tuple) else found


def gradients(model, loss):
    return [g for g in torch.autograd.grad(loss, [*model.parameters()], allow_unused=True) if g is not None]


@pytest.mark.parametrize("masked", [False, True], ids=["all", "some"])
@pytest.mark.parametrize("name", MODELS)
def test_the_loss_is_that_of_the_logits(name, masked, monkeypatch):
    monkeypatch.setattr(kernels, "LEAST", 1)
    make, inputs, labels = MODELS[name]
    model, where = make(), WHERE if labels.dim() == 2 else WHERE[0]
    loss = sl.cross_entropy(labels[where], where) if masked else sl.cross_entropy(labels)
    found = first(model(*inputs, loss=loss))
    logits = first(model(*inputs))
    chosen = (logits[where], labels[where]) if masked else (logits.flatten(0, -2), labels.flatten())
    wanted = F.cross_entropy(*chosen)
    torch.testing.assert_close(found, wanted, **TOLERANCE[torch.float32])
    for got, expected in zip(gradients(model, found), gradients(model, wanted), strict=True):
        torch.testing.assert_close(got, expected, **TOLERANCE[torch.float32])


def test_a_readout_that_was_replaced_or_is_watched_is_called():
    model, seen = sl.LanguageModel(V, cells.lstm, **SIZES), []
    model.readout.register_forward_hook(lambda _, given, logits: seen.append(logits.shape))
    model(TOKENS, loss=sl.cross_entropy(LABELS))
    model.readout = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, V))
    loss, _ = model(TOKENS, loss=sl.cross_entropy(LABELS))
    torch.testing.assert_close(loss, F.cross_entropy(model(TOKENS)[0].flatten(0, 1), LABELS.flatten()))
    assert seen == [(T * B, V)]
    with pytest.raises(sl.errors.ArgumentError, match=f"must be classes from 0 to {V - 1}.* Got {V} instead"):
        model(TOKENS, loss=sl.cross_entropy(LABELS + 1))


@pytest.mark.parametrize("name", MODELS)
def test_a_label_that_is_no_class_is_named_and_all_that_are_left_out_cost_nothing(name):
    make, inputs, labels = MODELS[name]
    model = make()
    for label in (V, -1):
        wrong = labels.clone()
        wrong.view(-1)[-1] = label
        with pytest.raises(sl.errors.ArgumentError, match=rf"must be classes from 0 to {V - 1}.* Got {label} instead"):
            model(*inputs, loss=sl.cross_entropy(wrong))
    loss = model(*inputs, loss=sl.cross_entropy(torch.full_like(labels, -100), ignore_index=-100))
    loss = loss[0] if isinstance(loss, tuple) else loss
    loss.backward()
    assert loss.item() == 0
    assert all(not p.grad.any() for p in model.parameters() if p.grad is not None)
