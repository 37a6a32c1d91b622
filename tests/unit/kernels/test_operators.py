"""The compiled kernels as torch knows them: autograd in all its uses, torch.compile, torch.export, and refusals."""

import copy
import gc
import os
import pickle
import subprocess
import sys
import traceback
import weakref

import pytest
import torch
from catalogue import CELLS, INTERPRETED, TOLERANCE, assert_close

import selfloop as sl
from selfloop import cells
from selfloop.compiler import lower
from selfloop.compiler.cpu import targets
from selfloop.errors import BackendError
from selfloop.kernels import compiled, direct, memory, refusals
from selfloop.kernels.problem import Problem

ENTRIES = {str(entry): entry for entry in CELLS}


def lstm(**options):
    return ENTRIES["lstm"].layer(backend="native", **options)


def sample(T=4, B=2, dtype=torch.float64):
    return torch.randn(T, B, 3, dtype=dtype, requires_grad=True)


def given(rnn, x, keep=True, **options):
    """The operator's arguments for a call of a layer; options beyond those here are at their defaults."""
    found = {}
    original = torch.ops.selfloop.forward

    class Spy:
        def forward(self, *arguments):
            found["given"] = arguments
            return original(*arguments)

    ops, torch.ops.selfloop = torch.ops.selfloop, Spy()
    is_plain, Problem.is_plain = Problem.is_plain, False
    run, direct.run = direct.run, lambda *_: None
    try:
        with torch.set_grad_enabled(keep):
            rnn(x, **options)
    finally:
        torch.ops.selfloop, Problem.is_plain, direct.run = ops, is_plain, run
    return found["given"]


@sl.cell
def noisy(x, h, *, W=sl.param("h x"), U=sl.param("h h")):
    h = sl.zoneout(sl.tanh(W @ x + sl.dropout(U @ h, 0.3)), h, 0.2)
    return h


RULES = (
    "test_schema",
    "test_autograd_registration",
    "test_faketensor",
    "test_aot_dispatch_static",
    "test_aot_dispatch_dynamic",
)

CALLS = {
    "lstm": ("lstm", {}, {}),
    "gru, batch of one": ("gru", {"B": 1}, {}),
    "lstm, one step": ("lstm", {"T": 1}, {}),
    "gru, one step of one": ("gru", {"T": 1, "B": 1}, {}),
    "waves, ragged, recompute": ("waves", {"recompute": 3}, {"lengths": [4, 0]}),
    "leaky, without weights": ("leaky", {}, {}),
    "random, resets": (noisy, {}, {"lengths": [3, 4], "resets": torch.arange(8).view(4, 2) % 3 == 1}),
    "float32, batch first": ("lstm", {"dtype": torch.float32, "batch_first": True}, {}),
}


def call_of(name):
    cell, options, call = CALLS[name]
    dtype, T, B = options.get("dtype", torch.float64), options.get("T", 4), options.get("B", 2)
    options = {k: v for k, v in options.items() if k not in "TB"} | {"dtype": dtype, "backend": "native"}
    rnn = sl.Recurrent(cell, 3, 4, **options) if cell is noisy else ENTRIES[cell].layer(**options)
    x = torch.randn((B, T, 3) if rnn.batch_first else (T, B, 3), dtype=dtype, requires_grad=True)
    return rnn, x, call


@pytest.fixture
def zeroed(monkeypatch):
    """Memory starts as zeros: all that is kept for the gradient is compared, also rows that nothing writes or reads."""
    monkeypatch.setattr(memory, "_empty", lambda shape, dtype, _: torch.zeros(shape, dtype=dtype))


def leaf(v):
    return v.detach().requires_grad_(v.requires_grad) if isinstance(v, torch.Tensor) else v


def keeps_the_rules(operator, arguments):
    arguments = [[leaf(v) for v in a] if isinstance(a, list | tuple) else leaf(a) for a in arguments]
    return torch.library.opcheck(operator, arguments, test_utils=RULES) == dict.fromkeys(RULES, "SUCCESS")


@pytest.mark.usefixtures("zeroed")
@pytest.mark.parametrize("name", CALLS)
def test_the_operator_keeps_torchs_rules(name):
    rnn, x, call = call_of(name)
    assert keeps_the_rules(torch.ops.selfloop.forward, given(rnn, x, **call))


def test_the_operator_without_a_gradient_keeps_them_too():
    rnn, x, call = call_of("random, resets")
    assert keeps_the_rules(torch.ops.selfloop.forward, given(rnn.requires_grad_(False), x.detach(), keep=False, **call))


@pytest.mark.usefixtures("zeroed")
@pytest.mark.parametrize("name", CALLS)
def test_the_operator_of_the_gradient_keeps_torchs_rules(name):
    rnn, x, call = call_of(name)
    *problem, _ = given(rnn.requires_grad_(False), x.detach(), **call)
    states = len(problem[2])
    outputs = torch.ops.selfloop.forward(*problem, True)
    dy, *later = (torch.randn_like(v) for v in outputs[: 1 + states])
    dy = {"lstm": dy[:1].expand_as(dy), "leaky": dy.mT.contiguous().mT}.get(name, dy)
    assert keeps_the_rules(torch.ops.selfloop.backward, (*problem, outputs, dy, later))


def test_a_second_derivative_is_refused_with_what_to_do():
    x = sample()
    y, _ = lstm()(x)
    (dx,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    with pytest.raises(BackendError, match=r"second derivatives .* compiled kernels; use backend='interpret'"):
        dx.square().sum().backward()


def test_a_graph_that_is_retained_gives_the_same_numbers_twice():
    rnn, x = lstm(), sample()
    y, _ = rnn(x)
    leaves = (x, *rnn.parameters())
    first = torch.autograd.grad(y.square().sum(), leaves, retain_graph=True)
    second = torch.autograd.grad(y.square().sum(), leaves)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_graph_that_is_not_retained_is_gone():
    x = sample()
    y, _ = lstm()(x)
    y.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()


def test_parts_of_the_outputs_may_go_unused():
    rnn, x = lstm(), sample()
    expected = copy.deepcopy(rnn)
    expected.backend = "interpret"
    for choose in (lambda y, s: s.c, lambda y, s: s.h, lambda y, s: y[1:2, :1]):
        got, want = (torch.autograd.grad(choose(*layer(x)).sum(), x)[0] for layer in (rnn, expected))
        assert_close(got, want)


@pytest.mark.parametrize("needs", ["x", "weights", "state", "one weight"])
def test_only_what_needs_a_gradient_gets_one(needs):
    rnn, x = lstm(), sample()
    rnn.requires_grad_(needs == "weights")
    x.requires_grad_(needs == "x")
    rnn.b_l0.requires_grad_(needs in ("weights", "one weight"))
    start = rnn.zero_state(2)
    start.h.requires_grad_(needs == "state")
    y, _ = rnn(x, start)
    y.sum().backward()
    leaves = {"x": x, "state": start.h, **dict(rnn.named_parameters())}
    assert {k for k, v in leaves.items() if v.grad is not None} == {k for k, v in leaves.items() if v.requires_grad}


def test_a_hook_sees_and_changes_the_gradient_of_an_output():
    x = sample()
    y, _ = lstm()(x)
    seen = []
    y.register_hook(lambda d: seen.append(d.clone()) or 0 * d)
    y.sum().backward()
    assert torch.equal(seen[0], torch.ones_like(y))
    assert not x.grad.any()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_the_numbers_are_the_same(mode):
    rnn, x = lstm(num_layers=2, bidirectional=True), sample()
    expected, state = rnn(x)
    with mode():
        y, final = rnn(x)
    assert not y.requires_grad
    for got, want in zip([y, *final], [expected, *state], strict=True):
        assert_close(got, want)


def test_an_output_changed_in_place_is_noticed():
    y, _ = lstm()(sample())
    y.mul_(2)  # autograd needs y as it was
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_outputs_die_without_the_garbage_collector():
    rnn, x = lstm(), sample()
    y, state = rnn(x)
    node = y.grad_fn
    watched = [weakref.ref(y), weakref.ref(state.c)]
    gc.disable()
    try:
        del y, state, node
        assert [w() for w in watched] == [None, None]
    finally:
        gc.enable()


def test_a_layer_that_has_run_can_be_copied_and_pickled():
    rnn, x = lstm(), sample()
    expected = rnn(x)[0]
    for twin in (copy.deepcopy(rnn), pickle.loads(pickle.dumps(rnn))):
        assert torch.equal(twin(x)[0], expected)


def test_a_product_of_parameters_alone_has_gradients():
    @sl.cell
    def constant(x, h, *, W=sl.param("h k"), p=sl.param("k")):
        return sl.tanh(W @ p) + 0 * h

    rnn = sl.Recurrent(constant, 3, 4, k=5, dtype=torch.float64)
    with torch.no_grad():
        rnn.p_l0.normal_()
    answers = []
    for rnn.backend in ("native", "interpret"):
        y, _ = rnn(sample())
        answers.append(torch.autograd.grad(y.square().sum(), tuple(rnn.parameters())))
    for got, expected in zip(*answers, strict=True):
        assert_close(got, expected)


def test_a_cell_that_cannot_be_compiled_runs_another_way_and_says_why(monkeypatch):
    def broken(*_):
        raise RuntimeError("LLVM ran out of registers")

    monkeypatch.setattr(refusals, "kernels_of", broken)
    monkeypatch.setattr(refusals, "FAILED", {})
    rnn = sl.Recurrent(cells.lstm, 3, 4)
    with pytest.warns(RuntimeWarning, match="'lstm' runs slowly: it could not be compiled"):
        y, _ = rnn(torch.randn(4, 2, 3))
    y.sum().backward()
    assert "  runs as    torch" in rnn.explain()
    assert "LLVM ran out of registers" in rnn.explain()


def test_a_compilers_error_is_the_cause_with_its_traceback(monkeypatch):
    def a_pass_that_fails(step):
        raise ZeroDivisionError("no size")

    monkeypatch.setattr(lower, "fuse", a_pass_that_fails)
    monkeypatch.setattr(refusals, "FAILED", {})
    compiled._kernels.cache_clear()
    rnn = sl.Recurrent(cells.lstm, 3, 4, backend="native")
    with (
        pytest.warns(RuntimeWarning, match="backend='native' shows where"),
        pytest.raises(BackendError),
    ):
        rnn(torch.randn(4, 2, 3))
    for _ in range(2):  # it is not tried again
        with pytest.raises(BackendError, match=r"it could not be compiled \(ZeroDivisionError: no size\)") as caught:
            rnn(torch.randn(4, 2, 3))
        cause = caught.value.__cause__
        assert isinstance(cause, ZeroDivisionError)
        assert traceback.extract_tb(cause.__traceback__)[-1].name == "a_pass_that_fails"


def python(script, **environment):
    """Run a script in a process of its own, without the shape checks of tests."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | environment,
    )


COMPILED = """
import torch
import selfloop as sl

@sl.cell
def own(x, h, m, *, W=sl.param("h x"), U=sl.param("h h"), b=sl.param("h")):
    h = sl.tanh(W @ x + U @ sl.softmax(m) + b)
    return h, h - 0.5 * m

torch.manual_seed(0)
cases = {
    "LSTM": (sl.LSTM(3, 4), {}),
    "batch_first": (sl.LSTM(3, 4, batch_first=True), {}),
    "own": (sl.Recurrent(own, 3, 4), {}),
    "lengths": (sl.Recurrent(own, 3, 4), {"lengths": torch.tensor([4, 0, 2, 1])}),
}
for name, (rnn, options) in cases.items():
    torch._dynamo.reset()
    x = torch.randn(4, 4, 3, requires_grad=True)
    compiled = torch.compile(rnn, backend="aot_eager", fullgraph=True)
    answers = []
    for run in (compiled, rnn):
        y, state = run(x, **options)
        loss = (y * torch.arange(y.numel()).view_as(y)).sum() + sum(s.square().sum() for s in state)
        answers.append([y, *torch.autograd.grad(loss, (x, *rnn.parameters()))])
    torch.testing.assert_close(*answers, msg=name)

rnn = sl.LSTM(3, 4)
x = torch.randn(4, 2, 3)
exported = torch.export.export(rnn, (x,))
assert "selfloop.forward" in str(exported.graph), exported.graph
torch.testing.assert_close(exported.module()(x)[0], rnn(x)[0])
"""


def test_torch_compiles_and_exports_gradients_and_all():
    done = python(COMPILED)
    assert done.returncode == 0, done.stderr


FORKED = """
import os
import warnings
import torch
import selfloop as sl

torch.set_num_threads(3)
rnn, x = sl.LSTM(3, 4), torch.randn(5, 6, 3)
expected = rnn(x)[0]
expected.sum().backward()
warnings.simplefilter("ignore")  # that a process with threads forks
child = os.fork()
if child == 0:
    y = rnn(x)[0]
    y.sum().backward()
    os._exit(0 if torch.equal(y, expected) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""

SPAWNED = """
import torch
import torch.multiprocessing as mp
import selfloop as sl
from selfloop.kernels import native

rnn, x = sl.LSTM(3, 4).requires_grad_(False), torch.ones(5, 6, 3)
expected = rnn(x)[0]
with mp.get_context("spawn").Pool(1) as pool:
    y, _ = pool.apply(rnn, (x,))
assert torch.equal(y, expected)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_runs_what_its_parent_ran():
    done = python(FORKED)
    assert done.returncode == 0, done.stderr


def test_a_spawned_child_runs_a_layer_it_was_sent(tmp_path):
    script = tmp_path / "spawned.py"
    body = "\n".join(f"    {line}" for line in SPAWNED.strip().splitlines())
    script.write_text(f"if __name__ == '__main__':\n{body}\n", encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


NARROW = """
import sys, torch
sys.path.insert(0, sys.argv[1] if len(sys.argv) > 1 else TESTS)
from catalogue import CELLS, assert_close, everything
import selfloop as sl

torch.manual_seed(0)
for entry in CELLS:
    if str(entry) in ("lstm", "clipped", "waves", "reset_before"):
        rnn = entry.layer(50, 9)
        x = torch.randn(4, 3, 50, dtype=torch.float64)
        answers = []
        for rnn.backend in ("native", "interpret"):
            run = lambda x, start: rnn(x, start, lengths=[4, 0, 2])
            answers.append(everything(rnn, x, rnn.zero_state(3), run))
        for got, expected in zip(*answers):
            assert_close(got, expected)
"""


def fitting():
    wide = targets.host()
    names = [t.name for t in targets.TARGETS if t.architecture == wide.architecture]
    return names[names.index(wide.name) + 1 :]


@pytest.mark.skipif(refusals.UNSUPPORTED is not None, reason="no kernels here")
@pytest.mark.parametrize("name", ["avx2", "sse2"])
def test_a_narrower_target_gives_the_same_numbers(name):
    if name not in fitting():
        pytest.skip(f"this processor has no {name}, or nothing wider, with which all tests run")
    tests = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))  # noqa: PTH120
    done = python(f"TESTS = {tests!r}\n{NARROW}", SELFLOOP_TARGET=name)
    assert done.returncode == 0, done.stderr


def test_a_target_that_does_not_exist_leaves_the_other_ways():
    done = python(
        "import torch, selfloop as sl\nrnn = sl.LSTM(3, 4)\nrnn(torch.ones(2, 1, 3))\nprint(rnn.explain())",
        SELFLOOP_TARGET="abacus",
    )
    assert done.returncode == 0, done.stderr
    assert "runs as    torch" in done.stdout
    assert "SELFLOOP_TARGET must be one of" in done.stdout
    assert "Got 'abacus' instead" in done.stdout


def test_tolerances_are_those_of_the_catalogue():
    assert set(TOLERANCE) == set(compiled.BITS)


def test_transforms_of_functions_run_another_way():
    rnn = ENTRIES["lstm"].layer()
    x = torch.randn(5, 4, 2, 3, dtype=torch.float64)
    each = torch.func.vmap(lambda x: rnn(x)[0])(x)
    for got, x_of_one in zip(each, x, strict=True):
        assert_close(got, rnn(x_of_one)[0])
    jacobian = torch.func.jacrev(lambda x: rnn(x)[0].sum(1))(x[0])
    assert_close(jacobian, torch.autograd.functional.jacobian(lambda x: rnn(x)[0].sum(1), x[0]))


def test_torch_exports_cells_of_the_interpreter_for_any_number_of_steps():
    free = torch.export.Dim.DYNAMIC
    for entry in INTERPRETED:
        rnn = entry.layer(bidirectional=True)
        x = torch.randn(4, 2, 3, dtype=torch.float64)
        exported = torch.export.export(rnn, (x,), dynamic_shapes=({0: free, 1: free},)).module()
        x = torch.randn(6, 3, 3, dtype=torch.float64)
        (y, state), (expected, last) = exported(x), rnn(x)
        torch.testing.assert_close([y, *state], [expected, *last])
    with pytest.raises(BackendError, match="has no gradient in a program"):
        y.sum().backward()
