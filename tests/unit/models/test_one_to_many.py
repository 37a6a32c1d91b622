"""One to many."""

import pytest
import torch
from torch.nn import functional as F

from selfloop import cells
from selfloop.decoding import Sampling, beam_search, generate
from selfloop.errors import ArgumentError
from selfloop.models import OneToMany

FEATURES, TYPES = 5, 6
KINDS = {
    "state": {"condition": "state"},
    "state, tied": {"condition": "state", "tied": True, "num_layers": 2},
    "input": {"condition": "input"},
    "attend": {"condition": "attend"},
    "attend, fed": {"condition": "attend", "attention": "additive", "input_feeding": True},
}
kinds = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)


def make(cell=cells.lstm, scale=3.0, **options):
    torch.manual_seed(2)
    options = {"embedding_size": 4, "hidden_size": 6, "sizes": dict.fromkeys(cell.sizes, 3), **options}
    model = OneToMany(FEATURES, TYPES, cell, **options).double().eval()
    for parameter in model.parameters():
        parameter.data.mul_(scale)  # so that everything matters
    return model


def captions(condition, B=3, T=4):
    torch.manual_seed(5)
    shape = (7, B, FEATURES) if condition == "attend" else (B, FEATURES)
    return torch.randn(shape).double(), torch.randint(TYPES, (T, B))


def rows_of(features, rows):
    return features[..., rows, :]


# ------------------------------------------------------------------------------------------------ one answer, any way


@pytest.mark.parametrize("cell", [cells.gru, cells.projected_lstm, cells.slstm], ids=lambda cell: cell.name)
@pytest.mark.parametrize("condition", ["state", "input", "attend"])
def test_step_by_step_it_gives_what_it_gives_at_once(cell, condition):
    model = make(cell, scale=1.0, condition=condition)
    features, target = captions(condition)
    state, whole = model.encode(features), model(features, target)
    for t, row in enumerate(target):
        logits, state = model.step(row, state)
        torch.testing.assert_close(logits, whole[t])


@kinds
def test_a_caption_has_the_same_answer_in_any_batch_and_at_any_length(options):
    model, (features, target) = make(**options), captions(options["condition"])
    together = model(features, target, torch.tensor([4, 2, 1]))
    for b, length in enumerate([4, 2, 1]):
        alone = model(rows_of(features, [b]), target[:length, b : b + 1])
        torch.testing.assert_close(together[:length, b], alone[:, 0])


@kinds
def test_what_is_written_depends_on_every_feature(options):
    model, (features, target) = make(**options), captions(options["condition"])
    logits = model(features, target)
    for feature in range(FEATURES):
        other = features.clone()
        other[..., feature] += 1
        assert not torch.allclose(model(other, target)[0], logits[0])


# ------------------------------------------------------------------------------------------------ formulas


def test_as_a_first_input_the_vector_stands_before_the_tokens():
    model, (features, target) = make(condition="input"), captions("input")
    decoder = model.decoder
    sequence = torch.cat([model.condition_on(features)[None], decoder.embedding(target)])
    y, _ = decoder.rnn(sequence)
    torch.testing.assert_close(model(features, target), decoder.readout(y[1:]))


def test_the_first_state_is_made_from_the_vector_or_from_the_mean_of_the_grid():
    vector, _ = captions("state")
    model = make(condition="state", num_layers=2)
    for name, tensor in model.encode(vector).recurrent.tensors.items():
        for layer, linear in enumerate(model.condition_on.layers[name]):
            torch.testing.assert_close(tensor[layer], linear(vector).tanh())
    grid, _ = captions("attend")
    attending = make(condition="attend")
    expected = attending.condition_on.layers["c"][0](grid.mean(0)).tanh()
    torch.testing.assert_close(attending.encode(grid).recurrent.c[0], expected)


def test_where_it_looks_in_the_grid_moves_with_the_grid():
    model, (grid, target) = make(condition="attend"), captions("attend")
    order = torch.tensor([3, 1, 6, 0, 2, 5, 4])
    weights = model.attention_weights(grid, target)
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, 3).double())
    torch.testing.assert_close(model.attention_weights(grid[order], target), weights[:, :, order])
    assert weights.std(-1).min() > 1e-3


@kinds
def test_every_parameter_gets_a_gradient_and_so_do_the_features(options):
    model, (features, target) = make(scale=1.0, **options), captions(options["condition"])
    features.requires_grad_()
    model(features, target).log_softmax(-1).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert features.grad.any()


def test_a_tied_table_counts_once():
    tied, free = (make(tied=tied) for tied in (True, False))
    assert tied.decoder.readout.weight is tied.decoder.embedding.weight
    assert free.num_parameters - tied.num_parameters == TYPES * 6 - (6 * 4 + 4)
    assert tied.vocab_size == TYPES


# ------------------------------------------------------------------------------------------------ decoding


@kinds
def test_a_beam_writes_what_the_whole_pass_scores_no_worse_than_greedy(options):
    model, (features, _) = make(**options), captions(options["condition"])
    start = torch.tensor([1, 1, 1])
    with torch.no_grad():
        logits, state = model.step(start, model.encode(features))
        greedy = torch.stack([t for t, _ in generate(model, logits, state, max_tokens=4, sampling=Sampling(0.0))])
        found = beam_search(model, logits, state, max_tokens=4, beam=TYPES)

        def score(tokens):
            log_p = model(features, torch.cat([start[None], tokens[:-1]])).log_softmax(-1)
            return log_p.gather(-1, tokens[..., None])[..., 0].sum(0)

        best = score(torch.tensor([hypotheses[0].tokens for hypotheses in found]).T)
    claimed = torch.tensor([hypotheses[0].log_probability for hypotheses in found]).double()
    torch.testing.assert_close(claimed, best)
    assert (best >= score(greedy) - 1e-9).all()


# ------------------------------------------------------------------------------------------------ learning


@pytest.mark.parametrize("condition", ["state", "input", "attend"])
def test_it_learns_to_spell_out_what_it_sees(condition):
    """Three numbers below 4, one-hot: a vector that holds all three, or a grid of three that each know their place."""
    draw = torch.Generator().manual_seed(1)

    def examples(B):
        words = torch.randint(4, (3, B), generator=draw)
        seen = F.one_hot(words, 4).float()  # 3, B, 4
        if condition == "attend":
            return torch.cat([seen, torch.eye(3)[:, None].expand(3, B, 3)], dim=-1), words
        return seen.movedim(0, 1).flatten(1), words

    size = 7 if condition == "attend" else 12
    model = OneToMany(size, 5, cells.gru, embedding_size=8, hidden_size=32, condition=condition)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(120):
        features, words = examples(64)
        inputs = torch.cat([torch.full((1, 64), 4), words[:-1]])
        loss = F.cross_entropy(model(features, inputs).flatten(0, 1), words.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    features, words = examples(100)
    with torch.no_grad():
        logits, state = model.eval().step(torch.full((100,), 4), model.encode(features))
    found = beam_search(model, logits, state, max_tokens=3, beam=2)
    right = [hypotheses[0].tokens == words[:, b].tolist() for b, hypotheses in enumerate(found)]
    assert sum(right) / len(right) > 0.95


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feature_size": 0}, "The 'feature_size' of OneToMany must be at least 1. Got 0 instead"),
        ({"vocab_size": 0}, "The 'vocab_size' of a decoder must be at least 1. Got 0 instead"),
        ({"embedding_size": 0}, "The 'embedding_size' of a decoder must be at least 1. Got 0 instead"),
        ({"condition": "atend"}, r"The 'condition' of OneToMany must be one of .*did you mean 'attend'\?"),
        ({"condition": "attend", "attention": "dot"}, "must be equal for kind='dot'. Got 6 and 5 instead"),
        ({"condition": "state", "input_feeding": True}, "The 'input_feeding' of a decoder feeds back"),
        ({"output_dropout": 1.0}, "The 'output_dropout' must be a share"),
    ],
    ids=str,
)
def test_an_argument_that_does_not_fit_is_named(options, message):
    sizes = {"feature_size": FEATURES, "vocab_size": TYPES, "embedding_size": 4, "hidden_size": 6}
    with pytest.raises(ArgumentError, match=message):
        OneToMany(**{**sizes, **options}, cell=cells.lstm)


@pytest.mark.parametrize(
    ("condition", "shape", "message"),
    [
        ("state", (3, 4), r"must be of shape \(B, 5\). Got \(3, 4\) instead\.$"),
        ("input", (7, 3, 5), r"must be of shape \(B, 5\). Got \(7, 3, 5\) instead; take a grid's mean"),
        ("attend", (3, 5), r"must be of shape \(S, B, 5\). Got \(3, 5\) instead\.$"),
    ],
)
def test_features_that_do_not_fit_are_named(condition, shape, message):
    with pytest.raises(ArgumentError, match=f"The 'features' of OneToMany for condition='{condition}' {message}"):
        make(condition=condition).encode(torch.zeros(shape).double())


def test_a_model_that_does_not_attend_has_no_weights_to_show():
    features, target = captions("state")
    with pytest.raises(ArgumentError, match="has no weights"):
        make(condition="state").attention_weights(features, target)
