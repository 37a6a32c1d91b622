"""The shapes and types in signatures are checked while tests run."""

from dataclasses import dataclass

import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float
from shape_checks import checked
from torch import Tensor

from selfloop.layers.dropout import VariationalDropout


class Sums:
    @checked
    def added(self, a: Float[Tensor, "T B"], b: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        return self.result if hasattr(self, "result") else a.sum(0) + b

    @classmethod
    @checked
    def made(cls, size: int) -> "Sums":
        return cls()

    @property
    @checked
    def last(self) -> Float[Tensor, " B"]:
        return self.result


@checked
@dataclass
class Both:
    a: Float[Tensor, "T B"]
    b: Float[Tensor, " B"]


def test_axes_of_one_name_have_one_size_within_a_call():
    sums = Sums.made(1)
    for size in (3, 4):
        assert sums.added(torch.zeros(2, size), torch.zeros(size)).shape == (size,)
    with pytest.raises(BeartypeCallHintViolation, match="b="):
        sums.added(torch.zeros(2, 3), torch.zeros(4))
    with pytest.raises(BeartypeCallHintViolation, match="b="):
        Both(torch.zeros(2, 3), torch.zeros(4))
    assert Both(torch.zeros(2, 3), torch.zeros(3))


def test_results_are_checked_too():
    sums = Sums()
    sums.result = torch.zeros(4)
    assert sums.last is sums.result
    with pytest.raises(BeartypeCallHintViolation, match="return"):
        sums.added(torch.zeros(2, 3), torch.zeros(3))
    sums.result = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(BeartypeCallHintViolation, match="return"):
        sums.last  # noqa: B018
    with pytest.raises(BeartypeCallHintViolation, match="size"):
        Sums.made("1")


def test_they_are_switched_on_in_the_packages_that_pyproject_names():
    with pytest.raises(BeartypeCallHintViolation, match="x="):
        VariationalDropout(0.5)(torch.zeros(3, 4))
    with pytest.raises(BeartypeCallHintViolation, match="rate"):
        VariationalDropout("0.5")
