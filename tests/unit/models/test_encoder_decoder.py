"""Many to one to many."""

import itertools

import pytest
import torch
from combinations import some
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from selfloop import cells
from selfloop.cells import ZOO
from selfloop.decoding import Sampling, beam_search, generate
from selfloop.errors import ArgumentError
from selfloop.models import EncoderDecoder

SOURCE, TARGET = 7, 6  # types
KINDS = {
    "no attention": {"attention": None},
    "dot": {"attention": "dot"},
    "general, tied": {"attention": "general", "tied": True},
    "additive, fed": {"attention": "additive", "input_feeding": True},
    "fed, tied, two layers": {"input_feeding": True, "tied": True, "num_layers": 2},
    "no attention, tied": {"attention": None, "tied": True},
}
kinds = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)


def make(cell=cells.lstm, scale=3.0, learns=False, **options):
    """A model; without gradients, so that no kernels are compiled for them, unless it learns."""
    torch.manual_seed(2)
    options = {"embedding_size": 4, "hidden_size": 6, "sizes": dict.fromkeys(cell.sizes, 2), **options}
    model = EncoderDecoder(SOURCE, TARGET, cell, **options).double().eval().requires_grad_(learns)
    for parameter in model.parameters():
        parameter.data.mul_(scale)  # so that everything matters
    return model


def pairs(B=3, S=5, T=4, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(SOURCE, (S, B), generator=draw), torch.randint(TARGET, (T, B), generator=draw)


def write_in_steps(model, state, target):
    logits = []
    for row in target:
        step, state = model.step(row, state)
        logits.append(step)
    return torch.stack(logits), state


# ------------------------------------------------------------------------------------------------ one answer, any way


@pytest.mark.parametrize("cell", [cell for cell in ZOO.values() if len(cell.inputs) == 1], ids=lambda cell: cell.name)
def test_step_by_step_it_gives_what_it_gives_at_once(cell):
    model = make(cell, scale=1.0, embedding_size=3, hidden_size=4)  # the sizes of the catalogue
    source, target = pairs()
    lengths = torch.tensor([5, 2, 3])
    stepped, _ = write_in_steps(model, model.encode(source, lengths), target)
    torch.testing.assert_close(stepped, model(source, target, lengths))


@kinds
def test_every_kind_steps_as_it_runs_at_once(options):
    model, (source, target) = make(**options), pairs()
    stepped, last = write_in_steps(model, model.encode(source), target)
    whole, state = model.decoder(target, model.encode(source))
    torch.testing.assert_close(stepped, whole)
    torch.testing.assert_close(last.recurrent.tensors, state.recurrent.tensors)
    torch.testing.assert_close(last.attentional, state.attentional)


@kinds
@settings(max_examples=8)
@given(data=st.data(), B=st.integers(1, 4), S=st.integers(1, 5), T=st.integers(1, 4))
def test_a_pair_has_the_same_answer_in_any_batch_and_under_any_padding(options, data, B, S, T):
    source_lengths = data.draw(st.lists(st.integers(0, S), min_size=B, max_size=B))
    target_lengths = data.draw(st.lists(st.integers(1, T), min_size=B, max_size=B))
    model, (source, target) = make(**options), pairs(B, S, T)
    together = model(source, target, torch.tensor(source_lengths), torch.tensor(target_lengths))
    for b, (s, t) in enumerate(zip(source_lengths, target_lengths, strict=True)):
        if s:
            torch.testing.assert_close(together[:t, b], model(source[:s, b : b + 1], target[:t, b : b + 1])[:, 0])
        other = source.clone()
        other[s:, b] = (other[s:, b] + 1) % SOURCE
        torch.testing.assert_close(together[:t, b], model(other, target, torch.tensor(source_lengths))[:t, b])


@kinds
def test_target_lengths_stop_the_state_where_the_target_alone_would(options):
    model, (source, target) = make(**options), pairs()
    _, state = model.decoder(target, model.encode(source), torch.tensor([4, 2, 3]))
    _, alone = model.decoder(target[:2], model.encode(source))
    torch.testing.assert_close(state.recurrent.h[:, 1], alone.recurrent.h[:, 1])
    if options.get("input_feeding"):
        torch.testing.assert_close(state.attentional[1], alone.attentional[1])


@pytest.mark.parametrize("T", [0, 1])
@kinds
def test_short_targets_have_short_answers(options, T):
    model, (source, target) = make(**options), pairs()
    assert model(source, target[:T]).shape == (T, 3, TARGET)


@kinds
def test_what_is_written_depends_on_the_source_and_on_every_token_of_it(options):
    model, (source, target) = make(**options), pairs()
    logits = model(source, target)
    for s in range(len(source)):
        other = source.clone()
        other[s] = (other[s] + 1) % SOURCE
        assert not torch.allclose(model(other, target)[0], logits[0])


# ------------------------------------------------------------------------------------------------ formulas


def test_the_attentional_vector_is_luongs_equation_five():
    model, (source, target) = make(attention="dot"), pairs(B=1)
    decoder, state = model.decoder, model.encode(source)
    y, _ = decoder.rnn(decoder.embedding(target), state.recurrent)
    memory, _ = model.encoder(model.source_embedding(source))
    W, b = decoder.combine[0].weight, decoder.combine[0].bias
    for t in range(len(target)):
        h = y[t, 0]
        context = (memory[:, 0] @ h).softmax(0) @ memory[:, 0]
        read = torch.tanh(W @ torch.cat([context, h]) + b)
        expected = decoder.readout.weight @ read + decoder.readout.bias
        torch.testing.assert_close(model(source, target)[t, 0], expected)


def test_input_feeding_feeds_the_last_attentional_vector():
    model, (source, target) = make(input_feeding=True), pairs(B=1)
    decoder, state = model.decoder, model.encode(source)
    memory, _ = model.encoder(model.source_embedding(source))
    recurrent, fed = state.recurrent, torch.zeros(1, 6).double()
    for t, row in enumerate(target):
        y, recurrent = decoder.rnn.step(torch.cat([decoder.embedding(row), fed], dim=1), recurrent)
        context, _ = decoder.attention(y[None], memory)
        fed = decoder.combine(torch.cat([context[0], y], dim=1))
        torch.testing.assert_close(model(source, target)[t], decoder.readout(fed))


@pytest.mark.parametrize("cell", [cells.gru, cells.projected_lstm, cells.slstm], ids=lambda cell: cell.name)
def test_the_bridge_makes_each_state_of_each_layer_of_both_directions(cell):
    model, (source, _) = make(cell, num_layers=2), pairs()
    _, read = model.encoder(model.source_embedding(source))
    first = model.encode(source).recurrent
    assert [*first.tensors] == [*read.tensors]
    for name, tensor in read.tensors.items():
        for layer in range(2):
            linear = model.bridge.layers[name][layer]
            expected = linear(torch.cat([tensor[2 * layer], tensor[2 * layer + 1]], dim=1)).tanh()
            torch.testing.assert_close(first.tensors[name][layer], expected)


def test_attention_weights_are_distributions_over_the_source():
    model, (source, target) = make(), pairs()
    weights = model.attention_weights(source, target, torch.tensor([5, 2, 0]))
    assert weights.shape == (4, 3, 5)
    torch.testing.assert_close(weights.sum(-1), torch.tensor([1.0, 1.0, 0.0]).double().expand(4, 3))
    assert not weights[:, 1, 2:].any()
    fed = make(input_feeding=True)
    assert fed.attention_weights(source, target).shape == (4, 3, 5)


# ------------------------------------------------------------------------------------------------ weights


@kinds
def test_every_parameter_gets_a_gradient(options):
    model, (source, target) = make(scale=1.0, learns=True, **options), pairs()
    model(source, target).log_softmax(-1).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_tables_are_shared_as_asked():
    same = {"embedding_size": 4, "hidden_size": 6}
    free = EncoderDecoder(6, 6, cells.gru, **same)
    shared = EncoderDecoder(6, 6, cells.gru, shared_embedding=True, **same)
    all_three = EncoderDecoder(6, 6, cells.gru, shared_embedding=True, tied=True, **same)
    assert shared.source_embedding.weight is shared.decoder.embedding.weight
    assert all_three.source_embedding.weight is all_three.decoder.readout.weight
    assert free.num_parameters - shared.num_parameters == 6 * 4
    # the readout's table, and the narrower attentional vector, 12 → 4 in place of 12 → 6
    assert shared.num_parameters - all_three.num_parameters == 6 * 6 + 2 * 13


@pytest.mark.parametrize("name", ["input_dropout", "hidden_dropout", "output_dropout"])
def test_a_dropout_acts_in_training_only(name):
    model, (source, target) = make(num_layers=2, **{name: 0.5}), pairs()
    expected = make(num_layers=2)(source, target)
    torch.testing.assert_close(model(source, target), expected)
    model.train()
    assert not torch.allclose(model(source, target), expected)


# ------------------------------------------------------------------------------------------------ decoding


@kinds
def test_a_beam_as_wide_as_all_sequences_finds_the_best_of_them(options):
    model, (source, _) = make(**options), pairs(B=2)
    end, lengths = 0, torch.tensor([5, 3])
    start = torch.tensor([1, 1])
    with torch.no_grad():
        logits, state = model.step(start, model.encode(source, lengths))
        found = beam_search(model, logits, state, max_tokens=3, beam=TARGET**2, end=end)
        every = torch.tensor([*itertools.product(range(TARGET), repeat=3)]).T  # 3, TARGET ** 3
        inputs = torch.cat([torch.ones_like(every[:1]), every[:-1]])
        # a token counts up to the end and with it; what comes after an end is never written
        counts = torch.cat([torch.ones_like(every[:1]), (every[:-1] != end).long().cumprod(0)])
        for b in range(2):
            many = [b] * every.shape[1]
            log_p = model(source[:, many], inputs, lengths[many]).log_softmax(-1)
            totals = (log_p.gather(-1, every[..., None])[..., 0] * counts).sum(0)
            best = every[:, totals.argmax()].tolist()
            assert found[b][0].tokens == (best[: best.index(end)] if end in best else best)
            assert found[b][0].log_probability == pytest.approx(float(totals.max()))


@kinds
@settings(max_examples=5)
@given(seed=st.integers(0, 1000))
def test_a_beams_score_is_the_models_and_no_worse_than_greedys(options, seed):
    model, (source, _) = make(**options), pairs(seed=seed)
    lengths, start = torch.tensor([5, 2, 3]), torch.tensor([1, 1, 1])
    with torch.no_grad():
        logits, state = model.step(start, model.encode(source, lengths))
        greedy = torch.stack([t for t, _ in generate(model, logits, state, max_tokens=4, sampling=Sampling(0.0))])
        found = beam_search(model, logits, state, max_tokens=4, beam=TARGET)
        for tokens, best in ((greedy, None), (torch.tensor([hs[0].tokens for hs in found]).T, found)):
            log_p = model(source, torch.cat([start[None], tokens[:-1]]), lengths).log_softmax(-1)
            total = log_p.gather(-1, tokens[..., None])[..., 0].sum(0)
            if best is None:
                of_greedy = total
            else:
                torch.testing.assert_close(torch.tensor([hs[0].log_probability for hs in best]).double(), total)
                assert (total >= of_greedy - 1e-9).all()


@kinds
def test_a_state_selects_rows_with_their_memory(options):
    model, (source, target) = make(**options), pairs()
    lengths, rows = torch.tensor([5, 2, 3]), torch.tensor([2, 0, 2, 1])
    _, state = model.step(target[0], model.encode(source, lengths))
    _, expected = model.step(target[0, rows], model.encode(source[:, rows], lengths[rows]))
    assert state.select(rows).batch_size == 4
    given_, wanted = (model.step(target[1, rows], s)[0] for s in (state.select(rows), expected))
    torch.testing.assert_close(given_, wanted)


# ------------------------------------------------------------------------------------------------ learning

START, END = 10, 11


def digits(B, draw, longest=4):
    """Digits, and the same the other way round between start and end."""
    lengths = torch.randint(1, longest + 1, (B,), generator=draw)
    source = torch.randint(10, (longest, B), generator=draw)
    target = torch.full((longest + 2, B), END)
    target[0] = START
    for b, n in enumerate(lengths.tolist()):
        target[1 : n + 1, b] = source[:n, b].flip(0)
    return source, lengths, target


@pytest.mark.parametrize("options", some([{}, {"input_feeding": True}], 0, of=2), ids=str)
def test_it_learns_to_write_digits_in_reverse(options):
    draw = torch.Generator().manual_seed(1)
    model = EncoderDecoder(10, 12, cells.gru, embedding_size=16, hidden_size=64, **options)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, total_iters=200)
    for _ in range(200):
        source, lengths, target = digits(64, draw)
        logits = model(source, target[:-1], lengths, lengths + 1)
        valid = torch.arange(len(logits))[:, None] <= lengths
        loss = F.cross_entropy(logits[valid], target[1:][valid])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    source, lengths, target = digits(300, draw)
    model.eval()
    with torch.no_grad():
        logits, state = model.step(torch.full((300,), START), model.encode(source, lengths))
    found = beam_search(model, logits, state, max_tokens=6, beam=2, end=END)
    right = [
        hs[0].tokens == source[:n, b].flip(0).tolist() for b, (hs, n) in enumerate(zip(found, lengths, strict=True))
    ]
    assert sum(right) / len(right) > 0.98


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source_vocab_size": 0}, "The 'source_vocab_size' of EncoderDecoder must be at least 1. Got 0 instead"),
        ({"target_vocab_size": 0}, "The 'target_vocab_size' of EncoderDecoder must be at least 1. Got 0 instead"),
        ({"embedding_size": 0}, "The 'embedding_size' of EncoderDecoder must be at least 1. Got 0 instead"),
        ({"hidden_size": 5}, "The 'hidden_size' of EncoderDecoder must be even .* Got 5 instead"),
        ({"hidden_size": 0}, "The 'hidden_size' of EncoderDecoder must be even and at least 2"),
        ({"num_layers": 0}, "The 'num_layers' of Recurrent must be a whole number"),
        ({"shared_embedding": True}, "needs one vocabulary for source and target. Got 7 and 6 types instead"),
        ({"attention": "softmax"}, "The 'kind' of Attention must be one of dot, general, additive"),
        ({"attention": None, "input_feeding": True}, "The 'input_feeding' of a decoder feeds back what its attention"),
        ({"sizes": {"q": 3}}, "q"),
        *(
            ({name: 1.0}, f"The '{name.replace('hidden_', '')}' must be a share")
            for name in ("input_dropout", "hidden_dropout", "output_dropout")
        ),
    ],
    ids=str,
)
def test_an_argument_that_does_not_fit_is_named(options, message):
    sizes = {"source_vocab_size": SOURCE, "target_vocab_size": TARGET, "embedding_size": 4, "hidden_size": 6}
    with pytest.raises(ArgumentError, match=message):
        EncoderDecoder(**{**sizes, **options}, cell=cells.lstm)


def test_a_model_without_attention_has_no_weights_to_show():
    model, (source, target) = make(attention=None), pairs()
    with pytest.raises(ArgumentError, match=r"no weights. Make it with attention='general'"):
        model.attention_weights(source, target)


def test_lengths_that_do_not_fit_are_named():
    model, (source, target) = make(), pairs()
    with pytest.raises(ArgumentError, match="must lie between 0 and 5"):
        model(source, target, torch.tensor([6, 1, 1]))
