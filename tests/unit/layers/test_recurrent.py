import copy
import inspect
import pickle

import pytest
import torch
from catalogue import assert_close, waves
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import selfloop as sl
from selfloop import cells
from selfloop.errors import ArgumentError, BackendError


def lstm(**options):
    return sl.Recurrent(cells.lstm, 3, 4, **options)


X = torch.zeros(5, 2, 3)

MISUSE = [
    (lambda: sl.Recurrent("lstm", 3, 4), "The 'cell' of Recurrent must be made by @selfloop.cell. Got str instead."),
    (
        lambda: lstm(num_layers=0),
        "The 'num_layers' of Recurrent must be a whole number from 1 to 10,000. Got 0 instead.",
    ),
    (lambda: lstm(backend="tourch"), "Got 'tourch' instead; did you mean 'torch'?"),
    (lambda: lstm(backend=None), "The 'backend' must be one of auto, native, torch, interpret. Got None instead."),
    (lambda: lstm(dropout="half"), "The 'dropout' must be a share of at least 0 and below 1. Got 'half' instead."),
    (lambda: lstm(dropout=1.0), "The 'dropout' must be a share of at least 0 and below 1. Got 1.0 instead."),
    (lambda: lstm(weight_drop=-0.1), "The 'weight_drop' must be a share"),
    (lambda: lstm(p=3), "The cell 'lstm' has no size 'p'"),
    (lambda: lstm(bidirectionl=True), "Recurrent takes no 'bidirectionl'; did you mean 'bidirectional'?"),
    (lambda: sl.LSTM(3, 4, batchfirst=True), "LSTM takes no 'batchfirst'; did you mean 'batch_first'?"),
    (lambda: sl.GRU(3, 4, checkpoint=3), "GRU takes no 'checkpoint'; its options are input_size, hidden_size, "),
    (
        lambda: sl.Recurrent(cells.lstm, 3.0, 4),
        "The 'input_size' of 'lstm' must be a whole number ≥ 1. Got 3.0 instead.",
    ),
    (lambda: sl.RNN(3, 4, nonlinearity="sigmoid"), "The 'nonlinearity' of RNN must be 'tanh' or 'relu'."),
    (lambda: sl.LSTM(3, 4, proj_size=4), "The 'proj_size' of LSTM must be 0 for none, or smaller than hidden_size, 4."),
    (lambda: sl.LSTM(3, 4, proj_size="2"), "smaller than hidden_size, 4. Got '2' instead."),
    (
        lambda: lstm()([[0.0] * 3]),
        "The 'x' of Recurrent must be a tensor of shape (T, B, I), or (T, I) for one sequence.",
    ),
    (lambda: lstm()(torch.zeros(3)), "must be a tensor of shape (T, B, I), or (T, I) for one sequence. Got shape (3,)"),
    (
        lambda: lstm()(torch.zeros(5, 2, 3).to_sparse()),
        "must be dense. Got torch.sparse_coo instead; call x.to_dense().",
    ),
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
    (lambda: lstm()(X, lengths=2), "The 'lengths' of Recurrent must have one entry a sequence, 2. Got shape ()"),
    (lambda: lstm()(X, lengths="ab"), "The 'lengths' of Recurrent must be whole numbers. Got 'ab' instead."),
    (lambda: lstm()(X, resets=[True]), "must be bool of shape (5, 2), a mark a step. Got list instead."),
    (lambda: lstm()(X, resets=torch.zeros(5, 2)), "must be bool of shape (5, 2), a mark a step. Got torch.float32"),
    (lambda: lstm()(X, sl.State(h=torch.zeros(1, 2, 4))), "must hold h, c. Got State(h=(1, 2, 4)) instead."),
    (lambda: lstm()(X, lstm().zero_state(3)), "The state 'h' of Recurrent must have shape (1, 2, 4)"),
    (lambda: lstm()(X, lstm().zero_state(2).to("meta")), "must be on cpu, as the input. Got meta instead"),
    (
        lambda: lstm()(X, lstm().zero_state(2).to(torch.float64)),
        "must be torch.float32, as the input. Got torch.float64 instead",
    ),
    (
        lambda: lstm()(X, torch.zeros(1, 2, 4)),
        "The 'state' of Recurrent must be a State, as a call returns. Got Tensor",
    ),
    (
        lambda: sl.LSTM(3, 4).step(X[0], X),
        "The 'hx' of LSTM must be a pair (h_0, c_0), or a State. Got Tensor instead.",
    ),
    (lambda: sl.LSTM(3, 4).step(X[0], (X, X)), "The state 'h' of LSTM must have shape (1, 2, 4), which is"),
    (lambda: lstm().step(X), "The 'x' of Recurrent.step must be of shape (B, I), or (I,) for one sequence"),
    (lambda: sl.LSTM(3, 0), "The 'hidden_size' of 'lstm' must be a whole number ≥ 1. Got 0 instead."),
    (lambda: sl.LSTM(3, "4", proj_size=2), "The 'hidden_size' of 'projected_lstm' must be a whole number ≥ 1."),
    (
        lambda: sl.LSTM(3, 4, True),
        "The 'num_layers' of LSTM must be a whole number from 1 to 10,000. Got True instead.",
    ),
    (lambda: sl.LSTM(3, 4, bias="no"), "The 'bias' of LSTM must be True or False. Got 'no' instead."),
    (lambda: sl.LSTM(3, 4, batch_first=1), "The 'batch_first' of LSTM must be True or False. Got 1 instead."),
    (lambda: sl.LSTM(3, 4, residual=True), "LSTM takes no 'residual'; Recurrent(cells.lstm, …) does."),
    (lambda: sl.LSTM(3, [4, 4]), "The 'hidden_size' of LSTM must be one number, since torch.nn's form of a state"),
    (lambda: sl.LSTM(3, 4).step(X), "The 'x' of LSTM.step must be of shape (B, I), or (I,) for one sequence"),
    (lambda: sl.LSTM(3, 4).step([1.0]), "a step has no time. Got list instead."),
    (lambda: sl.GRU(3, 4)(X, (X, X)), "The 'hx' of GRU must be a tensor h_0, or a State. Got 2 values instead."),
    (lambda: lstm(bidirectional=True).step(X[0]), "A bidirectional Recurrent cannot step"),
    (
        lambda: sl.LSTM(3, 4)(X, torch.zeros(1, 2, 4)),
        "The 'hx' of LSTM must be a pair (h_0, c_0), or a State. Got Tensor",
    ),
    (sl.State, "A State needs at least one tensor"),
    (lambda: lstm(dtype=torch.int32), "The 'dtype' of Recurrent must be one of real numbers, such as torch.float32."),
    (lambda: lstm(dtype="float32"), "The 'dtype' of Recurrent must be one of real numbers, such as torch.float32."),
    (
        lambda: lstm()(torch.nested.nested_tensor([X[:, 0], X[:2, 0]], layout=torch.jagged)),
        "must be dense. Got a nested tensor instead; pad it and give its lengths.",
    ),
    (
        lambda: cells.lstm(X, X, X),
        "to run it over tensors, make Recurrent(lstm, input_size=…, hidden_size=…).",
    ),
    (cells.gru, "The cell 'gru' is the equations of one step, which other cells may call on their values."),
    (lambda: lstm()(X, lengths=torch.ones(5, 2, dtype=torch.bool)), "Got a mask of torch.bool instead"),
    (lambda: lstm()(X, lengths=torch.ones(5, 2, dtype=torch.bool)), "of each sequence, give mask.sum(0)."),
    (
        lambda: lstm(batch_first=True)(X.transpose(0, 1), lengths=torch.ones(2, 5, dtype=torch.bool)),
        "of each sequence, give mask.sum(1).",
    ),
    (lambda: lstm()(X, lengths=[None, 2]), "The 'lengths' of Recurrent must be whole numbers. Got [None, 2] instead."),
    (
        lambda: sl.LSTM(3, 4)(X[:, 0], (torch.zeros(4), torch.zeros(4))),
        "must be of shape (layers × directions, size) beside one sequence. Got shape (4,) instead.",
    ),
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


EXPLAINED = [
    (
        lambda: sl.LSTM(3, 4, 2, bidirectional=True).explain(),
        """\
LSTM(lstm, 3 → 4, 2 layers, bidirectional) on cpu, float32, backend='auto'
  runs as    native: machine code compiled for this cell and processor, 4 times a call""",
    ),
    (
        lambda: lstm(batch_first=True, dtype=torch.float16).explain(resets=True),
        """\
Recurrent(lstm, 3 → 4, batch_first) on cpu, float16, backend='auto'
  runs as    interpret: torch operations, one step at a time, 1 time a call
  not as     native: compiled kernels take float32, float64 or bfloat16, and this is float16
  not as     torch: torch's fused functions cannot reset the state inside a sequence""",
    ),
    (
        lambda: sl.Recurrent(waves, 3, 4, k=5, dtype=torch.float16).explain(),
        """\
Recurrent(waves, 3 → 4, k=5) on cpu, float16, backend='auto'
  runs as    interpret: torch operations, one step at a time, 1 time a call
  not as     native: compiled kernels take float32, float64 or bfloat16, and this is float16
  not as     torch: torch has fused functions for its own RNN, LSTM and GRU alone, and these equations are none of \
them""",
    ),
    (
        lambda: lstm(dtype=torch.float16).explain(),
        """\
Recurrent(lstm, 3 → 4) on cpu, float16, backend='auto'
  runs as    torch: torch's own function for this cell, the whole sequence in one call, 1 time a call
  not as     native: compiled kernels take float32, float64 or bfloat16, and this is float16""",
    ),
    (
        lambda: sl.RNN(3, 4).explain(),
        """\
RNN(vanilla, 3 → 4) on cpu, float32, backend='auto'
  runs as    native: machine code compiled for this cell and processor, 1 time a call""",
    ),
    (
        lambda: lstm(backend="interpret").explain(),
        """\
Recurrent(lstm, 3 → 4) on cpu, float32, backend='interpret'
  runs as    interpret: torch operations, one step at a time, 1 time a call""",
    ),
]


@pytest.mark.parametrize(("explain", "text"), EXPLAINED, ids=["native", "resets", "own", "fused", "step", "by name"])
def test_explain_says_what_runs_and_why_nothing_faster(explain, text):
    assert explain() == text


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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_stack_starts_orthogonal_in_any_dtype(dtype):
    weight = sl.Recurrent(cells.vanilla, 3, 4, dtype=dtype).W_hh_l0.detach()
    assert weight.dtype == dtype
    torch.testing.assert_close((weight @ weight.T).float(), torch.eye(4), rtol=0, atol=0.02)


def test_matrices_of_the_input_start_glorot_and_vectors_at_zero():
    rnn = sl.Recurrent(cells.gru, 300, 100)
    assert_close(rnn.W_xh_l0.abs().max(), torch.tensor((6 / 400) ** 0.5), rtol=1e-2)
    assert not rnn.b_xh_l0.any()


def test_a_cell_may_say_how_it_starts():
    @sl.cell
    def starts(x, h, *, W=sl.param("h x", init="uniform"), U=sl.param("h h", init=0.5), a=sl.param("", init=2)):
        return a * (W @ x) + U @ h

    rnn = sl.Recurrent(starts, 3, 4)
    assert (rnn.U_l0 == 0.5).all()
    assert rnn.a_l0.item() == 2
    assert 0 < rnn.W_l0.abs().max() <= 0.5


def test_gates_may_begin_with_memories_of_all_lengths():
    T = 784

    @sl.cell
    def patient(x, h, *, W=sl.param("4h x"), b=sl.param("4h", init=(-sl.chrono(T), sl.chrono(T), 0, 1))):
        return sl.sum(W @ x + b) * h

    rnn = sl.Recurrent(patient, 1, 2000)
    let_in, keep, g, o = rnn.b_l0.detach().chunk(4)
    assert_close(let_in, -keep)
    assert (g == 0).all()
    assert (o == 1).all()
    spans = keep.exp()  # evenly from 1 to T - 1
    assert spans.min() >= 1
    assert spans.max() <= T - 1 + 1e-3
    assert_close(spans.mean(), torch.tensor(T / 2), rtol=0.05, atol=0)
    assert_close(spans.std(), torch.tensor((T - 2) / 12**0.5), rtol=0.05, atol=0)
    assert not torch.equal(rnn.b_l0, sl.Recurrent(patient, 1, 2000).b_l0)


def test_weight_drop_is_for_recurrent_matrices_while_training():
    rnn = lstm(weight_drop=0.5)
    dropped = rnn._weights("_l0")
    assert (dropped["W_hh"] == 0).float().mean() > 0.2
    assert (dropped["W_xh"] == rnn.W_xh_l0).all()
    rnn.eval()
    assert (rnn._weights("_l0")["W_hh"] == rnn.W_hh_l0).all()


def test_weight_drop_draws_anew_at_each_call_and_never_touches_the_weights():
    rnn, x = lstm(weight_drop=0.5), torch.randn(4, 2, 3)
    before = copy.deepcopy(rnn.state_dict())
    assert not torch.equal(rnn(x)[0], rnn(x)[0])
    assert all(torch.equal(rnn.state_dict()[name], weight) for name, weight in before.items())
    rnn(x)[0].sum().backward()
    assert rnn.W_hh_l0.grad.eq(0).any()


def test_dropout_may_be_a_module_between_layers():
    rnn = lstm(num_layers=3, dropout=torch.nn.Identity())
    seen = []
    rnn.dropout.register_forward_hook(lambda module, args, out: seen.append(out.shape))
    rnn(torch.zeros(5, 2, 3))
    assert seen == [(5, 2, 4)] * 2


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


def test_a_stack_can_be_copied_and_pickled():
    rnn, x = sl.LSTM(3, 4, 2, bidirectional=True), torch.randn(4, 2, 3)
    rnn(x)  # what is kept of calls is not copied
    for twin in (copy.deepcopy(rnn), pickle.loads(pickle.dumps(rnn))):
        assert torch.equal(twin(x)[0], rnn(x)[0])


def test_a_stack_prints_its_cell_sizes_and_options():
    assert repr(lstm(num_layers=2, bidirectional=True, batch_first=True)) == (
        "Recurrent(lstm, 3 → 4, 2 layers, bidirectional, batch_first)"
    )
    assert repr(sl.LSTM(3, 4, proj_size=2)) == "LSTM(projected_lstm, 3 → 4, p=2)"


def test_carried_state_continues_a_sequence_and_stops_gradients():
    rnn = lstm()
    x = torch.randn(6, 2, 3, requires_grad=True)
    whole, _ = rnn(x)
    first, state = rnn(x[:4])
    second, _ = rnn(x[4:], state.detach())
    assert_close(torch.cat([first, second]), whole)
    second.sum().backward()
    assert not x.grad[:4].any()


def test_a_cell_without_parameters_has_a_dtype_and_a_device():
    @sl.cell
    def leaky(x, h=sl.state("x")):
        return 0.5 * h + x

    rnn = sl.Recurrent(leaky, 2, 1)
    assert rnn(torch.ones(3, 1, 2))[0][:, 0, 0].tolist() == [1.0, 1.5, 1.75]
    assert rnn.double()(torch.ones(3, 1, 2, dtype=torch.float64))[0].dtype == torch.float64
    both = sl.Recurrent(leaky, 2, 1, num_layers=2, bidirectional=True)  # the second layer reads four features
    y, state = both(torch.ones(3, 1, 2))
    assert str(state) == "State(h_l0=(2, 1, 2), h_l1=(2, 1, 4))"
    assert y[:, 0, 0].tolist() == [1.0, 2.0, 2.75]


DROP_INS = {sl.RNN: nn.RNN, sl.LSTM: nn.LSTM, sl.GRU: nn.GRU}


@pytest.mark.parametrize("ours", DROP_INS, ids=lambda c: c.__name__)
def test_arguments_are_torchs_in_order_and_with_its_defaults(ours):
    """Those that torch.nn documents; its own signature is (*args, **kwargs)."""
    documented = [("input_size", inspect.Parameter.empty), ("hidden_size", inspect.Parameter.empty), ("num_layers", 1)]
    documented += [("nonlinearity", "tanh")] if ours is sl.RNN else []
    documented += [("bias", True), ("batch_first", False), ("dropout", 0.0), ("bidirectional", False)]
    documented += [("proj_size", 0)] if ours is sl.LSTM else []
    documented += [("device", None), ("dtype", None)]
    arguments = inspect.signature(ours).parameters.values()
    assert [(a.name, a.default) for a in arguments if a.kind is a.POSITIONAL_OR_KEYWORD] == documented
    given = [3, 4, 2, *(default for _, default in documented[3:-2])]
    assert str(ours(*given)(torch.ones(5, 3))[0].shape) == str(DROP_INS[ours](*given)(torch.ones(5, 3))[0].shape)


@pytest.mark.parametrize("shape", [(3,), (2, 3)], ids=["one sequence", "a batch"])
@pytest.mark.parametrize("ours", DROP_INS, ids=lambda c: c.__name__)
def test_a_step_takes_and_returns_what_a_call_does(ours, shape):
    rnn, theirs = ours(3, 4, num_layers=2), DROP_INS[ours](3, 4, num_layers=2)
    theirs.load_state_dict(rnn.state_dict())
    x = torch.randn(5, *shape)
    hx, outputs = None, []
    for x_t in x:
        y, hx = rnn.step(x_t, hx)
        outputs.append(y)
    expected, last = theirs(x)
    assert_close(torch.stack(outputs), expected)
    assert type(hx) is type(last)
    for got, wanted in zip(hx, last, strict=True):
        assert_close(got, wanted)
    if len(shape) == 2:
        _, state = rnn(x, sl.State(**{n: torch.zeros(2, 2, 4) for n in rnn.cell.graph.states}))
        _, after = rnn.step(x[0], state)
        assert isinstance(after, sl.State)


NAMES_OF_ITS_OWN = {"check_forward_args", "check_hidden_size", "check_input", "get_expected_cell_size"}
NAMES_OF_ITS_OWN |= {"get_expected_hidden_size", "permute_hidden"}
"""What torch.nn's layers call within their `forward`, and nobody else."""


@pytest.mark.parametrize("ours", DROP_INS, ids=lambda c: c.__name__)
def test_attributes_are_torchs(ours):
    options = {"bidirectional": True, "dropout": 1.0, **({"proj_size": 2} if ours is sl.LSTM else {})}
    a, b = ours(3, 4, 2, **options), DROP_INS[ours](3, 4, 2, **options)
    public = {name for name in dir(b) if not name.startswith("_")}
    assert public - set(dir(a)) == NAMES_OF_ITS_OWN & public
    for name in ("mode", "proj_size", "bias", "batch_first", "bidirectional", "num_layers", "dropout"):
        assert getattr(a, name) == getattr(b, name), name
    b.load_state_dict(a.state_dict())
    for mine, theirs in zip(a.all_weights, b.all_weights, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(mine, theirs, strict=True))
    for module in (a, b):
        module.dropout = 0.25
    assert a.dropout == b.dropout == 0.25
    assert sl.RNN(3, 4, nonlinearity="relu").mode == "RNN_RELU"
    assert sl.RNN(3, 4, nonlinearity="relu").nonlinearity == "relu"


def test_a_layer_that_drops_everything_reads_zeros():
    a, b, x = sl.GRU(3, 4, 2, dropout=1.0), nn.GRU(3, 4, 2, dropout=1.0), torch.randn(5, 2, 3)
    b.load_state_dict(a.state_dict())
    assert_close(a(x)[0], b(x)[0])
    assert_close(a.eval()(x)[0], b.eval()(x)[0])


@pytest.mark.parametrize("layer", [lstm, lambda: sl.LSTM(3, 4)], ids=["Recurrent", "LSTM"])
def test_hooks_run_around_a_step_as_around_a_call(layer):
    rnn, x, seen = layer(), torch.randn(2, 3), []
    _, state = rnn.step(x)
    handles = [
        rnn.register_forward_pre_hook(lambda module, args: seen.append(("before", module is rnn, len(args)))),
        rnn.register_forward_hook(lambda module, args, out: seen.append(("after", len(args), len(out)))),
        rnn.register_forward_hook(lambda module, args, kwargs, out: seen.append((dict(kwargs),)), with_kwargs=True),
        nn.modules.module.register_module_forward_hook(lambda module, args, out: seen.append(("all", module is rnn))),
    ]
    rnn.step(x, state)
    assert seen == [("before", True, 2), ("all", True), ("after", 2, 2), ({},)]
    for handle in handles:
        handle.remove()
    rnn.register_forward_pre_hook(lambda module, args: (2 * args[0], *args[1:]))
    rnn.register_forward_hook(lambda module, args, out: (out[0] + 1, out[1]))
    hooked = rnn.step(x)[0]
    rnn._forward_pre_hooks.clear()
    rnn._forward_hooks.clear()
    assert_close(hooked, rnn.step(2 * x)[0] + 1)


def test_hooks_of_a_step_see_and_change_its_keywords():
    @sl.cell
    def gated(x, h, dt=sl.given("1"), *, W=sl.param("h x")):
        return h + sl.sum(dt) * (W @ x)

    rnn, x, dt, seen = sl.Recurrent(gated, 3, 4), torch.randn(2, 3), torch.ones(2, 1), []

    def before(module, args, kwargs):
        seen.append(sorted(kwargs))
        return args, {"dt": 2 * kwargs["dt"]}

    plain = rnn.step(x, dt=dt)[0]
    rnn.register_forward_pre_hook(before, with_kwargs=True)
    assert_close(rnn.step(x, dt=dt)[0], 2 * plain)
    assert seen == [["dt"]]


@pytest.mark.parametrize("ours", DROP_INS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("rows", [1, 5, 9])
@pytest.mark.parametrize("size", [5, 200])
def test_a_step_is_the_sequence_whichever_backend_runs_it(ours, rows, size):
    x = torch.randn(4, rows, 3, dtype=torch.float64)
    for bias in (True, False):
        rnn = ours(3, size, 2, bias=bias, dtype=torch.float64)
        expected = rnn(x)[0]
        weights = list(rnn.parameters())
        for one in (rnn.step, lambda x_t, state, rnn=rnn: rnn(x_t[None], state)):
            state, outputs = None, []
            for x_t in x:
                y, state = one(x_t, state)
                outputs.append(y.view(rows, size))
            got = torch.stack(outputs)
            assert_close(got, expected)
            for mine, theirs in zip(
                torch.autograd.grad(got.square().sum(), weights),
                torch.autograd.grad(expected.square().sum(), weights, retain_graph=True),
                strict=True,
            ):
                assert_close(mine, theirs)


@pytest.mark.parametrize("ours", DROP_INS, ids=lambda c: c.__name__)
def test_one_step_of_few_sequences_goes_backwards_too(ours):
    rnn, truth = (ours(3, 4, bidirectional=True, dtype=torch.float64, backend=name) for name in ("auto", "interpret"))
    truth.load_state_dict(rnn.state_dict())
    for steps, lengths in ((1, None), (1, [1, 0]), (2, [1, 2])):
        x = torch.randn(steps, 2, 3, dtype=torch.float64)
        torch.testing.assert_close(rnn(x, lengths=lengths), truth(x, lengths=lengths))


@pytest.mark.parametrize("ours", DROP_INS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("size", [4, 200])
@pytest.mark.parametrize("x", [torch.ones(1, 3), torch.ones(9, 3), torch.ones(1, 1, 3), torch.ones(2, 1, 3)])
def test_a_change_of_the_output_in_place_leaves_the_state(ours, size, x):
    rnn = ours(3, size)
    with torch.no_grad():
        y, state = (rnn.step if x.dim() == 2 else rnn)(x)
        h = state if isinstance(state, torch.Tensor) else state[0]
        before = h.clone()
        y.zero_()
    assert torch.equal(h, before)


def test_a_step_sees_every_change_of_the_weights():
    rnn, x = sl.LSTM(3, 4), torch.randn(2, 3)
    with torch.no_grad():
        rnn.step(x)
        rnn.weight_ih_l0.data.mul_(2)  # torch does not count this as a change
        assert_close(rnn.step(x)[0], rnn(x[None])[0][0])


def test_weights_of_torch_are_for_the_layers_that_have_their_names():
    weights = nn.LSTM(3, 4).state_dict()
    with pytest.raises(
        ArgumentError, match=r"such as 'weight_ih_l0', are those of torch.nn.*Load them into selfloop.LSTM"
    ):
        lstm().load_state_dict(weights)
    assert lstm().load_state_dict(weights, strict=False).missing_keys == ["W_xh_l0", "W_hh_l0", "b_l0"]
    sl.LSTM(3, 4).load_state_dict(weights)
    with pytest.raises(RuntimeError, match="Missing key"):
        lstm().load_state_dict({})


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell", "Recurrent"])
def test_help_names_every_argument_and_shows_an_example(name):
    layer = getattr(sl, name)
    text = inspect.getdoc(layer)
    assert ">>> " in text
    for argument in set(inspect.signature(layer).parameters) - {"unknown"}:
        assert f"    {argument}: " in text, argument
    call = inspect.getdoc(layer.forward)
    for argument in set(inspect.signature(layer.forward).parameters) - {"self"}:
        assert f"    {argument}: " in call, argument


def test_a_cell_prints_itself_in_a_line():
    assert repr(cells.lstm) == "Cell(lstm: x[t], h[t-1], c[t-1] -> h[t], c[t])"


@pytest.mark.parametrize("make", [sl.LSTM, sl.GRU, sl.RNN], ids=lambda make: make.__name__)
@pytest.mark.parametrize("batch_first", [False, True])
def test_calls_of_one_layer_again_and_again_follow_its_weights_and_the_mode(make, batch_first):
    layer = make(3, 4, batch_first=batch_first, dtype=torch.float64)
    truth = make(3, 4, batch_first=batch_first, dtype=torch.float64, backend="interpret")
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    state = None

    def agree():
        truth.load_state_dict(layer.state_dict())
        answers = []
        for one in (layer, truth):
            y, last = one(x, state)
            states = last if isinstance(last, tuple) else (last,)
            loss = y.square().sum() + sum(s.square().sum() for s in states)
            answers.append([y, *states, *torch.autograd.grad(loss, tuple(one.parameters()))])
            with torch.no_grad():
                answers[-1].append(one(x, state)[0])
        torch.testing.assert_close(*answers)
        return [s.detach() for s in states]

    for change in range(4):
        for _ in range(3):
            found = agree()
        if change == 0:
            state = tuple(found) if len(found) > 1 else found[0]
        elif change == 1:
            layer.weight_hh_l0.data = torch.randn(4, len(layer.weight_hh_l0), dtype=torch.float64).t()
        elif change == 2:
            layer.bias_ih_l0 = torch.nn.Parameter(torch.randn_like(layer.bias_ih_l0))


def test_final_states_whose_gradient_is_asked_for_alone_or_twice():
    rnn, truth = (sl.Recurrent(cells.lstm, 3, 4, backend=name, dtype=torch.float64) for name in ("auto", "interpret"))
    truth.load_state_dict(rnn.state_dict())
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    start = rnn.zero_state(2)
    start.c.requires_grad_()
    for state in (None, start):
        for pick in (lambda y, s: s.h, lambda y, s: s.c, lambda y, s: s.h + s.c, lambda y, s: y[0]):
            leaves = (x, *([start.c] if state else []))
            found = [torch.autograd.grad(pick(*one(x, state)).square().sum(), leaves) for one in (rnn, truth) * 2]
            torch.testing.assert_close(found[0], found[1])
            torch.testing.assert_close(found[2], found[3])
            batched = [
                torch.autograd.grad(
                    (v := pick(*one(x, state))), x, torch.ones(2, *v.shape).double(), is_grads_batched=True
                )
                for one in (rnn, truth)
            ]
            torch.testing.assert_close(*batched)
