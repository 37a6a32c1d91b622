"""Cells that nobody wrote: random equations, compiled, give the interpreter's numbers and gradients in random calls.

Some are the same at each run; then others, from a new seed, for SELFLOOP_FUZZ seconds. `make fuzz` takes an hour.
"""

import os
import random

import pytest
from random_cells import check, work

SECONDS = float(os.environ.get("SELFLOOP_FUZZ", "12"))  # about twenty cells


@pytest.mark.parametrize("number", range(8))
def test_any_equations_compiled_are_those_equations_interpreted(number):
    check(number)


def test_a_cell_that_magnifies_roundings_is_compared_as_far_as_it_can_be():
    check(536620113537)  # from 6e-15 at the first step to 6e-7 at the ninth


def test_other_equations_at_each_run():
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")  # pytest shows it, the cells and the commands that repeat them, where one is wrong
    done, wrong = work(seed * 1000, 1, SECONDS)
    assert done
    assert not wrong
