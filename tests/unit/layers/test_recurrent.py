import subprocess
import sys

import pytest
import torch
from catalogue import assert_close
from torch.nn.utils.rnn import pack_padded_sequence

import selfloop as sl
from selfloop import cells
from selfloop.errors import ArgumentError, BackendError


def lstm(**options):
    return sl.Recurrent(cells.lstm, 3, 4, **options)


X = torch.zeros(5, 2, 3)

MISUSE = [
    (lambda: sl.Recurrent("lstm", 3, 4), "The 'cell' of Recurrent must be made by @selfloop.cell. Got str instead."),
    (lambda: lstm(num_layers=0), "The 'num_layers' of Recurrent must be at least 1. Got 0 instead."),
    (lambda: lstm(backend="tourch"), "Got 'tourch' instead; did you mean 'torch'?"),
    (lambda: lstm(dropout=1.0), "The 'dropout' must be a share of at least 0 and below 1. Got 1.0 instead."),
    (lambda: lstm(weight_drop=-0.1), "The 'weight_drop' must be a share"),
    (lambda: lstm(p=3), "The cell 'lstm' has no size 'p'"),
    (
        lambda: sl.Recurrent(cells.lstm, 3.0, 4),
        "The 'input_size' of 'lstm' must be a whole number ≥ 1. Got 3.0 instead.",
    ),
    (lambda: sl.RNN(3, 4, nonlinearity="sigmoid"), "The 'nonlinearity' of RNN must be 'tanh' or 'relu'."),
    (lambda: sl.LSTM(3, 4, proj_size=4), "The 'proj_size' of LSTM must be 0 for none, or smaller than hidden_size, 4."),
    (lambda: lstm()(torch.zeros(3)), "must be a tensor of shape (T, B, I), or (T, I) for one sequence. Got shape (3,)"),
    (lambda: lstm()(torch.zeros(5, 2, 4)), "must have 3 features in its last dimension, its input_size."),
    (
        lambda: lstm()(X.double()),
        "The 'x' of Recurrent must be torch.float32, as its weights. Got torch.float64 instead.",
    ),
    (lambda: lstm()(X.to("meta")), "The 'x' of Recurrent must be on cpu, as its weights. Got meta instead."),
    (lambda: lstm()(X, lengths=[5]), "The 'lengths' of Recurrent must have one entry a sequence, 2. Got shape (1,)"),
    (lambda: lstm()(X, lengths=[6, 1]), "must lie between 0 and 5, the number of steps. Got 6 instead."),
    (lambda: lstm()(X, lengths=[-1, 1]), "must lie between 0 and 5, the number of steps. Got -1 instead."),
    (lambda: lstm()(X, lengths=[1.0, 2.0]), "The 'lengths' of Recurrent must be whole numbers. Got torch.float32"),
    (lambda: lstm()(X, resets=torch.zeros(5, 2)), "must be bool of shape (5, 2), a mark a step. Got torch.float32"),
    (lambda: lstm()(X, sl.State(h=torch.zeros(1, 2, 4))), "must hold h, c. Got State(h=(1, 2, 4)) instead."),
    (lambda: lstm()(X, lstm().zero_state(3)), "The state 'h' of Recurrent must have shape (1, 2, 4)"),
    (lambda: lstm()(X, lstm().zero_state(2).to("meta")), "must be on cpu, as the input. Got meta instead"),
    (lambda: lstm(bidirectional=True).step(X[0]), "A bidirectional Recurrent cannot step"),
    (
        lambda: sl.LSTM(3, 4)(X, torch.zeros(1, 2, 4)),
        "The 'hx' of LSTM must be a pair (h_0, c_0), or a State. Got Tensor",
    ),
    (sl.State, "A State needs at least one tensor"),
    (lambda: lstm().zero_state(2).reset(torch.tensor([True])), "must have one entry a sequence, 2."),
    (lambda: lstm()(pack_padded_sequence(X, [5, 2]), lengths=[5, 2]), "A PackedSequence carries its own lengths."),
]


@pytest.mark.parametrize(("misuse", "says"), MISUSE, ids=lambda v: v[:40] if isinstance(v, str) else "")
def test_wrong_arguments_are_named_with_what_was_expected(misuse, says):
    with pytest.raises(ArgumentError) as caught:
        misuse()
    assert says in str(caught.value)


def test_a_backend_by_name_never_falls_back():
    with pytest.raises(BackendError, match=r"backend='torch' cannot run 'projected_lstm': torch projects to a smaller"):
        sl.Recurrent(cells.projected_lstm, 3, 4, p=4, backend="torch")(X)


def test_explain_says_what_runs_and_why_nothing_faster():
    text = lstm(num_layers=2).explain()
    assert "runs as    torch" in text
    assert "2 times a call" in text
    text = lstm().explain(resets=True)
    assert "runs as    interpret" in text
    assert "not as     torch: torch's fused functions cannot reset the state inside a sequence" in text


def test_explaining_draws_no_random_numbers():
    rnn = lstm(weight_drop=0.5)
    before = torch.get_rng_state()
    rnn.explain()
    assert torch.equal(before, torch.get_rng_state())


def test_parameters_keep_the_cells_names_with_torchs_suffixes():
    names = [name for name, _ in lstm(num_layers=2, bidirectional=True).named_parameters()]
    assert names[:4] == ["W_xh_l0", "W_hh_l0", "b_l0", "W_xh_l0_reverse"]
    assert "b_l1_reverse" in names
    assert len(names) == 12


def test_a_stack_starts_orthogonal_with_an_open_forget_gate():
    rnn = sl.Recurrent(cells.lstm, 3, 4)
    for block in rnn.W_hh_l0.detach().chunk(4):
        assert_close(block @ block.T, torch.eye(4))
    assert rnn.b_l0.tolist() == [0] * 4 + [1] * 4 + [0] * 8
    assert 0 < rnn.W_xh_l0.abs().max() <= (6 / 7) ** 0.5


def test_a_cell_may_say_how_it_starts():
    @sl.cell
    def starts(x, h, *, W=sl.param("h x", init="uniform"), U=sl.param("h h", init=0.5), a=sl.param("", init=2)):
        return a * (W @ x) + U @ h

    rnn = sl.Recurrent(starts, 3, 4)
    assert (rnn.U_l0 == 0.5).all()
    assert rnn.a_l0.item() == 2
    assert 0 < rnn.W_l0.abs().max() <= 0.5


def test_weight_drop_is_for_recurrent_matrices_while_training():
    rnn = lstm(weight_drop=0.5)
    dropped = rnn._weights("_l0")
    assert (dropped["W_hh"] == 0).float().mean() > 0.2
    assert (dropped["W_xh"] == rnn.W_xh_l0).all()
    rnn.eval()
    assert (rnn._weights("_l0")["W_hh"] == rnn.W_hh_l0).all()


def test_dropout_between_layers_is_off_when_not_training():
    rnn = lstm(num_layers=3, dropout=0.5)
    x = torch.randn(4, 2, 3)
    assert not torch.equal(rnn(x)[0], rnn(x)[0])
    rnn.eval()
    assert torch.equal(rnn(x)[0], rnn(x)[0])


def test_variational_dropout_has_one_mask_for_all_steps():
    out = sl.VariationalDropout(0.5)(torch.ones(6, 3, 50))
    assert (out == out[:1]).all()
    assert set(out.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(out[0, 0], out[0, 1])


def test_embedding_dropout_drops_whole_types():
    table = sl.EmbeddingDropout(torch.nn.Embedding(30, 4), 0.5)
    tokens = torch.arange(30).repeat(2)
    vectors = table(tokens)
    off = (vectors == 0).all(-1)
    assert torch.equal(off[:30], off[30:])
    assert 0 < off.sum() < 60
    table.eval()
    assert torch.equal(table(tokens), table.embedding(tokens))


def test_a_state_keeps_its_order_on_disk(tmp_path):
    state = lstm().zero_state(2)
    state.save(str(tmp_path / "state.safetensors"))
    loaded = sl.State.load(str(tmp_path / "state.safetensors"))
    assert list(loaded.tensors) == ["h", "c"]
    assert all(torch.equal(a, b) for a, b in zip(loaded, state, strict=True))


def test_a_damaged_state_is_an_error(tmp_path):
    (tmp_path / "state").write_bytes(b"not a state")
    with pytest.raises(sl.SelfloopError, match="cannot be read"):
        sl.State.load(str(tmp_path / "state"))


def test_a_state_selects_resets_and_detaches():
    state = sl.State(h=torch.arange(6.0).view(1, 3, 2).requires_grad_())
    assert state.select(torch.tensor([2, 0, 2])).h[0, :, 0].tolist() == [4, 0, 4]
    assert state.reset(torch.tensor([False, True, False])).h[0, :, 1].tolist() == [1, 0, 5]
    assert not state.detach().h.requires_grad
    assert state.to(torch.float64).h.dtype == torch.float64
    assert len(state) == 1
    with pytest.raises(AttributeError, match="holds h, not 'c'"):
        _ = state.c


def test_carried_state_continues_a_sequence_and_stops_gradients():
    rnn = lstm()
    x = torch.randn(6, 2, 3, requires_grad=True)
    whole, _ = rnn(x)
    first, state = rnn(x[:4])
    second, _ = rnn(x[4:], state.detach())
    assert_close(torch.cat([first, second]), whole)
    second.sum().backward()
    assert not x.grad[:4].any()


def test_a_stack_compiles_without_a_break():
    """In a process of its own: the tests' shape checks are no part of what users compile."""
    code = (
        "import torch, selfloop as sl\n"
        "rnn = sl.Recurrent(sl.cells.lstm, 3, 4, num_layers=2)\n"
        "x = torch.randn(4, 2, 3)\n"
        "y, state = torch.compile(rnn, backend='eager', fullgraph=True)(x)\n"
        "torch.testing.assert_close(y, rnn(x)[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_cell_without_parameters_has_a_dtype_and_a_device():
    @sl.cell
    def leaky(x, h=sl.state("x")):
        return 0.5 * h + x

    rnn = sl.Recurrent(leaky, 2, 1)
    assert rnn(torch.ones(3, 1, 2))[0][:, 0, 0].tolist() == [1.0, 1.5, 1.75]
    assert rnn.double()(torch.ones(3, 1, 2, dtype=torch.float64))[0].dtype == torch.float64
    with pytest.raises(ArgumentError, match="must all have one input size"):
        sl.Recurrent(leaky, 2, 1, num_layers=2, bidirectional=True)
