"""The minimal GRU."""

from selfloop.language import cell, param, sigmoid, split


@cell
def min_gru(x, h, *, W_xh=param("2h x"), b=param("2h")):
    r"""minGRU: one gate, which sees the input alone, and no nonlinearity on the state; in the order z, n.

    $h_t = (1 - z) \odot h_{t-1} + z \odot n$, $z = \sigma(W_{xz} x_t + b_z)$, $n = W_{xn} x_t + b_n$
    (Feng et al. 2024, "Were RNNs all we needed?", section 3.1, not in logarithms).
    """
    z, n = split(W_xh @ x + b, 2)
    z = sigmoid(z)
    h = (1 - z) * h + z * n
    return h
