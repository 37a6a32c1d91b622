"""Rows on torch's threads and on our own: each runs once, those that wait for each other meet, nothing hangs."""

import os
import signal
import subprocess
import sys
import threading

import llvmlite.binding as llvm
import numpy as np
import pytest
import torch
from beartype.roar import BeartypeCallHintViolation

from selfloop.kernels import team

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux's torch has libgomp")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")

CODE = r"""
declare i32 @sched_yield()

define void @count(ptr %block) {            ; block[0] += 1
  %old = load i64, ptr %block
  %new = add i64 %old, 1
  store i64 %new, ptr %block
  ret void
}

define void @meet(ptr %block) {             ; block = [met, rounds, rows, &arrived]: rounds barriers of all rows
entry:
  %rounds.p = getelementptr i64, ptr %block, i64 1
  %rounds = load i64, ptr %rounds.p
  %rows.p = getelementptr i64, ptr %block, i64 2
  %rows = load i64, ptr %rows.p
  %arrived.p = getelementptr i64, ptr %block, i64 3
  %arrived = load ptr, ptr %arrived.p
  br label %round
round:
  %i = phi i64 [0, %entry], [%next, %met]
  %next = add i64 %i, 1
  %target = mul i64 %next, %rows
  %mine = atomicrmw add ptr %arrived, i64 1 acq_rel
  br label %wait
wait:
  %seen = load atomic i64, ptr %arrived acquire, align 8
  %there = icmp sge i64 %seen, %target
  br i1 %there, label %met, label %yield
yield:
  %ignored = call i32 @sched_yield()
  br label %wait
met:
  call void @count(ptr %block)
  %on = icmp slt i64 %next, %rounds
  br i1 %on, label %round, label %done
done:
  ret void
}
"""


@pytest.fixture(scope="module")
def code():
    """The addresses of the functions above, by name."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    yields = "SwitchToThread" if os.name == "nt" else "sched_yield"
    module = llvm.parse_assembly(CODE.replace("sched_yield", yields))
    engine = llvm.create_mcjit_compiler(module, llvm.Target.from_default_triple().create_target_machine())
    engine.finalize_object()
    yield {name: engine.get_function_address(name) for name in ("count", "meet")}


@pytest.fixture(params=[pytest.param("torch's", marks=linux), "our own"])
def whose(request, monkeypatch):
    """Whose threads run the rows."""
    if request.param == "our own":
        monkeypatch.setattr(team, "_openmp", lambda: None)
    return request.param


@pytest.fixture(autouse=True)
def torchs_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def meeting(rows, rounds=50):
    """Blocks for ``meet``, and the counter that they share."""
    arrived = np.zeros(1, np.int64)
    blocks = np.zeros((rows, 4), np.int64)
    blocks[:, 1:] = rounds, rows, arrived.ctypes.data
    return blocks, arrived


@linux
def test_torchs_own_team_is_found():
    assert team._openmp() is not None


def test_threads_are_torchs():
    for count in (1, 3):
        torch.set_num_threads(count)
        assert team.threads() == count


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 2, 3, 5, 17])
@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_every_row_runs_once(code, whose, threads, rows, together):
    torch.set_num_threads(threads)
    blocks = np.zeros((rows, 3), np.int64)
    for times in range(1, 4):
        team.run(code["count"], blocks, together)
        np.testing.assert_array_equal(blocks, np.array([[times, 0, 0]] * rows).reshape(rows, 3))


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_rows_that_wait_for_each_other_meet(code, whose, threads, rows):
    torch.set_num_threads(threads)
    blocks, arrived = meeting(rows)
    team.run(code["meet"], blocks, together=True)
    assert arrived.item() == 50 * rows
    assert blocks[:, 0].tolist() == [50] * rows


@pytest.mark.parametrize("together", [False, True])
def test_several_python_threads_may_call_at_once(code, whose, together):
    wrong = []

    def work():
        torch.set_num_threads(2)
        for rows in (2, 3) * 20:
            blocks, _arrived = meeting(rows, rounds=3)
            team.run(code["meet" if together else "count"], blocks, together)
            wrong.extend(blocks[blocks[:, 0] != (3 if together else 1)])

    callers = [threading.Thread(target=work) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert not any(caller.is_alive() for caller in callers)
    assert not wrong


def test_operations_of_torch_in_between_change_nothing(code, whose):
    x = torch.randn(1 << 18)
    for _ in range(20):
        blocks, _arrived = meeting(2, rounds=5)
        team.run(code["meet"], blocks, together=True)
        torch.testing.assert_close(x + x, 2 * x)
        assert blocks[:, 0].tolist() == [5, 5]


@pytest.mark.parametrize(
    "blocks",
    [
        np.zeros((2, 3), np.int32),
        np.zeros((2, 3)),
        np.zeros(3, np.int64),
        np.zeros((2, 6), np.int64)[:, ::2],
        np.zeros((3, 2), np.int64).T,
    ],
    ids=["int32", "float64", "one dimension", "strided", "transposed"],
)
def test_blocks_of_another_kind_are_refused(code, blocks):
    with pytest.raises((ValueError, BeartypeCallHintViolation)):  # the test run's checker of types may be faster
        team.run(code["count"], blocks)


INTERRUPTED = """
import signal, sys
import llvmlite.binding as llvm
import numpy as np, torch
from selfloop.kernels import team

class Interrupted(Exception):
    pass

def interrupt(*_):
    raise Interrupted

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()
machine = llvm.Target.from_default_triple().create_target_machine()
engine = llvm.create_mcjit_compiler(llvm.parse_assembly(sys.argv[1]), machine)
engine.finalize_object()
meet = engine.get_function_address("meet")
team._openmp = lambda: None
signal.signal(signal.SIGALRM, interrupt)
number = interrupted = 0
while number < 1000:
    try:
        arrived, blocks = np.zeros(1, np.int64), np.zeros((3, 4), np.int64)
        blocks[:, 1:] = 4, 3, arrived.ctypes.data
        try:
            if number:  # Python's Thread.start complains when it is interrupted: the first time starts them
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + number % 100))
            team.run(meet, blocks, together=True)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except Interrupted:
            interrupted += 1
        assert arrived.item() in (0, 12)
        assert set(blocks[:, 0].tolist()) in ({0}, {4})
        number += 1
    except Interrupted:  # the alarm was given to another thread, which passed it on after the timer had been stopped
        pass
assert interrupted > 0
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the platform has no alarms of microseconds")
def test_an_interrupt_at_any_place_waits_for_all_rows_or_comes_before_them():
    assert _python(INTERRUPTED, CODE) == ""  # a process of its own: an alarm in the checker of types is an error of its


LIMITED = """
import ctypes, threading
import numpy as np, torch
from selfloop.kernels import team

barrier = threading.Barrier(4, timeout=30)
meet = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda block: barrier.wait() and None)
torch.set_num_threads(4)
team.run(ctypes.cast(meet, ctypes.c_void_p).value, np.zeros((4, 1), np.int64), together=True)
print("met")
"""


@pytest.mark.parametrize("limit", [{}, {"OMP_THREAD_LIMIT": "2"}, {"OMP_DYNAMIC": "true"}], ids=str)
def test_rows_meet_even_where_openmp_gives_fewer_threads(limit):
    assert _python(LIMITED, **limit) == "met\n"


FORKED = """
import ctypes, os, sys
import numpy as np, torch
from selfloop.kernels import team

@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def count(block):
    ctypes.c_int64.from_address(block).value += 1

def check(rows, together):
    blocks = np.zeros((rows, 1), np.int64)
    team.run(ctypes.cast(count, ctypes.c_void_p).value, blocks, together)
    assert blocks[:, 0].tolist() == [1] * rows

torch.set_num_threads(2)
if "own" in sys.argv:
    team._openmp = lambda: None
check(2, False)
check(3, True)
torch.ones(1 << 20) + 1
for generation in range(3):     # children of children
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert status == 0, status
        break
    check(2, False)
    check(3, True)
check(2, False)
"""


@forks
@pytest.mark.parametrize("whose", ["torch's", "own"])
def test_a_forked_child_does_not_hang(whose):
    assert _python(FORKED, whose) == ""


DATA = """
import ctypes
import numpy as np, torch
from selfloop.kernels import team

@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def count(block):
    ctypes.c_int64.from_address(block).value += 1

def call(number):
    blocks = np.zeros((2, 1), np.int64)
    team.run(ctypes.cast(count, ctypes.c_void_p).value, blocks, together=number % 2 == 1)
    return int(blocks.sum())

class Items(torch.utils.data.Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, number):
        return call(number)

torch.set_num_threads(2)
assert call(1) == 2
loader = torch.utils.data.DataLoader(Items(), num_workers=2, multiprocessing_context="fork")
assert torch.cat(list(loader)).tolist() == [2] * 8
print("done")
"""


@forks
def test_the_forked_workers_of_a_data_loader_may_call():
    assert _python(DATA) == "done\n"


EXIT = """
import ctypes
import numpy as np, torch
from selfloop.kernels import team
team._openmp = lambda: None
torch.set_num_threads(3)
nothing = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda block: None)
team.run(ctypes.cast(nothing, ctypes.c_void_p).value, np.zeros((3, 1), np.int64), together=True)
"""


def test_the_interpreter_ends_while_our_threads_sleep():
    assert _python(EXIT) == ""


def _python(script, *arguments, **environment):
    """What a fresh interpreter prints; it must end well, within a minute, and complain of nothing."""
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", script, *arguments]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
