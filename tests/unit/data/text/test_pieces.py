from hypothesis import given
from hypothesis import strategies as st

from selfloop.data import Text
from selfloop.data.text.pieces import hold_out, joined


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
