"""Edit score and F1@k, against cases worked by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfloop.errors import ArgumentError
from selfloop.metrics import edit_score, f1_at, segments

LABELS = st.lists(st.sampled_from("abc"), min_size=1, max_size=24)
PAIRS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=24)


def split(pairs):
    return [[t for t, _ in pairs]], [[p for _, p in pairs]]


def words(*texts):
    return [list(text) for text in texts]


def test_segments_are_runs_of_equal_labels():
    assert segments(list("aabccc")) == [("a", 0, 2), ("b", 2, 3), ("c", 3, 6)]
    assert segments([]) == []


@pytest.mark.parametrize(
    ("true", "predicted", "score"),
    [
        ("aabb", "abbb", 100.0),  # borders do not matter
        ("aabb", "aaaa", 50.0),  # one segment of two is missing
        ("aaaa", "abab", 25.0),  # three segments of four are too many
        ("aabb", "bbaa", 0.0),  # two substitutions
        ("aabbcc", "bbccaa", 100 / 3),  # one insertion, one deletion
    ],
)
def test_the_edit_score_counts_segments(true, predicted, score):
    assert edit_score(words(true), words(predicted)) == pytest.approx(score)


def test_the_edit_score_is_the_mean_over_sequences():
    assert edit_score(words("aabb", "c"), words("aaaa", "c")) == 75.0


@pytest.mark.parametrize(
    ("overlap", "score"),
    # a: 4 of 4 ∪ 6; b: the prediction 6-8 lies in 4-9: 2/5; a false alarm c in 8-10 against the true 9-10: 1/2.
    [(0.1, 100.0), (0.4, 100.0), (0.41, 200 / 3), (0.5, 200 / 3), (0.66, 100 / 3), (0.67, 0.0)],
)
def test_f1_counts_the_segments_that_overlap_enough(overlap, score):
    assert f1_at(words("aaaabbbbbc"), words("aaaaaabbcc"), overlap) == pytest.approx(score)


def test_a_true_segment_is_hit_once_only():
    true, predicted = words("aaaaaaaa"), words("aaabaaaa")  # both predicted a overlap it: 3/8 and 4/8
    assert f1_at(true, predicted, 0.25) == pytest.approx(200 * 1 / (3 + 1))


def test_a_prediction_is_held_against_the_best_segment_only():
    # The second a overlaps the true 0-6 most, which the first has hit; the true 7-8 is free, and stays missed.
    true, predicted = words("aaaaaaba"), words("aabaaaaa")
    assert f1_at(true, predicted, 0.1) == pytest.approx(200 * 1 / (3 + 3))


def test_an_overlap_with_another_label_is_no_hit():
    assert f1_at(words("aaabbb"), words("bbbaaa"), 0.1) == 0.0


def test_hits_of_all_sequences_are_counted_together():
    assert f1_at(words("aabb", "c"), words("aaaa", "c"), 0.5) == pytest.approx(200 * 2 / (3 + 2))  # not (2/3 + 1) / 2


def test_positions_without_truth_are_cut_out():
    true = [["a", "a", None, None, "a", "b"], [None, None]]
    predicted = [["a", "a", "c", "b", "a", "b"], ["a", "b"]]
    assert edit_score(true, predicted) == 100.0
    assert f1_at(true, predicted, 1.0) == 100.0


def test_segments_of_the_background_do_not_count():
    true, predicted = words("..aa.bb"), words("aaaabbb")
    assert edit_score(true, predicted, background=".") == 100.0
    assert edit_score(true, predicted) == 50.0
    assert f1_at(true, predicted, 0.5, background=".") == 100.0
    assert f1_at(words("...."), words("a..a"), 0.5, background=".") == 0.0
    assert edit_score(words("...."), words("...."), background=".") == 100.0


@given(PAIRS)
def test_scores_are_shares_in_percent_and_symmetric(pairs):
    true, predicted = split(pairs)
    assert 0 <= edit_score(true, predicted) <= 100
    assert edit_score(true, predicted) == edit_score(predicted, true)
    assert 0 <= f1_at(true, predicted, 0.1) <= 100
    assert f1_at(true, predicted, 0.6) == pytest.approx(f1_at(predicted, true, 0.6))  # above a half, pairs are unique


@given(LABELS)
def test_a_sequence_is_right_about_itself(labels):
    assert edit_score([labels], [labels]) == 100.0
    assert f1_at([labels], [labels], 1.0) == 100.0


@given(PAIRS, st.floats(0.01, 1), st.floats(0.01, 1))
def test_f1_falls_as_more_overlap_is_asked(pairs, a, b):
    true, predicted = split(pairs)
    assert f1_at(true, predicted, min(a, b)) >= f1_at(true, predicted, max(a, b))


@pytest.mark.parametrize("score", [edit_score, f1_at])
@pytest.mark.parametrize(
    ("true", "predicted", "message"),
    [
        ([["a"]], [], "a prediction for each sequence: 'true' has 1 sequences, 'predicted' 0"),
        ([["a"], ["b"]], [["a"], ["b", "b"]], "sequence 1 has 1 true labels and 2 predicted ones"),
        (["walk", "run"], ["walk", "run"], r"put a single sequence into a list: \[labels\]"),
        ([0, 1], [0, 1], r"put a single sequence into a list: \[labels\]"),
        ([[None]], [["a"]], "at least one position with a true label"),
        ([], [], "at least one position with a true label"),
    ],
)
def test_labels_that_do_not_fit_are_refused(score, true, predicted, message):
    with pytest.raises(ArgumentError, match=message):
        score(true, predicted)


@pytest.mark.parametrize("overlap", [0, -0.1, 1.1, 50])
def test_an_overlap_is_a_share(overlap):
    with pytest.raises(ArgumentError, match="above 0 and at most 1"):
        f1_at([["a"]], [["a"]], overlap)


def distance(m, n):
    """Levenshtein's, by its definition."""
    if not m or not n:
        return len(m) + len(n)
    changed = distance(m[1:], n[1:]) + (m[0] != n[0])
    return min(changed, 1 + distance(m[1:], n), 1 + distance(m, n[1:]))


def found(true, predicted, overlap):
    """F1, each predicted segment held against all true ones."""
    hit = set()
    for p in predicted:
        shares = [0.0]
        for t in true:
            common = min(p.end, t.end) - max(p.start, t.start)
            shares.append(common / (max(p.end, t.end) - min(p.start, t.start)) if p.label == t.label else 0.0)
        if max(shares) >= overlap:
            hit.add(shares.index(max(shares)))
    return 200 * len(hit) / (len(true) + len(predicted))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=8), st.floats(0.01, 1))
def test_both_are_what_their_definitions_say(pairs, overlap):
    true, predicted = split(pairs)
    t, p = segments(true[0]), segments(predicted[0])
    m, n = "".join(s.label for s in t), "".join(s.label for s in p)
    assert edit_score(true, predicted) == pytest.approx(100 * (1 - distance(m, n) / max(len(m), len(n))))
    assert f1_at(true, predicted, overlap) == pytest.approx(found(t, p, overlap))
