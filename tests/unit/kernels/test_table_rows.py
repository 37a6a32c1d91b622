"""Rows of a table are averaged and moved as torch's operations would, and no other row is touched."""

import pytest
import torch
from catalogue import TOLERANCE

from selfloop import processors
from selfloop.kernels import refusals, team
from selfloop.kernels.table_rows import average_rows, move_rows

SHAPES = [(9, 5, 4), (40, 33, 17), (3, 1, 3), (7, 16, 1), (5, 8, 0), (2000, 64, 900)]


def numbers(*shape, dtype):
    return torch.randn(*shape, dtype=dtype)


def case(shape, dtype):
    """Tables, and some of their rows."""
    torch.manual_seed(0)
    count, size, few = shape
    tables = [numbers(count, size, dtype=dtype), numbers(count, size, dtype=dtype).square()]
    return (*tables, torch.randperm(count)[:few].sort().values)


def gradient_of(table, rows):
    g = numbers(len(rows), table.shape[1], dtype=table.dtype)
    return torch.sparse_coo_tensor(rows[None], g, table.shape, is_coalesced=True, check_invariants=True), g


def of_rows(*shape, dtype):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(dtype)


def moved(table, squares, gradient, rows):
    keep, shrink = of_rows(2, len(rows), dtype=table.dtype)
    move_rows(table, squares, gradient, keep=keep, shrink=shrink, share=0.01, eps=1e-8, rate=0.002)
    return table, squares


def averaged(average, table, rows):
    average_rows(average, table, rows, of_rows(len(rows), dtype=table.dtype))
    return (average,)


def by_torch(function, *arguments):
    """What the function makes of these without kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refusals, "UNSUPPORTED", "as a test wants")
        return function(*(argument.clone() for argument in arguments))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("way", ["average", "move"])
def test_rows_are_those_of_torchs_operations_and_others_keep_their_bits(way, shape, dtype):
    table, squares, rows = case(shape, dtype)
    if way == "move":
        function, arguments = moved, (table, squares, gradient_of(table, rows)[0], rows)
    else:
        function, arguments = averaged, (squares, table, rows)
    expected = by_torch(function, *(a.double() if a.is_floating_point() else a for a in arguments))
    before = [argument.clone() for argument in arguments]
    others = [k for k in range(shape[0]) if k not in set(rows.tolist())]
    for found, wanted, was in zip(function(*arguments), expected, before, strict=False):
        torch.testing.assert_close(found.double(), wanted, **TOLERANCE[dtype])
        assert torch.equal(found[others], was[others])
        assert not len(rows) or not torch.equal(found, was)


@pytest.mark.parametrize("way", [moved, averaged])
def test_the_bits_are_the_same_for_any_number_of_threads(way, monkeypatch):
    monkeypatch.setattr(processors, "count", lambda: 8)
    monkeypatch.setattr(team, "ONE_THREAD_BELOW", 0)
    before, results = torch.get_num_threads(), []
    for threads in (1, 2, 3, 8):
        torch.set_num_threads(threads)
        table, squares, rows = case((300, 33, 70), torch.float32)
        arguments = (table, squares, gradient_of(table, rows)[0], rows) if way is moved else (squares, table, rows)
        results.append(way(*arguments))
    torch.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


def test_tables_of_any_layout_are_moved():
    table, squares, rows = case((20, 6, 5), torch.float32)
    gradient, _ = gradient_of(table, rows)
    wanted = by_torch(moved, table, squares, gradient, rows)
    for found, expected in zip(moved(table.t().contiguous().t(), squares, gradient, rows), wanted, strict=True):
        torch.testing.assert_close(found, expected)


def test_autograd_knows_that_a_table_has_changed():
    table, squares, rows = case((9, 5, 4), torch.float32)
    table.requires_grad_()
    loss = table.square().sum()
    with torch.no_grad():
        moved(table, squares, gradient_of(table, rows)[0], rows)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_half_precision_is_torchs():
    table, squares, rows = case((9, 5, 4), torch.bfloat16)
    gradient, _ = gradient_of(table, rows)
    wanted = by_torch(moved, table, squares, gradient, rows)
    assert all(map(torch.equal, moved(table, squares, gradient, rows), wanted))
