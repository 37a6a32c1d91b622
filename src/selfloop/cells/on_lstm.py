"""The ordered-neurons LSTM."""

from selfloop.language import cell, cumsum, param, sigmoid, softmax, split, tanh


@cell
def on_lstm(x, h, c, *, W_xh=param("6h x"), W_hh=param("6h h"), b=param("6h", init=(0, 1, 0, 0, 0, 0))):
    r"""Ordered-neurons LSTM: units are forgotten and written in an order, the high ones for longer.

    With $\mathrm{cumax}(v) = \mathrm{cumsum}(\mathrm{softmax}(v))$ the master gates are $\tilde f =
    \mathrm{cumax}(\cdot)$ and $\tilde i = 1 - \mathrm{cumax}(\cdot)$, and where both are open, $\omega = \tilde f
    \odot \tilde i$, the gates of an LSTM decide: $\hat f = f \odot \omega + (\tilde f - \omega)$, $\hat i = i \odot
    \omega + (\tilde i - \omega)$, $c_t = \hat f \odot c_{t-1} + \hat i \odot \tanh(g)$, $h_t = o \odot \tanh(c_t)$
    (Shen et al. 2019, "Ordered neurons: integrating tree structures into recurrent neural networks", with a master
    gate a unit).
    """
    i, f, g, o, mi, mf = split(W_xh @ x + W_hh @ h + b, 6)
    forget, admit = cumsum(softmax(mf)), 1 - cumsum(softmax(mi))
    both = forget * admit
    c = (sigmoid(f) * both + (forget - both)) * c + (sigmoid(i) * both + (admit - both)) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return h, c
