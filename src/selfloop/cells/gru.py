"""The gated recurrent unit."""

from selfloop.language import cell, param, sigmoid, split, tanh


@cell
def gru(x, h, *, W_xh=param("3h x"), W_hh=param("3h h"), b_xh=param("3h"), b_hh=param("3h")):
    r"""Gated recurrent unit that resets after its product, as in torch.nn and cuDNN, in the order r, z, n.

    $n = \tanh(W_{xn} x_t + b_{xn} + r \odot (W_{hn} h_{t-1} + b_{hn}))$, $h_t = (1 - z) \odot n + z \odot h_{t-1}$
    (Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder"; reset after: Chung et al. 2014).
    """
    x_r, x_z, x_n = split(W_xh @ x + b_xh, 3)
    h_r, h_z, h_n = split(W_hh @ h + b_hh, 3)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = tanh(x_n + r * h_n)
    h = (1 - z) * n + z * h
    return h
