"""The gated recurrent unit as first published."""

from selfloop.language import cell, param, sigmoid, split, tanh


@cell
def gru_reset_before(x, h, *, W_xh=param("3h x"), W_hg=param("2h h"), W_hn=param("h h"), b=param("3h")):
    r"""Gated recurrent unit that resets before its product, in the order r, z, n; `gru` resets after it.

    $r = \sigma(W_{xr} x_t + W_{hr} h_{t-1} + b_r)$, $z = \sigma(W_{xz} x_t + W_{hz} h_{t-1} + b_z)$,
    $n = \tanh(W_{xn} x_t + W_{hn} (r \odot h_{t-1}) + b_n)$, $h_t = z \odot h_{t-1} + (1 - z) \odot n$
    (Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder", equations 5 to 8, where biases are
    left out). `W_hg` holds $W_{hr}$ and $W_{hz}$.
    """
    x_r, x_z, x_n = split(W_xh @ x + b, 3)
    h_r, h_z = split(W_hg @ h, 2)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = tanh(x_n + W_hn @ (r * h))
    h = z * h + (1 - z) * n
    return h
