"""The grammar of each level: what breaks it is refused by the name of the pass, the level and the value."""

from dataclasses import replace

import pytest

import selfloop as sl
from selfloop.compiler.lower import lower, lower_inference, verify
from selfloop.compiler.lower.graph_to_step import graph_to_step
from selfloop.compiler.lower.program import TileLoop, WholeLoop
from selfloop.compiler.lower.schedule import schedule
from selfloop.compiler.lower.step import Location, Matvec, Step, Store, Submatrix, Value
from selfloop.language.graph import Node

GRAPH = sl.cells.lstm.graph
STEP = graph_to_step(GRAPH, {"x": 3, "h": 4})
PROGRAM = schedule(lower(sl.cells.layer_norm_lstm.graph, {"x": 3, "h": 4}, None).training)
H_PREV = Location("h_prev", "h")


def step(*values, store=None):
    """A step of these values after a vector and a comparison."""
    own = (Value("load", (), 4, H_PREV), Value("lt", (0, 0), 4), *values)
    return Step(own, (store or Store(Location("h_next", "h"), len(own) - 1),))


WRONG_STEPS = {
    "%2: unknown operation 'cosh'": step(Value("cosh", (0,), 4)),
    "%2: its arguments (2,) must come before it": step(Value("tanh", (2,), 4)),
    "%2: 'tanh' takes 1 arguments; it has 2": step(Value("tanh", (0, 0), 4)),
    "%2: argument 0 of 'tanh' must be a number; it is 'lt'": step(Value("tanh", (1,), 4)),
    "%2: argument 0 of 'where' must be a comparison; it is 'load'": step(Value("where", (0, 0, 0), 4)),
    "%2: its size is 3, and those of its arguments are [4]": step(Value("tanh", (0,), 3)),
    "%2: a reduction makes a scalar of a vector": step(Value("sum", (0,), 4)),
    "%2: a broadcast makes a vector of a scalar": step(Value("broadcast", (0,), 4)),
    "%2: a product needs a submatrix for each argument": step(Value("product", (0,), 4, ())),
    "%2: a product multiplies vectors and is one": step(Value("product", (0,), 0, (Submatrix("W", 0, 0),))),
    "%2: an outer product makes a matrix of two vectors": step(Value("outer", (0, 0), 16, rows=2)),
    "%2: 'concat' does not fit its arguments": step(Value("concat", (0, 0), 7)),
    "%3: it has 1 rows, and its arguments [4]": step(Value("outer", (0, 0), 16, rows=4), Value("tanh", (2,), 16)),
    "%3: 'sum' takes and makes vectors": step(Value("outer", (0, 0), 16, rows=4), Value("sum", (2,), 0)),
    "%3: 'transpose' does not fit its arguments": step(
        Value("outer", (0, 0), 16, rows=4), Value("transpose", (2,), 16, rows=2)
    ),
    "%3: 'matvec' does not fit its arguments": step(
        Value("outer", (0, 0), 16, rows=4), Value("matvec", (2, 0), 3, Matvec(2, False))
    ),
    "%2: 'const' has the attribute None": step(Value("const", (), 0)),
    "%2: there is no heap h[0:]": step(Value("load", (), 4, Location("heap", "h"))),
    "%2: a forward step loads dy h[0:]": step(Value("load", (), 4, Location("dy", "h"))),
    "store to h_next h[0:]: %9 does not exist": step(store=Store(Location("h_next", "h"), 9)),
    "store to h_next h[0:]: %1 is a comparison, and no number": step(store=Store(Location("h_next", "h"), 1)),
    "store to h_prev h[0:]: nothing can be stored there": step(store=Store(H_PREV, 0)),
    "store to h_next h[2:]: another store has written there": replace(
        STEP, stores=(*STEP.stores, Store(Location("h_next", "h", 2), STEP.stores[0].value))
    ),
}


@pytest.mark.parametrize("message", WRONG_STEPS)
def test_a_step_that_breaks_the_grammar(message):
    with pytest.raises(verify.VerificationError) as caught:
        verify.verify(WRONG_STEPS[message], "after fuse")
    assert str(caught.value).startswith(f"after fuse: Step: {message}\n")


def with_node(k, **changes):
    nodes = list(GRAPH.nodes)
    nodes[k] = replace(nodes[k], **changes)
    return replace(GRAPH, nodes=tuple(nodes))


LAST = len(GRAPH.nodes) - 1


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (lambda: with_node(LAST, op="cosh"), f"node {LAST}: unknown operation 'cosh'"),
        (lambda: with_node(1, args=(0,)), "node 1: the leaf 'state' has arguments"),
        (lambda: replace(GRAPH, outputs=(LAST + 1, 0)), f"state h: its new value {LAST + 1} is no node"),
        (lambda: replace(GRAPH, outputs=(GRAPH.leaves["x"], LAST)), "state h: its new value has another shape"),
        (
            lambda: replace(GRAPH, nodes=(*GRAPH.nodes, Node("lt", (LAST, LAST), ()), Node("tanh", (LAST + 1,), ()))),
            f"node {LAST + 1}: a comparison is used as a number",
        ),
    ],
)
def test_a_graph_that_breaks_the_grammar(graph, message):
    with pytest.raises(verify.VerificationError) as caught:
        verify.verify(graph(), "before graph_to_step")
    assert str(caught.value).startswith(f"before graph_to_step: Graph: {message}")


def test_a_program_must_compute_what_it_uses_before_it_is_used():
    verify.verify(PROGRAM, "after schedule")
    late = {k: (first + 1, location) for k, (first, location) in PROGRAM.stored.items()}
    with pytest.raises(
        verify.VerificationError, match=r"after schedule: Program: %\d+: stage \d+ (needs|multiplies) it"
    ):
        verify.verify(replace(PROGRAM, stored=late), "after schedule")
    with pytest.raises(verify.VerificationError, match="they do not have every store of the step exactly once"):
        verify.verify(replace(PROGRAM, stages=PROGRAM.stages[:-1]), "after schedule")


def test_what_an_outer_product_reads_must_be_in_memory():
    program = lower_inference(sl.cells.mlstm.graph, {"x": 3, "h": 4})
    (outer,) = (value for value in program.step.values if value.op == "outer")
    late = {**program.stored, outer.args[0]: (99, H_PREV)}
    with pytest.raises(verify.VerificationError, match=r"%15: stage 2 multiplies it before it is stored"):
        verify.verify(replace(program, stored=late), "after schedule")


def test_operations_on_whole_matrices_have_a_loop_of_their_own():
    program = lower_inference(sl.cells.mlstm.graph, {"x": 3, "h": 4})
    stages = [(TileLoop(4, (), s.stores),) if isinstance(s, WholeLoop) else s for s in program.stages]
    with pytest.raises(verify.VerificationError, match="stage 3 stores it, which is no loop for 'matvec'"):
        verify.verify(replace(program, stages=tuple(stages)), "after schedule")


def test_what_a_pass_returns_is_verified_by_its_name(monkeypatch):
    @verify.verified
    def forget_arguments(given):
        return Step(given.values[1:], given.stores)

    with pytest.raises(verify.VerificationError, match="after forget_arguments: Step: %"):
        forget_arguments(STEP)
    with pytest.raises(verify.VerificationError, match="before forget_arguments: Step: "):
        forget_arguments(Step(STEP.values[1:], STEP.stores))
    monkeypatch.delenv(verify.VARIABLE)
    forget_arguments(STEP)  # outside of tests nothing is verified, which costs nothing
