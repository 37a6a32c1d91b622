import pytest
import torch
from torch.nn import functional as F

from selfloop.models.bags import _order, sums_of_bags

ROWS = torch.tensor([3, 1, 3, 0, 2, 2, 2, 1])
STARTS = torch.tensor([0, 3, 3, 6])  # the second is empty


@pytest.mark.parametrize("sparse", [False, True])
def test_sums_and_their_gradient_are_those_of_torch(sparse):
    table, weights = torch.randn(5, 4, dtype=torch.float64), torch.randn(4, 4, dtype=torch.float64)
    mine, theirs = (table.clone().requires_grad_() for _ in range(2))
    sums = sums_of_bags(mine, ROWS, STARTS, sparse)
    expected = F.embedding_bag(ROWS, theirs, STARTS, mode="sum")
    assert torch.equal(sums, expected)
    (sums * weights).sum().backward()
    (expected * weights).sum().backward()
    assert mine.grad.is_sparse == sparse
    if sparse:
        assert mine.grad.coalesce().indices().tolist() == [[0, 1, 2, 3]]
    torch.testing.assert_close(mine.grad.to_dense(), theirs.grad)


@pytest.mark.parametrize("size", [7, 1 << 16, (1 << 16) + 1, 1 << 17, (1 << 32) + 5])
def test_rows_of_any_table_come_in_order_and_equal_ones_as_they_stand(size):
    rows = torch.cat([torch.randint(size, (500,)), torch.tensor([0, size - 1, size // 2, 0, size - 1])])
    assert torch.equal(_order(rows, most=size), rows.argsort(stable=True))


def test_a_table_without_gradient_has_none():
    assert not sums_of_bags(torch.randn(5, 4), ROWS, STARTS, sparse=True).requires_grad
    with torch.no_grad():
        assert not sums_of_bags(torch.randn(5, 4, requires_grad=True), ROWS, STARTS, sparse=True).requires_grad


def test_the_same_bits_come_again():
    found = []
    for _ in range(3):
        torch.manual_seed(0)
        table = torch.randn(9, 4, requires_grad=True)
        rows = torch.randint(9, (500,))
        (sums_of_bags(table, rows, torch.arange(0, 500, 5), sparse=True) * torch.randn(100, 4)).sum().backward()
        found.append(table.grad.coalesce().values())
    assert all(torch.equal(values, found[0]) for values in found)
