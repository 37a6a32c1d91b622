"""The closed-form continuous-time network."""

from selfloop.language import cell, concat, given, param, sigmoid, split, sum, tanh


@cell
def cfc(
    x,
    h,
    dt=given("1"),
    *,
    W_b=param("k x+h"),
    b_b=param("k"),
    W=param("4h k"),
    b=param("4h"),
):
    r"""Closed-form continuous-time network: between two readouts of what it sees, the time since the last step decides.

    $u = 1.7159 \tanh(\frac{2}{3}(W_b [x_t, h_{t-1}] + b_b))$ has k units; $h_t = \tanh(W_f u + b_f) \odot (1 -
    \sigma(t)) + \tanh(W_g u + b_g) \odot \sigma(t)$ with $t = (W_\alpha u + b_\alpha) \Delta t + W_\beta u + b_\beta$
    (Hasani et al. 2022, "Closed-form continuous-time neural networks", in the form of its code). ``rnn(x, dt=dt)``,
    dt of (T, B, 1).
    """
    u = 1.7159 * tanh((W_b @ concat(x, h) + b_b) * (2 / 3))
    f, g, a, o = split(W @ u + b, 4)
    late = sigmoid(a * sum(dt) + o)
    h = tanh(f) * (1 - late) + tanh(g) * late
    return h
