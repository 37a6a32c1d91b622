"""The phased LSTM."""

from typing import Any

from selfloop.language import cell, floor, given, param, sigmoid, split, sum, tanh, where


def periods(weight: Any) -> None:
    """Fill with exp(u), u drawn evenly from 0 to 3."""
    weight.uniform_(0, 3).exp_()


@cell
def phased_lstm(
    x,
    h,
    c,
    time=given("1"),
    *,
    W_xh=param("4h x"),
    W_hh=param("4h h"),
    w_ch=param("3h"),
    b=param("4h", init=(0, 1, 0, 0)),
    period=param("h", init=periods),
    shift=param("h", init=lambda weight: weight.uniform_(0, 1)),
    open_share=param("", init=0.05, trainable=False),
    leak=param("", init=0.001, trainable=False),
):
    r"""Phased LSTM: each unit has a rhythm, and changes only while its gate is open.

    $\phi = (t / \tau - s) \bmod 1$; the gate is $k = 2\phi / r$ for $\phi < r / 2$, $2 - 2\phi / r$ for $\phi < r$,
    and else $\alpha\phi$; $c_t = k \odot \tilde c + (1 - k) \odot c_{t-1}$, and h likewise, where $\tilde c$ and
    $\tilde h$ are those of a `peephole_lstm` (Neil et al. 2016, "Phased LSTM"; its shift is $s\tau$). The periods τ
    start as there; the share r and the leak α do not learn. ``rnn(x, time=t)``, the time of each step, (T, B, 1).
    """
    phase = sum(time) / period - shift
    phase = phase - floor(phase)
    rises, falls = 2 * phase / open_share, 2 - 2 * phase / open_share
    k = where(phase < open_share / 2, rises, where(phase < open_share, falls, leak * phase))
    i, f, g, o = split(W_xh @ x + W_hh @ h + b, 4)
    w_i, w_f, w_o = split(w_ch, 3)
    new = sigmoid(f + w_f * c) * c + sigmoid(i + w_i * c) * tanh(g)
    h = k * (sigmoid(o + w_o * new) * tanh(new)) + (1 - k) * h
    c = k * new + (1 - k) * c
    return h, c
