"""A cell of one's own: an LSTM whose gates see the cell state through peepholes (Gers & Schmidhuber 2000)."""

import selfloop as sl
from selfloop import param, sigmoid, split, tanh


@sl.cell
def peephole(x, h, c, *, W=param("4h x"), U=param("4h h"), b=param("4h"), p=param("h"), q=param("h")):
    i, f, g, o = split(W @ x + U @ h + b, 4)
    i, f = sigmoid(i + p * c), sigmoid(f + q * c + 1)
    c = f * c + i * tanh(g)
    h = sigmoid(o) * tanh(c)
    return h, c
