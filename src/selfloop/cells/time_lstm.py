"""The time-aware LSTM."""

import math

from selfloop.language import cell, given, log, param, sigmoid, split, sum, tanh


@cell
def time_lstm(
    x,
    h,
    c,
    dt=given("1"),
    *,
    W_d=param("h h"),
    b_d=param("h"),
    W_xh=param("4h x"),
    W_hh=param("4h h"),
    b=param("4h", init=(0, 1, 0, 0)),
):
    r"""Time-aware LSTM: of the memory, what is short fades with the time since the step before.

    $s = \tanh(W_d c_{t-1} + b_d)$ is the short memory, and $c' = c_{t-1} - s + s / \log(e + \Delta t)$ goes into the
    step of an `lstm` (Baytas et al. 2017, "Patient subtyping via time-aware LSTM networks", with its decay for long
    gaps). ``rnn(x, dt=dt)``, dt of (T, B, 1), at least 0.
    """
    short = tanh(W_d @ c + b_d)
    c = c - short + short / log(math.e + sum(dt))
    i, f, g, o = split(W_xh @ x + W_hh @ h + b, 4)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return h, c
