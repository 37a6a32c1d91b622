import itertools

import pytest
import torch

from selfloop.decoding.tags import are_begun, best_tags, is_begun

TAGS = ("B-a", "B-b", "E-a", "I-a", "I-b", "O")


@pytest.mark.parametrize("T", [1, 2, 4])
def test_the_best_tags_are_those_of_all_sequences_whose_spans_begin(T):
    generator = torch.Generator().manual_seed(T)
    for _ in range(20):
        logits = 3 * torch.randn(T, len(TAGS), generator=generator)
        sequences = [
            path for path in itertools.product(range(len(TAGS)), repeat=T) if are_begun([[TAGS[k] for k in path]])
        ]
        best = max(sequences, key=lambda path: float(sum(logits[step, k] for step, k in enumerate(path))))
        assert best_tags(logits, TAGS).tolist() == list(best)


def test_tags_that_need_no_change_are_the_most_probable_ones():
    logits = torch.eye(len(TAGS))[[5, 0, 3, 2, 1, 4]] * 10
    assert torch.equal(best_tags(logits, TAGS), logits.argmax(-1))


def test_spans_may_begin_where_the_tag_before_is_not_known():
    assert are_begun([["B-a", None, "I-a"], []])
    assert not are_begun([["I-a"]])
    assert not is_begun("B-b", "I-a")
