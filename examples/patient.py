"""A cell for long sequences: JANET, whose units begin with memories of 1 to 784 steps, each with its own."""

import selfloop as sl
from selfloop import chrono, param


@sl.cell
def patient(x, h, *, W_xh=param("2h x"), W_hh=param("2h h"), b=param("2h", init=(chrono(784), 0))):
    return sl.cells.janet(x, h, W_xh=W_xh, W_hh=W_hh, b=b)
