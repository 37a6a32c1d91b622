"""What is known of each step of a sequence, and what of it runs back."""

import math

import numpy as np
import pytest
import torch

import selfloop as sl
from selfloop.errors import ArgumentError
from selfloop.tasks.watched import Watched, check_steps, class_facts, facts_of_texts, side_by_side, text_facts


def marks(text, name):
    return "".join(str(int(value)) for value in text_facts(text)[name])


def test_a_quotation_lasts_from_its_mark_to_the_mark_that_closes_it():
    assert marks('a "b" c', "inside quotes") == "0011000"
    assert marks("a “b” c „d“ «e»", "inside quotes") == "001100001100110"
    assert marks("don't “it's” so", "inside quotes") == "000000111110000"


def test_a_quotation_that_is_not_closed_ends_with_its_paragraph():
    assert marks('"ab\ncd\n\nef', "inside quotes") == "1111111000"


def test_brackets_stand_in_brackets():
    assert marks("a(b[c]d)e", "inside brackets") == "011111100"
    assert marks("a)b(]c", "inside brackets") == "000111"
    assert marks("(a\n\nb", "inside brackets") == "11100"


def test_positions_begin_anew_with_the_line_and_with_the_word():
    assert text_facts("ab\nc d")["position in the line"] == [1, 2, 0, 1, 2, 3]
    assert text_facts("ab c1-d")["position in the word"] == [1, 2, 0, 1, 2, 0, 1]


def test_what_a_character_is():
    assert marks("aB1é", "upper case") == "0100" and marks("aB1é", "digit") == "0010"


def test_a_token_of_several_characters_is_told_by_its_last():
    facts = text_facts([" (12", ")\n", ""])
    assert facts["inside brackets"] == [1, 0, 0] and facts["digit"] == [1, 0, 0]
    assert facts["position in the line"] == [4, 0, 0]


def test_there_is_no_position_in_the_line_where_no_line_ends():
    assert "position in the line" in facts_of_texts([list("ab"), list("a\n")])[0]
    assert "position in the line" not in facts_of_texts([list("ab"), list("b")])[0]


def test_words_have_spaces_between_and_parts_of_words_have_their_own():
    (words,) = facts_of_texts([["the", "cat", "\n", "sat"]])
    assert words["position in the line"] == [4, 8, 0, 4] and "position in the word" not in words
    (parts,) = facts_of_texts([["the", " ca", "t"]])
    assert parts["position in the word"] == [3, 2, 3]


def test_odd_texts_have_facts():
    for text in ([], [""], ["\x00"], ["\u200b"], ["你", "好"], ["🙂"], [")", "”", "\n\n"]):
        (facts,) = facts_of_texts([text])
        assert all(len(values) == len(text) for values in facts.values())


def test_facts_stand_side_by_side_with_nothing_beyond_the_end():
    found = side_by_side([{"a": [1, 0, 1]}, {"b": [1]}], 2)
    np.testing.assert_array_equal(found["a"], [[1, math.nan], [0, math.nan]])
    np.testing.assert_array_equal(found["b"], [[math.nan, 1], [math.nan, math.nan]])


def test_the_most_frequent_classes_are_facts():
    assert list(class_facts(["a", "b", "b", "c", "b", "c"], "class", 2)) == ["class b", "class c"]


def shown(lengths, **more):
    rnn = sl.Recurrent(sl.cells.gru, 2, 3)
    x = torch.arange(max(lengths) * len(lengths) * 2.0).view(max(lengths), len(lengths), 2)
    steps = [["x"] * n for n in lengths]
    names = [f"sequence {k}" for k in range(len(lengths))]
    return Watched(rnn, x, torch.tensor(lengths), "step", names, steps, {}, torch.zeros(0, 2).long(), None, **more)


def test_the_longest_sequences_are_cut_to_the_steps_asked_for():
    watched = shown([2, 5, 3, *[1] * 20], start=sl.State(h=torch.arange(23.0)[None, :, None].expand(1, 23, 3)))
    longest = watched.longest(4)
    assert longest.lengths[:4].tolist() == [4, 3, 2, 1] and len(longest.lengths) == 16
    assert longest.names[:3] == ["sequence 1", "sequence 2", "sequence 0"] and len(longest.steps[0]) == 4
    torch.testing.assert_close(longest.x[:, 0], watched.x[:4, 1])
    assert longest.start.h[0, :3, 0].tolist() == [1, 2, 0]


def test_steps_are_one_or_more():
    check_steps(1)
    with pytest.raises(ArgumentError, match=r"must be at least 1\. Got 0 instead"):
        check_steps(0)
