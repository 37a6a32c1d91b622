import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from selfloop import cells
from selfloop.decoding import Sampling, beam_search, generate
from selfloop.errors import ArgumentError
from selfloop.models import LanguageModel

seeds = st.integers(0, 10_000)
penalties = st.sampled_from([-1.0, 0.0, 0.6, 2.0])
few = settings(max_examples=25, deadline=None)


def search(model, *prompts, **options):
    return beam_search(model, *model.after(*(prompts or ([],))), **options)


def penalised(log_p, length, length_penalty):
    return log_p / ((5 + length) / 6) ** length_penalty


# ------------------------------------------------------------------------------------------------ against all sequences


@few
@given(
    seed=seeds,
    vocabulary=st.integers(1, 3),
    length=st.integers(1, 3),
    ends=st.booleans(),
    penalty=penalties,
)
def test_a_beam_as_wide_as_all_sequences_ranks_all_sequences(random_tree, seed, vocabulary, length, ends, penalty):
    end = vocabulary - 1 if ends else None
    model = random_tree(seed, vocabulary, length)
    (found,) = search(model, max_tokens=length, beam=vocabulary**length, length_penalty=penalty, end=end)
    every = model.sequences(length, end)
    expected = sorted((penalised(log_p, len(tokens), penalty) for tokens, log_p in every.items()), reverse=True)
    assert [h.score for h in found] == pytest.approx(expected)
    for h in found:  # its tokens, or its tokens and the end
        assert any(h.log_probability == pytest.approx(every.get(t)) for t in (tuple(h.tokens), (*h.tokens, end)))


@settings(max_examples=100, deadline=None)
@given(
    seed=seeds, width=st.integers(1, 4), ends=st.booleans(), penalty=penalties, sharpness=st.sampled_from([0.5, 2.0])
)
def test_it_is_the_search_in_plain_python_that_never_stops_early(random_tree, seed, width, ends, penalty, sharpness):
    end = 0 if ends else None
    model = random_tree(seed, 3, 5, sharpness)
    alive, done = [()], []
    for _ in range(5):
        longer = sorted(((*a, t) for a in alive for t in range(3)), key=model.log_probability, reverse=True)
        done += [tokens for tokens in longer[:width] if tokens[-1] == end]
        alive = [tokens for tokens in longer if tokens[-1] != end][:width]
    scored = [(penalised(model.log_probability(t), len(t), penalty), t) for t in done + alive]
    expected = sorted(scored, reverse=True)[:width]
    (found,) = search(model, max_tokens=5, beam=width, length_penalty=penalty, end=end)
    assert [h.score for h in found] == pytest.approx([score for score, _ in expected])
    assert [h.tokens for h in found] == [[t for t in tokens if t != end] for _, tokens in expected]


@pytest.mark.parametrize(("start", "width"), [([0.1, 0.9], 1), ([0.0, 1.0], 3)], ids=["nothing better", "nothing more"])
def test_a_search_stops_when_nothing_better_can_come(tree, start, width):
    model = tree({(): start})
    (found,) = search(model, max_tokens=50, beam=width, end=1)
    assert ([h.tokens for h in found], model.steps) == ([[]], 0)


def test_prompts_for_which_nothing_better_can_come_are_not_stepped(tree):
    model = tree({(): [0.9, 0.1], (0,): [0.0, 1.0], (0, 0): [0.5, 0.5]})
    ended, goes_on = search(model, [0], [], max_tokens=9, beam=2, end=1)
    assert ([h.tokens for h in ended], [h.tokens for h in goes_on]) == ([[]], [[0], []])
    assert model.stepped == [2]  # the two beams of the one prompt


@few
@given(seed=seeds, ends=st.booleans())
def test_a_beam_of_one_is_greedy(random_tree, seed, ends):
    model, end = random_tree(seed, 3, 4), 2 if ends else None
    ((best,),) = search(model, max_tokens=4, beam=1, end=end)
    steps = generate(model, *model.after([]), max_tokens=4, sampling=Sampling(temperature=0.0), end=end)
    assert best.tokens == [token for tokens, _ in steps if (token := int(tokens[0])) != end]


@few
@given(seed=seeds, width=st.integers(1, 6), penalty=st.sampled_from([0.0, 1.0]))
def test_hypotheses_are_of_the_model_and_come_best_first(random_tree, seed, width, penalty):
    model, prompts = random_tree(seed, 3, 6), [[], [1, 2], [2]]
    options = {"max_tokens": 3, "beam": width, "length_penalty": penalty, "end": 0}
    together = search(model, *prompts, **options)
    for prompt, found in zip(prompts, together, strict=True):
        assert search(model, prompt, **options) == [found]
        assert 1 <= len(found) <= width
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
        assert len({tuple(h.tokens) for h in found}) == len(found)
        for h in found:
            tokens = [*h.tokens, 0] if len(h.tokens) < 3 else h.tokens
            assert h.log_probability == pytest.approx(model.log_probability(tokens, prompt))
            assert h.score == pytest.approx(penalised(h.log_probability, len(tokens), penalty))


# ------------------------------------------------------------------------------------------------ worked by hand


def test_a_beam_of_two_finds_what_greedy_misses(tree):
    """Greedy takes 0, which has 0.6, then 0.5 at the most: 0.30. Behind 1, which has 0.4, lies a certain 1: 0.40."""
    model = tree({(): [0.6, 0.4], (0,): [0.5, 0.5], (1,): [0.0, 1.0]})
    ((greedy,),) = search(model, max_tokens=2, beam=1)
    ((best, second),) = search(model, max_tokens=2, beam=2)
    assert (greedy.tokens, math.exp(greedy.log_probability)) == ([0, 0], pytest.approx(0.3))
    assert (best.tokens, math.exp(best.log_probability)) == ([1, 1], pytest.approx(0.4))
    assert math.exp(second.log_probability) == pytest.approx(0.3)


@pytest.mark.parametrize(("penalty", "winner", "score"), [(0.0, [], math.log(0.4)), (1.0, [0], math.log(0.36) * 6 / 7)])
def test_the_length_penalty_lets_the_longer_win(tree, penalty, winner, score):
    """The end (1) at once has 0.4, and 0 with the end after it 0.6 · 0.6 = 0.36. Wu et al. 2016 divide their logarithms
    by ((5 + 1) / 6)^α = 1 and ((5 + 2) / 6)^α. For α = 0 that is -0.916 against -1.022, and for α = 1, where the
    second is divided by 7/6, -0.916 against -0.876.
    """
    model = tree({(): [0.6, 0.4], (0,): [0.4, 0.6]})
    (found,) = search(model, max_tokens=2, beam=2, length_penalty=penalty, end=1)
    assert (found[0].tokens, found[0].score) == (winner, pytest.approx(score))


def test_a_hypothesis_that_ended_is_kept_while_others_go_on(tree):
    """The end (2) at once has 0.3; 0 0 has 0.5 · 0.9 = 0.45, and 1 then the end 0.2 · 1."""
    model = tree({(): [0.5, 0.2, 0.3], (0,): [0.9, 0.1, 0.0], (1,): [0.0, 0.0, 1.0]})
    (found,) = search(model, max_tokens=2, beam=3, end=2)
    assert [h.tokens for h in found] == [[0, 0], [], [1]]
    assert [math.exp(h.log_probability) for h in found] == pytest.approx([0.45, 0.3, 0.2])


def test_impossible_continuations_are_no_hypotheses(tree):
    (found,) = search(tree({(): [1.0, 0.0], (0,): [1.0, 0.0]}), max_tokens=2, beam=4)
    assert [h.tokens for h in found] == [[0, 0]]


def test_a_beam_wider_than_the_vocabulary_gives_every_sequence_once(random_tree):
    (found,) = search(random_tree(2, 2, 3), max_tokens=3, beam=20)
    assert len({tuple(h.tokens) for h in found}) == len(found) == 8


@pytest.mark.parametrize("options", [{"beam": 0, "max_tokens": 1}, {"beam": 1, "max_tokens": 0}])
def test_a_beam_or_length_below_one_is_refused(random_tree, options):
    with pytest.raises(ArgumentError, match=r"must be at least 1\. Got"):
        search(random_tree(1, 2, 1), **options)


# ------------------------------------------------------------------------------------------------ with a real model


def test_a_recurrent_model_gives_the_hypotheses_its_full_forward_pass_gives():
    torch.manual_seed(4)
    model = LanguageModel(7, cells.lstm, embedding_size=5, hidden_size=6, num_layers=2).double().eval()
    for parameter in model.parameters():
        parameter.data.mul_(4)  # so that the state matters
    prompts = torch.tensor([[1, 2], [3, 4], [5, 6]])
    with torch.no_grad():
        logits, state = model(prompts)
    for prompt, found in zip(
        prompts.T, beam_search(model, logits[-1], state, max_tokens=6, beam=4, end=0), strict=True
    ):
        for h in found:
            tokens = torch.tensor([*prompt, *h.tokens, *([0] if len(h.tokens) < 6 else [])])[:, None]
            with torch.no_grad():
                log_p = model(tokens[:-1])[0].log_softmax(-1).gather(-1, tokens[1:, :, None])
            assert h.log_probability == pytest.approx(float(log_p[len(prompt) - 1 :].sum()), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_probabilities_are_those_of_the_logits_in_float32_at_least(dtype):
    logits = torch.randn(1, 500).to(dtype)

    class Same:
        def step(self, tokens, state):
            return logits.expand(len(tokens), -1), state

    state = LanguageModel(3, cells.vanilla, embedding_size=2, hidden_size=2).rnn.zero_state(1)
    (found,) = beam_search(Same(), logits, state, max_tokens=3, beam=2)
    best = logits.double().log_softmax(-1).topk(2).values[0]
    expected = [3 * best[0], 2 * best[0] + best[1]]
    assert [h.log_probability for h in found] == pytest.approx([float(p) for p in expected], abs=1e-5)
