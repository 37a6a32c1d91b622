"""The coupled oscillatory network."""

from selfloop.language import cell, param, tanh


@cell
def cornn(
    x,
    h,
    z,
    *,
    W_xh=param("h x"),
    W_hh=param("h h"),
    W_zh=param("h h"),
    b=param("h"),
    step=param("", init=0.05, trainable=False),
    gamma=param("", init=2, trainable=False),
    epsilon=param("", init=5, trainable=False),
):
    r"""Coupled oscillatory RNN: units are driven and damped oscillators at h, with the velocities z.

    $z_t = z_{t-1} + \Delta t (\tanh(W_{hh} h_{t-1} + W_{zh} z_{t-1} + W_{xh} x_t + b) - \gamma h_{t-1} - \epsilon
    z_{t-1})$, $h_t = h_{t-1} + \Delta t\, z_t$ (Rusch & Mishra 2021, "Coupled oscillatory recurrent neural network
    (coRNN)", with the explicit damping). Step, γ and ε do not learn; the paper searches them for each task.
    """
    z = z + step * (tanh(W_hh @ h + W_zh @ z + W_xh @ x + b) - gamma * h - epsilon * z)
    h = h + step * z
    return h, z
