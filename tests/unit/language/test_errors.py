"""What cannot be a cell is refused when it is defined: the error names the cell, the line and what was expected."""

import inspect
import re

import pytest
import torch

import selfloop as sl
from selfloop import cell, chrono, concat, param, sigmoid, split, sqrt, state, tanh, where
from selfloop.errors import ArgumentError, CellError


def unknown_size(x, h, *, W=param("4*h x")):
    return W @ x


def too_many_sizes(x, h, *, W=param("h x h")):
    return W @ x


def wrong_vector(x, h, *, W=param("4h x")):
    i, _, _, _ = split(W @ h, 4)  # line
    return i


def vector_at_left(x, h, *, b=param("h")):
    return b @ h  # line


def two_sizes(x, h, *, b=param("2h")):
    return tanh(b) * h  # line


def matrix_elementwise(x, h, *, U=param("h h")):
    return U * h  # line


def unused(x, h, *, W=param("h x"), U=param("h h")):
    return tanh(W @ x)


def undeclared(x, h, *, W):
    return W @ x


def undeclared_inside(x, h, *, W=param("h x")):
    return tanh(W @ x + bias)  # line # noqa: F821


def misspelt(x, h, *, W=param("h x")):
    return sigmod(W @ x)  # line # noqa: F821


def forgotten_state(x, h, c, *, W=param("h x")):
    return tanh(W @ x) + c  # line


def too_many_returned(x, h, *, W=param("h x")):
    return h, tanh(W @ x)  # line


def nothing_returned(x, h, *, W=param("h x")):
    tanh(W @ x)  # line


def scalar_returned(x, h):
    return sl.sum(h)  # line


def comparison_returned(x, h):
    return h > 0  # line


def number_returned(x, h):
    return 0.0  # line


def method_of_a_value(x, h):
    return tanh(h).sum()  # line


def wrong_state_size(x, h, c=state("k"), *, W=param("h x")):
    return W @ x, h + W @ x  # line


def torch_inside(x, h, *, W=param("h x")):
    return torch.tanh(W @ x)  # line


def number_times_text(x, h):
    return h * "2"  # line


def looks_at_a_value(x, h, *, W=param("h x")):
    if h > 0:  # line
        return h
    return W @ x


def unpacks(x, h, *, W=param("2h x")):
    a, _ = W @ x  # line
    return a


def indexes(x, h):
    return h[0]  # line


def raises_to_a_power(x, h):
    return h**0.5  # line


def compares_for_equality(x, h):
    return where(h == 0, h, 1)  # line


def comparison_as_number(x, h):
    return h + (h > 0)  # line


def where_without_comparison(x, h):
    return where(h, h, 1)  # line


def uneven_split(x, h):
    a, _ = split(h, 2)  # line
    return concat(a, a)


def bad_init(x, h, *, W=param("h x", init="orthonormal")):
    return W @ x


def init_of_wrong_parts(x, h, *, b=param("4h", init=(0, 1))):
    return split(b, 3)[0]  # line


def init_for_a_matrix(x, h, *, b=param("h", init="orthogonal")):
    return h + b


def default_state(x, h=0.0):
    return h


def state_as_matrix(x, h=state("h h")):
    return h


def size_as_number(x, h, *, b=param(3)):
    return h + b


def parameter_with_a_number(x, h, *, leak=0.1):
    return leak * h


def init_of_no_parts(x, h, *, b=param("h", init=())):
    return h + b


def chrono_for_a_matrix(x, h, *, W=param("h h", init=chrono(20))):
    return W @ h


def init_as_a_list(x, h, *, b=param("h", init=[1])):
    return h + b


def init_of_words(x, h, *, b=param("h", init=("one",))):
    return h + b


def init_of_truth(x, h, *, b=param("h", init=True)):
    return h + b


def word_of_numbers(x, h):
    return h / sqrt(2.0)  # line


def word_of_nothing(x, h):
    return concat()  # line


def parts_of_a_number(x, h):
    a, _ = split(3, 2)  # line
    return a


def no_parts(x, h):
    return split(h, 0)[0]  # line


def bounds_the_wrong_way_round(x, h):
    return sl.clip(h, 1, -1)  # line


def misspelt_after_a_dot(x, h):
    return sl.sigmod(h)  # line


def chained_comparison(x, h):
    return where(0 < h < 1, h, 1)  # line


def assigns_to_a_part(x, h):
    h[0] = 1  # line
    return h


def matrix_after_vector(x, h, *, U=param("h h")):
    return h @ U  # line


def product_of_matrices(x, h, *, U=param("h h"), V=param("h h")):
    return U @ V @ h  # line


def own_exception(x, h):
    raise ValueError("no")  # line


def over_several_lines(x, h, *, U=param("h h")):
    return tanh(
        U @ x  # line
    )


def no_state(x):
    return x


def after_a_slash(x, /, h):
    return h


def any_keyword(x, h, **rest):
    return h


def many(x, *states):
    return states


def heads_of_a_vector(x, h, *, b=param("h", heads=2)):  # line
    return h + b


def heads_of_two_sizes(x, h, *, W=param("h h+x", heads=2)):  # line
    return W @ sl.concat(h, x)


def half_a_head(x, h, *, W=param("h h", heads=0.5)):  # line
    return W @ h


def heads_called_h(x, h, *, W=param("h h", heads="h")):  # line
    return W @ h


def head_and_vector(x, h, *, W=param("4h h", heads=2)):
    return W @ x  # line


def state_of_no_size(x, h, c=state("")):  # line
    return h + x, c


def new_state_of_other_sizes(x, h, C=state("h x")):
    return h, sl.outer(x, h)  # line


def outer_of_a_matrix(x, h, *, W=param("h h")):
    return sl.outer(W, h) @ h  # line


def vector_beside_a_matrix(x, h, C=state("h h")):
    return C @ h, C * h  # line


def reduced_matrix(x, h, C=state("h h")):
    return h + sl.sum(C), C  # line


SAYS = [
    (state_of_no_size, "the state 'c' must be a vector or a matrix; got a scalar; write state('1') for one number"),
    (new_state_of_other_sizes, "the new 'C' must be a h × x matrix, but is a x × h matrix"),
    (outer_of_a_matrix, "outer needs two vectors, but W is a h × h matrix"),
    (vector_beside_a_matrix, "but h is a vector of size h; a vector stands to its right, after @"),
    (reduced_matrix, "a vector is needed, but C is a h × h matrix"),
    (heads_of_a_vector, "as in param('4h h', heads=4); got a vector of size h"),
    (heads_of_two_sizes, "'W' has heads, so it must be a matrix whose rows and columns are each one size"),
    (half_a_head, "the heads of 'W' must be a whole number ≥ 1, or the name of a size; got 0.5"),
    (heads_called_h, "the heads of 'W' must be a whole number ≥ 1, or the name of a size; got 'h'"),
    (head_and_vector, "W is a 4h × h matrix, so @ needs a vector of size h on its right, but x is a vector of size x"),
    (unknown_size, "the shape of 'W' has an unknown size: '4*h' is not a size"),
    (too_many_sizes, "'h x h' has 3 sizes"),
    (wrong_vector, "W is a 4h × x matrix, so @ needs a vector of size x on its right, but h is a vector of size h"),
    (vector_at_left, "@ needs a matrix on its left, but b is a vector of size h"),
    (two_sizes, "the 'tanh' is a vector of size 2h and h is a vector of size h"),
    (matrix_elementwise, "U is a h × h matrix, which meets matrices of its size and scalars in elementwise"),
    (unused, "the parameter 'U' is never used"),
    (undeclared, "the parameter 'W' must be declared as W=param(SHAPE); got nothing"),
    (undeclared_inside, "'bias' is neither a word of the language nor declared as a parameter"),
    (misspelt, "'sigmod' is neither a word of the language nor declared as a parameter; did you mean 'sigmoid'?"),
    (forgotten_state, "the state 'c' is not returned: the function has 2 states, so write 'return h, c'"),
    (too_many_returned, "more is returned than there are states"),
    (nothing_returned, "must return its new states, 'return h', but returned nothing"),
    (scalar_returned, "the new 'h' must be a vector of size h, but is a scalar"),
    (comparison_returned, "the new 'h' must be a vector of size h, but is a comparison"),
    (number_returned, "must return its new states, 'return h', but returned a float"),
    (method_of_a_value, "a value has no '.sum'"),
    (wrong_state_size, "the new 'c' must be a vector of size k, but is a vector of size h"),
    (torch_inside, "the function raised TypeError"),
    (number_times_text, "'mul' takes values and numbers, but got a str"),
    (looks_at_a_value, "write where(condition, a, b)"),
    (unpacks, "a value cannot be unpacked or looped over"),
    (indexes, "a value cannot be indexed"),
    (raises_to_a_power, "** takes a whole number as its exponent; got 0.5; write sqrt(v) or exp(p * log(v))"),
    (compares_for_equality, "== between values"),
    (comparison_as_number, "is a comparison, which can only be the condition of where"),
    (where_without_comparison, "where needs a comparison as its condition, like x > 0, but h is none"),
    (uneven_split, "h is a vector of size h, which does not split into 2 equal parts"),
    (bad_init, "or one of orthogonal, glorot, uniform, identity; got 'orthonormal'"),
    (init_of_wrong_parts, "does not split into 3 equal parts"),
    (init_for_a_matrix, "the init 'orthogonal' of 'b' is for matrices; 'b' is a vector of size h"),
    (default_state, "the state 'h' takes no default but h=state(SIZE)"),
    (state_as_matrix, "the state 'h' must be a vector; got a h × h matrix"),
    (size_as_number, "the shape of 'b' must be a text like '4h x'; got 3"),
    (parameter_with_a_number, "the parameter 'leak' must be declared as leak=param(SHAPE); got 0.1"),
    (init_of_no_parts, "the init of 'b' has 0 parts; 'b' is a vector of size h"),
    (chrono_for_a_matrix, "the init chrono(20) of 'W' is for vectors; 'W' is a h × h matrix"),
    (init_as_a_list, "the init of 'b' must be a number, a tuple of numbers, an array, a function"),
    (init_of_words, "the init of 'b' must be a number, a tuple of numbers, an array, a function"),
    (init_of_truth, "the init of 'b' must be a number, a tuple of numbers, an array, a function"),
    (word_of_numbers, "'sqrt' was given no value of the cell; for numbers alone use Python's own math"),
    (word_of_nothing, "'concat' was given no value of the cell"),
    (parts_of_a_number, "'split' was given no value of the cell"),
    (no_parts, "split needs a whole number of parts, at least 1; got 0"),
    (bounds_the_wrong_way_round, "clip needs a lower bound that is not above the upper one; got 1 and -1"),
    (misspelt_after_a_dot, "'sigmod' is neither a word of the language nor declared"),
    (misspelt_after_a_dot, "did you mean 'sigmoid'?"),
    (chained_comparison, "write where(condition, a, b)"),
    (assigns_to_a_part, "the function raised TypeError"),
    (matrix_after_vector, "@ needs a matrix on its left, but h is a vector of size h"),
    (product_of_matrices, "@ needs a vector of size h on its right, but V is a h × h matrix"),
    (own_exception, "the function raised ValueError: no; a cell uses only the words of the language"),
    (over_several_lines, "@ needs a vector of size h on its right, but x is a vector of size x"),
    (after_a_slash, "the arguments must be the input, one state or more"),
    (any_keyword, "the arguments must be the input, one state or more"),
    (no_state, "the arguments must be the input, one state or more"),
    (many, "the arguments must be the input, one state or more"),
]


@pytest.mark.parametrize(("function", "says"), SAYS, ids=lambda v: getattr(v, "__name__", ""))
def test_a_mistake_is_named_with_its_cell_and_line(function, says):
    with pytest.raises(CellError) as caught:
        cell(function)
    message = str(caught.value)
    assert says in message
    assert f"In cell '{function.__name__}' (test_errors.py, line " in message
    assert message.count("\n") == 0
    assert message[-1] in ".?"
    assert not message.endswith(("..", "?."))
    source, start = inspect.getsourcelines(function)
    marked = [start + k for k, text in enumerate(source) if "# line" in text]
    named = re.search(r"\(test_errors\.py, line (\d+): (.*?)\): ", message)
    assert named is not None
    assert int(named[1]) == (marked or [start])[0]


@pytest.mark.parametrize(
    ("thing", "kind"), [(int, "type"), (len, "builtin_function_or_method"), (sl.cells.lstm, "Cell"), (None, "NoneType")]
)
def test_only_functions_are_cells(thing, kind):
    with pytest.raises(CellError, match=f"@cell takes a function. Got a {kind} instead."):
        cell(thing)


@pytest.mark.parametrize("steps", [1, -784, 784.0, True, "784"])
def test_a_memory_of_less_than_two_steps_is_refused(steps):
    with pytest.raises(ArgumentError, match=f"'steps' of chrono must be a whole number ≥ 2. Got {steps!r} instead."):
        chrono(steps)


def test_a_word_outside_of_a_cell_says_so():
    with pytest.raises(CellError, match="only inside a function with @cell"):
        sigmoid(1.0)


def test_a_value_of_another_cell_is_refused():
    kept = []

    @cell
    def one(x, h):
        kept.append(h)
        return h + 1

    with pytest.raises(CellError, match="a value of another cell"):

        @cell
        def two(x, h):
            return h + kept[0]
