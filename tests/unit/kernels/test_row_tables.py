"""Compiled tables of rows say what their definition says, row by row."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from selfloop.compiler import host_target, tools
from selfloop.kernels.ragged import arrange
from selfloop.kernels.relocations import OFFSET_BITS, Split
from selfloop.kernels.row_tables import Once, RowTable, RowTables

X, Y, Z = (base << OFFSET_BITS for base in (5, 6, 7))
ZEROS = (1 << OFFSET_BITS) + 24

TABLES = {
    "a (T, B, ·) tensor": RowTable(X - 8, user=64, time=640),
    "plain numbers": RowTable(1, time=1),
    "one after another": RowTable(X, order=16, last=Once(Y + 4, 160)),
    "halves in turn": RowTable(X, turn=16, first=Once(Z, 32)),
    "what comes from the next step": RowTable(X, following=16, last=Once(Y, 32), zeros=ZEROS, is_ahead=True),
    "the step before": RowTable(X, order=16, last=Once(Y, 32), first=Once(Z, 0), zeros=ZEROS, is_delayed=True),
}


def entry(table, rows, step, row):
    """A table's entry by its definition."""
    user, length = int(rows.users[row]), int(rows.lengths[row])
    ahead = step + table.is_ahead
    if table.zeros is not None and rows.resets is not None and ahead < length and rows.resets[ahead, row]:
        return table.zeros
    if step == 0 and table.first is not None:
        return table.first.start + table.first.pitch * user
    of = step - table.is_delayed
    if of == length - 1 and table.last is not None:
        return table.last.start + table.last.pitch * user
    own = table.user * user + table.time * (length - 1 - of if rows.reverse else of)
    own += table.order * (int(rows.starts[of]) + row)
    own += table.turn * (of % 2 * rows.batch + row) + table.following * ((of + 1) % 2 * rows.batch + row)
    return table.start + own


def entries(table, rows):
    return [entry(table, rows, step, row) for step in range(rows.steps) for row in range(rows.counts[step])]


def filled(tables, rows, bits=32):
    """What compiled code writes, in memory that holds something else before."""
    made = RowTables(tools(bits, host_target()))
    places = [made.add(table, rows.steps, rows.batch) for table in tables]
    found = Split(np.full(made.size, -7, dtype=np.int64), np.full(made.size, 3, dtype=np.int32))
    made.fill(found, rows)
    whole = found.offsets + (found.bases.astype(np.int64) << OFFSET_BITS)
    return [whole[place : place + rows.total].tolist() for place in places], found, made


@st.composite
def batches(draw):
    steps, batch = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    lengths = draw(st.none() | st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    resets = draw(st.none() | st.lists(st.booleans(), min_size=steps * batch, max_size=steps * batch))
    return arrange(
        steps,
        batch,
        None if lengths is None else torch.tensor(lengths),
        None if resets is None else torch.tensor(resets).view(steps, batch),
        draw(st.booleans()),
    )


@settings(max_examples=200, deadline=None)
@given(rows=batches(), bits=st.sampled_from([32, 64]))
def test_entries_are_those_of_the_definition(rows, bits):
    found, _, _ = filled(TABLES.values(), rows, bits)
    for name, own in zip(TABLES, found, strict=True):
        assert own == entries(TABLES[name], rows), name


def test_nothing_is_written_beyond_the_rows_that_run():
    rows = arrange(4, 3, torch.tensor([1, 4, 0]), None, reverse=False)
    _, found, made = filled(TABLES.values(), rows)
    kept = np.ones(made.size, dtype=bool)
    for k in range(len(TABLES)):
        kept[k * 12 : k * 12 + rows.total] = False
    assert rows.total == 5
    assert (found.offsets[kept] == -7).all() and (found.bases[kept] == 3).all()


@pytest.mark.parametrize("reverse", [False, True])
def test_one_table_serves_old_and_new_states_of_an_even_batch(reverse):
    rows = arrange(5, 3, None, None, reverse)
    new = RowTable(X, user=16, time=160, last=Once(Y, 32))
    old = new._replace(first=Once(Z, 16), is_delayed=True)
    (_, _), found, _ = filled([old._replace(has_end=True), new], rows)
    whole = (found.offsets + (found.bases.astype(np.int64) << OFFSET_BITS)).tolist()
    assert whole[:15] == entries(old, rows)
    assert whole[3:18] == entries(new, rows)


def test_of_no_rows_nothing_is_written():
    rows = arrange(3, 2, torch.tensor([0, 0]), None, reverse=False)
    assert filled(TABLES.values(), rows)[0] == [[]] * len(TABLES)
