import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from selfloop.data.batches import Batches, in_order, pad

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=300)


@given(lengths=LENGTHS, batch_size=st.integers(1, 9))
def test_an_epoch_takes_every_example_and_repeats_only_to_fill_its_last_batch(lengths, batch_size):
    batches = Batches(lengths, batch_size, seed=1)
    rows = np.concatenate([batches.rows(0, k) for k in range(batches.per_epoch)])
    assert len(rows) == batches.per_epoch * batch_size < len(lengths) + batch_size
    counts = np.bincount(rows, minlength=len(lengths))
    assert counts.min() >= 1
    assert counts.max() - counts.min() <= 1


def test_epochs_differ_and_seeds_repeat():
    orders = [
        [Batches(list(range(100)), 10, seed).rows(epoch, 3).tolist() for epoch in (0, 1, 0)] for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][0] == orders[0][2] != orders[0][1]


def test_like_lengths_share_a_batch():
    lengths = np.random.default_rng(0).integers(1, 1000, 3200)
    batches = Batches(lengths.tolist(), 10, seed=0)
    spread = np.mean([np.ptp(lengths[batches.rows(0, k)]) for k in range(batches.per_epoch)])
    assert spread < 50  # of 1000


@given(lengths=LENGTHS, batch_size=st.integers(1, 9))
def test_in_order_takes_every_example_once(lengths, batch_size):
    rows = np.concatenate(list(in_order(lengths, batch_size)))
    assert sorted(rows) == list(range(len(lengths)))
    assert (np.diff(np.array(lengths)[rows]) >= 0).all()


@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5), features=st.integers(0, 3))
def test_padding_keeps_what_is_there_and_adds_zeros(lengths, features):
    shape = (features,) if features else ()
    arrays = [np.random.default_rng(i).normal(size=(n, *shape)).astype(np.float32) for i, n in enumerate(lengths)]
    batch, found = pad(arrays)
    assert batch.shape == (max(lengths), len(lengths), *shape)
    assert (found is None) == (len(set(lengths)) == 1)
    for column, array in enumerate(arrays):
        assert np.array_equal(batch[: len(array), column], array)
        assert not batch[len(array) :, column].any()
