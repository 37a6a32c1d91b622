"""The minimal LSTM."""

from selfloop.language import cell, param, sigmoid, split


@cell
def min_lstm(x, h, *, W_xh=param("3h x"), b=param("3h", init=(0, 1, 0))):
    r"""minLSTM: gates that see the input alone and add up to 1, and no nonlinearity on the state; in the order i, f, g.

    $h_t = \frac{f}{f + i} \odot h_{t-1} + \frac{i}{f + i} \odot g$, $i = \sigma(W_{xi} x_t + b_i)$, f likewise,
    $g = W_{xg} x_t + b_g$ (Feng et al. 2024, "Were RNNs all we needed?", section 3.2, not in logarithms).
    """
    i, f, g = split(W_xh @ x + b, 3)
    i, f = sigmoid(i), sigmoid(f)
    h = f / (f + i) * h + i / (f + i) * g
    return h
