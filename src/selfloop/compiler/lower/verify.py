"""What each level must satisfy. With SELFLOOP_VERIFY=1, as in the tests, it is checked before and after every pass."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import is_dataclass
from functools import wraps
from itertools import pairwise
from typing import NoReturn, ParamSpec, TypeVar

from selfloop.compiler.lower.operations import COMPARISONS, LEAVES, OPERATIONS, REDUCTIONS, SCANS, WHOLE, arity
from selfloop.compiler.lower.program import Loop, Program, ReductionLoop, TileLoop, WholeLoop, loops
from selfloop.compiler.lower.step import BUFFERS, SCALAR, Bernoulli, Location, Matvec, Step, Submatrix, Value
from selfloop.language.graph import LEAVES as GRAPH_LEAVES
from selfloop.language.graph import Graph
from selfloop.language.operations import OPERATIONS as WORDS

VARIABLE = "SELFLOOP_VERIFY"
"""The environment variable that turns the checks on."""


class VerificationError(AssertionError):
    """A pass has returned what is not well formed: a defect of the compiler."""


P = ParamSpec("P")
R = TypeVar("R")


def verified(run: Callable[P, R]) -> Callable[P, R]:
    """A pass that checks what it takes and what it returns, where SELFLOOP_VERIFY is set."""

    @wraps(run)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not os.environ.get(VARIABLE):
            return run(*args, **kwargs)
        for level in _levels([*args, *kwargs.values()]):
            verify(level, f"before {run.__name__}")
        result = run(*args, **kwargs)
        for level in _levels([result]):
            verify(level, f"after {run.__name__}")
        return result

    return checked


def verify(level: Graph | Step | Program, when: str) -> None:
    """Check a level.

    Args:
        level: a Graph, a Step or a Program.
        when: before or after which pass, for the error.

    Raises:
        VerificationError: it is not well formed; the error names the pass, the level and the value.
    """
    try:
        if isinstance(level, Graph):
            _check_graph(level)
        elif isinstance(level, Step):
            _check_step(level)
        else:
            _check_program(level)
    except _MalformedError as error:
        text = level.listing() if isinstance(level, Graph) else level
        raise VerificationError(f"{when}: {type(level).__name__}: {error}\n{text}") from None


def _levels(things: Iterable[object]) -> Iterator[Graph | Step | Program]:
    """The levels among some objects, and in tuples and dataclasses among them."""
    for thing in things:
        if isinstance(thing, Graph | Step | Program):
            yield thing
        elif isinstance(thing, tuple):
            yield from _levels(thing)
        elif is_dataclass(thing) and not isinstance(thing, type):
            yield from _levels(vars(thing).values())


class _MalformedError(Exception):
    pass


def _fail(subject: str, message: str) -> NoReturn:
    raise _MalformedError(f"{subject}: {message}")


# Graph


def _check_graph(graph: Graph) -> None:
    for k, node in enumerate(graph.nodes):
        if node.op not in GRAPH_LEAVES and node.op not in WORDS:
            _fail(f"node {k}", f"unknown operation '{node.op}'")
        if node.op in GRAPH_LEAVES and node.args:
            _fail(f"node {k}", f"the leaf '{node.op}' has arguments")
        if node.op in COMPARISONS and any(
            k in user.args and not (user.op == "where" and user.args[0] == k) for user in graph.nodes
        ):
            _fail(f"node {k}", "a comparison is used as a number")
    for name in (graph.input, *graph.states, *graph.params):
        if name not in graph.leaves:
            _fail(f"leaf {name}", "there is no node for it")
    for state, k in zip(graph.states, graph.outputs, strict=True):
        if not 0 <= k < len(graph.nodes):
            _fail(f"state {state}", f"its new value {k} is no node")
        if graph.nodes[k].shape not in ((), graph.shape(state)):
            _fail(f"state {state}", "its new value has another shape")


# Step

_READ_ONLY = ("x", "h_prev", "param", "dy", "dh_next")
_FORWARD_READS = ("x", "h_prev", "param", "residual", "workspace")


def _check_step(step: Step) -> None:
    for k, value in enumerate(step.values):
        if value.op not in OPERATIONS:
            _fail(f"%{k}", f"unknown operation '{value.op}'")
        if any(not 0 <= a < k for a in value.args):
            _fail(f"%{k}", f"its arguments {value.args} must come before it")
        _check_value(step, k, value)
    for store in step.stores:
        if not 0 <= store.value < len(step.values):
            _fail(f"store to {store.location}", f"%{store.value} does not exist")
        if step.values[store.value].op in COMPARISONS:
            _fail(f"store to {store.location}", f"%{store.value} is a comparison, and no number")
        if store.location.buffer not in BUFFERS or store.location.buffer in _READ_ONLY:
            _fail(f"store to {store.location}", "nothing can be stored there")
    _check_overlaps(step)
    is_forward = any(store.location.buffer == "h_next" for store in step.stores)
    for k, value in enumerate(step.values):
        if is_forward and value.location and value.location.buffer not in _FORWARD_READS:
            _fail(f"%{k}", f"a forward step loads {value.location}")


def _check_value(step: Step, k: int, value: Value) -> None:
    operation = OPERATIONS[value.op]
    args = [step.values[a] for a in value.args]
    takes = arity(value.op)
    if takes is not None and len(args) != takes:
        _fail(f"%{k}", f"'{value.op}' takes {takes} arguments; it has {len(args)}")
    for position, argument in enumerate(args):
        is_condition = value.op == "where" and position == 0
        if (argument.op in COMPARISONS) != is_condition:
            expected = "a comparison" if is_condition else "a number"
            _fail(f"%{k}", f"argument {position} of '{value.op}' must be {expected}; it is '{argument.op}'")
    sizes, rows = {argument.size for argument in args}, {argument.rows for argument in args}
    if operation.kind in ("product", "reduction", "scan") and rows | {value.rows} != {1}:
        _fail(f"%{k}", f"'{value.op}' takes and makes vectors")
    match operation.kind:
        case "leaf":
            _check_leaf(k, value)
        case "product":
            matrices = value.attribute
            is_one_each = isinstance(matrices, tuple) and len(matrices) == len(args) > 0
            if not is_one_each or not all(isinstance(m, Submatrix) for m in matrices):  # type: ignore[union-attr]
                _fail(f"%{k}", "a product needs a submatrix for each argument")
            if value.size == SCALAR or SCALAR in sizes:
                _fail(f"%{k}", "a product multiplies vectors and is one")
        case "elementwise" | "comparison":
            if value.op == "broadcast":
                if sizes != {SCALAR} or value.size == SCALAR:
                    _fail(f"%{k}", "a broadcast makes a vector of a scalar")
            elif len(sizes - {SCALAR}) > 1 or value.size != max(sizes):
                _fail(f"%{k}", f"its size is {value.size}, and those of its arguments are {sorted(sizes)}")
            elif {v.rows for v in args if v.size != SCALAR} - {value.rows}:
                _fail(f"%{k}", f"it has {value.rows} rows, and its arguments {sorted(rows)}")
        case "reduction":
            if value.size != SCALAR or SCALAR in sizes:
                _fail(f"%{k}", "a reduction makes a scalar of a vector")
        case "scan":
            if sizes != {value.size} or value.size == SCALAR:
                _fail(f"%{k}", "a scan makes a vector of one of the same size")
        case "outer":
            if rows != {1} or SCALAR in sizes or (value.rows, value.columns) != tuple(v.size for v in args):
                _fail(f"%{k}", "an outer product makes a matrix of two vectors")
        case "whole":
            _check_whole(k, value, args)


def _check_whole(k: int, value: Value, args: list[Value]) -> None:
    if value.op == "concat":
        is_right = value.size == sum(v.size for v in args) and all(v.size != SCALAR and v.rows == 1 for v in args)
    elif value.op == "transpose":
        is_right = (value.rows, value.columns) == (args[0].columns, args[0].rows)
    else:
        matrix, vector = args
        is_right = isinstance(value.attribute, Matvec) and vector.rows == value.rows == 1
        if isinstance(value.attribute, Matvec):
            sides = (matrix.rows, matrix.columns)
            own, other = sides[::-1] if value.attribute.transposed else sides
            is_right = is_right and value.attribute.first + value.size <= own and vector.size == other
    if not is_right:
        _fail(f"%{k}", f"'{value.op}' does not fit its arguments")


_ATTRIBUTES = {"load": Location, "const": float, "bernoulli": Bernoulli, "zeros": type(None)}


def _check_leaf(k: int, value: Value) -> None:
    if not isinstance(value.attribute, _ATTRIBUTES[value.op]):
        _fail(f"%{k}", f"'{value.op}' has the attribute {value.attribute!r}")
    if value.location and (value.location.buffer not in BUFFERS or value.location.offset < 0):
        _fail(f"%{k}", f"there is no {value.location}")


def _check_overlaps(step: Step) -> None:
    spans: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for store in step.stores:
        buffer, name, offset = store.location
        size = max(1, step.values[store.value].size)
        spans.setdefault((buffer, name), []).append((offset, offset + size))
    for (buffer, name), own in spans.items():
        for (_, end), (start, _) in pairwise(sorted(own)):
            if start < end:
                _fail(f"store to {buffer} {name}[{start}:]", "another store has written there")


# Program


def _check_program(program: Program) -> None:
    step = program.step
    _check_step(step)
    placed = [store for stage in program.stages for loop in loops(stage) for store in loop.stores]
    if sorted(placed, key=str) != sorted(step.stores, key=str):
        _fail("stages", "they do not have every store of the step exactly once")
    for number, stage in enumerate(program.stages):
        for loop in loops(stage):
            _check_loop(program, number, loop)


def _check_loop(program: Program, number: int, loop: Loop) -> None:
    values = program.step.values
    size, rows = (loop.size, loop.rows) if isinstance(loop, TileLoop) else (SCALAR, 1)
    for store in loop.stores:
        own = values[store.value]
        if (own.op in WHOLE) != isinstance(loop, WholeLoop):
            _fail(f"%{store.value}", f"stage {number} stores it, which is no loop for '{own.op}'")
        if (own.size, own.rows) != (size, rows) and own.op not in SCANS | WHOLE:
            _fail(f"%{store.value}", f"stage {number} stores it in a loop over {size or 'scalars'}")
    known = set[int]()
    if isinstance(loop, TileLoop | WholeLoop):
        known |= set(loop.products) if isinstance(loop, TileLoop) else {store.value for store in loop.stores}
        for k in known:
            _check_in_memory(program, number, k)
    for sweep in loop.sweeps if isinstance(loop, ReductionLoop) else ():
        for k in sweep:
            _check_known(program, number, values[k].args, known)
        known |= set(sweep)
    _check_known(program, number, [store.value for store in loop.stores], known)


def _check_in_memory(program: Program, number: int, k: int) -> None:
    """The arguments of a value must be in memory."""
    values = program.step.values
    for a in values[k].args:
        if values[a].op not in LEAVES and not (a in program.stored and program.stored[a][0] <= number):
            _fail(f"%{a}", f"stage {number} multiplies it before it is stored")


def _check_known(program: Program, number: int, roots: Iterable[int], known: set[int]) -> None:
    """Products and reductions must be in memory, or computed in this loop before."""
    open_, seen = list(roots), set(known)
    while open_:
        k = open_.pop()
        if k in seen:
            continue
        seen.add(k)
        if k in program.stored and program.stored[k][0] <= number:
            continue
        value = program.step.values[k]
        if value.op == "product" or value.op in REDUCTIONS | SCANS | WHOLE:
            _fail(f"%{k}", f"stage {number} needs it before it is computed")
        if value.op == "outer":
            _check_in_memory(program, number, k)
        else:
            open_ += value.args
