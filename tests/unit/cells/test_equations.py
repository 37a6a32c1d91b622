"""Each cell of the zoo against its paper, written out on one example: a matrix a gate, sums by loops."""

import numpy as np
import pytest
import torch
from catalogue import WITH_FURTHER_INPUTS, WITH_MATRIX_STATES, ZOO, Entry

import selfloop as sl
from selfloop import cells


def sigma(v):
    return 1 / (1 + np.exp(-v))


def times(W, v):
    return np.array([sum(W[row, column] * v[column] for column in range(len(v))) for row in range(len(W))])


def normal(v):
    mean = sum(v) / len(v)
    variance = sum((u - mean) ** 2 for u in v) / len(v)
    return np.array([(u - mean) / np.sqrt(variance + 1e-5) for u in v])


def vanilla(p, x, h):
    return (np.tanh(times(p["W_xh"], x) + times(p["W_hh"], h) + p["b"]),)


def vanilla_relu(p, x, h):
    return (np.maximum(0, times(p["W_xh"], x) + times(p["W_hh"], h) + p["b"]),)


def indrnn(p, x, h):
    drive = times(p["W_xh"], x)
    return (np.array([max(0, drive[k] + p["w_hh"][k] * h[k] + p["b"][k]) for k in range(len(h))]),)


def gru(p, x, h):
    W_r, W_z, W_n = np.split(p["W_xh"], 3)
    U_r, U_z, U_n = np.split(p["W_hh"], 3)
    a_r, a_z, a_n = np.split(p["b_xh"], 3)
    b_r, b_z, b_n = np.split(p["b_hh"], 3)
    r = sigma(times(W_r, x) + a_r + times(U_r, h) + b_r)
    z = sigma(times(W_z, x) + a_z + times(U_z, h) + b_z)
    n = np.tanh(times(W_n, x) + a_n + r * (times(U_n, h) + b_n))
    return ((1 - z) * n + z * h,)


def gru_reset_before(p, x, h):
    W_r, W_z, W = np.split(p["W_xh"], 3)
    U_r, U_z = np.split(p["W_hg"], 2)
    b_r, b_z, b = np.split(p["b"], 3)
    r = sigma(times(W_r, x) + times(U_r, h) + b_r)
    z = sigma(times(W_z, x) + times(U_z, h) + b_z)
    candidate = np.tanh(times(W, x) + times(p["W_hn"], [r[k] * h[k] for k in range(len(h))]) + b)
    return (np.array([z[k] * h[k] + (1 - z[k]) * candidate[k] for k in range(len(h))]),)


def mgu(p, x, h):
    W_f, W_h = (np.hstack(pair) for pair in zip((p["W_hf"], p["W_hn"]), np.split(p["W_xh"], 2), strict=True))
    b_f, b_h = np.split(p["b"], 2)
    f = sigma(times(W_f, np.concatenate([h, x])) + b_f)
    candidate = np.tanh(times(W_h, np.concatenate([f * h, x])) + b_h)
    return ((1 - f) * h + f * candidate,)


def ugrnn(p, x, h):
    W_gx, W_cx = np.split(p["W_xh"], 2)
    W_gh, W_ch = np.split(p["W_hh"], 2)
    b_g, b_c = np.split(p["b"], 2)
    c = np.tanh(times(W_ch, h) + times(W_cx, x) + b_c)
    g = sigma(times(W_gh, h) + times(W_gx, x) + b_g)
    return (g * h + (1 - g) * c,)


def janet(p, x, h, beta=1.0):
    W_f, W_c = np.split(p["W_xh"], 2)
    U_f, U_c = np.split(p["W_hh"], 2)
    b_f, b_c = np.split(p["b"], 2)
    s = times(U_f, h) + times(W_f, x) + b_f
    candidate = np.tanh(times(U_c, h) + times(W_c, x) + b_c)
    return (sigma(s) * h + (1 - sigma(s - beta)) * candidate,)


def fastgrnn(p, x, h):
    b_z, b_h = np.split(p["b"], 2)
    zeta, nu = float(sigma(p["zeta"])), float(sigma(p["nu"]))
    z = sigma(times(p["W_xh"], x) + times(p["W_hh"], h) + b_z)
    candidate = np.tanh(times(p["W_xh"], x) + times(p["W_hh"], h) + b_h)
    return (np.array([(zeta * (1 - z[k]) + nu) * candidate[k] + z[k] * h[k] for k in range(len(h))]),)


def min_gru(p, x, h):
    W_z, W_h = np.split(p["W_xh"], 2)
    b_z, b_h = np.split(p["b"], 2)
    z = sigma(times(W_z, x) + b_z)
    return ((1 - z) * h + z * (times(W_h, x) + b_h),)


def min_lstm(p, x, h):
    W_i, W_f, W_h = np.split(p["W_xh"], 3)
    b_i, b_f, b_h = np.split(p["b"], 3)
    i, f = sigma(times(W_i, x) + b_i), sigma(times(W_f, x) + b_f)
    return ((f * h + i * (times(W_h, x) + b_h)) / (f + i),)


def recurrent_highway(p, x, h):
    s = h
    for layer in (1, 2, 3):
        R_H, R_T = np.split(p[f"W_{layer}"], 2)
        b_H, b_T = np.split(p[f"b_{layer}"], 2)
        W_H, W_T = np.split(p["W_xh"] * (layer == 1), 2)
        candidate = np.tanh(times(W_H, x) + times(R_H, s) + b_H)
        transform = sigma(times(W_T, x) + times(R_T, s) + b_T)
        carry = 1 - transform
        s = candidate * transform + s * carry
    return (s,)


def lstm(p, x, h, c):
    W_i, W_f, W_g, W_o = np.split(p["W_xh"], 4)
    U_i, U_f, U_g, U_o = np.split(p["W_hh"], 4)
    b_i, b_f, b_g, b_o = np.split(p["b"], 4)
    i = sigma(times(W_i, x) + times(U_i, h) + b_i)
    f = sigma(times(W_f, x) + times(U_f, h) + b_f)
    o = sigma(times(W_o, x) + times(U_o, h) + b_o)
    c = f * c + i * np.tanh(times(W_g, x) + times(U_g, h) + b_g)
    return o * np.tanh(c), c


def projected_lstm(p, x, h, c):
    m, c = lstm(p, x, h, c)
    return times(p["W_hr"], m), c


def peephole_lstm(p, x, h, c):
    W_xi, W_xf, W_xc, W_xo = np.split(p["W_xh"], 4)
    W_hi, W_hf, W_hc, W_ho = np.split(p["W_hh"], 4)
    W_ci, W_cf, W_co = (np.diag(w) for w in np.split(p["w_ch"], 3))
    b_i, b_f, b_c, b_o = np.split(p["b"], 4)
    i = sigma(times(W_xi, x) + times(W_hi, h) + times(W_ci, c) + b_i)
    f = sigma(times(W_xf, x) + times(W_hf, h) + times(W_cf, c) + b_f)
    c = f * c + i * np.tanh(times(W_xc, x) + times(W_hc, h) + b_c)
    o = sigma(times(W_xo, x) + times(W_ho, h) + times(W_co, c) + b_o)
    return o * np.tanh(c), c


def cifg_lstm(p, x, h, c):
    W_i, W_z, W_o = np.split(p["W_xh"], 3)
    R_i, R_z, R_o = np.split(p["W_hh"], 3)
    b_i, b_z, b_o = np.split(p["b"], 3)
    z = np.tanh(times(W_z, x) + times(R_z, h) + b_z)
    i = sigma(times(W_i, x) + times(R_i, h) + b_i)
    f = 1 - i
    c = z * i + c * f
    o = sigma(times(W_o, x) + times(R_o, h) + b_o)
    return np.tanh(c) * o, c


def layer_norm_lstm(p, x, h, c):
    from_x = p["gain_x"] * normal(times(p["W_xh"], x))
    from_h = p["gain_h"] * normal(times(p["W_hh"], h))
    i, f, g, o = np.split(from_h + from_x + p["b"], 4)
    c = sigma(f) * c + sigma(i) * np.tanh(g)
    return sigma(o) * np.tanh(p["gain_c"] * normal(c) + p["b_c"]), c


def multiplicative_lstm(p, x, h, c):
    m = times(p["W_xm"], x) * times(p["W_hm"], h)
    W_ix, W_fx, W_hx, W_ox = np.split(p["W_xh"], 4)
    W_im, W_fm, W_hm, W_om = np.split(p["W_mh"], 4)
    b_i, b_f, b_h, b_o = np.split(p["b"], 4)
    candidate = times(W_hx, x) + times(W_hm, m) + b_h
    i = sigma(times(W_ix, x) + times(W_im, m) + b_i)
    o = sigma(times(W_ox, x) + times(W_om, m) + b_o)
    f = sigma(times(W_fx, x) + times(W_fm, m) + b_f)
    c = f * c + i * np.tanh(candidate)
    return np.tanh(c) * o, c


def with_blocks(blocks, heads):
    """The matrix whose diagonal has these blocks, which stand one below the other."""
    rows, columns = len(blocks) // heads, blocks.shape[1]
    whole = np.zeros((len(blocks), columns * heads))
    for head in range(heads):
        own = slice(head * rows, (head + 1) * rows)
        whole[own, head * columns : (head + 1) * columns] = blocks[own]
    return whole


def slstm(p, x, h, c, n, m):
    """Without the stabiliser, which only scales c and n: they are multiplied out before the step, and divided after."""
    w_i, w_f, w_z, w_o = np.split(p["W_xh"], 4)
    r_i, r_f, r_z, r_o = (with_blocks(r, len(h) // r.shape[1]) for r in np.split(p["W_hh"], 4))
    b_i, b_f, b_z, b_o = np.split(p["b"], 4)
    z = np.tanh(times(w_z, x) + times(r_z, h) + b_z)
    i = np.exp(times(w_i, x) + times(r_i, h) + b_i)
    f = sigma(times(w_f, x) + times(r_f, h) + b_f)
    o = sigma(times(w_o, x) + times(r_o, h) + b_o)
    whole_c, whole_n = f * c * np.exp(m) + i * z, f * n * np.exp(m) + i
    before = np.array([m[k] if n[k] else -np.inf for k in range(len(m))])  # the paper starts from there
    m = np.maximum(np.log(f) + before, np.log(i))
    return o * (whole_c / whole_n), whole_c / np.exp(m), whole_n / np.exp(m), m


def lstm_step(W, U, b, x, h, c):
    i, f, g, o = np.split(times(W, x) + times(U, h) + b, 4)
    c = sigma(f) * c + sigma(i) * np.tanh(g)
    return sigma(o) * np.tanh(c), c


def antisymmetric(p, x, h):
    A = p["W_hh"] - p["W_hh"].T - p["damping"] * np.eye(len(h))
    return (h + p["step"] * np.tanh(times(A, h) + times(p["W_xh"], x) + p["b"]),)


def cornn(p, x, y, z):
    """As its authors' code: hz first, then hy."""
    drive = np.tanh(times(np.hstack([p["W_xh"], p["W_zh"], p["W_hh"]]), np.hstack([x, z, y])) + p["b"])
    z = z + p["step"] * (drive - p["gamma"] * y - p["epsilon"] * z)
    return y + p["step"] * z, z


def lem(p, x, y, z):
    V1, V2, V_z, V_y = np.split(p["W_xh"], 4)
    b1, b2, b_z, b_y = np.split(p["b"], 4)
    W1, W2, W_z = np.split(p["W_hh"], 3)
    first = p["step"] * sigma(times(W1, y) + times(V1, x) + b1)
    second = p["step"] * sigma(times(W2, y) + times(V2, x) + b2)
    z = (1 - first) * z + first * np.tanh(times(W_z, y) + times(V_z, x) + b_z)
    return (1 - second) * y + second * np.tanh(times(p["W_zh"], z) + times(V_y, x) + b_y), z


def sru(p, x, h, c):
    W_f, W_r, W, W_s = np.split(p["W_xh"], 4)
    (v_f, v_r), (b_f, b_r) = np.split(p["v"], 2), np.split(p["b"], 2)
    f, r = sigma(times(W_f, x) + v_f * c + b_f), sigma(times(W_r, x) + v_r * c + b_r)
    c = f * c + (1 - f) * times(W, x)
    return r * c + (1 - r) * times(W_s, x), c


def scrn(p, x, both):
    h, s = both[:4], both[4:]
    s = (1 - p["keep"]) * times(p["W_xs"], x) + p["keep"] * s
    return (np.hstack([sigma(times(p["W_sh"], s) + times(p["W_xh"], x) + times(p["W_hh"], h)), s]),)


def mogrifier_lstm(p, x, h, c):
    for number in range(1, 6):
        if number % 2:
            x = 2 * sigma(times(p[f"Q{number}"], h)) * x
        else:
            h = 2 * sigma(times(p[f"R{number}"], x)) * h
    return lstm_step(p["W_xh"], p["W_hh"], p["b"], x, h, c)


def on_lstm(p, x, h, c):
    def cumax(v):
        e = np.exp(v)
        return np.array([sum(e[: k + 1]) / sum(e) for k in range(len(e))])

    i, f, g, o, master_i, master_f = np.split(times(p["W_xh"], x) + times(p["W_hh"], h) + p["b"], 6)
    master_f, master_i = cumax(master_f), 1 - cumax(master_i)
    overlap = master_f * master_i
    f_hat = sigma(f) * overlap + (master_f - overlap)
    i_hat = sigma(i) * overlap + (master_i - overlap)
    c = f_hat * c + i_hat * np.tanh(g)
    return sigma(o) * np.tanh(c), c


def lif(p, x, s, v):
    v = np.clip(p["keep"], 0, 1) * v + times(p["W_xh"], x) + times(p["W_hh"], s) + p["b"] - p["threshold"] * s
    return np.array([1.0 if one > p["threshold"] else 0.0 for one in v]), v


def ea_lstm(p, x, h, c, static):
    W_f, W_g, W_o = np.split(p["W_xh"], 3)
    U_f, U_g, U_o = np.split(p["W_hh"], 3)
    b_f, b_g, b_o = np.split(p["b"], 3)
    i = sigma(times(p["W_sh"], static) + p["b_s"])
    f = sigma(times(W_f, x) + times(U_f, h) + b_f)
    c = f * c + i * np.tanh(times(W_g, x) + times(U_g, h) + b_g)
    return sigma(times(W_o, x) + times(U_o, h) + b_o) * np.tanh(c), c


def time_lstm(p, x, h, c, dt):
    short = np.tanh(times(p["W_d"], c) + p["b_d"])
    adjusted = (c - short) + short * (1 / np.log(np.e + dt[0]))
    return lstm_step(p["W_xh"], p["W_hh"], p["b"], x, h, adjusted)


def phased_lstm(p, x, h, c, time):
    """As the paper: (t - s) mod τ over τ, with its shift s = shift · τ."""
    tau = p["period"]
    phi = np.mod(time[0] - p["shift"] * tau, tau) / tau
    r = p["open_share"]
    k = np.array([2 * f / r if f < r / 2 else 2 - 2 * f / r if f < r else p["leak"] * f for f in phi])
    new_h, new_c = peephole_lstm(p, x, h, c)
    return k * new_h + (1 - k) * h, k * new_c + (1 - k) * c


def lmu(p, x, h, m):
    """As its authors' code: A and B are held for a step by scipy's cont2discrete, which solves A B' = (A' - I) B."""
    u = float((times(p["e_x"], x) + times(p["e_h"], h) + times(p["e_m"], m))[0])
    order, theta = len(m), 100
    Q = np.arange(order)
    R = (2 * Q + 1)[:, None] / theta
    j, i = np.meshgrid(Q, Q)
    A, B = np.where(i < j, -1, (-1.0) ** (i - j + 1)) * R, (-1.0) ** Q[:, None] * R
    A_held = torch.from_numpy(A).matrix_exp().numpy()
    B_held = np.linalg.solve(A, (A_held - np.eye(order)) @ B)
    m = times(A_held, m) + B_held[:, 0] * u
    return np.tanh(times(p["W_xh"], x) + times(p["W_hh"], h) + times(p["W_mh"], m)), m


def mlstm(p, x, h, C, n, m):
    """As `recurrent_step_stabilized_simple` of its authors' code, whose C is Cᵀ here, and which divides k by √d."""
    root = np.sqrt(len(h))
    q, k, v = (times(p[f"W_{name}"], x) + p[f"b_{name}"] for name in "qkv")
    k = k * root  # as the projection there makes it
    igate, fgate = times(p["w_i"], x) + p["b_i"], times(p["w_f"], x) + p["b_f"]
    log_f = np.log(sigma(fgate))
    m_new = np.maximum(log_f + m, igate)
    f, i = np.exp(log_f + m - m_new), np.exp(igate - m_new)
    k_scaled = k / root
    C = (f * C.T + i * np.outer(k_scaled, v)).T
    n = f * n + i * k_scaled
    read = np.array([sum(q[a] * C.T[a, b] for a in range(len(q))) for b in range(len(q))])
    denominator = np.maximum(abs(sum(q * n)), np.exp(-m_new))  # there + 1e-6
    return sigma(times(p["W_o"], x) + p["b_o"]) * read / denominator, C, n, m_new


def delta_net(p, x, h, S):
    """As `delta_rule_recurrence` of its authors' code, whose S is Sᵀ here, with its layer's activations and norms."""
    q, k, v = (a * sigma(a) for a in (times(p[f"W_{name}"], x) for name in "qkv"))
    q, k = (a / np.sqrt(sum(a * a) + 1e-6) for a in (q, k))
    beta = sigma(times(p["w_beta"], x) + p["b_beta"])
    S = S.T
    v = v - (S * k[:, None]).sum(0)
    v = v * beta
    S = S + k[:, None] * v[None, :]
    return np.einsum("d,dm->m", q, S), S.T


def fast_weights(p, x, h, A):
    A = p["decay"] * A + p["rate"] * np.array([[a * b for b in h] for a in h])
    slow = times(p["W_hh"], h) + times(p["W_xh"], x) + p["b"]
    inner = np.maximum(0, slow)
    return np.maximum(0, p["gain"] * normal(slow + times(A, inner)) + p["b_n"]), A


def gru_d(p, x, h, last, mask, delta):
    fades = np.exp(-np.maximum(0, p["w_dx"] * delta + p["b_dx"]))
    x_hat = mask * x + (1 - mask) * (fades * last + (1 - fades) * p["mean"])
    h = np.exp(-np.maximum(0, times(p["W_dh"], delta) + p["b_dh"])) * h
    (W_r, W_z, W), (V_r, V_z, V), (b_r, b_z, b) = (np.split(p[name], 3) for name in ("W_xh", "W_mh", "b"))
    U_r, U_z = np.split(p["W_hh"], 2)
    r = sigma(times(W_r, x_hat) + times(U_r, h) + times(V_r, mask) + b_r)
    z = sigma(times(W_z, x_hat) + times(U_z, h) + times(V_z, mask) + b_z)
    n = np.tanh(times(W, x_hat) + times(p["U"], r * h) + times(V, mask) + b)
    return (1 - z) * h + z * n, mask * x + (1 - mask) * last


def cfc(p, x, h, dt):
    """As its authors' code in its default mode: a backbone with LeCun's tanh, then a sigmoid in time."""
    backbone = 1.7159 * np.tanh(2 / 3 * (times(p["W_b"], np.hstack([x, h])) + p["b_b"]))
    ff1, ff2, t_a, t_b = np.split(times(p["W"], backbone) + p["b"], 4)
    interpolated = sigma(t_a * dt[0] + t_b)
    return (np.tanh(ff1) * (1 - interpolated) + interpolated * np.tanh(ff2),)


@pytest.mark.parametrize("start", ["zero", "given"])
@pytest.mark.parametrize(
    "entry", (*ZOO, *WITH_FURTHER_INPUTS, *WITH_MATRIX_STATES, Entry(cells.slstm, {"heads": 2})), ids=str
)
def test_a_cell_is_its_papers_equations(entry, start):
    rnn = entry.layer(backend="interpret")
    params = {name: getattr(rnn, f"{name}_l0").detach().numpy() for name in entry.cell.graph.params}
    first = rnn.zero_state(2)
    if start == "given":
        first = sl.State(**{name: torch.rand_like(s) for name, s in first.tensors.items()})
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    further = entry.further(x)
    y, final = rnn(x, first, **further)
    for row in range(2):
        states = [s[0, row].numpy() for s in first]
        for t in range(5):
            states = globals()[entry.cell.name](
                params, x[t, row].numpy(), *states, *(v[t, row].numpy() for v in further.values())
            )
            np.testing.assert_allclose(y[t, row].detach().numpy(), states[0], rtol=1e-12, atol=1e-12)
        for got, expected in zip(final, states, strict=True):
            np.testing.assert_allclose(got[0, row].detach().numpy(), expected, rtol=1e-12, atol=1e-12)
