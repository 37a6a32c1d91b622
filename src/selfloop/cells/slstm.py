"""The scalar memory of xLSTM."""

from selfloop.language import cell, exp, maximum, param, sigmoid, softplus, split, tanh, where


@cell
def slstm(
    x,
    h,
    c,
    n,
    m,
    *,
    W_xh=param("4h x"),
    W_hh=param("4h h", heads="heads"),
    b=param("4h", init=(0, 1, 0, 0)),
):
    r"""sLSTM: an LSTM with an exponential input gate and a normaliser n, in the order i, f, z, o.

    $c_t = f \odot c_{t-1} + i \odot \tanh(z)$, $n_t = f \odot n_{t-1} + i$, $h_t = \sigma(o) \odot c_t / n_t$ with
    $i = \exp(\tilde i)$ and $f = \sigma(\tilde f)$, so that h is a weighted mean of what was seen. Both gates, and with
    them c and n, are kept over $e^{m_t}$, $m_t = \max(\log f + m_{t-1}, \tilde i)$, which h does not show
    (Beck et al. 2024, "xLSTM: extended long short-term memory", equations 8 to 17; the forget gate may be exponential
    there too). W_hh mixes the units of each head: of all, unless ``Recurrent(slstm, …, heads=4)``. The paper starts
    from $m_0 = -\infty$; here $n_{t-1} = 0$ says that nothing was seen yet, and $m_t = \tilde i$.
    """
    i, f, z, o = split(W_xh @ x + W_hh @ h + b, 4)
    old = where(n > 0, m - softplus(-f), i)  # log f + m[t-1]
    m = maximum(old, i)
    i, f = exp(i - m), exp(old - m)
    c = f * c + i * tanh(z)
    n = f * n + i
    h = sigmoid(o) * c / n
    return h, c, n, m
