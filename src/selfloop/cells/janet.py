"""Just another network: an LSTM of its forget gate alone."""

from selfloop.language import cell, param, sigmoid, split, tanh


@cell
def janet(x, h, *, W_xh=param("2h x"), W_hh=param("2h h"), b=param("2h", init=(1, 0))):
    r"""JANET: an LSTM with the forget gate alone, in the order f, g.

    $h_t = \sigma(f) \odot h_{t-1} + (1 - \sigma(f - \beta)) \odot \tanh(g)$,
    $(f, g) = W_{xh} x_t + W_{hh} h_{t-1} + b$, $\beta = 1$ (van der Westhuizen & Lasenby 2018, "The unreasonable
    effectiveness of the forget gate", whose c is our h; there the bias of f starts at random logarithms of time
    spans, here at 1).
    """
    f, g = split(W_xh @ x + W_hh @ h + b, 2)
    h = sigmoid(f) * h + (1 - sigmoid(f - 1)) * tanh(g)
    return h
