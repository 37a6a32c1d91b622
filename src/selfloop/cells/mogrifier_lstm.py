"""The mogrifier."""

from selfloop.language import cell, param, sigmoid, split, tanh


@cell
def mogrifier_lstm(
    x,
    h,
    c,
    *,
    Q1=param("x h"),
    R2=param("h x"),
    Q3=param("x h"),
    R4=param("h x"),
    Q5=param("x h"),
    W_xh=param("4h x"),
    W_hh=param("4h h"),
    b=param("4h", init=(0, 1, 0, 0)),
):
    r"""Mogrifier LSTM: before the step, input and state scale each other, five times in turns.

    $x^1 = 2\sigma(Q_1 h) \odot x$, $h^2 = 2\sigma(R_2 x^1) \odot h$, $x^3 = 2\sigma(Q_3 h^2) \odot x^1$ and so on;
    then an `lstm` of $x^5$ and $h^4$ (Melis et al. 2020, "Mogrifier LSTM", with five rounds).
    """
    x = 2 * sigmoid(Q1 @ h) * x
    h = 2 * sigmoid(R2 @ x) * h
    x = 2 * sigmoid(Q3 @ h) * x
    h = 2 * sigmoid(R4 @ x) * h
    x = 2 * sigmoid(Q5 @ h) * x
    i, f, g, o = split(W_xh @ x + W_hh @ h + b, 4)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return h, c
