"""A kernel grows with what differs in a cell, not with how often it is evaluated, and its tiles not with its sizes."""

import re

import pytest
import torch
from catalogue import assert_close, everything

import selfloop as sl
from selfloop.compiler.cpu.build import llvm_ir
from selfloop.compiler.cpu.kernels import compile
from selfloop.compiler.cpu.targets import named, pair_products
from selfloop.language import Cell, param

AVX512 = named("avx512")


def evaluating(times: int) -> Cell:
    """A cell that evaluates a network so many times a step, whose stages are tile loops and reductions."""

    @sl.cell
    def flow(x, h, *, W=param("h x"), U=param("h h"), V=param("h h"), gain=param("h", init=1)):
        drive = W @ x
        for _ in range(times):
            h = h + 0.3 * (V @ sl.tanh(U @ sl.rms_norm(gain * h) + drive) - 0.1 * h)
        return h

    return flow


def lines(times: int, *names: str, **options) -> list[str]:
    kernels = compile(evaluating(times).graph, {"x": 24, "h": 40}, 32, AVX512, **options)
    return llvm_ir(AVX512, kernels.emit(*names)).splitlines()


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("names", [("infer",), ("train",), ("back", "input_gradient")])
def test_twice_the_evaluations_are_not_twice_the_code(names, in_place):
    few, many = (len(lines(times, *names, in_place=in_place)) for times in (16, 32))
    assert many < 1.5 * few


@pytest.mark.parametrize("way", AVX512.bfloat16)
def test_so_they_are_in_bfloat16(way):
    assert len(lines(32, "infer", bfloat16=way)) < 1.5 * len(lines(16, "infer", bfloat16=way))


def test_a_stage_that_occurs_once_is_no_function():
    functions = [line for line in lines(1, "infer", "train", "back") if "_stage" in line]
    assert functions == []
    assert any(re.search(r'define internal void @"infer_stage\d+"', line) for line in lines(8, "infer"))


def test_weights_that_are_multiplied_often_are_packed_once():
    graph = evaluating(16).graph
    once, often = (compile(g, {"x": 24, "h": 40}, 32, AVX512) for g in (evaluating(1).graph, graph))
    for name in ("infer", "train", "back"):
        assert getattr(often, name).packing.size <= 2 * getattr(once, name).packing.size, name


@pytest.mark.parametrize("T, B", [(5, 1), (4, 3), (3, 19), (1, 3)])
def test_many_evaluations_are_as_the_interpreter_has_them(T, B):
    rnn = sl.Recurrent(evaluating(4), 3, 20, dtype=torch.float64)
    x, start = torch.randn(T, B, 3, dtype=torch.float64), rnn.initial_state(B)
    results = {}
    for backend in ("native", "interpret"):
        rnn.backend = backend
        results[backend] = everything(rnn, x, start, rnn)
    for got, expected in zip(*results.values(), strict=True):
        assert_close(got, expected)


@pytest.mark.skipif(not pair_products(AVX512), reason="this processor does not multiply bfloat16")
def test_many_evaluations_in_bfloat16_are_near_those_in_float32():
    rnn = sl.Recurrent(evaluating(4), 3, 40, backend="native").requires_grad_(False)
    x = torch.randn(6, 5, 3)
    exact, _ = rnn(x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, _ = rnn(x)
    torch.testing.assert_close(rounded.float(), exact, rtol=0, atol=0.1)
    assert not torch.equal(rounded.float(), exact)


def test_a_new_size_needs_no_new_tile():
    from selfloop.cells import lstm

    for in_place in (False, True):
        kernels = [compile(lstm.graph, {"x": h, "h": h}, 32, AVX512, in_place=in_place) for h in (64, 256)]
        known, new = ([key[:2] for key in own._called(("train", "back", "input_gradient"))] for own in kernels)
        assert known == new != []


def test_a_value_made_of_many_is_stored_and_not_made_anew_in_each_later_loop():
    program = compile(evaluating(16).graph, {"x": 24, "h": 40}, 32, AVX512).infer.program
    for stage, loops in enumerate(program.stages):
        for loop in loops if isinstance(loops, tuple) else (loops,):
            reached = program.inputs((store.value for store in loop.stores), stage)
            assert sum(k in program.stored and program.stored[k][0] <= stage for k in reached) <= 7
