"""Long short-term memory with layer normalisation."""

from selfloop.language import cell, layer_norm, param, sigmoid, split, tanh


@cell
def layer_norm_lstm(
    x,
    h,
    c,
    *,
    W_xh=param("4h x"),
    W_hh=param("4h h"),
    gain_x=param("4h", init=1),
    gain_h=param("4h", init=1),
    b=param("4h", init=(0, 1, 0, 0)),
    gain_c=param("h", init=1),
    b_c=param("h"),
):
    r"""LSTM that normalises what it takes of the input, of its output and of its cell, in the order i, f, g, o.

    $(i, f, g, o) = \alpha_x \odot \mathrm{LN}(W_{xh} x_t) + \alpha_h \odot \mathrm{LN}(W_{hh} h_{t-1}) + b$,
    $c_t = \sigma(f) \odot c_{t-1} + \sigma(i) \odot \tanh(g)$,
    $h_t = \sigma(o) \odot \tanh(\alpha_c \odot \mathrm{LN}(c_t) + b_c)$
    (Ba, Kiros & Hinton 2016, "Layer normalization", equations 20 to 22: over all four gates at once). There each LN of
    the gates has a bias of its own, which b already is.
    """
    i, f, g, o = split(gain_x * layer_norm(W_xh @ x) + gain_h * layer_norm(W_hh @ h) + b, 4)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(gain_c * layer_norm(c) + b_c)
    return h, c
