"""The long expressive memory."""

from selfloop.language import cell, param, sigmoid, split, tanh


@cell
def lem(
    x,
    h,
    z,
    *,
    W_xh=param("4h x"),
    W_hh=param("3h h"),
    W_zh=param("h h"),
    b=param("4h"),
    step=param("", init=1, trainable=False),
):
    r"""Long expressive memory: two coupled states, whose units have time steps of their own, made by gates.

    $\Delta = \Delta t\, \sigma(W_1 h_{t-1} + V_1 x_t + b_1)$, $\bar\Delta$ likewise, $z_t = (1 - \Delta) \odot
    z_{t-1} + \Delta \odot \tanh(W_z h_{t-1} + V_z x_t + b_z)$, $h_t = (1 - \bar\Delta) \odot h_{t-1} + \bar\Delta
    \odot \tanh(W_h z_t + V_h x_t + b_h)$ (Rusch et al. 2022, "Long expressive memory for sequence modeling", whose y
    is h here). The longest step does not learn.
    """
    d, e, v, w = split(W_xh @ x + b, 4)
    p, q, r = split(W_hh @ h, 3)
    d, e = step * sigmoid(d + p), step * sigmoid(e + q)
    z = (1 - d) * z + d * tanh(v + r)
    h = (1 - e) * h + e * tanh(w + W_zh @ z)
    return h, z
