"""The minimal gated unit."""

from selfloop.language import cell, param, sigmoid, split, tanh


@cell
def mgu(x, h, *, W_xh=param("2h x"), W_hf=param("h h"), W_hn=param("h h"), b=param("2h")):
    r"""Minimal gated unit: a GRU with one gate, which both resets and updates, in the order f, n.

    $f = \sigma(W_{xf} x_t + W_{hf} h_{t-1} + b_f)$, $n = \tanh(W_{xn} x_t + W_{hn} (f \odot h_{t-1}) + b_n)$,
    $h_t = (1 - f) \odot h_{t-1} + f \odot n$
    (Zhou et al. 2016, "Minimal gated unit for recurrent neural networks").
    """
    x_f, x_n = split(W_xh @ x + b, 2)
    f = sigmoid(x_f + W_hf @ h)
    n = tanh(x_n + W_hn @ (f * h))
    h = (1 - f) * h + f * n
    return h
