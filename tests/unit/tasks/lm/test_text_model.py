import math

import pytest
import torch

from selfloop.data import KINDS
from selfloop.decoding import Sampling
from selfloop.errors import ArgumentError

GREEDY = Sampling(temperature=0.0)
every_kind = pytest.mark.parametrize("kind", KINDS)


# ------------------------------------------------------------------------------------------------ writing


@every_kind
@pytest.mark.parametrize("prompt", ["", "the ", "the cat", "sat\n", "né 你", "😀", "never seen: ж"])
def test_streamed_text_joined_is_the_written_text(make_model, kind, prompt):
    model = make_model(kind)
    options = {"max_tokens": 30, "sampling": Sampling(1.5), "seed": 4}
    assert "".join(model.stream(prompt, **options)) == model.write([prompt], **options)[0] != ""


@every_kind
def test_a_seed_repeats_the_text_and_no_seed_does_not(make_model, kind):
    model = make_model(kind)
    assert model.write(seed=5) == model.write(seed=5) != model.write(seed=6)
    assert model.write() != model.write()


@every_kind
def test_prompts_of_any_length_together_give_what_each_gives_alone(make_model, kind):
    model, prompts = make_model(kind), ["the cat sat on", "", "né 你好 😀", "the"]
    together = model.write(prompts, max_tokens=12, sampling=GREEDY)
    assert together == [model.write([prompt], max_tokens=12, sampling=GREEDY)[0] for prompt in prompts]
    searched = model.search(prompts, max_tokens=5, beam=3)
    assert [found[0][0] for found in searched] == [model.search([p], max_tokens=5, beam=3)[0][0][0] for p in prompts]


@every_kind
@pytest.mark.parametrize("prompt", ["", "the", "the cat sat on the"])
def test_what_is_written_greedily_is_what_the_whole_text_makes_likeliest(make_model, kind, prompt):
    model = make_model(kind)
    tokens = [model.tokenizer.start_id, *model.tokenizer.encode(prompt)]
    for _ in range(6):
        with torch.no_grad():
            tokens.append(int(model.model(torch.tensor(tokens)[:, None])[0][-1, 0].argmax()))
    (found,) = model.search([prompt], max_tokens=6, beam=1)
    assert found[0][1].tokens == tokens[-6:]
    assert found[0][0] == model.write([prompt], max_tokens=6, sampling=GREEDY)[0]
    assert model.tokenizer.decode(tokens[1:]) == prompt + found[0][0]


@pytest.mark.parametrize(
    ("prompt", "tokens", "expected"),
    [
        ("the cat", ["sat", "on"], " sat on"),
        ("the cat ", ["sat", "on"], "sat on"),
        ("the cat ", ["<eos>", "on"], "\non"),
        ("the cat\n", ["sat"], "sat"),
        ("", ["sat", "on"], "sat on"),
        ("never seen", ["sat"], " sat"),
        ("the", [], ""),
    ],
)
def test_one_space_stands_between_the_words_of_the_prompt_and_those_after_it(make_model, prompt, tokens, expected):
    model = make_model("word")
    ids = [number for token in tokens for number in model.tokenizer.encode(token.replace("<eos>", "\n"))]
    assert "".join(model._after(prompt, ids)) == expected


def test_a_space_that_the_prompt_and_the_text_after_it_both_have_is_there_twice(make_model):
    model = make_model("char")
    assert "".join(model._after("the ", model.tokenizer.encode(" cat"))) == " cat"


def test_nothing_is_written_where_no_token_is_asked_for(make_model):
    model = make_model()
    assert model.write(["a", "b"], max_tokens=0) == ["", ""]
    assert list(model.stream("a", max_tokens=0)) == []


def test_search_ranks_by_probability_under_the_model(make_model):
    model = make_model()
    for token in range(model.tokenizer.vocab_size):  # what is written as it is not read, as <unk>
        if len(model.tokenizer.encode(model.tokenizer.decode([token]))) != 1:
            model.model.readout.bias.data[token] = -50
    (found,) = model.search(["the "], max_tokens=3, beam=4)
    for text, hypothesis in found:
        assert len(hypothesis.tokens) == 3
        nats = model.score("the " + text).nats - model.score("the ").nats
        assert hypothesis.log_probability == pytest.approx(-nats, abs=1e-4)
    assert found[0][1].score == max(h.score for _, h in found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompts": []}, r"The 'prompts' must be a list of at least one text. Got \[\] instead."),
        ({"prompts": "the cat"}, "The 'prompts' must be a list of at least one text. Got 'the cat' instead."),
        ({"prompts": ["\udc80"]}, r"A prompt must be text, in Unicode. Got '\\udc80' instead."),
        ({"seed": -1}, "The 'seed' must be at least 0 and below .* Got -1 instead."),
        ({"seed": 2**64}, "The 'seed' must be at least 0 and below .* instead."),
    ],
)
def test_what_cannot_be_written_from_is_refused(make_model, arguments, message):
    with pytest.raises(ArgumentError, match=f"^{message}$"):
        make_model().write(**arguments)


def test_a_uniform_model_is_surprised_by_the_logarithm_of_its_vocabulary(make_model):
    model = make_model()
    torch.nn.init.zeros_(model.model.readout.weight)
    assert model.score("the cat sat").loss == pytest.approx(math.log(model.tokenizer.vocab_size))
