import math

import numpy as np
import pytest
import torch
from torch import nn

from selfloop.data import Text, Tokenizer, tokenize
from selfloop.errors import DataError
from selfloop.tasks.lm import Score
from selfloop.tasks.lm import score as scoring
from selfloop.tasks.lm.score import evaluation_streams, score
from selfloop.tasks.table import TASKS

TEXT = "the dog sat on the mat, 你好\n" * 40


class Witness(nn.Module):
    """A model for which all types are equally likely; it writes down what it has read."""

    def __init__(self, vocabulary):
        super().__init__()
        self.readout = nn.Linear(1, vocabulary)
        nn.init.zeros_(self.readout.bias)
        self.read = []

    def forward(self, tokens, state, loss):
        self.read.append(tokens)
        return loss(torch.zeros(*tokens.shape, 1), self.readout), state


@pytest.mark.parametrize("kind", ["char", "byte", "word", "bpe"])
@pytest.mark.parametrize("window", [1, 7, 256])
def test_the_chain_rule_holds_whatever_the_window(make_model, monkeypatch, kind, window):
    monkeypatch.setattr(scoring, "WINDOW", window)
    model = make_model(kind)
    model.model.double()
    ids = model.tokenizer.encode(TEXT)
    nats, before, state = 0.0, model.tokenizer.start_id, None
    for token in ids:
        with torch.no_grad():
            logits, state = model.model.step(torch.tensor([before]), state)
        nats -= float(logits.log_softmax(-1)[0, token])
        before = token
    got = model.score(TEXT)
    assert got.nats == pytest.approx(nats, rel=1e-12)
    assert (got.tokens, got.characters) == (len(ids), len(TEXT))
    assert got.loss == pytest.approx(nats / len(ids))
    assert got.perplexity == pytest.approx(math.exp(got.loss))
    assert got.bits_per_character == pytest.approx(nats / len(TEXT) / math.log(2))


@pytest.mark.parametrize(("window", "streams"), [(1, 1), (5, 1), (256, 1), (5, 4), (64, 3)])
def test_every_token_is_scored_once_after_the_token_before_it(monkeypatch, window, streams):
    monkeypatch.setattr(scoring, "WINDOW", window)
    tokenizer = Tokenizer.train("char", [TEXT])
    tokens = tokenize(Text.of(TEXT), tokenizer)
    witness = Witness(tokenizer.vocab_size)
    got = score(witness, evaluation_streams(tokens, tokenizer, streams), tokens)
    read = torch.cat(witness.read).T.flatten().tolist()
    assert read == [tokenizer.start_id, *tokens.ids[: len(read) - 1].tolist()]
    assert len(tokens) - streams < got.tokens == len(read)
    assert got.loss == pytest.approx(math.log(tokenizer.vocab_size))
    assert got.characters == pytest.approx(len(TEXT) * got.tokens / len(tokens))


def test_a_sample_scores_about_as_many_tokens_as_asked_and_says_about_the_same(make_model):
    model, text = make_model(), TEXT * 8
    every, sample = model.score(text), model.score(text, sample=2000)
    assert 2000 <= sample.tokens < every.tokens == len(text)
    assert sample.loss == pytest.approx(every.loss, rel=0.03)
    assert sample.bits_per_character == pytest.approx(every.bits_per_character, rel=0.03)


@pytest.mark.parametrize("sample", [None, 10])
@pytest.mark.parametrize("text", ["", Text.of("")])
def test_an_empty_text_has_no_score(make_model, text, sample):
    with pytest.raises(DataError, match="has no tokens"):
        make_model().score(text, sample=sample)


def test_a_text_of_one_character_has_a_score(make_model):
    assert make_model().score("t").tokens == 1


def test_a_hopeless_model_has_a_perplexity_all_the_same():
    assert np.isfinite(Score(nats=1e9, tokens=1, characters=1).perplexity)


@pytest.mark.parametrize(("kind", "share"), [("word", 1 / 4), ("char", 1 / 10)])
def test_where_tokens_are_unknown_their_share_is_told_and_no_bits_per_character(make_model, kind, share):
    text = {"word": "the cat sat zzzzzzzz " * 40, "char": "the cat sß" * 40}[kind]
    got = make_model(kind).score(text)
    assert got.metrics() == {"loss": got.loss, "perplexity": got.perplexity, "unknown": pytest.approx(share)}
    assert got.bits_per_character is None
    assert f"{share:.1%} of the tokens unknown" in TASKS["lm"].show(got.metrics())
    known = make_model(kind).score(text.replace("zzzzzzzz", "mat,").replace("ß", "a"))
    assert [*known.metrics()] == ["loss", "perplexity", "bits_per_character"]


@pytest.mark.parametrize("kind", ["byte", "bpe"])
def test_of_bytes_nothing_is_unknown(make_model, kind):
    got = make_model(kind).score("<unk> ß zzzzzzzz " * 40)
    assert [*got.metrics()] == ["loss", "perplexity", "bits_per_character"]
