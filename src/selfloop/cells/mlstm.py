"""The matrix memory of xLSTM."""

from typing import Any

from selfloop.language import abs, cell, exp, maximum, outer, param, sigmoid, softplus, state, sum


def scaled(weight: Any) -> None:
    """Glorot's start over √h, which the paper divides keys by."""
    rows, columns = weight.shape
    bound = (6 / (rows + columns) / rows) ** 0.5
    weight.uniform_(-bound, bound)


@cell
def mlstm(
    x,
    h,
    C=state("h h"),
    n=state("h"),
    m=state("1"),
    *,
    W_q=param("h x"),
    b_q=param("h"),
    W_k=param("h x", init=scaled),
    b_k=param("h"),
    W_v=param("h x"),
    b_v=param("h"),
    W_o=param("h x"),
    b_o=param("h"),
    w_i=param("1 x"),
    b_i=param("1"),
    w_f=param("1 x"),
    b_f=param("1", init=3),
):
    r"""mLSTM: values are written to a matrix under keys, and read by queries, all made of the input.

    $C_t = f C_{t-1} + i\, v_t k_t^T$, $n_t = f n_{t-1} + i\, k_t$, $h_t = \sigma(W_o x_t + b_o) \odot C_t q_t /
    \max(|n_t^T q_t|, 1)$, with $q_t = W_q x_t + b_q$, k and v likewise, $i = \exp(w_i^T x_t + b_i)$ and $f =
    \sigma(w_f^T x_t + b_f)$. C, n and i are kept over $e^{m_t}$, $m_t = \max(\log f + m_{t-1}, \log i)$, which h does
    not show (Beck et al. 2024, "xLSTM: extended long short-term memory", equations 19 to 27). One head: several are
    several layers beside one another. The $1 / \sqrt h$ of the keys is in W_k and b_k.
    """
    q, k, v = W_q @ x + b_q, W_k @ x + b_k, W_v @ x + b_v
    i, f = w_i @ x + b_i, -softplus(-(w_f @ x + b_f))  # their logarithms
    old = m
    m = maximum(f + old, i)
    i, f = sum(exp(i - m)), sum(exp(f + old - m))
    C = f * C + i * outer(v, k)
    n = f * n + i * k
    h = sigmoid(W_o @ x + b_o) * (C @ q) / maximum(abs(sum(n * q)), exp(-sum(m)))
    return h, C, n, m
