"""Long short-term memory."""

from selfloop.language import cell, param, sigmoid, split, tanh


@cell
def lstm(x, h, c, *, W_xh=param("4h x"), W_hh=param("4h h"), b=param("4h", init=(0, 1, 0, 0))):
    r"""Long short-term memory with a forget gate, in the order of torch.nn (i, f, g, o).

    $c_t = f \odot c_{t-1} + i \odot g$, $h_t = o \odot \tanh(c_t)$ (Hochreiter & Schmidhuber 1997, "Long short-term
    memory"; forget gate: Gers, Schmidhuber & Cummins 2000, "Learning to forget"; its bias: Jozefowicz et al. 2015).
    """
    i, f, g, o = split(W_xh @ x + W_hh @ h + b, 4)
    i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
    c = f * c + i * g
    h = o * tanh(c)
    return h, c
