"""Each pass by itself: it returns what is well formed, and computes what the level before it computes."""

import pytest
import torch
from catalogue import CELLS, INTERPRETED
from step_evaluator import Memory, run_program, run_step

import selfloop as sl
from selfloop import param
from selfloop.compiler.lower import lower, lower_inference
from selfloop.compiler.lower.differentiate import differentiate
from selfloop.compiler.lower.fuse import eliminate_dead_code, fuse
from selfloop.compiler.lower.graph_to_step import graph_to_step
from selfloop.compiler.lower.hoist import hoist, input_products
from selfloop.compiler.lower.input_gradient import input_gradient
from selfloop.compiler.lower.rematerialise import rematerialise
from selfloop.compiler.lower.schedule import schedule
from selfloop.compiler.lower.step import Builder, Location, Step, Store, Submatrix, Value
from selfloop.compiler.lower.weight_gradients import weight_gradients

X, H = 5, 6
DETERMINISTIC = [entry for entry in CELLS if not entry.cell.graph.is_random]


def example_of(entry):
    """A cell, its sizes, and random numbers for all that its step reads."""
    graph = entry.cell.graph.per_step
    sizes = entry.cell.bind(X, H, entry.sizes)
    shapes = {name: [s.value(sizes) for s in graph.shape(name)] for name in (graph.input, *graph.states, *graph.params)}
    numbers = {name: torch.randn(shape, dtype=torch.float64) * 0.7 for name, shape in shapes.items()}
    return graph, sizes, numbers


@pytest.fixture(params=DETERMINISTIC, ids=str)
def example(request):
    return example_of(request.param)


def memory_for(graph, numbers):
    return Memory(
        x={graph.input: numbers[graph.input]},
        h_prev={name: numbers[name] for name in graph.states},
        param={name: numbers[name] for name in graph.params},
    )


def one_step(graph, numbers):
    """The new states by the interpreter."""
    rnn = sl.kernels.interpret
    problem = sl.kernels.problem.Problem(
        graph,
        {name: numbers[name] for name in graph.params},
        numbers[graph.input][None, None],
        tuple(numbers[name][None] for name in graph.states),
    )
    _, state = rnn.run(problem)
    return dict(zip(graph.states, (s[0] for s in state), strict=True))


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name].reshape(-1), value.reshape(-1), rtol=1e-10, atol=1e-12)


def new_states(step, graph, numbers, run=run_step, **more):
    memory = memory_for(graph, numbers)
    memory.buffers |= more
    run(step, memory)
    return memory["h_next"]


def test_a_step_computes_what_its_graph_does(example):
    graph, sizes, numbers = example
    assert_same(new_states(graph_to_step(graph, sizes), graph, numbers), one_step(graph, numbers))


def test_fusing_changes_no_number(example):
    graph, sizes, numbers = example
    step = graph_to_step(graph, sizes)
    assert_same(new_states(fuse(step), graph, numbers), new_states(step, graph, numbers))


@pytest.mark.parametrize("entry", INTERPRETED, ids=str)
def test_steps_of_matrices_are_lowered_for_inference(entry):
    graph, sizes, numbers = example_of(entry)
    step = graph_to_step(graph, sizes)
    expected = one_step(graph, numbers)
    assert_same(new_states(step, graph, numbers), expected)
    assert_same(new_states(fuse(step), graph, numbers), expected)
    assert_same(new_states(lower_inference(graph, sizes), graph, numbers, run_program), expected)


def test_hoisted_products_are_loaded_again(example):
    graph, sizes, numbers = example
    step = fuse(graph_to_step(graph, sizes))
    products, rest = hoist(step, 0)
    memory = memory_for(graph, numbers)
    run_step(input_products(products), memory)
    assert_same(new_states(rest, graph, numbers, residual=memory["residual"]), new_states(step, graph, numbers))
    assert not any(
        rest.values[a].location and rest.values[a].location.buffer == "x" for v in rest.values for _, a in v.terms
    )


@pytest.mark.parametrize("hoist_above", [None, 0])
def test_programs_compute_what_their_steps_do_and_gradients_are_those_of_autograd(example, hoist_above):
    graph, sizes, numbers = example
    lowered = lower(graph, sizes, hoist_above)
    leaves = {name: value.clone().requires_grad_() for name, value in numbers.items()}
    expected = one_step(graph, leaves)

    memory = memory_for(graph, numbers)
    if lowered.project:
        run_program(lowered.project, memory)
    residual = dict(memory["residual"])
    assert_same(new_states(lowered.infer, graph, numbers, run_program, residual=residual), expected)
    run_program(lowered.train, memory)
    assert_same(memory["h_next"], expected)

    output = graph.states[0]
    d_next = {name: torch.randn_like(value) for name, value in expected.items()}
    dy = torch.randn_like(expected[output])
    loss = sum((expected[name] * d).sum() for name, d in d_next.items()) + (expected[output] * dy).sum()
    loss.backward()

    memory.buffers |= {"dh_next": d_next, "dy": {output: dy}}
    run_program(lowered.back, memory)
    if lowered.input_gradient:
        run_program(lowered.input_gradient, memory)
    gradients = {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    for name, own in (*memory["dh_prev"].items(), *memory["dx"].items(), *memory["dparam"].items()):
        gradients[name].view(-1)[: own.numel()] += own
    for g in lowered.weight_gradients:
        d = memory["cotangent"][g.cotangent][: g.rows]
        multiplied = memory.load(g.argument, g.columns)
        matrix = gradients[g.matrix.name]
        matrix[g.matrix.row : g.matrix.row + g.rows, g.matrix.column : g.matrix.column + g.columns] += (
            d[:, None] * multiplied
        )
    assert_same(gradients, {name: torch.zeros_like(v) if v.grad is None else v.grad for name, v in leaves.items()})


# What a pass does, on steps of a few values


def vector(builder, name, size=4):
    return builder.load(Location("h_prev", name), size)


def test_a_split_product_is_products_of_parts_of_its_matrix():
    @sl.cell
    def two_gates(x, h, *, W=param("2h h")):
        a, b = sl.split(W @ h, 2)
        h = a * b
        return h

    step = graph_to_step(two_gates.graph, {"x": 1, "h": 3})
    products = [v for v in step.values if v.op == "product"]
    assert [v.attribute for v in products] == [(Submatrix("W", 0, 0),), (Submatrix("W", 3, 0),)]
    assert not any(v.op in ("part", "concat") for v in step.values)


def test_sums_of_products_with_one_use_become_one_product():
    builder = Builder()
    a, b = vector(builder, "a"), vector(builder, "b")
    left = builder.product(4, [(Submatrix("W", 0, 0), a)])
    right = builder.product(4, [(Submatrix("U", 0, 0), b)])
    total = builder.apply("add", left, right)
    once = fuse(builder.finish([Store(Location("h_next", "a"), total)]))
    assert [v.op for v in once.values] == ["load", "load", "product"]
    assert len(once.values[-1].terms) == 2
    twice = fuse(builder.finish([Store(Location("h_next", "a"), total), Store(Location("h_next", "b"), left)]))
    assert [v.op for v in twice.values].count("product") == 2


def test_what_no_store_needs_is_gone():
    builder = Builder()
    a = vector(builder, "a")
    used, _ = builder.apply("tanh", a), builder.apply("exp", a)
    step = eliminate_dead_code(builder.finish([Store(Location("h_next", "a"), used)]))
    assert [v.op for v in step.values] == ["load", "tanh"]


def test_small_matrices_stay_in_the_step():
    graph, sizes = sl.cells.lstm.graph, {"x": X, "h": H}
    step = fuse(graph_to_step(graph, sizes))
    elements = 4 * H * (X + H)
    assert hoist(step, elements) == ((), step)
    assert hoist(step, None) == ((), step)
    assert len(hoist(step, elements - 1)[0]) == 4


def test_the_derivative_of_a_product_is_the_transposed_product():
    builder = Builder()
    h = vector(builder, "h")
    step = builder.finish([Store(Location("h_next", "h"), builder.product(4, [(Submatrix("W", 0, 0), h)]))])
    derivative = differentiate(step, {"h": 4})
    (outer,) = derivative.outer_products
    assert (outer.matrix, outer.rows, outer.columns) == (Submatrix("W", 0, 0), 4, 4)
    transposed = [v for v in derivative.step.values if v.op == "product" and v.attribute[0].transposed]
    assert len(transposed) == 1


def test_cheap_values_are_recomputed_and_expensive_ones_saved():
    builder = Builder()
    h = vector(builder, "h")
    cheap, expensive = builder.apply("tanh", h), builder.apply("sin", builder.apply("sin", h))
    step = builder.finish([Store(Location("h_next", "h"), builder.apply("mul", cheap, expensive))])
    backward = rematerialise(step, differentiate(step, {"h": 4}))
    assert [step.values[s.value].op for s in backward.residuals] == ["sin", "sin"]


def test_the_gradient_of_the_input_comes_from_all_matrices_that_multiply_it():
    lowered = lower(sl.cells.lstm.graph, {"x": X, "h": H}, None)
    step = lowered.input_gradient.step
    (product,) = [v for v in step.values if v.op == "product"]
    assert len(product.terms) == 4
    assert all(matrix.transposed for matrix, _ in product.terms)
    backward = rematerialise(*_derivative(sl.cells.indrnn.graph))
    assert input_gradient(weight_gradients(backward, ()), backward.step) is not None


def _derivative(graph):
    sizes = {"x": X, "h": H}
    step = fuse(graph_to_step(graph, sizes))
    return step, differentiate(step, dict.fromkeys(graph.states, H))


def test_a_transpose_multiplies_without_being_made():
    """And a product with a matrix has a loop before what follows from it."""

    @sl.cell
    def turned(x, h, C=sl.state("h h")):
        C = sl.tanh(C)
        return sl.tanh(C.T @ h), C

    program = lower_inference(turned.graph, {"x": X, "h": H})
    assert "transpose" not in {value.op for value in program.step.values}
    assert [type(stage).__name__ for stage in program.stages] == ["tuple", "WholeLoop", "tuple"]
    assert [loop.rows for loop in program.stages[0]] == [H]


def test_a_reduction_has_a_loop_between_two_tile_loops():
    builder = Builder()
    h, W = vector(builder, "h"), Submatrix("W", 0, 0)
    product = builder.product(4, [(W, h)])
    total = builder.reduce("sum", product)
    step = Step(
        (*builder.values, Value("mul", (product, total), 4)), (Store(Location("h_next", "h"), len(builder.values)),)
    )
    program = schedule(step)
    assert [type(stage).__name__ for stage in program.stages] == ["tuple", "ReductionLoop", "tuple"]
    assert set(program.stored) == {product, total, len(step.values) - 1}
