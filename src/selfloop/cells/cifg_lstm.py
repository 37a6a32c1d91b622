"""Long short-term memory with coupled input and forget gates."""

from selfloop.language import cell, param, sigmoid, split, tanh


@cell
def cifg_lstm(x, h, c, *, W_xh=param("3h x"), W_hh=param("3h h"), b=param("3h", init=(-1, 0, 0))):
    r"""LSTM whose forget gate is $f = 1 - i$, in the order i, g, o.

    $c_t = (1 - i) \odot c_{t-1} + i \odot g$, $h_t = o \odot \tanh(c_t)$ (Greff et al. 2015, "LSTM: a search space
    odyssey", variant CIFG, there with peepholes, which are left out here as in `lstm`). The bias of i starts at -1,
    since $1 - \sigma(-1) = \sigma(1)$ is where the forget gate of `lstm` starts.
    """
    i, g, o = split(W_xh @ x + W_hh @ h + b, 3)
    i, g, o = sigmoid(i), tanh(g), sigmoid(o)
    c = (1 - i) * c + i * g
    h = o * tanh(c)
    return h, c
