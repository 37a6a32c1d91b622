"""The gated recurrent unit for missing values."""

from selfloop.language import cell, exp, given, param, relu, sigmoid, split, state, tanh, where


@cell
def gru_d(
    x,
    h,
    last=state("x"),
    mask=given("x"),
    dt=given("x"),
    *,
    w_dx=param("x"),
    b_dx=param("x"),
    W_dh=param("h x"),
    b_dh=param("h"),
    W_xh=param("3h x"),
    W_hh=param("2h h"),
    W_mh=param("3h x"),
    U=param("h h"),
    b=param("3h"),
    mean=param("x", trainable=False),
):
    r"""GRU-D: with time, a missing value goes from the last that was seen to the mean, and the state fades.

    With $\gamma(v) = \exp(-\max(0, v))$, $\hat x = m \odot x + (1 - m) \odot (\gamma(w_{dx} \odot \delta + b_{dx})
    \odot x' + (1 - \gamma(\cdot)) \odot \bar x)$ and $\hat h = \gamma(W_{dh} \delta + b_{dh}) \odot h_{t-1}$; $r =
    \sigma(W_r \hat x + U_r \hat h + V_r m + b_r)$, z likewise, $n = \tanh(W \hat x + U (r \odot \hat h) + V m + b)$,
    $h_t = (1 - z) \odot \hat h + z \odot n$ (Che et al. 2018, "Recurrent neural networks for multivariate time series
    with missing values"). ``rnn(x, mask=m, dt=δ)``: m is 1 where x was seen and else 0, where x may be NaN, and δ the
    time since each variable was, both as x. The mean $\bar x$ starts at 0, that of scaled series.
    """
    known = exp(-relu(w_dx * dt + b_dx))
    filled = where(mask > 0, x, known * last + (1 - known) * mean)
    last = where(mask > 0, x, last)
    h = exp(-relu(W_dh @ dt + b_dh)) * h
    a_r, a_z, a_n = split(W_xh @ filled + W_mh @ mask + b, 3)
    s_r, s_z = split(W_hh @ h, 2)
    z = sigmoid(a_z + s_z)
    n = tanh(a_n + U @ (sigmoid(a_r + s_r) * h))
    h = (1 - z) * h + z * n
    return h, last
