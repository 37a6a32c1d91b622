"""Long short-term memory whose gates see the cell state."""

from selfloop.language import cell, param, sigmoid, split, tanh


@cell
def peephole_lstm(
    x, h, c, *, W_xh=param("4h x"), W_hh=param("4h h"), w_ch=param("3h"), b=param("4h", init=(0, 1, 0, 0))
):
    r"""LSTM with peepholes: gates i and f see $c_{t-1}$, and o sees $c_t$, each unit its own cell alone.

    $i = \sigma(W_{xi} x_t + W_{hi} h_{t-1} + w_{ci} \odot c_{t-1} + b_i)$, f likewise,
    $c_t = f \odot c_{t-1} + i \odot \tanh(W_{xg} x_t + W_{hg} h_{t-1} + b_g)$,
    $o = \sigma(W_{xo} x_t + W_{ho} h_{t-1} + w_{co} \odot c_t + b_o)$, $h_t = o \odot \tanh(c_t)$
    (Gers & Schmidhuber 2000, "Recurrent nets that time and count"; as in Graves 2013, "Generating sequences with
    recurrent neural networks", equations 7 to 11). Peepholes start at 0, where the cell is `lstm`.
    """
    i, f, g, o = split(W_xh @ x + W_hh @ h + b, 4)
    w_i, w_f, w_o = split(w_ch, 3)
    i, f = sigmoid(i + w_i * c), sigmoid(f + w_f * c)
    c = f * c + i * tanh(g)
    h = sigmoid(o + w_o * c) * tanh(c)
    return h, c
