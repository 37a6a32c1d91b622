"""The antisymmetric network."""

from selfloop.language import cell, param, tanh


@cell
def antisymmetric(
    x,
    h,
    *,
    W_xh=param("h x"),
    W_hh=param("h h"),
    b=param("h"),
    step=param("", init=0.1, trainable=False),
    damping=param("", init=0.01, trainable=False),
):
    r"""Antisymmetric RNN: steps of a differential equation whose Jacobian's eigenvalues are near the imaginary axis.

    $h_t = h_{t-1} + \epsilon \tanh((W_{hh} - W_{hh}^T - \gamma I) h_{t-1} + W_{xh} x_t + b)$ (Chang et al. 2019,
    "AntisymmetricRNN: a dynamical system view on recurrent neural networks", without its gate). The step ε and the
    damping γ do not learn; the paper searches them for each task.
    """
    h = h + step * tanh((W_hh - W_hh.T) @ h - damping * h + W_xh @ x + b)
    return h
