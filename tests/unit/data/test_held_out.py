"""Cross-validation: how examples are divided into folds."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from read_data import read_classified, read_labelled_steps, read_pairs

from selfloop.data.held_out import folds
from selfloop.data.reader import Fold
from selfloop.data.reading import Reading
from selfloop.errors import DataError

ROWS = st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc")), min_size=12, max_size=80)


@given(rows=ROWS, count=st.integers(2, 6), seed=st.integers(0, 3))
def test_each_row_is_in_one_fold_at_most_and_training_knows_its_label(rows, count, seed):
    labels = [{label} for _, label in rows]
    try:
        found = folds(list(range(len(rows))), count, seed, "it", labels=labels, strata=[label for _, label in rows])
    except DataError:
        return
    held = [row for fold in found for row in fold]
    assert len(held) == len(set(held)) and len(found) == count and all(found)
    for fold in found:
        known = set.union(*(labels[row] for row in range(len(rows)) if row not in fold))
        assert all(labels[row] <= known for row in fold)
    counts = [sum(label in mine for mine in labels) for label in ({"a"}, {"b"}, {"c"})]
    if 1 not in counts:  # the only row of a label is in no fold
        assert sorted(held) == list(range(len(rows)))


def test_equal_inputs_stay_together_and_classes_are_in_proportion():
    keys = [f"input {row // 2}" for row in range(200)]
    strata = ["rare" if row // 2 % 5 == 0 else "common" for row in range(200)]
    found = folds(keys, 5, 1, "it", labels=[{label} for label in strata], strata=strata)
    assert [len(fold) for fold in found] == [40] * 5
    for fold in found:
        others = {keys[row] for row in range(200) if row not in fold}
        assert others.isdisjoint(keys[row] for row in fold)
        assert sum(strata[row] == "rare" for row in fold) == 8


def test_the_seed_moves_the_folds():
    one, same, other = (folds(list(range(50)), 5, seed, "it") for seed in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize(
    ("keys", "labels", "count", "said"),
    [
        ("aabbcc", None, 4, "it has 3 different inputs, too few for 4 folds: ask for fewer."),
        ("abcdef", "uvwxyz", 3, "it has too few examples for 3 folds: ask for fewer."),
        ("abcdef", "uuuuuv", 6, "it has too few examples for 6 folds: ask for fewer."),
    ],
)
def test_too_few_are_one_sentence(keys, labels, count, said):
    with pytest.raises(DataError) as error:
        folds(keys, count, 1, "it", labels=labels and [{label} for label in labels], strata=labels)
    assert str(error.value) == said


def test_training_and_validation_examples_are_divided_anew_and_test_examples_stay(tmp_path):
    for part, first in (("train", 0), ("valid", 18), ("test", 24)):
        rows = [f"text {row},{'ab'[row % 2]}" for row in range(first, first + (18 if part == "train" else 6))]
        (tmp_path / f"{part}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    whole = read_classified(str(tmp_path))
    parts = [read_classified(str(tmp_path), fold=Fold(number, 3)) for number in (1, 2, 3)]
    everything = {*whole.train.places, *whole.valid.places}
    assert len(whole.valid) == 6 and len(everything) == 24
    assert sorted(place for part in parts for place in part.valid.places) == sorted(everything)
    for part in parts:
        assert {*part.train.places, *part.valid.places} == everything
        assert sorted(part.valid.labels) == [*"aaaabbbb"]
        assert part.test == whole.test and not part.origin.repeated


def test_labels_of_steps_are_known_in_training_and_series_are_told_apart_by_their_numbers(tmp_path):
    lines = [{"series": [row // 2] * 3, "labels": ["a", None, "bc"[row < 4]]} for row in range(24)]
    path = tmp_path / "walks.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    for number in (1, 2, 3):
        part = read_labelled_steps(str(path), Reading(), fold=Fold(number, 3))
        numbers = [{int(np.ravel(one)[0]) for one in examples.inputs} for examples in (part.train, part.valid)]
        assert numbers[0].isdisjoint(numbers[1]) and len(part.valid) == 8
        known = {name for label in part.train.labels for name in label}
        assert {name for label in part.valid.labels for name in label} <= known


def test_pairs_with_one_text_in_common_stay_together(tmp_path):
    rows = [f"one {row // 2}\tun {row // 3}" for row in range(24)]
    (tmp_path / "pairs.tsv").write_text("\n".join(["source\ttarget", *rows]) + "\n")
    for number in (1, 2, 3):
        part = read_pairs(str(tmp_path / "pairs.tsv"), None, fold=Fold(number, 3))
        for of in ("inputs", "labels"):
            assert {*getattr(part.train, of)}.isdisjoint(getattr(part.valid, of))
