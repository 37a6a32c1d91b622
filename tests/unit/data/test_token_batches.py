import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfloop.data.token_batches import TokenBatches, is_own, share_of

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=120)


@given(LENGTHS, st.integers(1, 20), st.integers(0, 3))
def test_an_epoch_has_every_pair_once_in_as_many_batches(lengths, batch_size, epoch):
    batches = TokenBatches(lengths, lengths[::-1], batch_size, seed=1)
    rows = [batches.rows(epoch, k) for k in range(batches.per_epoch)]
    assert sorted(row for batch in rows for row in batch.tolist()) == list(range(len(lengths)))
    assert all(len(batch) for batch in rows)


def test_batches_hold_about_the_same_number_of_tokens_of_like_length():
    draw = np.random.default_rng(0)
    lengths = draw.integers(3, 50, 5000)
    batches = TokenBatches(lengths.tolist(), lengths.tolist(), batch_size=40, seed=1)
    rows = [batches.rows(0, k) for k in range(batches.per_epoch)]
    tokens = np.array([lengths[batch].sum() for batch in rows])
    padded = np.array([lengths[batch].max() * len(batch) for batch in rows])
    assert tokens.max() < 1.1 * tokens.min()
    assert tokens.sum() / padded.sum() > 0.95


def test_the_seed_and_the_epoch_decide_the_order():
    def order(seed, epoch):
        batches = TokenBatches([*range(1, 50)], [*range(1, 50)], 5, seed)
        return [batches.rows(epoch, k).tolist() for k in range(batches.per_epoch)]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


@pytest.mark.parametrize(("rows", "processes"), [(7, 2), (8, 4), (64, 3), (3, 3)])
def test_the_shares_of_processes_are_the_batch(rows, processes):
    size = 6 * processes
    shares = [share_of(np.arange(rows), slice(6 * p, 6 * (p + 1)), size).tolist() for p in range(processes)]
    assert [row for share in shares for row in share] == list(range(rows))
    assert all(shares)


def test_a_process_always_has_a_row():
    assert share_of(np.arange(1), slice(6, 12), 12).tolist() == [0]


@given(st.integers(1, 30), st.integers(1, 5))
def test_each_row_belongs_to_one_process(rows, processes):
    size = 6 * processes
    shares = [slice(6 * p, 6 * (p + 1)) for p in range(processes)]
    own = [share_of(np.arange(rows), share, size).tolist() for share in shares if is_own(np.arange(rows), share, size)]
    assert [row for share in own for row in share] == list(range(rows))
