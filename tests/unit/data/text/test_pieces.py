import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfloop.data import Text
from selfloop.data.text import pieces as pieces_module
from selfloop.data.text.pieces import BLOCK, hold_out, joined, sample
from selfloop.data.text.token_kinds import WORD_END


def pieces_of(pieces):
    return Text(lambda: iter(pieces), "a test")


def test_a_text_is_read_again_from_its_start():
    text = pieces_of(["a", "b"])
    assert list(text) == list(text) == ["a", "b"]


def test_texts_of_one_string_have_one_fingerprint():
    assert Text.of("a").fingerprint == Text.of("a").fingerprint != Text.of("b").fingerprint


@given(st.lists(st.text(max_size=4)), st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_the_two_parts_of_a_text_are_the_whole_cut_at_the_exact_character(pieces, fraction):
    whole = "".join(pieces)
    head, tail = ("".join(part) for part in hold_out(pieces_of(pieces), fraction))
    assert head + tail == whole
    assert len(head) == int(len(whole) * (1 - fraction))


def test_the_parts_have_fingerprints_of_their_own():
    text = Text.of("abc")
    prints = {text.fingerprint, *(part.fingerprint for f in (0.1, 0.2) for part in hold_out(text, f))}
    assert len(prints) == 5


def test_the_parts_of_a_text_are_not_read_before_they_are_asked_for():
    def never():
        raise AssertionError("read too early")
        yield ""

    hold_out(Text(never, "never"), 0.1)


@given(st.lists(st.lists(st.text("ab\r\x0c\x85\u2028", max_size=3), max_size=3)))
def test_rows_are_joined_by_newlines_whatever_their_batches(batches):
    assert "".join(joined(batches)) == "\n".join(row for rows in batches for row in rows)


def test_a_row_that_ends_in_a_newline_gets_no_other():
    assert "".join(joined([["a\n", "", "b"], ["c\n"], ["d"]])) == "a\n\nb\nc\nd"


@pytest.mark.parametrize(("length", "held_out"), [(9, 1), (100, 10), (101, 11), (120, 12), (130, 12), (5000, 12)])
def test_without_a_fraction_a_tenth_is_held_out_and_no_more_than_so_many_characters(monkeypatch, length, held_out):
    monkeypatch.setattr(pieces_module, "MOST_HELD_OUT", 12)
    text = ("0123456789" * 500)[:length]
    head, tail = ("".join(part) for part in hold_out(Text.of(text)))
    assert (head + tail, len(tail)) == (text, held_out)


@pytest.mark.parametrize("length", [1, 2, 7, 20])
def test_a_sample_is_spread_evenly_over_a_text_and_cuts_no_word(length):
    words = [f"{number:07} " for number in range(BLOCK // 8 * length)]
    found = [*sample(Text.of("".join(words)), WORD_END, 3 * BLOCK)]
    assert all(len(word) == 7 for word in "".join(found).split())
    size = sum(map(len, found))
    assert size <= 3 * BLOCK + 7 * len(found)
    assert size >= min(length, 2) * BLOCK - 8
    starts = [int(block.split()[0]) for block in found]
    apart = [after - before for before, after in itertools.pairwise(starts)]
    assert not apart or max(apart) - min(apart) <= 2
    assert length <= 3 or starts[-1] >= len(words) - 2 * max(apart)
