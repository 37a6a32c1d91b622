"""The entity-aware LSTM."""

from selfloop.language import cell, given, param, sigmoid, split, tanh


@cell
def ea_lstm(
    x,
    h,
    c,
    static=given("s"),
    *,
    W_sh=param("h s"),
    b_s=param("h"),
    W_xh=param("3h x"),
    W_hh=param("3h h"),
    b=param("3h", init=(1, 0, 0)),
):
    r"""Entity-aware LSTM: what is the same for a whole sequence, as a river's catchment, opens the input gate.

    $i = \sigma(W_{sh} s + b_s)$; f, g and o are those of an `lstm` of $x_t$; $c_t = f \odot c_{t-1} + i \odot g$,
    $h_t = o \odot \tanh(c_t)$ (Kratzert et al. 2019, "Towards learning universal, regional, and local hydrological
    behaviors via machine learning applied to large-sample datasets"). ``rnn(x, static=s)``, s of (B, s).
    """
    i = sigmoid(W_sh @ static + b_s)
    f, g, o = split(W_xh @ x + W_hh @ h + b, 3)
    c = sigmoid(f) * c + i * tanh(g)
    h = sigmoid(o) * tanh(c)
    return h, c
