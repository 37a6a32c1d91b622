"""A cell for long sequences: JANET, whose units begin with memories of 1 to 784 steps, each with its own."""

import selfloop as sl
from selfloop import chrono, dropout, param, sigmoid, split, tanh


@sl.cell
def patient(x, h, *, W_xh=param("2h x"), W_hh=param("2h h"), b=param("2h", init=(chrono(784), 0))):
    f, g = split(W_xh @ x + W_hh @ h + b, 2)
    h = sigmoid(f) * h + (1 - sigmoid(f - 1)) * dropout(tanh(g), 0.2)
    return h
