"""Long short-term memory with a transition for each input."""

from selfloop.language import cell, param, sigmoid, split, tanh


@cell
def multiplicative_lstm(
    x,
    h,
    c,
    *,
    W_xm=param("h x"),
    W_hm=param("h h"),
    W_xh=param("4h x"),
    W_mh=param("4h h"),
    b=param("4h", init=(0, 1, 0, 0)),
):
    r"""LSTM that sees $m_t$, a product of input and output, in the place of $h_{t-1}$, in the order i, f, g, o.

    $m_t = (W_{xm} x_t) \odot (W_{hm} h_{t-1})$, $(i, f, g, o) = W_{xh} x_t + W_{mh} m_t + b$,
    $c_t = \sigma(f) \odot c_{t-1} + \sigma(i) \odot \tanh(g)$, $h_t = \sigma(o) \odot \tanh(c_t)$
    (Krause et al. 2016, "Multiplicative LSTM for sequence modelling", equations 18 to 22, where biases are left out;
    its first version had $h_t = \tanh(o \odot c_t)$).
    """
    m = (W_xm @ x) * (W_hm @ h)
    i, f, g, o = split(W_xh @ x + W_mh @ m + b, 4)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return h, c
