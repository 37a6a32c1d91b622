import itertools

import pytest
import torch

from selfloop.data.text.vocabulary import LONGEST, Vocabulary
from selfloop.errors import ArgumentError
from selfloop.models import FrameEncoder, NumberEncoder, TokenEncoder, WordEncoder, encoders


def test_tokens_become_their_vectors():
    encoder = TokenEncoder(5, 3)
    tokens = torch.tensor([[0, 4], [2, 2]])
    assert torch.equal(encoder(tokens), encoder.embedding.weight[tokens])


def test_numbers_get_mean_zero_and_deviation_one():
    x = torch.randn(50, 4, 3) * torch.tensor([0.1, 1.0, 40.0]) + torch.tensor([5.0, 0.0, -7.0])
    flat = x.flatten(0, 1)
    encoder = NumberEncoder(3)
    encoder.fit(flat.mean(0).tolist(), flat.std(0, correction=0).tolist())
    scaled = encoder(x).flatten(0, 1)
    torch.testing.assert_close(scaled.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(3), atol=1e-4, rtol=0)


def test_a_channel_that_never_changes_is_shifted_and_not_divided_by_zero():
    encoder = NumberEncoder(2)
    encoder.fit([3.0, 1.0], [0.0, 2.0])
    assert encoder(torch.tensor([[[3.0, 5.0]]])).tolist() == [[[0.0, 2.0]]]


def test_the_scale_is_kept_with_the_weights():
    fitted, fresh = NumberEncoder(1), NumberEncoder(1)
    fitted.fit([3.0], [2.0])
    fresh.load_state_dict(fitted.state_dict())
    assert fresh(torch.tensor([[[5.0]]])).item() == 1.0


@pytest.mark.parametrize("colour", [False, True])
def test_each_frame_is_seen_by_itself(colour):
    encoder = FrameEncoder(9, 17, 3 if colour else 1, size=6).eval()
    frames = torch.randint(0, 256, (4, 2, 9, 17, *([3] if colour else [])), dtype=torch.uint8)
    together = encoder(frames)
    assert together.shape == (4, 2, 6)
    torch.testing.assert_close(together[2:3, 1:2], encoder(frames[2:3, 1:2]))
    assert not torch.allclose(together[2, 1], together[0, 0])


def test_frames_that_are_too_small_are_refused():
    with pytest.raises(ArgumentError, match=r"at least 8 × 8 pixels. Got 7 × 40 instead"):
        FrameEncoder(7, 40, 1, size=4)


VOCABULARY = Vocabulary.of([["to", "be", "to", "be"]])


def vectors(encoder, *words):
    """One a word."""
    return encoder(torch.from_numpy(VOCABULARY.encode(words))[:, None])[:, 0]


def test_a_word_is_its_vector_and_the_scaled_sum_of_those_of_its_n_grams():
    encoder = WordEncoder(3, 4).eval()
    rows = torch.from_numpy(VOCABULARY.encode(["to"]))
    spelling, shape = (encoder._hashes(half) for half in rows[:, 1:].chunk(2, dim=1))
    borders_and_all = 4 + 3 + 2 + 1  # runs of 1, 2, 3 and 4 characters of "to" between its borders
    assert (spelling > 0).sum() == (shape > 0).sum() == borders_and_all
    numbers = torch.cat([spelling, shape], dim=1)
    expected = encoder.embedding.weight[VOCABULARY.words.index("to")]
    expected = expected + encoder.grams.weight[numbers[numbers > 0]].sum(0) / (2 * borders_and_all) ** 0.5
    torch.testing.assert_close(vectors(encoder, "to")[0], expected)


def wrapped(number):
    """As 64 bits with a sign hold it."""
    return (number + 2**63) % 2**64 - 2**63


def test_the_number_of_an_n_gram_is_that_of_its_characters():
    encoder = WordEncoder(3, 4, buckets=50)
    (row,) = encoder._hashes(torch.from_numpy(VOCABULARY.encode(["añb"]))[:, 1 : 1 + LONGEST]).tolist()
    bordered = [1, *map(ord, "añb"), 1]
    expected = [
        wrapped(sum(c * 1_007_081**k for k, c in enumerate(bordered[start : start + n]))) % 50 + 1
        for n in range(1, 5)
        for start in range(6 - n)
    ]
    assert [number for number in row if number] == expected


def test_n_grams_that_differ_have_vectors_of_their_own():
    """But for chance: 4,000 n-grams in 20,000 buckets share about a tenth."""
    words = ["".join(letters) for letters in itertools.product("aeiourst", repeat=4)][::2]
    encoder, grams = WordEncoder(3, 4), set()
    for word in words:
        bordered = f"|{word}|"
        grams |= {bordered[k : k + n] for n in range(1, 5) for k in range(len(bordered) - n + 1)}
    numbers = encoder._hashes(torch.from_numpy(VOCABULARY.encode(words))[:, 1 : 1 + LONGEST])
    assert len(numbers.unique()) > 0.85 * len(grams)


def test_an_unknown_word_is_told_by_how_it_is_written_and_capitals_by_their_shape():
    encoder = WordEncoder(3, 4).eval()
    unseen, again, other, capital = vectors(encoder, "unseen", "unseen", "unsene", "Unseen")
    assert torch.equal(unseen, again)
    assert not torch.allclose(unseen, other)
    assert not torch.allclose(unseen, capital)
    halves = torch.from_numpy(VOCABULARY.encode(["unseen", "Unseen"]))[:, 1:].chunk(2, dim=1)
    assert torch.equal(*halves[0])
    assert not torch.equal(*halves[1])


def test_words_have_the_same_vectors_in_an_exported_graph(monkeypatch):
    """Where it is not known how many words differ, and a bag of vectors is a sum of them."""
    encoder = WordEncoder(3, 8).eval()
    words = ["to", "be", "To", "x" * 40, "", "😀", "unheard-of"]
    expected = vectors(encoder, *words)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    torch.testing.assert_close(vectors(encoder, *words), expected)


def test_the_longest_words_and_characters_have_vectors_within_the_table():
    words = ["x" * LONGEST, "y" * 1000, "\U0010ffff" * 7, "é", ""]
    encoder = WordEncoder(3, 4, buckets=5).eval()
    assert vectors(encoder, *words).isfinite().all()
    numbers = encoder._hashes(torch.from_numpy(VOCABULARY.encode(words))[:, 1 : 1 + LONGEST])
    assert numbers.min() == 0
    assert numbers.max() == 5


@pytest.mark.parametrize("factor", [encoders.SCATTERED, 0], ids=["numbers differ", "numbers collide"])
@pytest.mark.parametrize("shape", [(1, 1), (40, 3), (300, 40), (0, 4)], ids=str)
def test_words_of_one_spelling_are_found(shape, factor, monkeypatch):
    monkeypatch.setattr(encoders, "SCATTERED", factor)
    rows = torch.randint(0, 3, shape)
    different, place = encoders._different(rows)
    assert torch.equal(different[place], rows)
    assert sorted(different.tolist()) == rows.unique(dim=0).tolist()


def test_known_words_are_taken_for_unknown_now_and_then_while_training():
    encoder = WordEncoder(3, 4)
    torch.manual_seed(0)
    many = vectors(encoder, *["to"] * 1000)
    unknown = (many - vectors(encoder.eval(), "to")).abs().amax(1) > 1e-6
    assert 0.05 < unknown.float().mean() < 0.5
