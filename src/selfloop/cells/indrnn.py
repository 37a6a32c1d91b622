"""The independently recurrent network."""

from selfloop.language import cell, param, relu


@cell
def indrnn(x, h, *, W_xh=param("h x"), w_hh=param("h", init=0.5), b=param("h")):
    r"""Independently recurrent network: each unit sees of the state itself alone.

    $h_t = \max(0, W_{xh} x_t + w_{hh} \odot h_{t-1} + b)$ (Li et al. 2018, "Independently recurrent neural network
    (IndRNN)"; the recurrent weights start at the middle of its range of 0 to 1).
    """
    h = relu(W_xh @ x + w_hh * h + b)
    return h
