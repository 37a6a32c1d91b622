"""The delta rule as a recurrence."""

from selfloop.language import cell, outer, param, sigmoid, silu, sqrt, state, sum


@cell
def delta_net(
    x,
    h,
    S=state("h h"),
    *,
    W_q=param("h x"),
    W_k=param("h x"),
    W_v=param("h x"),
    w_beta=param("1 x"),
    b_beta=param("1"),
):
    r"""DeltaNet: what is written under a key replaces what was there, by a share.

    $S_t = S_{t-1} + \beta_t (v_t - S_{t-1} k_t) k_t^T$, $h_t = S_t q_t$, with $v_t = \mathrm{silu}(W_v x_t)$, $k_t =
    u / \|u\|$ of $u = \mathrm{silu}(W_k x_t)$, q likewise, and $\beta_t = \sigma(w^T x_t + b)$ (Schlag et al. 2021,
    "Linear transformers are secretly fast weight programmers"; activations and norms of Yang et al. 2024,
    "Parallelizing linear transformers with the delta rule over sequence length"). One head; the short convolutions
    before it and the norm after it, which that model has, stand outside.
    """
    q, k, v = silu(W_q @ x), silu(W_k @ x), silu(W_v @ x)
    q, k = q / sqrt(sum(q * q) + 1e-6), k / sqrt(sum(k * k) + 1e-6)
    beta = sum(sigmoid(w_beta @ x + b_beta))
    S = S + outer(beta * (v - S @ k), k)
    h = S @ q
    return h, S
