import copy
import cProfile
import pickle
import sys

import pytest

from selfloop import cell, cells, param, sigmoid, split, state, tanh
from selfloop.errors import ArgumentError
from selfloop.language.sizes import Size, parse_shape

LSTM = """\
lstm: x[t], h[t-1], c[t-1] -> h[t], c[t]
  W_xh: 4h × x, W_hh: 4h × h, b: 4h
  v1 = W_xh @ x[t] + W_hh @ h[t-1] + b
  i = sigmoid(split(v1, 4)[0])
  f = sigmoid(split(v1, 4)[1])
  g = tanh(split(v1, 4)[2])
  o = sigmoid(split(v1, 4)[3])
  c[t] = f * c[t-1] + i * g
  h[t] = o * tanh(c[t])"""


def test_a_cell_prints_as_its_equations():
    assert str(cells.lstm) == LSTM


def test_brackets_print_where_they_are_needed_and_only_there():
    @cell
    def brackets(x, h, *, a=param("h"), W=param("h x")):
        return (a - (h - a)) / (a * (h + 1)) - -(h * a) + W @ x * (-a)

    assert str(brackets).splitlines()[-1].strip() == (
        "h[t] = (a - (h[t-1] - a)) / (a * (h[t-1] + 1)) - -(h[t-1] * a) + W @ x[t] * -a"
    )


def test_a_name_is_printed_for_one_value_only():
    @cell
    def clash(x, h, *, W=param("h x"), v2=param("h")):
        v1 = tanh(W @ x)
        return (v1 + h) * (v1 + h) + sigmoid(h - v2) * sigmoid(h - v2)

    left = [line.split(" = ")[0].strip() for line in str(clash).splitlines()[2:]]
    assert left == ["v1", "v3", "v4", "h[t]"]


def test_a_cell_without_parameters_prints_without_their_line():
    @cell
    def leaky(x, h=state("x")):
        return 0.9 * h + x / 10

    assert str(leaky) == "leaky: x[t], h[t-1] -> h[t]\n  h[t] = 0.9 * h[t-1] + x[t] / 10"


def test_states_that_are_one_value_or_stay_print_as_such():
    @cell
    def one_value(x, a, b, c):
        a = tanh(a)
        return a, a, c

    assert str(one_value).splitlines()[1:] == ["  b[t] = tanh(a[t-1])", "  a[t] = b[t]", "  c[t] = c[t-1]"]


def test_a_lambda_is_a_function_too():
    assert str(cell(lambda x, h: tanh(h))).startswith("<lambda>: x[t], h[t-1] -> h[t]")


def test_cells_of_a_module_pickle_as_functions_do():
    assert pickle.loads(pickle.dumps(cells.lstm)) is cells.lstm
    assert copy.deepcopy(cells.lstm) is cells.lstm


def test_local_variables_name_values():
    graph = cells.lstm.graph
    assert {"i", "f", "g", "o", "c", "h"} <= set(graph.names)
    assert graph.nodes[graph.names["g"]].op == "tanh"
    assert graph.outputs == (graph.names["h"], graph.names["c"])


def test_equal_operations_are_written_once():
    @cell
    def twice(x, h, *, W=param("h x")):
        return tanh(W @ x) * tanh(W @ x) + h

    assert sum(node.op == "tanh" for node in twice.graph.nodes) == 1


def test_python_runs_when_a_cell_is_defined():
    depth, scale = 3, 0.5

    @cell
    def loops(x, h, *, U=param("h h")):
        for _ in range(depth):
            h = tanh(U @ h) * scale
        return h

    assert sum(node.op == "matmul" for node in loops.graph.nodes) == depth


def test_what_no_output_needs_is_left_out():
    @cell
    def wasteful(x, h, *, W=param("h x")):
        unneeded = sigmoid(h)  # noqa: F841
        return W @ x + h

    assert "unneeded" not in wasteful.graph.names
    assert all(node.op != "sigmoid" for node in wasteful.graph.nodes)


def test_a_cell_can_be_written_with_another():
    @cell
    def inner(x, h, *, U=param("h h")):
        return tanh(U @ h)

    @cell
    def outer(x, h, *, U=param("h h"), W=param("h x")):
        return inner(x, h, U=U) + W @ x

    assert outer.graph.recurrent_params == ("U",)


def test_the_forget_gate_starts_open():
    assert cells.lstm.inits["b"] == (0, 1, 0, 0)


def test_sizes_are_asked_for_by_name():
    assert cells.projected_lstm.sizes == ("p",)
    with pytest.raises(ArgumentError, match="needs the size 'p'; give it as p="):
        cells.projected_lstm.bind(3, 4, {})
    with pytest.raises(ArgumentError, match="has no size 'q'"):
        cells.lstm.bind(3, 4, {"q": 2})
    with pytest.raises(ArgumentError, match="'hidden_size' of 'lstm' must be a whole number ≥ 1"):
        cells.lstm.bind(3, 0, {})


def test_recurrent_matrices_are_those_that_multiply_a_state():
    assert cells.projected_lstm.graph.recurrent_params == ("W_hh", "W_hr")
    assert cells.gru.graph.recurrent_params == ("W_hh",)


@pytest.mark.parametrize(("text", "value"), [("h", 4), ("4h", 16), ("h+x", 7), ("2h+3x+5", 22), ("16", 16)])
def test_sizes_are_sums_of_names(text, value):
    size = Size.parse(text)
    assert size.value({"h": 4, "x": 3}) == value
    assert Size.parse(str(size)) == size


def test_a_size_divides_whatever_its_names_stand_for():
    assert Size.parse("4h+2x").divided(2) == Size.parse("2h+x")
    assert Size.parse("4h+x").divided(2) is None


@pytest.mark.parametrize("text", ["", "0", "0h", "h h h", "-h", "h*2", "2 h +"])
def test_what_is_no_shape_is_refused(text):
    if text == "":
        assert parse_shape(text) == ()
        return
    with pytest.raises(ValueError, match="size"):
        parse_shape(text)


def test_split_gives_parts_in_order():
    @cell
    def parts(x, h, *, W=param("2h x")):
        a, b = split(W @ x, 2)
        return a - b + h

    values = [node.value for node in parts.graph.nodes if node.op == "part"]
    assert values == [(0, "h", "h"), (1, "h", "h")]


@pytest.mark.parametrize("tool", ["cProfile", "sys.setprofile", "sys.settrace"])
def test_a_cell_can_be_written_under_a_profiler_or_a_debugger(tool):
    calls = []
    profiler = cProfile.Profile()
    begin, end, own = {
        "cProfile": (profiler.enable, profiler.disable, None),
        "sys.setprofile": (lambda: sys.setprofile(hook), lambda: sys.setprofile(None), sys.getprofile),
        "sys.settrace": (lambda: sys.settrace(hook), lambda: sys.settrace(before), sys.gettrace),
    }[tool]

    def hook(*event):
        calls.append(event)

    def simple(x, h, *, W=param("h x")):
        total = h + W @ x
        return tanh(total)

    before = sys.gettrace()
    begin()
    try:
        graph = cell(simple).graph
        assert own is None or own() is hook
    finally:
        end()
    assert "total" in graph.names
    assert calls or profiler.getstats()
