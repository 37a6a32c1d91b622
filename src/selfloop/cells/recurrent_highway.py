"""The recurrent highway network."""

from selfloop.language import cell, param, sigmoid, split, tanh


@cell
def recurrent_highway(
    x,
    h,
    *,
    W_xh=param("2h x"),
    W_1=param("2h h"),
    W_2=param("2h h"),
    W_3=param("2h h"),
    b_1=param("2h", init=(0, -2)),
    b_2=param("2h", init=(0, -2)),
    b_3=param("2h", init=(0, -2)),
):
    r"""Recurrent highway network of depth 3: three highway layers from one step to the next, in the order n, t.

    $(n_l, t_l) = [l = 1] W_{xh} x_t + W_l s_{l-1} + b_l$,
    $s_l = \sigma(t_l) \odot \tanh(n_l) + (1 - \sigma(t_l)) \odot s_{l-1}$, $s_0 = h_{t-1}$, $h_t = s_3$
    (Zilly et al. 2016, "Recurrent highway networks", equations 6 to 9 with the coupled carry gate $c = 1 - t$; the
    biases of the transform gates start below 0, as there).
    """
    for W, b in ((W_1, b_1 + W_xh @ x), (W_2, b_2), (W_3, b_3)):
        n, t = split(W @ h + b, 2)
        t = sigmoid(t)
        h = t * tanh(n) + (1 - t) * h
    return h
