"""A Stepper gives the numbers of `step` and of the sequence, and keeps to itself what it owns."""

import copy
import pickle

import numpy as np
import pytest
import torch
from catalogue import ANY, CELLS, STAGES, assert_close
from combinations import pairs

import selfloop as sl
from selfloop import SelfloopError, cells
from selfloop.kernels import stepping

LIKE = {"numpy": lambda x: x.numpy(), "torch": lambda x: x}


def lstm(input_size=3, hidden_size=5, num_layers=2, **options):
    return sl.Recurrent(cells.lstm, input_size, hidden_size, num_layers, **options)


def assert_steps_are_the_sequence(rnn, batch, form=lambda x: x, **tolerance):
    stepper = sl.Stepper(rnn, batch)
    x = torch.randn(6, batch, rnn.input_size, dtype=rnn._like.dtype)
    with torch.no_grad():
        y, final = rnn(x)
    state = None
    for t in range(6):
        got = stepper(form(x[t]))
        assert type(got) is type(form(x[t]))
        assert_close(torch.as_tensor(got), y[t], **tolerance)
        with torch.no_grad():
            expected, state = rnn.step(x[t], state)
        assert_close(torch.as_tensor(got), expected, **tolerance)
        for s, own in zip(state, stepper.state, strict=True):
            assert_close(own, s, **tolerance)
    assert list(stepper.state.tensors) == list(final.tensors)


@pytest.mark.parametrize("entry", ANY, ids=str)
def test_steps_are_the_sequence(entry):
    for layers, batch, form in ((3 if entry.can_stack else 1, 1, LIKE["numpy"]), (1, 4, LIKE["torch"])):
        assert_steps_are_the_sequence(entry.layer(dtype=torch.float64, num_layers=layers), batch, form)


@pytest.mark.parametrize("entry", [entry for entry in CELLS if str(entry) in STAGES], ids=str)
def test_steps_in_single_precision_are_the_sequence(entry):
    for layers, batch, form in ((1, 1, LIKE["torch"]), (3 if entry.can_stack else 1, 4, LIKE["numpy"])):
        assert_steps_are_the_sequence(entry.layer(dtype=torch.float32, num_layers=layers), batch, form)


@pytest.mark.parametrize(
    ("name", "sizes", "batches"),
    [
        ("lstm", (50, 37), (1, 3, 9)),
        ("lstm", (7, 130), (1, 9)),
        ("gru", (7, 130), (3,)),
        ("vanilla", (50, 37), (1, 9)),
        ("layer_norm_lstm", (50, 37), (3,)),
    ],
)
def test_steps_are_the_sequence_at_larger_sizes(name, sizes, batches):
    """Where a sequence makes the products of its input beforehand, and sums have several chains."""
    rnn = sl.Recurrent(cells.ZOO[name], *sizes, 2)
    for batch in batches:
        assert_steps_are_the_sequence(rnn, batch)


@pytest.mark.parametrize("layer", [sl.LSTM, sl.GRU, sl.RNN])
def test_drop_ins_step(layer):
    for options in ({}, {"bias": False}, {"batch_first": True}):
        rnn, x = layer(3, 5, 2, **options), torch.randn(4, 3)
        stepper = sl.Stepper(rnn)
        with torch.no_grad():
            y, _ = rnn(x)
        for t in range(4):
            assert_close(stepper(x[t]), y[t])


@pytest.mark.parametrize("batch", [1, 3])
def test_threads_share_the_units_and_give_the_same_bits(monkeypatch, batch):
    rnn = lstm(30, 100, 3)
    alone = sl.Stepper(rnn, batch)
    monkeypatch.setattr(stepping, "ONE_THREAD_BYTES", 0)
    monkeypatch.setattr(stepping, "PAUSE", 1e9)
    monkeypatch.setattr(stepping, "WAKE", 1e-3)  # the first steps run alone
    monkeypatch.setattr(stepping.team, "threads", lambda: 2)
    together = sl.Stepper(rnn, batch)
    assert "2 threads share the units" in together.explain()
    for x in torch.randn(200, batch, 30):
        assert torch.equal(alone(x), together(x))
        assert np.array_equal(alone(x.numpy()), together(x.numpy()))
    assert together._steps._spent > 1e-3
    with torch.no_grad():
        rnn.W_xh_l0.add_(0.1)
    for stepper in (alone, together):
        stepper.refresh()
    assert torch.equal(alone(x), together(x))
    for a, b in zip(alone.state, together.state, strict=True):
        assert torch.equal(a, b)


def test_one_sequence_may_come_as_a_vector_or_as_a_batch_of_one():
    stepper, x = sl.Stepper(lstm()), torch.randn(3)
    for like in LIKE.values():
        for given, shape in ((x, (5,)), (x[None], (1, 5))):
            stepper.reset()
            y = stepper(like(given))
            assert tuple(y.shape) == shape
            assert_close(torch.as_tensor(y).flatten(), lstm_output(stepper, x))


def lstm_output(stepper, x):
    with torch.no_grad():
        return stepper.rnn.step(x)[0]


def test_forms_of_input_may_alternate():
    rnn = lstm()
    first, second = sl.Stepper(rnn), sl.Stepper(rnn)
    for t, x in enumerate(torch.randn(8, 3)):
        given = (x, x.numpy(), x[None], x.numpy()[None])[t % 4]
        assert_close(torch.as_tensor(first(given)).flatten(), second(x))


def test_input_that_is_not_contiguous_or_read_only_is_copied():
    for batch in (1, 2):
        x = torch.randn(batch, 6)
        rnn = lstm()
        expected = lstm_output(sl.Stepper(rnn), x[:, ::2])
        fixed = x[:, ::2].numpy().copy()
        fixed.flags.writeable = False
        backwards = np.ascontiguousarray(fixed[:, ::-1])[:, ::-1]
        columns = torch.randn(3, batch).t().copy_(x[:, ::2])
        for given in (x[:, ::2], x[:, ::2].numpy(), fixed, backwards, columns, columns.numpy()):
            assert_close(torch.as_tensor(sl.Stepper(rnn, batch)(given)), expected)
            if batch == 1:
                assert_close(torch.as_tensor(sl.Stepper(rnn)(given[0])), expected[0])


def test_input_that_requires_a_gradient_gives_an_output_without():
    stepper = sl.Stepper(lstm())
    for x in (torch.randn(3, requires_grad=True), torch.randn(6, requires_grad=True)[::2]):
        assert not stepper(x).requires_grad
        assert not any(s.requires_grad for s in stepper.state)


def test_an_output_may_be_the_next_input():
    rnn = lstm(5, 5)
    for like in LIKE.values():
        stepper, y, state = sl.Stepper(rnn), torch.randn(5), None
        own = like(y)
        for _ in range(4):
            with torch.no_grad():
                y, state = rnn.step(y, state)
            own = stepper(own)
            assert_close(torch.as_tensor(own), y)


def test_the_output_lies_in_the_steppers_own_room():
    stepper = sl.Stepper(lstm())
    x = torch.randn(2, 3)
    first = stepper(x[0])
    kept = first.clone()
    second = stepper(x[1])
    assert first.data_ptr() == second.data_ptr()
    assert not torch.equal(kept, first)
    second.zero_()  # which does no harm to the state
    assert stepper.state.h[-1].abs().sum() > 0


def test_a_state_goes_in_and_out():
    rnn = lstm()
    for batch in (1, 3):
        x = torch.randn(9, batch, 3)
        for taken in (4, 5):
            first, second = sl.Stepper(rnn, batch), sl.Stepper(rnn, batch)
            for t in range(taken):
                first(x[t])
            state = first.state
            second.state = state
            assert torch.equal(first(x[taken]), second(x[taken]))
            with torch.no_grad():
                y, _ = rnn.step(x[taken], state)  # a copy, which steps do not change
            assert_close(first.state.h[-1], y)


def test_reset_starts_anew_for_all_or_some():
    rnn = lstm()
    stepper, start = sl.Stepper(rnn, 3), sl.Stepper(rnn, 3).state
    for x in torch.randn(3, 3, 3):
        stepper(x)
    before, mask = stepper.state, torch.tensor([True, False, True])
    stepper.reset(mask=mask)
    assert all(torch.equal(a, b) for a, b in zip(stepper.state, before.reset(mask), strict=True))
    ones = sl.State(**{name: torch.ones_like(s) for name, s in before.tensors.items()})
    stepper.reset(ones, mask)
    assert stepper.state.c[1, 0].tolist() == [1.0] * 5
    assert torch.equal(stepper.state.c[:, 1], before.c[:, 1])
    stepper.reset()
    assert all(torch.equal(a, b) for a, b in zip(stepper.state, start, strict=True))


@pytest.mark.parametrize("backend", ["auto", "interpret"])
@pytest.mark.parametrize("make", [lstm, lambda **options: sl.GRU(3, 5, **options)])
def test_weights_are_read_when_it_is_made_and_at_refresh(make, backend):
    rnn = make(backend=backend)
    before, x = copy.deepcopy(rnn), torch.randn(2, 3)
    stepper = sl.Stepper(rnn)
    with torch.no_grad():
        for weight in rnn.parameters():
            weight.add_(0.1)
        expected, state = before.step(x[0], before.zero_state(1))
        assert_close(stepper(x[0]), expected)
        stepper.refresh()
        assert_close(stepper.state.h, state.h)
        assert_close(stepper(x[1]), rnn.step(x[1], state)[0])


def fail_at_the_second(function):
    calls = []

    def called(*given):
        calls.append(given)
        if len(calls) == 2:
            raise MemoryError
        return function(*given)

    return called


def of_another_shape(rnn):
    rnn.W_hh_l1 = torch.nn.Parameter(torch.randn(20, 4))


def of_another_dtype(rnn):
    rnn.W_hh_l1 = torch.nn.Parameter(rnn.W_hh_l1.detach().half())


@pytest.mark.parametrize("form", ["f32", "int8"])
@pytest.mark.parametrize("change", [of_another_shape, of_another_dtype, None], ids=["shape", "dtype", "memory"])
def test_weights_that_cannot_be_read_leave_those_of_before(monkeypatch, form, change):
    stepper, x = sl.Stepper(lstm(), weights=form), torch.randn(6, 3)
    expected = [stepper(row).clone() for row in x]
    weights = [{name: w.clone() for name, w in own.items()} for own in stepper._read]
    with torch.no_grad():
        for weight in stepper.rnn.parameters():
            weight.add_(1)
    with monkeypatch.context() as during:
        if change is None:
            during.setattr(stepping, "set_parameters", fail_at_the_second(stepping.set_parameters))
        else:
            change(stepper.rnn)
        with pytest.raises(MemoryError if change is None else SelfloopError, match=None if change is None else "W_hh"):
            stepper.refresh()
    gone = [torch.full((10, 500), torch.nan) for _ in range(20)]  # where freed memory would be
    stepper.reset()
    assert all(torch.equal(stepper(row), y) for row, y in zip(x, expected, strict=True))
    for own, before in zip(stepper._read, weights, strict=True):
        assert all(torch.equal(own[name], w) for name, w in before.items())
    del gone


def test_dropout_is_off_while_the_stack_is_training():
    rnn = lstm(dropout=0.5, weight_drop=0.5).train()
    for stack in (rnn, lstm(dropout=0.5, weight_drop=0.5, backend="interpret")):
        stepper, x = sl.Stepper(stack), torch.randn(3)
        assert_close(stepper(x), lstm_output(sl.Stepper(stack.eval()), x))
        assert "once" not in stepper.explain()


def test_what_a_cell_draws_is_its_mean():
    @sl.cell
    def zoned(x, h, *, W=sl.param("h x"), U=sl.param("h h")):
        new = sl.tanh(W @ sl.dropout(x, 0.5) + U @ h)
        h = sl.zoneout(new, h, 0.3)
        return h

    rnn = sl.Recurrent(zoned, 3, 5, 2).train()
    stepper, again = sl.Stepper(rnn), sl.Stepper(rnn)
    rnn.eval()
    state = None
    for x in torch.randn(3, 3):
        with torch.no_grad():
            y, state = rnn.step(x, state)
        assert_close(stepper(x), y)
        assert torch.equal(again(x), stepper.state.h[-1, 0])


def test_explain_tells_what_runs_a_step():
    assert "native: machine code for one step of all layers, on one thread" in sl.Stepper(lstm()).explain()
    told = sl.Stepper(lstm(backend="interpret")).explain()
    assert "Recurrent.step, by interpret" in told
    told = sl.Stepper(lstm(dtype=torch.float16)).explain()
    assert "not as     native: compiled kernels take float32, float64 or bfloat16" in told
    told = sl.Stepper(lstm(dropout=torch.nn.LayerNorm(5))).explain()
    assert "not as     native: a LayerNorm stands between its layers" in told


@pytest.mark.parametrize(
    "rnn",
    [
        lambda: lstm(backend="interpret"),
        lambda: lstm(backend="torch"),
        lambda: lstm(dropout=torch.nn.LayerNorm(5)),
        lambda: lstm(backend="interpret", batch_first=True, dtype=torch.float64),
    ],
)
def test_without_kernels_the_numbers_are_those_of_step(rnn):
    for batch in (1, 3):
        for like in LIKE.values():
            stepper = sl.Stepper(rnn(), batch)
            state = None
            for x in torch.randn(4, batch, 3, dtype=stepper.rnn._like.dtype):
                with torch.no_grad():
                    y, state = stepper.rnn.step(x, state)
                assert_close(torch.as_tensor(stepper(like(x))), y)
                assert_close(stepper.state.c, state.c)
            stepper.reset(mask=torch.ones(batch, dtype=torch.bool))
            assert stepper.state.h.abs().sum() == 0
            stepper.state = state
            assert_close(stepper.state.c, state.c)


def test_bfloat16_steps():
    rnn = lstm(dtype=torch.bfloat16)
    x = torch.randn(3).bfloat16()
    assert torch.equal(sl.Stepper(rnn)(x), lstm_output(sl.Stepper(rnn), x))


def rounded(rnn, form):
    """The stack with its matrices as a Stepper keeps them: those of a gate of an LSTM share a scale for each row."""
    made = copy.deepcopy(rnn)
    for layer in range(rnn.num_layers):
        matrices = [w for name, w in made.named_parameters() if w.dim() == 2 and name.endswith(f"_l{layer}")]
        for w in matrices:
            if form == "bf16":
                w.data = w.data.bfloat16().float()
        if form == "int8":
            scales = torch.cat([w.data.abs() for w in matrices], dim=1).amax(dim=1, keepdim=True) / 127
            for w in matrices:
                w.data = (w.data / scales).round() * scales
    return made


@pytest.mark.parametrize("form", ["bf16", "int8"])
@pytest.mark.parametrize(("sizes", "batch"), [((3, 5), 1), ((50, 37), 1), ((7, 130), 3), ((40, 64), 9)], ids=str)
def test_weights_may_be_shorter(form, sizes, batch):
    rnn = lstm(*sizes)
    x = torch.randn(5, batch, sizes[0])
    stepper, expected, exact = sl.Stepper(rnn, batch, weights=form), sl.Stepper(rounded(rnn, form), batch), None
    for one in x:
        got = stepper(one)
        wanted = expected(one)
        if form == "bf16":
            assert torch.equal(got, wanted)
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            y, exact = rnn.step(one, exact)
    assert not torch.equal(got, y)
    torch.testing.assert_close(got, y, rtol=0.1, atol=0.02)
    assert f"matrices are kept as {form}" in stepper.explain()


@pytest.mark.parametrize(("entry", "form"), pairs(CELLS, ["bf16", "int8"]), ids=str)
def test_every_cell_steps_with_shorter_weights(entry, form):
    rnn = entry.layer(dtype=torch.float32)
    x = torch.randn(4, 2, rnn.input_size)
    exact, shorter = sl.Stepper(rnn, 2), sl.Stepper(rnn, 2, weights=form)
    found = [[stepper(one).clone() for one in x] for stepper in (exact, shorter)]
    for a, b in zip(*found, strict=True):
        assert (a - b).norm() <= 0.1 * a.norm() + 1e-3


def test_shorter_weights_are_read_again_and_copied():
    rnn = lstm()
    stepper, x = sl.Stepper(rnn, weights="int8"), torch.randn(3)
    for own in rnn.parameters():
        own.data.mul_(0.5)
    again = pickle.loads(pickle.dumps(stepper))
    assert torch.equal(stepper(x), again(x))
    stepper.refresh()
    stepper.reset()
    assert torch.equal(stepper(x), sl.Stepper(rnn, weights="int8")(x))


def test_a_row_of_zeros_has_shorter_weights_too():
    rnn = lstm(num_layers=1)
    for own in rnn.parameters():
        own.data.zero_()
    assert sl.Stepper(rnn, weights="int8")(torch.ones(3)).isfinite().all()


def refresh_in_double(stepper):
    stepper.rnn.double()
    stepper.refresh()


MISTAKES = [
    (lambda: sl.Stepper(torch.nn.LSTM(3, 4)), "The 'rnn' of Stepper must be a Recurrent, LSTM, GRU or RNN. Got LSTM"),
    (lambda: sl.Stepper(lstm(bidirectional=True)), "A bidirectional Recurrent cannot step"),
    (lambda: sl.Stepper(lstm(), weights="int4"), "The 'weights' of Stepper must be one of f32, bf16, int8. Got 'int4'"),
    (
        lambda: sl.Stepper(lstm(dtype=torch.float64), weights="int8"),
        "must be f32 where no compiled kernel in float32 runs the stack: this is float64. Got 'int8' instead.",
    ),
    (
        lambda: sl.Stepper(lstm(backend="interpret"), weights="bf16"),
        "must be f32 where no compiled kernel in float32 runs the stack: it runs by interpret. Got 'bf16' instead.",
    ),
    (lambda: sl.Stepper(lstm(), 0), "The 'batch_size' of Stepper must be a whole number ≥ 1. Got 0 instead."),
    (lambda: sl.Stepper(lstm())(torch.zeros(4)), "must be of shape (3,) or (1, 3). Got (4,) instead."),
    (lambda: sl.Stepper(lstm())(np.zeros(4, np.float32)), "must be of shape (3,) or (1, 3). Got (4,) instead."),
    (lambda: sl.Stepper(lstm())(np.zeros((), np.float32)), "must be of shape (3,) or (1, 3). Got () instead."),
    (lambda: sl.Stepper(lstm(), 2)(np.zeros(3, np.float32)), "must be of shape (2, 3). Got (3,) instead."),
    (lambda: sl.Stepper(lstm(), 2)(np.zeros(0, np.float32)), "must be of shape (2, 3). Got (0,) instead."),
    (lambda: sl.Stepper(lstm())(np.zeros(3)), "must be torch.float32, as its weights. Got float64 instead."),
    (lambda: sl.Stepper(lstm())(np.zeros(3, ">f4")), "must be torch.float32, as its weights. Got >f4 instead."),
    (lambda: sl.Stepper(lstm())(np.zeros(3, np.int32)), "must be torch.float32, as its weights. Got int32 instead."),
    (lambda: sl.Stepper(lstm())(torch.zeros(3).double()), "must be torch.float32, as its weights. Got torch.float64"),
    (lambda: sl.Stepper(lstm())(torch.zeros(3, device="meta")), "must be on cpu. Got meta instead."),
    (lambda: sl.Stepper(lstm())([0.0] * 3), "must be a numpy array or a tensor. Got list instead."),
    (lambda: sl.Stepper(lstm()).reset(torch.zeros(1)), "The 'state' of Recurrent must be a State"),
    (lambda: sl.Stepper(lstm()).reset(lstm().zero_state(2)), "must have shape (2, 1, 5)"),
    (lambda: sl.Stepper(lstm()).reset(mask=torch.ones(2) > 0), "must have one entry a sequence, 1."),
    (
        lambda: refresh_in_double(sl.Stepper(lstm())),
        "The weights of a Stepper must stay torch.float32 on cpu.",
    ),
]


@pytest.mark.parametrize(("mistake", "message"), MISTAKES)
def test_mistakes_are_told_in_a_sentence(mistake, message):
    with pytest.raises(SelfloopError) as caught:
        mistake()
    assert message in str(caught.value)


def test_a_mistake_leaves_the_state_as_it_was():
    stepper = sl.Stepper(lstm())
    stepper(torch.randn(3))
    before = stepper.state
    with pytest.raises(SelfloopError):
        stepper(np.zeros(4, dtype=np.float32))
    assert torch.equal(before.h, stepper.state.h)
    assert_close(stepper(torch.ones(3)), stepper.state.h[-1, 0])


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda stepper: pickle.loads(pickle.dumps(stepper)),
    "a copy's copy": lambda stepper: copy.deepcopy(pickle.loads(pickle.dumps(stepper))),
}


@pytest.mark.parametrize("made", COPIES)
@pytest.mark.parametrize(
    ("rnn", "batch"),
    [
        (lstm, 1),
        (lambda: lstm(dtype=torch.float64), 3),
        (lambda: lstm(backend="interpret"), 2),
        (lambda: sl.LSTM(3, 5, 2, backend="interpret"), 1),
        (lambda: sl.LSTM(3, 5, 2), 1),
        (lambda: lstm(3, 400), 1),  # whose units several threads share
    ],
)
def test_a_copy_goes_on_with_the_same_numbers_and_a_state_of_its_own(made, rnn, batch):
    stepper = sl.Stepper(rnn(), batch)
    x = torch.randn(9, batch, 3, dtype=stepper.rnn._like.dtype)
    for t in range(3):
        stepper(x[t])
    before = stepper.state
    other = COPIES[made](stepper)
    assert other.explain() == stepper.explain()
    own = [torch.as_tensor(stepper(x[t])).clone() for t in range(3, 9)]
    for mine, theirs in zip(before, other.state, strict=True):  # which the other's steps have left alone
        assert torch.equal(mine, theirs)
    assert all(torch.equal(other(x[t]), y) for t, y in zip(range(3, 9), own, strict=True))
    assert all(map(torch.equal, stepper.state, other.state))


@pytest.mark.parametrize("backend", ["auto", "interpret"])
@pytest.mark.parametrize("made", COPIES)
def test_a_copy_has_the_weights_as_they_were_read_until_it_reads_those_of_its_own_stack(made, backend):
    rnn = lstm(backend=backend)
    stepper, x = sl.Stepper(rnn), torch.randn(4, 1, 3)
    with torch.no_grad():
        rnn.W_hh_l1.mul_(3)  # as training does
    other = COPIES[made](stepper)
    assert torch.equal(stepper(x[0]).clone(), other(x[0]))
    for each in (stepper, other):
        each.refresh()
    y = stepper(x[1]).clone()
    assert torch.equal(y, other(x[1]))
    assert (other.rnn is stepper.rnn) == (made == "copy")
    with torch.no_grad():
        other.rnn.W_hh_l1.zero_()
    other.refresh()
    assert torch.equal(stepper(x[2]).clone(), other(x[2])) is False


@pytest.mark.parametrize("backend", ["auto", "interpret"])
def test_a_learnt_start_is_read_with_the_weights(backend):
    rnn, x = sl.Recurrent(cells.gru, 3, 5, learn_state=True, backend=backend), torch.randn(1, 3)
    with torch.no_grad():
        for start in (p for name, p in rnn.named_parameters() if name.startswith("h_")):
            start.normal_()
    stepper = sl.Stepper(rnn)
    y = stepper(x).clone()
    with torch.no_grad():
        for weight in rnn.parameters():
            weight.add_(1)
    other = copy.deepcopy(stepper)
    for one in (stepper, other):
        one.reset()
        assert torch.equal(one(x), y)
        one.refresh()
        one.reset()
        assert_close(one(x), one.rnn.eval()(x[None])[0][0])


@pytest.mark.parametrize("backend", ["auto", "interpret"])
def test_a_copy_stays_in_the_dtype_that_its_stack_has_left(backend):
    stepper, x = sl.Stepper(lstm(backend=backend)), torch.randn(1, 3)
    stepper.rnn.double()
    other = copy.deepcopy(stepper)
    assert other(x).dtype == torch.float32 and torch.equal(other(x), (stepper(x), stepper(x))[1])
    with pytest.raises(SelfloopError, match="make another Stepper"):
        other.refresh()
