import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from selfloop.decoding import Sampling, generate
from selfloop.errors import ArgumentError

LOGITS = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()


def collect(model, *prompts, **options):
    """The tokens of each prompt, while it was going on."""
    rows = [[] for _ in prompts]
    for tokens, going in generate(model, *model.after(*prompts), **options):
        for row, token, goes in zip(rows, tokens.tolist(), going.tolist(), strict=True):
            if goes:
                row.append(token)
    return rows


# ------------------------------------------------------------------------------------------------ what is drawn with


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1 / 2, 1 / 4, 1 / 8, 1 / 8]),
        ({"temperature": 0.5}, [16 / 22, 4 / 22, 1 / 22, 1 / 22]),  # squared
        (
            {"temperature": 2.0},
            [2**-0.5 / 1.9142136, 0.5 / 1.9142136, 8**-0.5 / 1.9142136, 8**-0.5 / 1.9142136],
        ),  # root
        ({"temperature": math.inf}, [1 / 4, 1 / 4, 1 / 4, 1 / 4]),
        ({"temperature": 0.0}, [1, 0, 0, 0]),
        ({"temperature": 1e-60}, [1, 0, 0, 0]),
        ({"top_k": 1}, [1, 0, 0, 0]),
        ({"top_k": 2}, [2 / 3, 1 / 3, 0, 0]),
        ({"top_k": 9}, [1 / 2, 1 / 4, 1 / 8, 1 / 8]),
        ({"top_p": 1e-60}, [1, 0, 0, 0]),
        ({"top_p": 0.5}, [1, 0, 0, 0]),  # one reaches it
        ({"top_p": 0.51}, [2 / 3, 1 / 3, 0, 0]),
        ({"top_p": 0.75}, [2 / 3, 1 / 3, 0, 0]),
        ({"top_p": 0.76}, [4 / 7, 2 / 7, 1 / 7, 0]),  # of equals the first
        ({"top_p": 1.0}, [1 / 2, 1 / 4, 1 / 8, 1 / 8]),
        ({"top_k": 2, "top_p": 0.6}, [1, 0, 0, 0]),  # of the two that are left, the first has 2/3
        ({"temperature": 2.0, "top_p": 0.5}, [0.585786, 0.414214, 0, 0]),  # after the temperature
    ],
)
def test_probabilities_are_those_worked_out_by_hand(options, expected):
    got = Sampling(**options).probabilities(LOGITS)
    torch.testing.assert_close(got, torch.tensor([expected], dtype=torch.float32), rtol=0, atol=1e-6)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8), st.floats(0.01, 1))
def test_top_p_keeps_the_smallest_set_that_reaches_p(logits, p):
    row = torch.tensor([logits], dtype=torch.float64)
    before, after = row.softmax(-1)[0], Sampling(top_p=p).probabilities(row)[0]
    kept = after > 0
    assert before[kept].sum() >= p - 1e-12
    assert before[kept].sum() - before[kept].min() < p + 1e-12
    assert kept.all() or before[kept].min() >= before[~kept].max()
    torch.testing.assert_close(after[kept], before[kept] / before[kept].sum())


@pytest.mark.parametrize("temperature", [0.01, 1e-9, 0.0])
def test_a_small_temperature_is_greedy_and_never_overflows(temperature):
    logits = torch.tensor([[1e4, 1e4 - 1, -1e4], [-1e30, 0, -1e30]])
    torch.testing.assert_close(Sampling(temperature).probabilities(logits), torch.tensor([[1.0, 0, 0], [0, 1, 0]]))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_p": math.nan}, "top_p"),
    ],
)
def test_a_value_out_of_its_range_is_refused(options, name):
    with pytest.raises(ArgumentError, match=f"^The '{name}' must be .* instead.$"):
        Sampling(**options)


# ------------------------------------------------------------------------------------------------ token after token


def test_greedy_takes_the_likeliest_token_at_each_step(tree):
    model = tree({(): [0.6, 0.4], (0,): [0.1, 0.9], (0, 1): [0.8, 0.2], (1,): [0.0, 1.0]})
    assert collect(model, [], max_tokens=3, sampling=Sampling(temperature=0.0)) == [[0, 1, 0]]


def test_the_end_token_stops_its_row_and_the_last_end_stops_all(tree):
    model = tree({(): [1, 0, 0], (0,): [0, 0, 1], (1,): [0, 1, 0], (1, 1): [1, 0, 0], (1, 1, 0): [0, 0, 1]})
    greedy = {"sampling": Sampling(temperature=0.0), "max_tokens": 10, "end": 2}
    assert collect(model, [], [1], **greedy) == [[0, 2], [1, 0, 2]]
    assert model.steps == 2


def test_max_tokens_is_the_most_and_no_step_is_made_for_nothing(random_tree):
    model = random_tree(1, 3, 4)
    assert [len(row) for row in collect(model, [], [1], max_tokens=4)] == [4, 4]
    assert model.steps == 3
    assert collect(model, [], max_tokens=0) == [[]]


def test_the_callers_code_between_two_tokens_runs_with_gradients(random_tree):
    model = random_tree(1, 3, 4)
    modes = [
        (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
        for _ in generate(model, *model.after([]), max_tokens=3)
    ]
    assert modes == [(True, False)] * 3
    assert model.inference == [True, True]


def test_prompts_of_different_lengths_get_what_each_gets_alone(random_tree):
    model, greedy = random_tree(3, 3, 6), {"max_tokens": 3, "sampling": Sampling(temperature=0.0), "end": 0}
    prompts = [[], [1, 2], [2], [1, 1, 0]]
    assert collect(model, *prompts, **greedy) == [collect(model, prompt, **greedy)[0] for prompt in prompts]


def test_the_same_seed_draws_the_same_and_another_seed_other_tokens(random_tree):
    def drawn(seed):
        generator = torch.Generator().manual_seed(seed)
        return collect(random_tree(5, 4, 3, sharpness=0), *[[]] * 8, max_tokens=3, generator=generator)

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.5), Sampling(top_k=2), Sampling(top_p=0.7)])
def test_sequences_are_drawn_as_often_as_their_probabilities_say(tree, sampling):
    """Pearson's chi-square over all sequences of two tokens: with 8 degrees of freedom, 99.99 % of draws stay below
    31.8."""
    model, n = tree({(): [0.5, 0.3, 0.2], (0,): [0.1, 0.2, 0.7], (1,): [0.6, 0.3, 0.1], (2,): [0.3, 0.4, 0.3]}), 4000
    rows = collect(model, *[[]] * n, max_tokens=2, sampling=sampling, generator=torch.Generator().manual_seed(7))
    seen = torch.zeros(3, 3, dtype=torch.float64)
    for first, second in rows:
        seen[first, second] += 1
    start = sampling.probabilities(model.after([])[0])[0]
    then = sampling.probabilities(model.after([0], [1], [2])[0])
    expected = n * start[:, None] * then
    possible = expected > 0
    assert seen[~possible].sum() == 0
    assert ((seen - expected)[possible] ** 2 / expected[possible]).sum() < 31.8
